package resources_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/resources"
	"coder-chats-mcp/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything that is awaited may take.
const patience = 20 * time.Second

// world is a simulator and one caller of it.
type world struct {
	*simulator.Instance
	src       resources.Source
	workspace uuid.UUID
}

// each runs a test against both generations.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.V238} {
		t.Run(string(g), func(t *testing.T) { test(t, newWorld(t, simulator.Options{Generation: g})) })
	}
}

func newWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	w := &world{workspace: uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000001")}
	o.TokenDelay, o.RateLimit, o.FileRateLimit = time.Microsecond, -1, -1
	ada, bob := uuid.New(), uuid.New()
	o.Users = []simulator.User{
		{ID: ada, Username: "ada", Token: "token-of-ada", AgentsAccess: true},
		{ID: bob, Username: "bob", Token: "token-of-bob", AgentsAccess: true},
	}
	o.Workspaces = []simulator.Workspace{{ID: w.workspace, OwnerID: ada, Files: map[string]string{"go.mod": "module shop\n"}}}
	var err error
	w.Instance, err = simulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	w.src = w.as(t, 0)
	return w
}

// as is the caller with the user's token.
func (w *world) as(t *testing.T, user int) resources.Source {
	t.Helper()
	return w.with(t, w.Users()[user].Token)
}

func (w *world) with(t *testing.T, token string) resources.Source {
	t.Helper()
	c, err := client.New(w.URL, token, client.Options{Retries: -1})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	r := relay.New(c, relay.Options{Linger: time.Millisecond, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Settle: 200 * time.Millisecond, Silence: 100 * time.Millisecond})
	t.Cleanup(r.Close)
	return resources.Source{Client: c, Relay: r}
}

// chat creates a chat and waits until its first turn is over.
func (w *world) chat(t *testing.T, prompt string) *client.Chat {
	t.Helper()
	return w.create(t, client.CreateChatRequest{Content: []client.InputPart{client.TextPart(prompt)}})
}

func (w *world) create(t *testing.T, r client.CreateChatRequest) *client.Chat {
	t.Helper()
	chat, err := w.src.Client.CreateChat(t.Context(), r)
	require.NoError(t, err)
	return w.rest(t, chat.ID)
}

// rest waits until the chat is idle, its title and summary written.
func (w *world) rest(t *testing.T, id uuid.UUID) *client.Chat {
	t.Helper()
	var chat *client.Chat
	eventually(t, func() bool {
		var err error
		chat, err = w.src.Client.GetChat(t.Context(), id)
		return err == nil && !chat.Status.Busy()
	})
	return chat
}

func (w *world) say(t *testing.T, id uuid.UUID, text string) {
	t.Helper()
	_, err := w.src.Client.SendMessage(t.Context(), id, client.SendMessageRequest{Content: []client.InputPart{client.TextPart(text)}})
	require.NoError(t, err)
}

// pushed is a chat whose agent wrote two files and pushed them.
func (w *world) pushed(t *testing.T) *client.Chat {
	t.Helper()
	chat := w.written(t)
	w.say(t, chat.ID, `TOOL execute {"command":"git push"}`)
	return w.rest(t, chat.ID)
}

// written is a chat whose agent wrote two files.
func (w *world) written(t *testing.T) *client.Chat {
	t.Helper()
	chat := w.create(t, client.CreateChatRequest{
		WorkspaceID: w.workspace, Content: []client.InputPart{client.TextPart(`TOOL write_file {"path":"a b.go","content":"package a\n"}`)},
	})
	w.say(t, chat.ID, `TOOL write_file {"path":"sub/c+d.go","content":"package c\n"}`)
	return w.rest(t, chat.ID)
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 5*time.Millisecond)
}

// read reads an address that holds text.
func read(t *testing.T, src resources.Source, uri string) mcp.TextResourceContents {
	t.Helper()
	contents, err := resources.Read(t.Context(), src, uri)
	require.NoError(t, err)
	require.Len(t, contents, 1)
	text, ok := contents[0].(mcp.TextResourceContents)
	require.True(t, ok, "%T", contents[0])
	require.Equal(t, uri, text.URI)
	return text
}

// object reads an address that holds JSON.
func object(t *testing.T, src resources.Source, uri string) map[string]any {
	t.Helper()
	text := read(t, src, uri)
	require.Equal(t, "application/json", text.MIMEType)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text.Text), &v))
	return v
}

func address(chat uuid.UUID, below ...string) string {
	return strings.Join(append([]string{"coder://chats", chat.String()}, below...), "/")
}

func requireNotFound(t *testing.T, err error, uri string) *resources.NotFoundError {
	t.Helper()
	var missing *resources.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, uri, missing.URI)
	return missing
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
