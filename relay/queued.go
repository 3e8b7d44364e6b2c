package relay

import (
	"context"
	"slices"

	"coder-chats-mcp/client"
)

// queued finds out which message a queued one became: they lose their ids on the way, but not their words. Several of the
// same words are told apart by the order in which they leave the queue.
type queued struct {
	own   *client.QueuedMessage
	alike []int64          // of the same words and in the queue as last told, in its order, up to the own one
	left  []int64          // those of them that left it, in the order in which they did
	said  []int64          // messages of the same words since
	since []client.Message // those and what came after the first of them
}

// findQueued looks for the queued message in the picture, and where that does not have it, at the server.
func (t *turn) findQueued(ctx context.Context) error {
	t.queued = &queued{own: t.Queued}
	if t.queued.note(t.picture.Queue) {
		return nil
	}
	err := t.inquire(ctx)
	if err == nil {
		t.leaveQueue(0)
	}
	return err
}

// note takes what the queue is now, and reports whether the own message waits in it.
func (q *queued) note(queue []client.QueuedMessage) bool {
	at := slices.IndexFunc(queue, func(m client.QueuedMessage) bool { return m.ID == q.own.ID })
	for _, id := range q.alike {
		if !slices.ContainsFunc(queue, func(m client.QueuedMessage) bool { return m.ID == id }) {
			q.left = append(q.left, id)
		}
	}
	q.alike = nil
	if at < 0 {
		return false
	}
	q.left = slices.DeleteFunc(q.left, func(id int64) bool { // an older word of the queue came late
		return slices.ContainsFunc(queue, func(m client.QueuedMessage) bool { return m.ID == id })
	})
	for i := range queue[:at+1] {
		if sameWords(queue[i].Content, q.own.Content) {
			q.alike = append(q.alike, queue[i].ID)
		}
	}
	return true
}

// mayBe reports whether a message can be the queued one: it came after that, with its words.
func (q *queued) mayBe(m *client.Message) bool {
	return m.Role == client.RoleUser && !m.IsContextOnly() && !m.CreatedAt.Before(q.own.CreatedAt) && sameWords(m.Content, q.own.Content)
}

func sameWords(a, b []client.Part) bool {
	one, other := client.Message{Content: a}, client.Message{Content: b}
	return one.Text() == other.Text() && slices.Equal(files(a), files(b))
}

// files are the files and references in parts.
func files(parts []client.Part) []string {
	var names []string
	for i := range parts {
		switch p := &parts[i]; {
		case p.FileID != nil:
			names = append(names, p.FileID.String())
		case p.FileName != "":
			names = append(names, p.FileName+"\x00"+p.Content)
		}
	}
	return names
}

// became is the message that the queued one became; 0: not known yet. A message comes before or after the queue_update
// without it.
func (q *queued) became() int64 {
	at := slices.Index(q.left, q.own.ID)
	if at < 0 && len(q.left) == 0 && len(q.alike) == 1 {
		at = 0 // there is no other that this could be
	}
	if at < 0 || at >= len(q.said) {
		return 0
	}
	return q.said[at]
}

// queueSaid takes a message while the own one is in the queue, or just left it.
func (t *turn) queueSaid(m *client.Message) (Outcome, bool, error) {
	q := t.queued
	if q.mayBe(m) {
		q.said = append(q.said, m.ID)
	}
	if len(q.said) > 0 {
		q.since = append(q.since, *m)
	}
	out, over := t.leaveQueue(q.became())
	return out, over, nil
}

// queueMoved takes a queue_update. The message that the own one became may be on its way still, so only the server knows
// whether there is any.
func (t *turn) queueMoved(ctx context.Context) (Outcome, bool, error) {
	if t.queued.note(t.picture.Queue) {
		return Outcome{}, false, nil
	}
	if id := t.queued.became(); id > 0 {
		out, over := t.leaveQueue(id)
		return out, over, nil
	}
	return t.inquired(ctx)
}

// leftInQueue: the chat came to rest. When it rests still and has the message in its queue, nothing will make that run.
func (t *turn) leftInQueue(ctx context.Context) (Outcome, bool, error) {
	chat, err := t.relay.states.get(ctx, t.chat)
	if err != nil || chat.Status.Busy() {
		return Outcome{}, false, err
	}
	out, over, err := t.inquired(ctx)
	if over || err != nil || t.queued == nil {
		return out, over, err
	}
	rest := outcomeOf(t.listener.Now(), "")
	return rest, !rest.Status.Busy(), nil
}

func (t *turn) inquired(ctx context.Context) (Outcome, bool, error) {
	if err := t.inquire(ctx); err != nil {
		return Outcome{}, false, err
	}
	if t.withdrawn {
		return t.outcomeOfWithdrawn(), true, nil
	}
	out, over := t.leaveQueue(0)
	return out, over, nil
}

// inquire asks the server what became of the queued message. An answer shows messages of a moment before its queue, so it
// takes two to say that it is in neither.
func (t *turn) inquire(ctx context.Context) error {
	q := t.queued
	for range 2 {
		page, err := t.relay.client.ListMessages(ctx, t.chat, client.ListMessagesRequest{Limit: windowMessages})
		if err != nil {
			return err
		}
		if q.note(page.Queued) {
			return nil
		}
		var said []int64
		for i := range slices.Backward(page.Messages) { // oldest first
			if q.mayBe(&page.Messages[i]) {
				said = append(said, page.Messages[i].ID)
			}
		}
		if len(said) > 0 {
			at := slices.Index(q.left, q.own.ID) // -1: nobody saw it in the queue
			if at < 0 || at >= len(said) {
				at = len(said) - 1
			}
			t.MessageID = said[at]
			return nil
		}
	}
	t.withdrawn = true
	return nil
}

// leaveQueue goes on with the message that the queued one became, when that is known.
func (t *turn) leaveQueue(id int64) (Outcome, bool) {
	if id > 0 {
		t.MessageID = id
	}
	if t.MessageID == 0 {
		return Outcome{}, false
	}
	since := t.queued.since
	t.queued, t.from, t.open = nil, t.MessageID, true
	for i := range since {
		if out, over := t.message(&since[i]); over {
			return out, true
		}
	}
	return Outcome{}, false
}

func (t *turn) outcomeOfWithdrawn() Outcome {
	now := t.listener.Now()
	return Outcome{Reason: ReasonSettled, Status: now.Status, LastID: now.LastID, Queued: len(now.Queue), Withdrawn: true}
}
