package client_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator"
)

// Every operation against every generation of the server.
func TestEveryOperationInEveryGeneration(t *testing.T) {
	for generation, prefix := range map[simulator.Generation]string{
		simulator.May2026: "/api/experimental", simulator.August2026: "/api/experimental", simulator.V238: "/api/v2",
	} {
		t.Run(string(generation), func(t *testing.T) {
			workspace, ada := uuid.New(), uuid.New()
			server, err := simulator.Start(simulator.Options{
				Generation: generation, TokenDelay: time.Millisecond, Speed: 50, RateLimit: -1, FileRateLimit: -1,
				Users: []simulator.User{
					{ID: ada, Username: "ada", Token: "ada-token", AgentsAccess: true},
					{Username: "bob", Token: "bob-token", AgentsAccess: true},
				},
				Workspaces: []simulator.Workspace{{ID: workspace, OwnerID: ada}},
				Desktop: func(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						defer far.Close()
						_, _ = io.WriteString(far, "RFB 003.008\n")
						_, _ = io.ReadFull(far, make([]byte, 12))
						<-ctx.Done()
					}()
					return near, nil
				},
			})
			require.NoError(t, err)
			defer server.Close()
			c, err := client.New(server.URL, server.Users()[0].Token, client.Options{})
			require.NoError(t, err)
			defer c.Host().Close()
			o := &operations{Client: c, t: t, may: generation == simulator.May2026, workspace: workspace}
			g, err := c.Generation(t.Context())
			require.NoError(t, err)
			require.Equal(t, prefix, g.Prefix)
			o.who()
			o.models(generation)
			o.turn()
			o.queue()
			o.tools()
			o.files()
			o.sockets()
			o.failures(server)
		})
	}
}

type operations struct {
	*client.Client
	t         *testing.T
	may       bool
	workspace uuid.UUID
}

func (o *operations) ctx() context.Context { return o.t.Context() }

func (o *operations) who() {
	me, err := o.Me(o.ctx())
	require.NoError(o.t, err)
	require.NotEqual(o.t, uuid.Nil, me.DefaultOrganizationID)
	require.True(o.t, me.MemberOf(me.DefaultOrganizationID))
	info, err := o.BuildInfo(o.ctx())
	require.NoError(o.t, err)
	require.NotEmpty(o.t, info.Version)
}

func (o *operations) models(g simulator.Generation) {
	models, err := o.ListModels(o.ctx())
	require.NoError(o.t, err)
	require.NotEmpty(o.t, models.Providers[0].Models)
	configs, err := o.ListModelConfigs(o.ctx())
	if client.IsUnsupported(err) {
		require.Equal(o.t, simulator.V238, g)
		return
	}
	require.NoError(o.t, err)
	require.NotEmpty(o.t, configs)
}

func (o *operations) create(prompt string, more ...func(*client.CreateChatRequest)) *client.Chat {
	o.t.Helper()
	r := client.CreateChatRequest{Content: []client.InputPart{client.TextPart(prompt)}}
	for _, f := range more {
		f(&r)
	}
	chat, err := o.CreateChat(o.ctx(), r)
	require.NoError(o.t, err)
	return chat
}

func (o *operations) until(id uuid.UUID, done func(*client.Chat) bool) *client.Chat {
	o.t.Helper()
	var chat *client.Chat
	require.Eventually(o.t, func() bool {
		var err error
		chat, err = o.GetChat(o.ctx(), id)
		return err == nil && done(chat)
	}, 20*time.Second, 5*time.Millisecond)
	return chat
}

func settled(c *client.Chat) bool { return c.Status.Idle() }

