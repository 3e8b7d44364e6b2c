package tools_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator"
)

// long makes a chat of more than 300 messages, most of them results of tools in a row, and gives the ids of all and of those that
// somebody said.
func (b *bench) long() (chat string, ids, said []int64) {
	b.t.Helper()
	chat = b.chat("begin", uuid.Nil)
	for i := range 15 {
		b.ok("send_chat_message", object{"chat": chat, "text": fmt.Sprintf("message %d of a long talk", i), "wait_seconds": 15})
	}
	b.ok("send_chat_message", object{"chat": chat, "text": "TOOLS" + strings.Repeat(" list_templates", 280) + " {}", "wait_seconds": 15})
	for before := int64(0); ; {
		page, err := b.session.Client.ListMessages(b.t.Context(), uuid.MustParse(chat), client.ListMessagesRequest{BeforeID: before, Limit: 200})
		require.NoError(b.t, err)
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
			if before = m.ID; m.Role != client.RoleTool {
				said = append(said, m.ID)
			}
		}
		if !page.HasMore {
			require.Greater(b.t, len(ids), 300)
			slices.Reverse(ids)
			slices.Reverse(said)
			return chat, ids, said
		}
	}
}

func numbers(list object) (ids []int64) {
	for _, m := range list["messages"].([]any) {
		ids = append(ids, int64(m.(object)["id"].(float64)))
	}
	return ids
}

func TestATranscriptRunsThroughEveryMessageOnce(t *testing.T) {
	const bytes = 1500
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g), most(bytes))
		chat, ids, spoken := b.long()
		said := map[string][]int64{"full": ids, "text": spoken}
		for detail, want := range said {
			var newest []int64
			arguments := object{"chat": chat, "detail": detail, "limit": 60}
			for {
				text, list := b.ok("list_chat_messages", arguments)
				sized(t, text, list, bytes)
				newest = append(numbers(list), newest...)
				if list["next_before_id"] == nil {
					require.NotContains(t, text, "(older:")
					break
				}
				require.Contains(t, text, fmt.Sprintf("(older: before_id %v)", list["next_before_id"]))
				arguments["before_id"] = list["next_before_id"]
			}
			require.Equal(t, want, newest, "%s from the newest", detail)

			oldest := []int64{want[0]}
			arguments = object{"chat": chat, "detail": detail, "limit": 60, "after_id": want[0]}
			for {
				text, list := b.ok("list_chat_messages", arguments)
				sized(t, text, list, bytes)
				oldest = append(oldest, numbers(list)...)
				arguments["after_id"] = list["next_after_id"]
				if list["more"] == nil {
					require.NotContains(t, text, "(newer:")
					break
				}
				require.Contains(t, text, fmt.Sprintf("(newer: after_id %v)", list["next_after_id"]))
			}
			require.Equal(t, want, oldest, "%s from the oldest", detail)
			require.EqualValues(t, ids[len(ids)-1], arguments["after_id"], "where newer ones begin")
			text, list := b.ok("list_chat_messages", arguments)
			require.Contains(t, text, "No messages here.")
			require.EqualValues(t, arguments["after_id"], list["next_after_id"])
		}
	})
}

func TestATranscriptNamesToolsAndShowsAllOnDemand(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat(`TEXTTOOL list_templates {"q":1}`, uuid.Nil)
	text, list := b.ok("list_chat_messages", object{"chat": id})
	require.Contains(t, text, "assistant, calls list_templates\n> I will call a tool.")
	require.NotContains(t, text, "tool-call")
	said := list["messages"].([]any)
	require.Len(t, said, 3)
	require.Equal(t, []any{"list_templates"}, said[1].(object)["tools"])

	text, list = b.ok("list_chat_messages", object{"chat": id, "detail": "full"})
	require.Len(t, list["messages"], 4)
	require.Contains(t, text, "- tool-call list_templates call_")
	require.Contains(t, text, "\n> {\"q\":1}")
	require.Contains(t, text, "- tool-result list_templates call_")
	require.Contains(t, text, "tokens in")
}

