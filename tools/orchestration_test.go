package tools_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

func TestACallOfTheCallersToolIsAnswered(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		text, chat := b.ok("create_chat", object{
			"prompt": `TOOLS lookup lookup {"key":"a"}`, "wait_seconds": 15,
			"dynamic_tools": []object{{"name": "lookup", "description": "looks up", "input_schema": object{"type": "object"}}},
		})
		id := chat["id"]
		require.Equal(t, "requires_action", chat["reason"])
		calls := list(chat, "pending_calls")
		require.Len(t, calls, 2)
		require.Equal(t, "lookup", calls[0]["tool_name"])
		require.Equal(t, `{"key":"a"}`, calls[0]["args"])
		require.Contains(t, text, "submit_tool_results answers them:\n- "+calls[0]["tool_call_id"].(string)+" \"lookup\"\n> {\"key\":\"a\"}")
		text, _ = b.ok("get_chat", object{"chat": id})
		require.Contains(t, text, "submit_tool_results answers them")
		_, awaited := b.ok("await_chats", object{"chats": []any{id}})
		require.Equal(t, "requires_action", list(awaited, "settled")[0]["reason"])
		require.Len(t, list(awaited, "settled")[0]["pending_calls"], 2)

		result := func(call any, output any) object { return object{"tool_call_id": call, "output": output} }
		require.Equal(t, "invalid_argument", b.fails("submit_tool_results", object{"chat": id, "results": []object{result("wrong", 1)}}).Kind)
		require.Equal(t, "invalid_argument", b.fails("submit_tool_results", object{"chat": id, "results": []object{}}).Kind)
		require.Contains(t, b.fails("submit_tool_results", object{"chat": id, "results": []object{{"tool_call_id": "x"}}}).Message, `missing argument "results[0].output"`)
		require.Equal(t, "not_found", b.fails("submit_tool_results", object{"chat": uuid.New(), "results": []object{result("x", 1)}}).Kind)

		all := []object{result(calls[0]["tool_call_id"], object{"value": 1}), {"tool_call_id": calls[1]["tool_call_id"], "output": "not found", "is_error": true}}
		text, answered := b.ok("submit_tool_results", object{"chat": id, "results": all, "wait_seconds": 15})
		require.Equal(t, 2.0, answered["submitted"])
		require.Equal(t, "settled", answered["reason"], text)
		require.Equal(t, "waiting", answered["status"])
		require.Contains(t, answered["text"], "tool result was: ")
		require.Contains(t, text, "Gave 2 results to chat "+id.(string))
		f := b.fails("submit_tool_results", object{"chat": id, "results": all})
		require.Equal(t, "conflict", f.Kind)

		b.ok("send_chat_message", object{"chat": id, "text": "TOOL lookup {}", "wait_seconds": 15})
		_, awaited = b.ok("await_chats", object{"chats": []any{id}})
		call := list(list(awaited, "settled")[0], "pending_calls")[0]["tool_call_id"]
		_, answered = b.ok("submit_tool_results", object{"chat": id, "results": []object{result(call, nil), result(call, "x")}[1:]})
		require.NotContains(t, answered, "reason")
		require.Equal(t, 1.0, answered["submitted"])
	})
}

func TestAQueuedMessageIsPromoted(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	_, chat := b.ok("create_chat", object{"prompt": "SLOW 2000 20"})
	b.ok("send_chat_message", object{"chat": chat["id"], "text": "first"})
	_, second := b.ok("send_chat_message", object{"chat": chat["id"], "text": "second"})
	text, _ := b.ok("manage_chat_queue", object{"chat": chat["id"], "message_id": second["queued_message_id"], "action": "promote"})
	require.Contains(t, text, "promoted in the queue")
	require.Eventually(t, func() bool {
		_, c := b.ok("get_chat", object{"chat": chat["id"]})
		return c["status"] == "waiting"
	}, waitLimit, waitStep)
	_, prompts := b.ok("list_chat_prompts", object{"chat": chat["id"]})
	require.Equal(t, "first", list(prompts, "prompts")[0]["text"])
	require.Equal(t, "second", list(prompts, "prompts")[1]["text"])

	require.Equal(t, "invalid_argument", b.fails("manage_chat_queue", object{"chat": chat["id"], "message_id": 1, "action": "drop"}).Kind)
}

func TestAQueuedMessageThatIsNotThereIsNeitherDeletedNorPromoted(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, chat := b.ok("create_chat", object{"prompt": "SLOW 2000 20"})
		manage := func(action string) *tools.Failure {
			return b.fails("manage_chat_queue", object{"chat": chat["id"], "message_id": 999_999, "action": action})
		}
		require.Contains(t, manage("delete").Message, "the queue is empty")
		_, sent := b.ok("send_chat_message", object{"chat": chat["id"], "text": "first"})
		for _, action := range []string{"delete", "promote"} {
			f := manage(action)
			require.Equal(t, "not_found", f.Kind)
			require.Contains(t, f.Message, fmt.Sprintf("the queue has %v", sent["queued_message_id"]))
		}
	})
}

