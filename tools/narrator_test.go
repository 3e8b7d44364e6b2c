package tools

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// listener is a peer that notes progress.
type listener struct {
	mu   sync.Mutex
	told []string
}

func (l *listener) Progress(_ context.Context, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, message)
}

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	return told
}

func (*listener) Event(context.Context, uuid.UUID, relay.Event) {}
func (*listener) Changed(context.Context, client.WatchEvent)    {}
func (*listener) Roots(context.Context) []string                { return nil }
func (*listener) Concerns(uuid.UUID)                            {}
func (*listener) Cancelled(context.Context) bool                { return false }

func event(e client.StreamEvent) relay.Event { return relay.Event{StreamEvent: e} }

func statusEvent(s client.Status) relay.Event {
	return event(client.StreamEvent{Type: client.EventStatus, Status: &client.StatusEvent{Status: s}})
}

func partEvent(p client.Part) relay.Event {
	return event(client.StreamEvent{Type: client.EventMessagePart, MessagePart: &client.PartEvent{Part: p}})
}

func TestASilentWaitIsToldAgainUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := &listener{}
		n := narrate(t.Context(), peer, "waits for the chat")
		time.Sleep(12 * time.Second)
		require.Equal(t, []string{"waits for the chat (0 s)", "waits for the chat (5 s)", "waits for the chat (10 s)"}, peer.take())
		n.end()
		time.Sleep(time.Minute)
		require.Empty(t, peer.take(), "nothing comes after the end")
	})
}

func TestEveryEventIsToldInAFewWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := &listener{}
		n := narrate(t.Context(), peer, "waits")
		defer n.end()
		peer.take()
		for _, c := range []struct {
			event relay.Event
			want  string
		}{
			{event(client.StreamEvent{Type: client.EventStatus, Status: &client.StatusEvent{Status: client.StatusRunning}}), "running (0 s)"},
			{partEvent(client.Part{Type: client.PartReasoning, Text: "hm"}), "running: thinking (0 s)"},
			{partEvent(client.Part{Type: client.PartToolCall, ToolName: "rm\x1b", ArgsDelta: "{"}), `running: thinking (0 s)`},
			{partEvent(client.Part{Type: client.PartToolCall, ToolName: "edit_file", Args: json.RawMessage(`{"path":"/home/coder/auth.go"}`)}), "running: edit_file auth.go (0 s)"},
			{partEvent(client.Part{Type: client.PartToolCall, ToolName: "write", Args: json.RawMessage(`{"file_path":"a/b c"}`)}), `running: write "b c" (0 s)`},
			{partEvent(client.Part{Type: client.PartToolCall, ToolName: "execute", Args: json.RawMessage(`{"command":"go test\n./..."}`)}), `running: execute "go test\n./..." (0 s)`},
			{partEvent(client.Part{Type: client.PartToolCall, ToolName: "odd\nname", Args: json.RawMessage(`[1]`)}), `running: "odd\nname" (0 s)`},
			{partEvent(client.Part{Type: client.PartToolResult, ToolName: "execute"}), "running: read the result of execute (0 s)"},
			{partEvent(client.Part{Type: client.PartText, Text: "Done"}), "running: writing its answer (0 s)"},
			{event(client.StreamEvent{Type: client.EventRetry, Retry: &client.RetryEvent{DelayMS: 2400, Error: "over\nloaded"}}), `running: tries again in 2 s after "over\nloaded" (0 s)`},
			{event(client.StreamEvent{Type: client.EventActionRequired}), "running: waits for tool results (0 s)"},
			{event(client.StreamEvent{Type: client.EventError, Error: &client.ChatError{Message: "no\nkey"}}), `running: failed: "no\nkey" (0 s)`},
			{event(client.StreamEvent{Type: client.EventMessage, Message: &client.Message{Role: client.RoleUser}}), "running (0 s)"},
		} {
			n.event(c.event)
			if told := peer.take(); len(told) > 0 {
				require.Equal(t, []string{c.want}, told)
			}
			require.Equal(t, c.want, n.told)
		}
		for _, c := range []struct {
			event relay.Event
			want  string
		}{
			{relay.Event{StreamEvent: client.StreamEvent{Type: relay.EventCapacity}, WaitsForCapacity: true}, "waits for capacity (0 s)"},
			{statusEvent(client.StatusRunning), "waits for capacity (0 s)"},
			{relay.Event{StreamEvent: client.StreamEvent{Type: relay.EventCapacity}}, "running (0 s)"},
			{statusEvent(client.StatusWaiting), "the turn is over (0 s)"},
			{statusEvent(client.StatusPending), "pending (0 s)"},
			{statusEvent(client.StatusRequiresAction), "waits for tool results (0 s)"},
			{event(client.StreamEvent{Type: client.EventActionRequired}), "waits for tool results (0 s)"},
			{statusEvent(client.StatusError), "failed (0 s)"},
			{event(client.StreamEvent{Type: client.EventError, Error: &client.ChatError{Message: "no key"}}), `failed: "no key" (0 s)`},
			{statusEvent("dreaming\n"), "dreaming (0 s)"},
		} {
			n.event(c.event)
			require.Equal(t, c.want, n.told)
		}
		peer.take()
		n.event(event(client.StreamEvent{Type: "hologram"}))
		require.Empty(t, peer.take())
	})
}

func TestWhatHappensBeforeTheFirstStatusIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := &listener{}
		n := narrate(t.Context(), peer, "waits for the chat")
		defer n.end()
		peer.take()
		n.event(event(client.StreamEvent{Type: client.EventMessage, Message: &client.Message{Role: client.RoleUser}}))
		require.Empty(t, peer.take(), "it says nothing of how the chat stands")
		n.event(event(client.StreamEvent{Type: client.EventRetry, Retry: &client.RetryEvent{DelayMS: 4000, Error: "overloaded"}}))
		require.Equal(t, []string{`tries again in 4 s after "overloaded" (0 s)`}, peer.take())
		n.event(partEvent(client.Part{Type: client.PartText, Text: "Hi"}))
		require.Equal(t, []string{"running: writing its answer (0 s)"}, peer.take())
	})
}
