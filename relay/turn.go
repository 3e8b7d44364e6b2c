package relay

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// TurnOptions says which turn to wait for; without any of the ids it is the one that runs, or the last one of a chat at rest.
type TurnOptions struct {
	// AfterID: messages up to here are known to the caller, who follows the turn that they are in or, when that is over, the
	// next one. Of a chat at rest, Message is left out unless it is newer.
	AfterID int64
	// MessageID is the user message just sent: Turn returns when that one is answered, failed, was interrupted, or is
	// certainly unanswered.
	MessageID int64
	// Queued is the queued message just sent: Turn waits until it became a message and that is answered, was withdrawn, or
	// the chat rests and leaves it in the queue.
	Queued *client.QueuedMessage
	// Answered are calls whose results the caller has just submitted: a chat that still waits for them is not at rest.
	Answered []string
	// New: the caller has just created the chat and knows no message of it.
	New bool
	// UntilFirstEvent: return with the first thing that is new after AfterID.
	UntilFirstEvent bool
	// UntilRest: not until the turn is over but until the chat rests.
	UntilRest bool
}

// Turn follows a chat until its turn is over; observe, if not nil, sees every event while it runs, from the caller's
// goroutine: first, without a Serial, the messages that are newer than what the caller knows and were there already. When
// ctx ends first the Outcome says how far the chat is (ReasonTimedOut) and the error is nil; a deadline of ctx leaves 5 s for
// the first look at the chat, so that only a cancelled call or a server that does not answer leaves Status empty. The chat
// goes on in any case.
func (r *Relay) Turn(ctx context.Context, chat uuid.UUID, o TurnOptions, observe func(Event)) (Outcome, error) {
	if observe == nil {
		observe = func(Event) {}
	}
	t := &turn{TurnOptions: o, relay: r, chat: chat, observe: observe}
	out, err := t.run(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return t.trimmed(out), nil
}

// ended reports whether err says no more than that ctx is over.
func ended(ctx context.Context, err error) bool { return ctx.Err() != nil && errors.Is(err, ctx.Err()) }

// turn decides when the one turn that a caller waits for is over.
type turn struct {
	TurnOptions
	relay   *Relay
	chat    uuid.UUID
	observe func(Event)

	listener *Listener
	picture  Picture
	earlier  []client.Message // between what the caller knows and the picture's messages
	restless bool             // the picture's rest is known to be over

	from   int64 // messages up to here are not of the turn's answer
	open   bool  // the turn has begun, so that a user message is the next one's
	lastID int64 // the last message of this turn
	answer *client.Message

	queued    *queued // Queued until it became a message
	withdrawn bool    // it never will
}

func (t *turn) run(ctx context.Context) (Outcome, error) {
	if out, over, err := t.look(ctx); over || err != nil {
		if t.listener != nil {
			t.listener.Close()
		}
		return out, err
	}
	defer t.listener.Close()
	var last int64 // event that is there when the deadline comes; 0: it has not come
	for {
		e, err := t.listener.Next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return outcomeOf(t.listener.Now(), ReasonTimedOut), nil
		case err != nil:
			return Outcome{}, err
		case ctx.Err() != nil && last == 0:
			last = t.relay.serial.Load()
		}
		out, over, err := t.take(ctx, &e)
		switch {
		case over && err == nil:
			return out, nil
		case err != nil && ctx.Err() == nil:
			return Outcome{}, err
		case err != nil || last > 0 && e.Serial >= last:
			return outcomeOf(t.listener.Now(), ReasonTimedOut), nil
		case t.UntilFirstEvent:
			return outcomeOf(t.listener.Now(), ReasonFirstEvent), nil
		}
	}
}

// look follows the chat and looks whether the turn is over already.
func (t *turn) look(ctx context.Context) (Outcome, bool, error) {
	look, cancel := patient(ctx)
	defer cancel()
	var err error
	if t.listener, err = t.relay.Follow(look, t.chat); err == nil {
		t.picture = t.listener.Picture()
		err = t.verify(look)
	}
	switch {
	case err != nil && look.Err() != nil && ended(look, err): // nothing is known
		return Outcome{Reason: ReasonTimedOut, LastID: t.AfterID}, true, nil
	case err != nil:
		return Outcome{}, false, err
	}
	t.replay()
	return t.begin(look)
}