func TestALongMessageIsShownInPart(t *testing.T) {
	const bytes = 1000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	id := b.chat("A <tag> & more\n"+strings.Repeat("line\n", 2000), uuid.Nil)
	for _, detail := range []string{"text", "full"} {
		text, list := b.ok("list_chat_messages", object{"chat": id, "detail": detail, "limit": 1})
		sized(t, text, list, bytes)
		require.Contains(t, text, "(whole: resource coder://chats/"+id+"/messages)")
		require.Greater(t, list["messages"].([]any)[0].(object)["cut_bytes"], 9000.0)
	}
	text, list := b.ok("list_chat_prompts", object{"chat": id})
	sized(t, text, list, bytes)
	require.Greater(t, list["prompts"].([]any)[0].(object)["cut_bytes"], 9000.0)
	require.Contains(t, text, "bytes of this prompt left out)")
	text, streamed := b.ok("stream_chat", object{"chat": id})
	sized(t, text, streamed, bytes)
	require.Greater(t, streamed["cut_bytes"], 9000.0)
	require.Contains(t, text, "bytes more: resource coder://chats/"+id+"/messages)")

	_, busy := b.ok("create_chat", object{"prompt": "SLOW 1000 20"})
	for range 5 {
		b.ok("send_chat_message", object{"chat": busy["id"], "text": strings.Repeat("q", 500)})
	}
	text, list = b.ok("list_chat_messages", object{"chat": busy["id"]})
	sized(t, text, list, bytes+bytes/4+100)
	require.Len(t, list["queued"], 5)
	require.Contains(t, text, "(450 bytes of this message left out)")
}

func TestAMessageIsSentQueuedOrInterrupts(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		id := b.chat("hello", uuid.Nil)
		text, sent := b.ok("send_chat_message", object{"chat": id, "text": "now", "wait_seconds": 15})
		require.Equal(t, false, sent["queued"])
		require.Equal(t, "echo: now", sent["text"])
		require.Contains(t, text, fmt.Sprintf("Sent to chat %s as message %v.", id, sent["message_id"]))

		text, sent = b.ok("send_chat_message", object{"chat": id, "text": "SLOW 2000 20"})
		require.NotContains(t, sent, "reason")
		require.Equal(t, fmt.Sprintf("Sent to chat %s as message %v.", id, sent["message_id"]), text)
		text, queued := b.ok("send_chat_message", object{"chat": id, "content": []object{{"type": "text", "text": "later"}}})
		require.Equal(t, true, queued["queued"])
		require.NotContains(t, queued, "message_id")
		require.Contains(t, text, fmt.Sprintf("queued as %v behind the running turn", queued["queued_message_id"]))
		text, list := b.ok("list_chat_messages", object{"chat": id})
		require.Equal(t, []any{object{"id": queued["queued_message_id"], "text": "later"}}, list["queued"])
		require.Contains(t, text, fmt.Sprintf("queued [%v]\n> later", queued["queued_message_id"]))

		text, managed := b.ok("manage_chat_queue", object{"chat": id, "message_id": queued["queued_message_id"], "action": "delete"})
		require.Equal(t, "delete", managed["action"])
		require.Contains(t, text, "deleted from the queue of chat "+id)
		for range 20 {
			b.ok("send_chat_message", object{"chat": id, "text": "full"})
		}
		f := b.fails("send_chat_message", object{"chat": id, "text": "one too many"})
		require.Equal(t, "conflict", f.Kind)
		require.Contains(t, f.Message, "queue is full")
		require.Contains(t, f.Next, "manage_chat_queue")

		b.ok("edit_chat_message", object{"chat": id, "message_id": sent["message_id"], "text": "SLOW 2000 20"})
		require.Eventually(t, func() bool { _, c := b.ok("get_chat", object{"chat": id}); return c["status"] == "running" }, waitLimit, waitStep)
		if g != simulator.May2026 { // a server of May loses every sixth such message
			_, sent = b.ok("send_chat_message", object{"chat": id, "text": "at once", "busy_behavior": "interrupt", "wait_seconds": 15})
			require.Equal(t, "settled", sent["reason"])
			require.Equal(t, "echo: at once", sent["text"])
		}
		require.Equal(t, "not_found", b.fails("send_chat_message", object{"chat": uuid.New(), "text": "x"}).Kind)
		require.Contains(t, b.fails("send_chat_message", object{"chat": id}).Message, `missing argument "text"`)
	})
}