// turn is a chat's life: created, streamed, read, edited, renamed, archived, listed.
func (o *operations) turn() {
	watch, err := o.WatchChats(o.ctx())
	require.NoError(o.t, err)
	defer watch.Close()
	chat := o.create("hello world", func(r *client.CreateChatRequest) { r.Labels = map[string]string{"k": "v:w"} })
	event, err := watch.Next(o.ctx()) // of any kind: a watch may open after the server has announced the chat
	require.NoError(o.t, err)
	require.Equal(o.t, chat.ID, event.Chat.ID)

	stream, err := o.StreamChat(o.ctx(), chat.ID, client.StreamRequest{})
	require.NoError(o.t, err)
	defer stream.Close()
	var answer string
	for event, err := range stream.Events(o.ctx()) {
		require.NoError(o.t, err)
		if event.Message != nil && event.Message.Role == client.RoleAssistant {
			answer = event.Message.Text()
		}
		if answer != "" {
			break
		}
	}
	require.Contains(o.t, answer, "hello")
	o.until(chat.ID, settled)

	page, err := o.ListMessages(o.ctx(), chat.ID, client.ListMessagesRequest{})
	require.NoError(o.t, err)
	require.GreaterOrEqual(o.t, len(page.Messages), 2)
	first := page.Messages[len(page.Messages)-1]
	after, err := o.ListMessages(o.ctx(), chat.ID, client.ListMessagesRequest{AfterID: first.ID, Limit: 1})
	require.NoError(o.t, err)
	require.Greater(o.t, after.Messages[0].ID, first.ID)
	edited, err := o.EditMessage(o.ctx(), chat.ID, first.ID, client.EditMessageRequest{Content: []client.InputPart{client.TextPart("once again")}})
	require.NoError(o.t, err)
	require.Greater(o.t, edited.Message.ID, first.ID)
	o.until(chat.ID, settled)
	prompts, err := o.ListPrompts(o.ctx(), chat.ID, 10)
	require.NoError(o.t, err)
	require.Equal(o.t, []client.Prompt{{ID: edited.Message.ID, Text: "once again"}}, prompts)

	title, archived := "renamed", true
	require.NoError(o.t, o.UpdateChat(o.ctx(), chat.ID, client.UpdateChatRequest{Title: &title}))
	renamed, err := o.RegenerateChatTitle(o.ctx(), chat.ID)
	require.NoError(o.t, err)
	require.Equal(o.t, chat.ID, renamed.ID)
	listed, err := o.ListChats(o.ctx(), client.ListChatsRequest{Labels: map[string]string{"k": "v:w"}, Limit: 1})
	require.NoError(o.t, err)
	require.Equal(o.t, chat.ID, listed[0].ID)
	diff, err := o.GetDiff(o.ctx(), chat.ID)
	require.NoError(o.t, err)
	require.Equal(o.t, chat.ID, diff.ChatID)
	require.NoError(o.t, o.UpdateChat(o.ctx(), chat.ID, client.UpdateChatRequest{Archived: &archived}))
	listed, err = o.ListChats(o.ctx(), client.ListChatsRequest{Archived: &archived})
	require.NoError(o.t, err)
	require.Equal(o.t, chat.ID, listed[0].ID)
}

func (o *operations) queue() {
	chat := o.create("HANG 600 NOTITLE")
	require.NotEqual(o.t, client.StatusWaiting, chat.Status)
	var queued []*client.QueuedMessage
	for range 2 {
		sent, err := o.SendMessage(o.ctx(), chat.ID, client.SendMessageRequest{Content: []client.InputPart{client.TextPart("later NOTITLE")}})
		require.NoError(o.t, err)
		require.True(o.t, sent.Queued)
		queued = append(queued, sent.QueuedMessage)
	}
	require.NoError(o.t, o.DeleteQueuedMessage(o.ctx(), chat.ID, queued[0].ID))
	require.NoError(o.t, o.PromoteQueuedMessage(o.ctx(), chat.ID, queued[1].ID))
	o.until(chat.ID, settled)
	_, err := o.InterruptChat(o.ctx(), chat.ID)
	if o.may {
		require.NoError(o.t, err)
	} else {
		require.True(o.t, client.IsConflict(err))
	}
}

func (o *operations) tools() {
	chat := o.create(`TOOL my_tool {"x":1}`, func(r *client.CreateChatRequest) {
		r.DynamicTools = []client.DynamicTool{{Name: "my_tool", Description: "d", InputSchema: json.RawMessage(`{"type":"object"}`)}}
	})
	o.until(chat.ID, func(c *client.Chat) bool { return c.Status == client.StatusRequiresAction })
	page, err := o.ListMessages(o.ctx(), chat.ID, client.ListMessagesRequest{})
	require.NoError(o.t, err)
	var calls []client.Part
	for i := range page.Messages {
		calls = append(calls, page.Messages[i].ToolCalls()...)
	}
	require.Len(o.t, calls, 1)
	require.JSONEq(o.t, `{"x":1}`, string(calls[0].Args))
	err = o.SubmitToolResults(o.ctx(), chat.ID, []client.ToolResult{{ToolCallID: "other", Output: json.RawMessage(`1`)}})
	require.Equal(o.t, client.KindInvalidArgument, client.KindOf(err))
	require.NoError(o.t, o.SubmitToolResults(o.ctx(), chat.ID, []client.ToolResult{{ToolCallID: calls[0].ToolCallID, Output: json.RawMessage(`{"answer":42}`)}}))
	o.until(chat.ID, settled)
	err = o.SubmitToolResults(o.ctx(), chat.ID, []client.ToolResult{{ToolCallID: calls[0].ToolCallID, Output: json.RawMessage(`1`)}})
	require.True(o.t, client.IsConflict(err))
}