// verify asks the server where a picture that was read before the call could be behind, or does not reach back to what the
// caller knows.
func (t *turn) verify(ctx context.Context) error {
	if t.Queued != nil {
		return t.findQueued(ctx)
	}
	t.from, t.open = max(t.AfterID, t.MessageID), t.MessageID > 0
	switch {
	case t.from > 0:
		if err := t.readEarlier(ctx); err != nil {
			return err
		}
	case t.picture.Settled:
		t.from = t.picture.LastID
	default:
		t.from = lastPrompt(t.picture.Messages)
		t.open = t.from > 0
	}
	switch {
	case t.listener.fresh || t.MessageID > 0:
		return nil
	case t.picture.Settled:
		return t.checkRest(ctx)
	case t.AfterID == 0:
		return t.checkPrompt(ctx)
	}
	return nil
}

// checkRest finds out whether the chat rests still, on the same message.
func (t *turn) checkRest(ctx context.Context) error {
	now, err := t.relay.states.get(ctx, t.chat)
	if err != nil {
		return err
	}
	page, err := t.relay.pages.get(ctx, t.chat)
	if err != nil {
		return err
	}
	t.restless = now.Status.Busy() || slices.ContainsFunc(page.Messages, func(m client.Message) bool {
		return m.ID > t.picture.LastID && !m.IsContextOnly()
	})
	return nil
}

// checkPrompt finds out whether the turn in the picture is the one that runs.
func (t *turn) checkPrompt(ctx context.Context) error {
	page, err := t.relay.pages.get(ctx, t.chat)
	if err != nil {
		return err
	}
	messages := slices.Clone(page.Messages) // the page is shared, and its newest come first
	slices.Reverse(messages)
	if last := lastPrompt(messages); last > t.from {
		t.from, t.open = last, true
	}
	return nil
}

// lastPrompt is the last message that a user wrote; 0: none. The messages come oldest first.
func lastPrompt(messages []client.Message) int64 {
	for i := len(messages) - 1; i >= 0; i-- {
		if m := &messages[i]; m.Role == client.RoleUser && !m.IsContextOnly() {
			return m.ID
		}
	}
	return 0
}

// earlierPages bounds how far back a caller can have stopped: 1,000 messages before those of the picture.
const earlierPages = 5

// readEarlier reads what came after the messages that the caller knows and before those of the picture.
func (t *turn) readEarlier(ctx context.Context) error {
	after, p := t.from, &t.picture
	for range earlierPages {
		if !p.Truncated || len(p.Messages) == 0 || p.Messages[0].ID <= after+1 {
			return nil
		}
		page, err := t.relay.client.ListMessages(ctx, t.chat, client.ListMessagesRequest{AfterID: after, Limit: pageMessages})
		if err != nil {
			return err
		}
		for i := range page.Messages { // oldest first
			if m := page.Messages[i]; m.ID < p.Messages[0].ID {
				t.earlier, after = append(t.earlier, m), m.ID
			}
		}
		if !page.HasMore || len(page.Messages) == 0 || page.Messages[len(page.Messages)-1].ID >= p.Messages[0].ID {
			return nil
		}
	}
	return nil
}

// replay tells the messages that came between what the caller knows and the picture; whoever named nothing known asks for none.
func (t *turn) replay() {
	known := max(t.AfterID, t.MessageID-1)
	if known <= 0 && !t.New {
		return
	}
	for _, messages := range [][]client.Message{t.earlier, t.picture.Messages} {
		for i := range messages {
			if m := messages[i]; m.ID > known {
				t.observe(*event(client.StreamEvent{Type: client.EventMessage, ChatID: t.chat, Message: &m}))
			}
		}
	}
}