func TestAnEditRunsTheChatFromThere(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		id := b.chat("hello", uuid.Nil)
		_, sent := b.ok("send_chat_message", object{"chat": id, "text": "first", "wait_seconds": 15})
		b.ok("send_chat_message", object{"chat": id, "text": "second", "wait_seconds": 15})
		text, edited := b.ok("edit_chat_message", object{"chat": id, "message_id": sent["message_id"], "text": "third", "wait_seconds": 15})
		require.Equal(t, "echo: third", edited["text"])
		require.Greater(t, edited["message_id"], sent["message_id"])
		require.Contains(t, text, fmt.Sprintf("Message %v of chat %s is now message %v", sent["message_id"], id, edited["message_id"]))
		text, prompts := b.ok("list_chat_prompts", object{"chat": id})
		require.Equal(t, "third", prompts["prompts"].([]any)[0].(object)["text"])
		require.NotContains(t, text, "second")
		_, one := b.ok("list_chat_prompts", object{"chat": id, "limit": 1})
		require.Len(t, one["prompts"], 1)

		answer := b.fails("edit_chat_message", object{"chat": id, "message_id": int64(edited["message_id"].(float64)) + 1, "text": "x"})
		require.Contains(t, []string{"invalid_argument", "not_found"}, answer.Kind)
		require.Contains(t, b.fails("edit_chat_message", object{"chat": id, "message_id": 1}).Message, `missing argument "text"`)
		require.Equal(t, "not_found", b.fails("list_chat_prompts", object{"chat": uuid.New()}).Kind)
		require.Equal(t, "not_found", b.fails("list_chat_messages", object{"chat": uuid.New()}).Kind)
	})
}

func TestPromptsEndAtASizeAndSayWhereTheOthersAre(t *testing.T) {
	const bytes = 800
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	id := b.chat("prompt 0", uuid.Nil)
	for i := range 12 {
		b.ok("send_chat_message", object{"chat": id, "text": fmt.Sprintf("prompt %d %s", i+1, strings.Repeat("x", 100)), "wait_seconds": 15})
	}
	text, list := b.ok("list_chat_prompts", object{"chat": id})
	sized(t, text, list, bytes)
	require.Equal(t, true, list["more"])
	shown := list["prompts"].([]any)
	require.Less(t, len(shown), 13)
	require.Contains(t, text, fmt.Sprintf("(older: list_chat_messages with before_id %v, or a larger limit)", shown[len(shown)-1].(object)["id"]))
}

func TestTheLatestPromptsSayThatThereAreOlderOnes(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("one", uuid.Nil)
	b.ok("send_chat_message", object{"chat": id, "text": "two", "wait_seconds": 15})
	text, list := b.ok("list_chat_prompts", object{"chat": id, "limit": 1})
	require.Len(t, list["prompts"], 1)
	require.Equal(t, true, list["more"])
	require.Contains(t, text, "(older: ")
	text, list = b.ok("list_chat_prompts", object{"chat": id, "limit": 2})
	require.Len(t, list["prompts"], 2)
	require.NotContains(t, list, "more")
	require.NotContains(t, text, "(older: ")
}

func TestAMessageLeavesRequiresActionBeforeItInterrupts(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, chat := b.ok("create_chat", object{"prompt": "TOOL lookup {}", "dynamic_tools": []object{{"name": "lookup"}}, "wait_seconds": 15})
		require.Equal(t, "requires_action", chat["reason"])
		_, sent := b.ok("send_chat_message", object{"chat": chat["id"], "text": "never mind", "busy_behavior": "interrupt", "wait_seconds": 15})
		require.Equal(t, "settled", sent["reason"])
		require.Equal(t, "echo: never mind", sent["text"])
	})
}
