package relay

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// TurnOptions says which turn to wait for.
type TurnOptions struct {
	// AfterID: messages up to here are known to the caller. A chat at rest is told at once; its Message is left out unless
	// it is newer.
	AfterID int64
	// MessageID is the user message just sent: Turn returns when that one is answered, failed, was interrupted, or is
	// certainly unanswered.
	MessageID int64
	// Queued is the queued message just sent: Turn waits until it became a message and that is answered.
	Queued *client.QueuedMessage
	// Answered are calls whose results the caller has just submitted: a chat that still waits for them is not at rest.
	Answered []string
	// New: the caller has just created the chat and knows no message of it.
	New bool
	// UntilFirstEvent: return with the first thing that is new after AfterID.
	UntilFirstEvent bool
}

// Turn follows a chat until its turn is over; observe, if not nil, sees every event while it runs, from the caller's
// goroutine: first, without a Serial, the messages that are newer than what the caller knows and were there already. When ctx ends first the Outcome says how far the chat is (ReasonTimedOut) and the error is nil. The chat goes
// on in any case.
func (r *Relay) Turn(ctx context.Context, chat uuid.UUID, o TurnOptions, observe func(Event)) (Outcome, error) {
	l, err := r.Follow(ctx, chat)
	if err != nil {
		if ended(ctx, err) {
			return Outcome{Reason: ReasonTimedOut, LastID: o.AfterID}, nil
		}
		return Outcome{}, err
	}
	defer l.Close()
	t := turn{TurnOptions: o, picture: l.Picture()}
	if err := t.verify(ctx, r, chat, l.fresh); err != nil && ctx.Err() == nil {
		return Outcome{}, err
	}
	if observe != nil {
		t.replay(observe)
	}
	if out, over := t.begin(); over {
		return t.trimmed(out), nil
	}
	for {
		e, err := l.Next(ctx)
		if err != nil {
			out := outcomeOf(l.Now(), ReasonTimedOut)
			if ctx.Err() != nil {
				err = nil
			}
			return t.trimmed(out), err
		}
		if observe != nil {
			observe(e)
		}
		if out, over := t.take(&e); over {
			return t.trimmed(out), nil
		}
		if o.UntilFirstEvent {
			return t.trimmed(outcomeOf(l.Now(), ReasonFirstEvent)), nil
		}
	}
}

// ended reports whether err says no more than that ctx is over.
func ended(ctx context.Context, err error) bool { return ctx.Err() != nil && errors.Is(err, ctx.Err()) }

// turn decides when the one turn that a caller waits for is over.
type turn struct {
	TurnOptions
	picture Picture

	queued   *client.QueuedMessage // Queued until it became a message
	left     bool                  // it left the queue, its message is not there yet
	answer   *client.Message       // to MessageID
	lastID   int64                 // the last message of this turn
	restless bool                  // the picture's rest is known to be over
}

// verify asks the server where a picture that was read before the call could be behind: whether the chat still rests, on
// the same message, and what became of the queued message.
func (t *turn) verify(ctx context.Context, r *Relay, chat uuid.UUID, fresh bool) error {
	if t.Queued != nil {
		return t.findQueued(ctx, r.client, chat)
	}
	if fresh || !t.picture.Settled || t.MessageID > 0 {
		return nil
	}
	now, err := r.states.get(ctx, chat)
	if err != nil {
		return err
	}
	page, err := r.pages.get(ctx, chat)
	if err != nil {
		return err
	}
	t.restless = now.Status.Busy() || slices.ContainsFunc(page.Messages, func(m client.Message) bool {
		return m.ID > t.picture.LastID && !m.IsContextOnly()
	})
	return nil
}

func (t *turn) findQueued(ctx context.Context, c *client.Client, chat uuid.UUID) error {
	queue, messages := t.picture.Queue, t.picture.Messages
	if !t.find(queue) {
		page, err := c.ListMessages(ctx, chat, client.ListMessagesRequest{Limit: windowMessages})
		if err != nil {
			return err
		}
		queue, messages = page.Queued, page.Messages
		slices.Reverse(messages)
	}
	if t.find(queue) {
		return nil
	}
	// It is a message by now, or about to be: queued messages lose their ids, but not their words.
	for i := len(messages) - 1; i >= 0; i-- {
		if m := &messages[i]; t.mayHaveQueued(m) && t.saysQueued(m) {
			t.MessageID = m.ID
			return nil
		}
	}
	t.queued, t.left = t.Queued, true
	return nil
}

// mayHaveQueued reports whether the message came after the one that was queued, as it must to be it.
func (t *turn) mayHaveQueued(m *client.Message) bool {
	return m.Role == client.RoleUser && !m.IsContextOnly() && !m.CreatedAt.Before(t.Queued.CreatedAt)
}

func (t *turn) saysQueued(m *client.Message) bool {
	queued := client.Message{Content: t.Queued.Content}
	return m.Text() == queued.Text()
}