// begin looks whether the picture already shows the end.
func (t *turn) begin(ctx context.Context) (Outcome, bool, error) {
	p := &t.picture
	switch {
	case t.withdrawn:
		return t.outcomeOfWithdrawn(), true, nil
	case t.queued != nil && p.Settled:
		return t.leftInQueue(ctx)
	case t.queued != nil:
		return Outcome{}, false, nil
	}
	for _, messages := range [][]client.Message{t.earlier, p.Messages} {
		for i := range messages {
			if out, over := t.message(&messages[i]); over {
				return out, true, nil
			}
		}
	}
	if rest := outcomeOf(*p, ""); p.Settled && !t.restless && p.LastID >= t.MessageID && !t.answered(&rest) {
		return rest, true, nil
	}
	if t.UntilFirstEvent && p.LastID > t.AfterID {
		return outcomeOf(*p, ReasonFirstEvent), true, nil
	}
	return Outcome{}, false, nil
}

// take looks whether an event is the end.
func (t *turn) take(ctx context.Context, e *Event) (Outcome, bool, error) {
	t.observe(*e)
	switch e.Type {
	case client.EventStatus:
		t.picture.Status = e.Status.Status
	case client.EventQueueUpdate:
		t.picture.Queue = e.QueuedMessages
		if t.queued != nil {
			return t.queueMoved(ctx)
		}
	case client.EventHistoryReset:
		t.forget(e)
	case client.EventMessage:
		if t.queued != nil {
			return t.queueSaid(e.Message)
		}
		out, over := t.message(e.Message)
		return out, over, nil
	case EventSettled:
		if t.queued != nil {
			return t.leftInQueue(ctx)
		}
		return *e.Outcome, e.Outcome.LastID >= t.MessageID && !t.answered(e.Outcome), nil
	}
	return Outcome{}, false, nil
}

// forget what an edit took away. When that is the prompt of this turn, what matters now is the one that stands in its place.
func (t *turn) forget(e *Event) {
	gone := func(id int64) bool { return e.GoneAfter < id && (e.GoneBefore == 0 || id < e.GoneBefore) }
	if t.answer != nil && gone(t.answer.ID) {
		t.answer = nil
	}
	if t.from > 0 && gone(t.from) {
		t.MessageID, t.from, t.open = 0, e.GoneAfter, false
	}
}

// answered reports whether all that the chat asks for is on its way already. Providers may use the ids of calls again.
func (t *turn) answered(o *Outcome) bool {
	if o.Message != nil && o.Message.ID > t.AfterID {
		return false
	}
	return o.Reason == ReasonRequiresAction && len(t.Answered) > 0 && !slices.ContainsFunc(o.Pending, func(c client.PendingCall) bool {
		return !slices.Contains(t.Answered, c.ToolCallID)
	})
}

// message notes what belongs to the turn. A user message after it begins the next one, so this one is over, although a chat
// that works off its queue does not rest in between.
func (t *turn) message(m *client.Message) (Outcome, bool) {
	switch {
	case m.ID <= t.from || m.IsContextOnly():
		return Outcome{}, false
	case m.Role != client.RoleUser:
		t.open, t.lastID = true, m.ID
		if m.Role == client.RoleAssistant {
			t.answer = m
		}
		return Outcome{}, false
	case !t.open || t.UntilRest:
		t.open, t.from, t.answer, t.lastID = true, m.ID, nil, 0
		return Outcome{}, false
	}
	return Outcome{
		Reason: ReasonSettled, Status: t.picture.Status, Message: t.answer, LastID: max(t.lastID, t.from),
		Unanswered: t.answer == nil, Queued: len(t.picture.Queue), Next: true,
	}, true
}

// trimmed leaves out what the caller knows, and what belongs to the turns before.
func (t *turn) trimmed(o Outcome) Outcome {
	if o.Message != nil && o.Message.ID <= max(t.AfterID, t.MessageID) || t.queued != nil {
		o.Message = nil
	}
	if t.queued != nil || o.LastID < t.MessageID {
		o.Preview = nil
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
