package relay

import (
	"context"

	"github.com/google/uuid"
)

// TurnOptions says which turn to wait for.
type TurnOptions struct {
	// AfterID: messages up to here are known to the caller. A chat at rest is told at once; its Message is left out unless
	// it is newer.
	AfterID int64
	// MessageID is the user message just sent: Turn returns when that one is answered, failed, was interrupted, or is
	// certainly unanswered.
	MessageID int64
	// QueuedID is the queued message just sent: Turn waits until it became a message and that is answered.
	QueuedID int64
	// UntilFirstEvent: return with the first thing that is new after AfterID.
	UntilFirstEvent bool
}

// Turn follows a chat until its turn is over; observe, if not nil, sees every event while it runs, from the caller's
// goroutine. When ctx ends first the Outcome says how far the chat is (ReasonTimedOut) and the error is nil; the chat goes
// on.
func (r *Relay) Turn(ctx context.Context, chat uuid.UUID, o TurnOptions, observe func(Event)) (Outcome, error) {
	return Outcome{}, ErrClosed
}