func (o *operations) files() {
	id, err := o.UploadFile(o.ctx(), client.UploadFileRequest{Name: "übung.txt", MediaType: "text/plain", Body: strings.NewReader("some text")})
	require.NoError(o.t, err)
	f, err := o.GetFile(o.ctx(), id)
	require.NoError(o.t, err)
	defer f.Body.Close()
	body, err := io.ReadAll(f.Body)
	require.NoError(o.t, err)
	require.Equal(o.t, "some text", string(body))
	require.Equal(o.t, "übung.txt", f.Name)
	require.Contains(o.t, f.MediaType, "text/plain")
	chat := o.create("see file NOTITLE", func(r *client.CreateChatRequest) {
		r.Content = append(r.Content, client.InputPart{Type: "file", FileID: &id})
	})
	require.Equal(o.t, id, o.until(chat.ID, settled).Files[0].ID)
	_, err = o.UploadFile(o.ctx(), client.UploadFileRequest{Name: "big.txt", Body: io.LimitReader(zeros{}, 10<<20+1), Size: 10<<20 + 1})
	require.Equal(o.t, client.KindTooLarge, client.KindOf(err))
}

func (o *operations) sockets() {
	bare := o.create("no workspace NOTITLE")
	_, err := o.WatchGit(o.ctx(), bare.ID)
	require.Equal(o.t, client.KindInvalidArgument, client.KindOf(err))
	require.ErrorContains(o.t, err, "no workspace")
	_, err = o.Desktop(o.ctx(), bare.ID)
	require.ErrorContains(o.t, err, "Chat has no workspace.")

	chat := o.create(`TOOL write_file {"path":"/home/coder/repo/new.txt","content":"x\n"}`, func(r *client.CreateChatRequest) { r.WorkspaceID = o.workspace })
	o.until(chat.ID, settled)
	git, err := o.WatchGit(o.ctx(), chat.ID)
	require.NoError(o.t, err)
	defer git.Close()
	require.NoError(o.t, git.Refresh(o.ctx()))
	message, err := git.Next(o.ctx())
	require.NoError(o.t, err)
	require.Equal(o.t, "changes", message.Type)

	desktop, err := o.Desktop(o.ctx(), chat.ID)
	require.NoError(o.t, err)
	defer desktop.Close()
	hello := make([]byte, 12)
	_, err = io.ReadFull(desktop, hello)
	require.NoError(o.t, err)
	require.Equal(o.t, "RFB 003.008\n", string(hello))
	_, err = desktop.Write(hello)
	require.NoError(o.t, err)
}

func (o *operations) failures(server *simulator.Instance) {
	_, err := o.GetChat(o.ctx(), uuid.New())
	require.True(o.t, client.IsNotFound(err))
	_, err = o.StreamChat(o.ctx(), uuid.New(), client.StreamRequest{})
	require.True(o.t, client.IsNotFound(err))
	_, err = o.Host().Client("expired").ListChats(o.ctx(), client.ListChatsRequest{})
	require.True(o.t, client.IsUnauthorized(err))
	_, err = o.Host().Client("").WatchChats(o.ctx())
	require.True(o.t, client.IsUnauthorized(err))
	_, err = o.ListChats(o.ctx(), client.ListChatsRequest{Query: "hello"})
	require.ErrorContains(o.t, err, `unsupported search term`)
	mine := o.create("mine NOTITLE")
	_, err = o.Host().Client(server.Users()[1].Token).GetChat(o.ctx(), mine.ID)
	require.True(o.t, client.IsNotFound(err))

	full := o.create("HANG 600 NOTITLE")
	for range 20 {
		_, err = o.SendMessage(o.ctx(), full.ID, client.SendMessageRequest{Content: []client.InputPart{client.TextPart("q")}})
		require.NoError(o.t, err)
	}
	_, err = o.SendMessage(o.ctx(), full.ID, client.SendMessageRequest{Content: []client.InputPart{client.TextPart("q")}})
	require.True(o.t, client.IsQueueFull(err))
}
