package relay_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var generations = []simulator.Generation{simulator.May2026, simulator.August2026, simulator.V238}

// eachGeneration runs a test against a server of every generation.
func eachGeneration(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			f(t, newWorld(t, simulator.Options{Generation: g, TokenDelay: time.Millisecond, Speed: 20, RateLimit: -1}))
		})
	}
}

// world is a server with one caller and the caller's relay.
type world struct {
	t      *testing.T
	ctx    context.Context
	server *simulator.Instance
	client *client.Client
	relay  *relay.Relay
}

var quick = relay.Options{
	Linger: 50 * time.Millisecond, MinBackoff: 5 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, Settle: 400 * time.Millisecond,
}

func newWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	server, err := simulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return newCaller(t, server, server.URL, quick)
}

func newCaller(t *testing.T, server *simulator.Instance, url string, o relay.Options) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	c, err := client.New(url, server.Users()[0].Token, client.Options{RetryBase: 5 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	r := relay.New(c, o)
	t.Cleanup(r.Close)
	return &world{t: t, ctx: ctx, server: server, client: c, relay: r}
}

func (w *world) create(prompt string) *client.Chat {
	w.t.Helper()
	chat, err := w.client.CreateChat(w.ctx, client.CreateChatRequest{Content: []client.InputPart{client.TextPart(prompt)}})
	require.NoError(w.t, err)
	return chat
}

func (w *world) send(chat uuid.UUID, prompt string) *client.SendMessageResponse {
	w.t.Helper()
	r, err := w.client.SendMessage(w.ctx, chat, client.SendMessageRequest{Content: []client.InputPart{client.TextPart(prompt)}})
	require.NoError(w.t, err)
	return r
}

func (w *world) turn(chat uuid.UUID, o relay.TurnOptions) relay.Outcome {
	w.t.Helper()
	out, err := w.relay.Turn(w.ctx, chat, o, nil)
	require.NoError(w.t, err)
	return out
}

func (w *world) follow(chat uuid.UUID) *relay.Listener {
	w.t.Helper()
	l, err := w.relay.Follow(w.ctx, chat)
	require.NoError(w.t, err)
	w.t.Cleanup(l.Close)
	return l
}

// until collects events up to and with the first one of a type.
func (w *world) until(l *relay.Listener, typ string) []relay.Event {
	w.t.Helper()
	var events []relay.Event
	for {
		e, err := l.Next(w.ctx)
		require.NoError(w.t, err, "after %v", types(events))
		events = append(events, e)
		if e.Type == typ {
			return events
		}
	}
}

func types(events []relay.Event) []string {
	var names []string
	for _, e := range events {
		name := e.Type
		if e.Status != nil {
			name += ":" + string(e.Status.Status)
		}
		if e.Message != nil {
			name += ":" + string(e.Message.Role)
		}
		names = append(names, name)
	}
	return names
}

// eventually polls until ok.
func (w *world) eventually(ok func() bool, what string) {
	w.t.Helper()
	require.Eventually(w.t, ok, 10*time.Second, 5*time.Millisecond, what)
}

// field is a member of a JSON object.
func field(t *testing.T, object json.RawMessage, name string) json.RawMessage {
	t.Helper()
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &members))
	return members[name]
}
