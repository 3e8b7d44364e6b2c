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
	Reason           relay.Reason       `json:"reason,omitempty"` // settled, timed_out, requires_action, error
	Text             string             `json:"text,omitempty"`   // the answer, or as much of it as there is
	Cut              int                `json:"cut_bytes,omitempty"`
	AfterID          int64              `json:"after_id,omitempty"` // where to go on from
	TimedOut         bool               `json:"timed_out,omitempty"`
	Unanswered       bool               `json:"unanswered,omitempty"` // the turn ended without an answer and without an error
	Withdrawn        bool               `json:"withdrawn,omitempty"`  // the queued message was taken out of the queue before it ran
	Next             bool               `json:"next_turn,omitempty"`  // the chat went on with another message, which after_id leads to
	WaitsForCapacity bool               `json:"waits_for_capacity,omitempty"`
	Pending          []view.PendingCall `json:"pending_calls,omitempty"`
	Queue            int                `json:"queue_length,omitempty"` // messages that wait behind this turn
	Failure          *view.Failure      `json:"error,omitempty"`

	status client.Status
}

// turnOf is the outcome with at most so many bytes of what the chat, its model's provider and the arguments of its calls say. Of those, the answer gives
// way to the arguments, since a call cannot be answered without, but keeps its half.
func turnOf(o relay.Outcome, most int) turn {
	t := turn{
		Reason: o.Reason, AfterID: o.LastID, TimedOut: o.Reason == relay.ReasonTimedOut, Unanswered: o.Unanswered, Withdrawn: o.Withdrawn,
		Next: o.Next, WaitsForCapacity: o.WaitsForCapacity, Pending: view.Calls(o.Pending), Queue: o.Queued, status: o.Status,
		Failure: view.FailureOf(o.LastError).Within(most / 4),
	}
	whole := o.Text()
	room := most - view.CutCalls(t.Pending, most-min(len(whole), most/2))
	if cut, all := view.Fit(whole, room); all {
		t.Text = whole
	} else {
		t.Text, t.Cut = cut, len(whole)-len(cut)
	}
	return t
}

// answer is a result with what came of a turn: with as much of it as keeps the whole of either form within --max-output-bytes.
func (s *Session) answer(o relay.Outcome, result func(turn) *Result) *Result {
	most := s.Config.MaxOutputBytes
	for size := most; ; {
		r := result(turnOf(o, size))
		over := bytesOf(r.Text, r.Structured) - most
		if over <= 0 || size == 0 {
			return r
		}
		size = max(0, size-over)
	}
}

// text says what came of the turn of a chat, with what to do about it.
func (t turn) text(chat uuid.UUID) string {
	var b strings.Builder
	switch t.Reason {
	case relay.ReasonTimedOut:
		fmt.Fprintf(&b, "%s wait is over (timed_out); stream_chat goes on waiting%s.%s", t.still(), t.from(), before(t.Text, " So far:"))
	case relay.ReasonFirstEvent:
		fmt.Fprintf(&b, "Something happened (first_event), and the chat is %s; stream_chat goes on%s.%s", view.Word(string(t.status)), t.from(), before(t.Text, " So far:"))
	case relay.ReasonRequiresAction:
		b.WriteString("It waits for results of these calls; submit_tool_results answers them:" + t.calls() + before(t.Text, "\nIt said before:"))
	case relay.ReasonError:
		b.WriteString(t.failed() + before(t.Text, " It said before:"))
	default:
		b.WriteString(t.ended())
	}
	if t.Text != "" {
		b.WriteString("\n" + view.Quote(t.Text))
	}
	if t.Cut > 0 {
		fmt.Fprintf(&b, "\n(%d bytes more: resource %s)", t.Cut, view.ChatLink(chat, "messages"))
	}
	b.WriteString(t.queue())
	return b.String()
}

// still is the beginning of what is said about a wait that ran out.
func (t turn) still() string {
	if t.WaitsForCapacity {
		return "It waits for capacity: the deployment generates for others first. The"
	}
	return "Still " + view.Word(string(t.status)) + ", the"
}

// from is where to go on from, when there is such a place.
func (t turn) from() string {
	if t.AfterID == 0 {
		return ""
	}
	return fmt.Sprintf(" with after_id %d", t.AfterID)
}

// before introduces a text, if there is one.
func before(text, introduction string) string {
	if text == "" {
		return ""
	}
	return introduction
}

func (t turn) calls() string {
	var b strings.Builder
	missing := 0
	for _, call := range t.Pending {
		b.WriteString("\n" + call.WholeText())
		missing += call.Cut
	}
	if missing > 0 {
		b.WriteString("\n(list_chat_messages with detail full and limit 1 has more of the arguments)")
	}
	return b.String()
}

func (t turn) failed() string {
	text := "The turn failed: "
	if t.Failure != nil {
		text += t.Failure.Text()
	}
	text += "."
	if t.Failure != nil && t.Failure.Kind == "auth" {
		return text + " Sending again will not help before an administrator mends the provider's key; another model may work."
	}
	if t.Queue > 0 {
		return text // what is sent now waits behind the queue
	}
	return text + " send_chat_message tries again."
}

// ended says how a turn ended that neither failed nor asks for anything.
func (t turn) ended() string {
	if t.Withdrawn {
		return "The queued message was taken out of the queue before it ran (withdrawn): somebody deleted it, or edited an earlier message. " +
			"There is nothing to wait for; send it again if it is still wanted. The chat is " + view.Word(string(t.status)) + "."
	}
	if t.Unanswered {
		text := "The turn ended without an answer (unanswered): it was interrupted before the first word, or the server lost it. Send the message again, or edit_chat_message it."
		if t.Next {
			text += fmt.Sprintf(" The chat went on with the next message (%s); stream_chat follows it%s.", view.Word(string(t.status)), t.from())
		}
		return text
	}
	silent := t.Text == "" && t.Cut == 0
	switch {
	case t.Next && silent:
		return fmt.Sprintf("Done, without a text; the chat went on with the next message (%s), which stream_chat follows%s.", view.Word(string(t.status)), t.from())
	case t.Next:
		return fmt.Sprintf("Done; the chat went on with the next message (%s), which stream_chat follows%s. It says to this one:", view.Word(string(t.status)), t.from())
	case silent:
		return fmt.Sprintf("Done (%s), without a text.", view.Word(string(t.status)))
	}
	return fmt.Sprintf("Done (%s, after_id %d). It says:", view.Word(string(t.status)), t.AfterID)
}

func (t turn) queue() string {
	if t.Queue == 0 {
		return ""
	}
	text := view.Count(t.Queue, "message") + " in its queue"
	switch t.Reason {
	case relay.ReasonError:
		text += ": they stay there after a failure; manage_chat_queue promotes one, which runs it"
	case relay.ReasonRequiresAction:
		text += ": they run when the calls are answered and that turn is over"
	}
	return "\n(" + text + ")"
}

// fewer are an API's warnings, as many of them and as much of each as have about so many bytes.
func fewer(warnings []string, most int) []string {
	const longest = 1000
	var kept []string
	for i, warning := range warnings {
		warning = brief(warning, min(longest, most))
		if most -= len(warning); most < 0 && i > 0 {
			return append(kept, fmt.Sprintf("%d more left out for size", len(warnings)-i))
		}
		kept = append(kept, warning)
	}
	return kept
}