func (t *turn) find(queue []client.QueuedMessage) bool {
	i := slices.IndexFunc(queue, func(q client.QueuedMessage) bool { return q.ID == t.Queued.ID })
	if i < 0 {
		return false
	}
	t.queued = &queue[i]
	return true
}

// replay tells the messages that came between what the caller knows and the picture; whoever named nothing known asks for none.
func (t *turn) replay(observe func(Event)) {
	known := max(t.AfterID, t.MessageID-1)
	if known <= 0 && !t.New {
		return
	}
	for i := range t.picture.Messages {
		if m := t.picture.Messages[i]; m.ID > known {
			observe(*event(client.StreamEvent{Type: client.EventMessage, ChatID: t.picture.Chat.ID, Message: &m}))
		}
	}
}

// begin looks whether the picture already shows the end.
func (t *turn) begin() (Outcome, bool) {
	p := &t.picture
	if t.queued != nil {
		return Outcome{}, false
	}
	for i := range p.Messages {
		if out, over := t.message(&p.Messages[i], p.Status, len(p.Queue)); over {
			return out, true
		}
	}
	if rest := outcomeOf(*p, ""); p.Settled && !t.restless && p.LastID >= t.MessageID && !t.answered(&rest) {
		return rest, true
	}
	if t.UntilFirstEvent && p.LastID > t.AfterID {
		return outcomeOf(*p, ReasonFirstEvent), true
	}
	return Outcome{}, false
}

// take looks whether an event is the end.
func (t *turn) take(e *Event) (Outcome, bool) {
	switch e.Type {
	case client.EventStatus:
		t.picture.Status = e.Status.Status
	case client.EventQueueUpdate:
		t.picture.Queue = e.QueuedMessages
		if t.queued != nil && !t.find(e.QueuedMessages) {
			t.left = true
		}
	case client.EventHistoryReset:
		if e.GoneAfter < t.MessageID && (e.GoneBefore == 0 || t.MessageID < e.GoneBefore) {
			t.MessageID = 0 // edited away: what matters now is that the chat comes to rest
		}
	case client.EventMessage:
		if t.queued != nil {
			t.leftQueue(e.Message)
			return Outcome{}, false
		}
		return t.message(e.Message, t.picture.Status, len(t.picture.Queue))
	case EventSettled:
		return *e.Outcome, e.Outcome.LastID >= t.MessageID && !t.answered(e.Outcome)
	}
	return Outcome{}, false
}

// answered reports whether all that the chat asks for is on its way already.
func (t *turn) answered(o *Outcome) bool {
	return o.Reason == ReasonRequiresAction && len(t.Answered) > 0 && !slices.ContainsFunc(o.Pending, func(c client.PendingCall) bool {
		return !slices.Contains(t.Answered, c.ToolCallID)
	})
}

// leftQueue: the queued message became this one. Messages come before or after the queue_update without them.
func (t *turn) leftQueue(m *client.Message) {
	if t.mayHaveQueued(m) && (t.left || t.saysQueued(m)) {
		t.MessageID, t.queued = m.ID, nil
	}
}

// message notes the answer to MessageID. A user message after it begins the next turn, so this one is over, although a chat
// that works off its queue does not rest in between.
func (t *turn) message(m *client.Message, status client.Status, queued int) (Outcome, bool) {
	if t.MessageID == 0 || m.ID <= t.MessageID || m.IsContextOnly() {
		return Outcome{}, false
	}
	if m.Role != client.RoleUser {
		if t.lastID = m.ID; m.Role == client.RoleAssistant {
			t.answer = m
		}
		return Outcome{}, false
	}
	return Outcome{
		Reason: ReasonSettled, Status: status, Message: t.answer, LastID: max(t.lastID, t.MessageID),
		Unanswered: t.answer == nil, Queued: queued,
	}, true
}

// trimmed leaves out what the caller knows.
func (t *turn) trimmed(o Outcome) Outcome {
	if o.Message != nil && o.Message.ID <= max(t.AfterID, t.MessageID) {
		o.Message = nil
	}
	return o
}

// outcomeOf is a picture as the outcome of a wait; "" = the reason that the picture shows.
func outcomeOf(p Picture, reason Reason) Outcome {
	o := Outcome{
		Reason: reason, Status: p.Status, Message: answer(p.Messages), LastID: p.LastID, Preview: p.Preview,
		Pending: p.Pending, LastError: p.LastError, Unanswered: p.Unanswered, Queued: len(p.Queue),
		WaitsForCapacity: p.WaitsForCapacity,
	}
	if reason == "" {
		o.Reason = reasonOf(p.Status)
	}
	return o
}

// reasonOf is why a chat with this status rests.
func reasonOf(s client.Status) Reason {
	switch s {
	case client.StatusError:
		return ReasonError
	case client.StatusRequiresAction:
		return ReasonRequiresAction
	}
	return ReasonSettled
}