func TestAQueuedMessageThatCannotRunSaysWhatFreesIt(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		for blocking, c := range map[string]struct{ reason, frees string }{
			"ERR 400":        {"error", "manage_chat_queue with message_id %v and action promote runs it."},
			"TOOL lookup {}": {"requires_action", "submit_tool_results first, or manage_chat_queue takes message %v out."},
		} {
			b := newBench(t, unlimited(g))
			_, chat := b.ok("create_chat", object{"prompt": "SLOW 30 20", "dynamic_tools": []object{{"name": "lookup"}}})
			b.ok("send_chat_message", object{"chat": chat["id"], "text": blocking})
			text, sent := b.ok("send_chat_message", object{"chat": chat["id"], "text": "later", "wait_seconds": 15})
			require.Equal(t, c.reason, sent["reason"], text)
			require.Equal(t, true, sent["still_queued"])
			require.Equal(t, 1.0, sent["queue_length"])
			require.Contains(t, text, "It still waits in the queue (still_queued): ")
			require.Contains(t, text, fmt.Sprintf(c.frees, sent["queued_message_id"]))
		}
	})
}

func TestAQueuedMessageThatRanAndFailedWaitsForNothing(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	_, chat := b.ok("create_chat", object{"prompt": "SLOW 30 20"})
	failing := make(chan *mcp.CallToolResult)
	go func() {
		failing <- b.call("send_chat_message", object{"chat": chat["id"], "text": "ERR 400", "wait_seconds": 15})
	}()
	require.Eventually(t, func() bool { return b.queueLength(chat["id"]) == 1 }, waitLimit, waitStep)
	b.ok("send_chat_message", object{"chat": chat["id"], "text": "behind it"})
	text, sent := okay(t, <-failing)
	require.Equal(t, "error", sent["reason"], text)
	require.Equal(t, 1.0, sent["queue_length"])
	require.NotContains(t, sent, "still_queued")
	require.NotContains(t, text, "still waits")
	require.NotContains(t, text, "send_chat_message tries again", "it would wait behind the queue")
}

// queueLength is how many messages wait in a chat's queue.
func (b *bench) queueLength(chat any) int {
	page, err := b.session.Client.ListMessages(b.t.Context(), uuid.MustParse(chat.(string)), client.ListMessagesRequest{Limit: 1})
	require.NoError(b.t, err)
	return len(page.Queued)
}

func TestATurnThatIsFollowedByTheNextSaysSo(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	first := make(chan *mcp.CallToolResult)
	go func() {
		first <- b.call("send_chat_message", object{"chat": id, "text": "SLOW 30 20", "wait_seconds": 15})
	}()
	require.Eventually(t, func() bool {
		_, chat := b.ok("get_chat", object{"chat": id})
		return chat["status"] == "running"
	}, waitLimit, waitStep)
	b.ok("send_chat_message", object{"chat": id, "text": "SLOW 2000 20"})
	text, sent := okay(t, <-first)
	require.Equal(t, "settled", sent["reason"])
	require.Equal(t, "running", sent["status"])
	require.Equal(t, true, sent["next_turn"])
	require.Contains(t, text, fmt.Sprintf("Done; the chat went on with the next message (running), which stream_chat follows with after_id %.0f. It says to this one:\n> chunk-0001", sent["after_id"]))
}

func TestFurtherCallsAreNewOnes(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, chat := b.ok("create_chat", object{"prompt": "TOOL lookup {}", "wait_seconds": 15, "dynamic_tools": []object{{"name": "lookup"}}})
		first := list(chat, "pending_calls")[0]["tool_call_id"]
		b.ok("send_chat_message", object{"chat": chat["id"], "text": `TOOL lookup {"key":"b"}`})
		_, answered := b.ok("submit_tool_results", object{"chat": chat["id"], "results": []object{{"tool_call_id": first, "output": 1}}, "wait_seconds": 15})
		require.Equal(t, "settled", answered["reason"])
		require.Equal(t, true, answered["next_turn"])
		require.Empty(t, answered["pending_calls"])
		_, next := b.ok("stream_chat", object{"chat": chat["id"], "after_id": answered["after_id"], "wait_seconds": 15})
		require.Equal(t, "requires_action", next["reason"])
		calls := list(next, "pending_calls")
		require.Len(t, calls, 1)
		require.NotEqual(t, first, calls[0]["tool_call_id"])
		require.Equal(t, `{"key":"b"}`, calls[0]["args"])
	})
}

func TestTheArgumentsOfPendingCallsHaveTheirSize(t *testing.T) {
	const bytes = 3000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	prompt := `TOOLS lookup lookup {"key":"` + strings.Repeat("a", 20_000) + `"}`
	text, chat := b.ok("create_chat", object{"prompt": prompt, "wait_seconds": 15, "dynamic_tools": []object{{"name": "lookup"}}})
	for _, again := range []object{nil, {"chat": chat["id"]}} {
		if again != nil {
			text, chat = b.ok("stream_chat", again)
		}
		raw, err := json.Marshal(chat)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), bytes)
		require.LessOrEqual(t, len(raw), bytes)
		calls := list(chat, "pending_calls")
		require.Len(t, calls, 2)
		for _, call := range calls {
			require.NotEmpty(t, call["tool_call_id"])
			require.Equal(t, "lookup", call["tool_name"])
			require.Greater(t, call["cut_bytes"], 18_000.0)
			require.Contains(t, text, fmt.Sprintf("(%.0f bytes of these arguments left out)", call["cut_bytes"]))
		}
		require.Contains(t, text, "list_chat_messages with detail full")
	}
}
