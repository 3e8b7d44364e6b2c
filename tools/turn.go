package tools

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// turn is what came of a turn, as every call that waits for one gives it.
type turn struct {
	Reason     relay.Reason       `json:"reason,omitempty"` // settled, timed_out, requires_action, error
	Text       string             `json:"text,omitempty"`   // the answer, or as much of it as there is
	Cut        int                `json:"cut_bytes,omitempty"`
	AfterID    int64              `json:"after_id,omitempty"` // where to go on from
	TimedOut   bool               `json:"timed_out,omitempty"`
	Unanswered bool               `json:"unanswered,omitempty"` // the turn ended without an answer and without an error
	Pending    []view.PendingCall `json:"pending_calls,omitempty"`
	Queue      int                `json:"queue_length,omitempty"` // messages that wait behind this turn
	Failure    *view.Failure      `json:"error,omitempty"`

	status client.Status
}

// turnOf is the outcome with at most so many bytes of the answer.
func turnOf(o relay.Outcome, most int) turn {
	t := turn{
		Reason: o.Reason, AfterID: o.LastID, TimedOut: o.Reason == relay.ReasonTimedOut, Unanswered: o.Unanswered,
		Pending: view.Calls(o.Pending), Failure: view.FailureOf(o.LastError), Queue: o.Queued, status: o.Status,
	}
	whole := o.Text()
	if cut, all := view.Fit(whole, most); all {
		t.Text = whole
	} else {
		t.Text, t.Cut = cut, len(whole)-len(cut)
	}
	return t
}

// take puts the outcome of the first turn beside the chat.
func (c *created) take(s *Session, o relay.Outcome) {
	c.turn = turnOf(o, s.Config.MaxOutputBytes)
	c.Status = o.Status
	c.Chat.Error = nil // the turn has it
	c.WaitsForCapacity = o.WaitsForCapacity
}

// text says what came of the turn of a chat, with what to do about it.
func (t turn) text(chat uuid.UUID) string {
	var b strings.Builder
	switch t.Reason {
	case relay.ReasonTimedOut:
		fmt.Fprintf(&b, "Still %s, the wait is over (timed_out); stream_chat goes on waiting", t.status)
		if t.AfterID > 0 {
			fmt.Fprintf(&b, " with after_id %d", t.AfterID)
		}
		b.WriteString(".")
		if t.Text != "" {
			b.WriteString(" So far:")
		}
	case relay.ReasonRequiresAction:
		b.WriteString("It waits for results of these calls; submit_tool_results answers them:")
		for _, call := range t.Pending {
			fmt.Fprintf(&b, "\n- %s %s\n%s", view.Word(call.ID), view.Inline(call.Name, 80), view.Quote(call.Args))
		}
		if t.Text != "" {
			b.WriteString("\nIt said before:")
		}
	case relay.ReasonError:
		b.WriteString("The turn failed: ")
		if t.Failure != nil {
			b.WriteString(t.Failure.Text())
		}
		b.WriteString(". " + retryAdvice(t.Failure))
		if t.Text != "" {
			b.WriteString(" It said before:")
		}
	default:
		switch {
		case t.Unanswered:
			b.WriteString("The turn ended without an answer (unanswered): the server lost it. Send the message again, or edit_chat_message it.")
		case t.Text == "" && t.Cut == 0:
			fmt.Fprintf(&b, "Done (%s), without a text.", t.status)
		default:
			fmt.Fprintf(&b, "Done (%s, after_id %d). It says:", t.status, t.AfterID)
		}
	}
	if t.Text != "" {
		b.WriteString("\n" + view.Quote(t.Text))
	}
	if t.Cut > 0 {
		fmt.Fprintf(&b, "\n(%d bytes more: resource %s)", t.Cut, view.ChatLink(chat, "messages"))
	}
	if t.Queue > 0 {
		fmt.Fprintf(&b, "\n(%s in its queue", view.Count(t.Queue, "message"))
		if t.Reason == relay.ReasonError {
			b.WriteString(": they stay there after a failure; manage_chat_queue promotes one, which runs it")
		}
		b.WriteString(")")
	}
	return b.String()
}

func retryAdvice(f *view.Failure) string {
	if f != nil && f.Kind == "auth" {
		return "Sending again will not help before an administrator mends the provider's key; another model may work."
	}
	return "send_chat_message tries again."
}
