package relay

import (
	"errors"

	"coder-chats-mcp/client"
)

// ErrClosed ends the listeners of a closed relay, and calls on a closed listener.
var ErrClosed = errors.New("the relay is closed")

// Event types of the relay's own, beside the client's.
const (
	// EventSettled says that the chat came to rest for certain; it follows the turn's last durable message and its status.
	EventSettled = "settled"
	// EventCapacity says that WaitsForCapacity changed.
	EventCapacity = "capacity"
)

// Event is one thing that happened in a chat, shared by all its listeners: do not change it. Whatever the server's
// generation:
//   - a message comes once, by growing id; it is the end of the preview when an assistant or a tool speaks;
//   - message_part continues the preview; preview_reset voids it;
//   - status comes when it changes, and an idle one only when it is believed: after the last message and right before
//     settled;
//   - history_reset says that the messages between GoneAfter and GoneBefore are gone (somebody edited one of them);
//   - queue_update, retry, error and action_required come when they say something new.
//
// Raw is the upstream JSON, or JSON of the same shape where the relay joined deltas or read the news over REST; settled and
// capacity have none.
type Event struct {
	client.StreamEvent
	Serial           int64    // grows from one event of a chat to the next, the same for all its listeners; of joined ones, that of the last
	Parts            int      // how many deltas are joined in a message_part
	GoneAfter        int64    // history_reset: the messages with GoneAfter < id are gone,
	GoneBefore       int64    // as far as id < GoneBefore; 0: all of them
	WaitsForCapacity bool     // capacity
	Outcome          *Outcome // settled
}

// Reason is why a wait for a turn returned.
type Reason string

// The reasons.
const (
	ReasonSettled        Reason = "settled"         // the chat is idle, or went on with the next queued message
	ReasonRequiresAction Reason = "requires_action" // Pending must be answered
	ReasonError          Reason = "error"           // LastError says why
	ReasonTimedOut       Reason = "timed_out"       // the caller's context ended first
	ReasonFirstEvent     Reason = "first_event"     // TurnOptions.UntilFirstEvent
)

// Outcome is how a turn ended, or how far it is.
type Outcome struct {
	Reason     Reason
	Status     client.Status
	Message    *client.Message // the last assistant message since the last user message; nil: none
	LastID     int64           // the highest durable message id
	Preview    []client.Part   // of the answer in progress, joined; only when the turn goes on
	Pending    []client.PendingCall
	LastError  *client.ChatError
	Unanswered bool // the last user message got no answer: send or edit it again
	Withdrawn  bool // TurnOptions.Queued left the queue and never became a message: it was deleted, or an edit emptied the queue
	Next       bool // the chat went on with another message: Turn with LastID as AfterID follows that
	Queued     int  // messages that still wait in the queue

	WaitsForCapacity bool // runs by name only: the deployment generates for others first
}

// Text is what the answer says: of a turn that goes on the preview, if there is one, else the message.
func (o Outcome) Text() string {
	m := client.Message{Content: o.Preview}
	if text := m.Text(); text != "" || o.Message == nil {
		return text
	}
	return o.Message.Text()
}

// Picture is the state of a chat that events go on from. Its slices are shared: do not change them.
type Picture struct {
	Chat       client.Chat // as last read; Status below is newer
	Status     client.Status
	Messages   []client.Message // the last ones, oldest first
	Truncated  bool             // there are older messages, or the preview is longer
	LastID     int64            // the highest durable message id
	Preview    []client.Part    // of the answer in progress, joined
	Queue      []client.QueuedMessage
	Pending    []client.PendingCall
	LastError  *client.ChatError
	Retry      *client.RetryEvent // set while the provider is about to be asked again
	Settled    bool               // at rest for certain
	Unanswered bool               // at rest, and the last user message got no answer

	WaitsForCapacity bool // runs by name only: the deployment generates for others first
	Connected        bool // the stream is up; while it is not, the picture may be behind
}
