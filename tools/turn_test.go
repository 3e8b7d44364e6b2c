package tools

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

func spoken(text string) *client.Message {
	return &client.Message{ID: 7, Role: client.RoleAssistant, Content: []client.Part{{Type: client.PartText, Text: text}}}
}

func TestATurnIsToldByHowItEnded(t *testing.T) {
	for want, o := range map[string]relay.Outcome{
		"Done (waiting, after_id 7). It says:\n> Hi": {Reason: relay.ReasonSettled, Status: client.StatusWaiting, Message: spoken("Hi"), LastID: 7},
		"Done (waiting), without a text.":            {Reason: relay.ReasonSettled, Status: client.StatusWaiting, LastID: 7},
		"Done; the chat went on with the next message (running), which stream_chat follows with after_id 7. It says to this one:\n> Hi": {
			Reason: relay.ReasonSettled, Status: client.StatusRunning, Message: spoken("Hi"), LastID: 7, Next: true,
		},
		"Done, without a text; the chat went on with the next message (pending), which stream_chat follows with after_id 7.\n(1 message in its queue)": {
			Reason: relay.ReasonSettled, Status: client.StatusPending, LastID: 7, Queued: 1, Next: true,
		},
		"The turn ended without an answer (unanswered): it was interrupted before the first word, or the server lost it. Send the message again, or edit_chat_message it.": {
			Reason: relay.ReasonSettled, Status: client.StatusWaiting, LastID: 7, Unanswered: true,
		},
		"The turn ended without an answer (unanswered): it was interrupted before the first word, or the server lost it. Send the message again, or edit_chat_message it." +
			" The chat went on with the next message (running); stream_chat follows it with after_id 7.": {
			Reason: relay.ReasonSettled, Status: client.StatusRunning, LastID: 7, Unanswered: true, Next: true,
		},
		"The queued message was taken out of the queue before it ran (withdrawn): somebody deleted it, or edited an earlier message." +
			" There is nothing to wait for; send it again if it is still wanted. The chat is running.": {
			Reason: relay.ReasonSettled, Status: client.StatusRunning, LastID: 7, Withdrawn: true,
		},
		"Still running, the wait is over (timed_out); stream_chat goes on waiting with after_id 7. So far:\n> Hi": {
			Reason: relay.ReasonTimedOut, Status: client.StatusRunning, Message: spoken("Hi"), LastID: 7,
		},
		"It waits for capacity: the deployment generates for others first. The wait is over (timed_out); stream_chat goes on waiting.": {
			Reason: relay.ReasonTimedOut, Status: client.StatusRunning, WaitsForCapacity: true,
		},
		"Something happened (first_event), and the chat is running; stream_chat goes on with after_id 7.": {
			Reason: relay.ReasonFirstEvent, Status: client.StatusRunning, LastID: 7,
		},
		"The turn failed: generic: \"no\". send_chat_message tries again.": {
			Reason: relay.ReasonError, Status: client.StatusError, LastError: &client.ChatError{Kind: "generic", Message: "no"},
		},
		"The turn failed: generic: \"no\".\n(2 messages in its queue: they stay there after a failure; manage_chat_queue promotes one, which runs it)": {
			Reason: relay.ReasonError, Status: client.StatusError, LastError: &client.ChatError{Kind: "generic", Message: "no"}, Queued: 2,
		},
		"It waits for results of these calls; submit_tool_results answers them:\n- c1 \"look\"\n> {}\n(1 message in its queue: they run when the calls are answered and that turn is over)": {
			Reason: relay.ReasonRequiresAction, Status: client.StatusRequiresAction, Queued: 1, Pending: []client.PendingCall{{ToolCallID: "c1", ToolName: "look", Args: "{}"}},
		},
	} {
		require.Equal(t, want, turnOf(o, DefaultMaxOutputBytes).text(uuid.Nil))
	}
	raw, err := json.Marshal(turnOf(relay.Outcome{Reason: relay.ReasonSettled, Status: client.StatusRunning, LastID: 7, Withdrawn: true}, DefaultMaxOutputBytes))
	require.NoError(t, err)
	require.JSONEq(t, `{"reason":"settled","after_id":7,"withdrawn":true}`, string(raw))
}

func TestAllOfATurnHasItsSize(t *testing.T) {
	long := strings.Repeat("a \"word\"\n", 100_000)
	var calls []client.PendingCall
	for i := range 3 {
		calls = append(calls, client.PendingCall{ToolCallID: fmt.Sprint("call-", i), ToolName: "look", Args: long[:(i+1)*80_000]})
	}
	for name, o := range map[string]relay.Outcome{
		"answer": {Reason: relay.ReasonSettled, Status: client.StatusWaiting, Message: spoken(long), LastID: 7},
		"calls":  {Reason: relay.ReasonRequiresAction, Status: client.StatusRequiresAction, Message: spoken(long), LastID: 7, Pending: calls},
		"failure": {
			Reason: relay.ReasonError, Status: client.StatusError, Message: spoken(long), LastID: 7, LastError: &client.ChatError{Kind: "generic", Message: long, Detail: long + "b"},
		},
	} {
		for _, most := range []int{100, 2500, 60_000} {
			s := &Session{Config: Config{MaxOutputBytes: most}}
			told := s.answer(o, func(t turn) *Result {
				return textf(streamed{Status: t.status, turn: t}, "Chat %s. %s", uuid.Nil, t.text(uuid.Nil))
			})
			answer := told.Structured.(streamed)
			for i, call := range answer.Pending {
				require.Equal(t, calls[i].ToolCallID, call.ID)
				require.Equal(t, "look", call.Name)
				require.Equal(t, len(calls[i].Args), len(call.Args)+call.Cut)
				require.Contains(t, told.Text, fmt.Sprintf("(%d bytes of these arguments left out)", call.Cut))
				require.Contains(t, told.Text, "list_chat_messages with detail full")
			}
			require.Len(t, answer.Pending, len(o.Pending))
			require.Equal(t, len(long), len(answer.Text)+answer.Cut)
			require.Contains(t, told.Text, fmt.Sprintf("(%d bytes more: resource coder://chats/", answer.Cut))
			if most == 100 {
				require.Empty(t, answer.Text, "what names things stays")
				continue
			}
			require.LessOrEqual(t, bytesOf(told.Text, told.Structured), most, name)
			require.Greater(t, bytesOf(told.Text, told.Structured), most*4/5, "%s: there is room for more", name)
		}
	}
}

func TestWarningsAndDeletedIDsHaveTheirSize(t *testing.T) {
	var warnings []string
	for range 50 {
		warnings = append(warnings, strings.Repeat("w", 900))
	}
	a := sent{Warnings: warnings, Deleted: make([]int64, 10_000)}.within(16_000)
	require.Len(t, a.Warnings, 3)
	require.Equal(t, "48 more left out for size", a.Warnings[2])
	require.Len(t, a.Deleted, 100)
	require.Equal(t, 9900, a.MoreDeleted)
	require.Equal(t, warnings[:2], sent{Warnings: warnings[:2]}.within(16_000).Warnings)
	require.Equal(t, []string{strings.Repeat("w", 10) + "…"}, fewer(warnings[:1], 10))
}
