package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Follow follows one chat live. It returns when the first picture is there, or the typed *client.Error. All listeners of a
// chat share one stream, which closes Options.Linger after the last one left.
func (r *Relay) Follow(ctx context.Context, chat uuid.UUID) (*Listener, error) {
	f, fresh, err := r.chatFeed(chat)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		f.leave()
		return nil, f.failed
	}
	return &Listener{feed: f, place: f.backlog.place(), picture: f.picture(), fresh: fresh}, nil
}

// Listener is one reader of a chat. Its methods may be called from several goroutines.
type Listener struct {
	feed    *chatFeed
	place   *place[*Event]
	picture Picture
	fresh   bool // the picture was read after this listener asked for it
}

// Picture is the state that the events of Next go on from.
func (l *Listener) Picture() Picture { return l.picture }

// Now is the state of the chat now, which may be ahead of the events that Next gave.
func (l *Listener) Now() Picture {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	return l.feed.picture()
}

// Trouble is why the stream is down at present; nil while it is up. It is being mended.
func (l *Listener) Trouble() error { return l.feed.trouble.now() }

// Next waits for the next event. A listener that falls behind gets deltas of one part joined, and beyond Options.Backlog the
// preview as it is then; final states it gets all, in order. It fails with ctx's error, with ErrClosed, or with the typed
// *client.Error that ended the stream (401, 403, 404) after all events before.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	e, err := l.place.next(ctx)
	if err != nil {
		return Event{}, err
	}
	return *e, nil
}

// Close leaves the chat; the chat itself goes on.
func (l *Listener) Close() {
	if l.place.leave() {
		l.feed.leave()
	}
}

// chatFeed is one chat's shared stream. Lock order: turn, mu, Relay.mu.
type chatFeed struct {
	relay   *Relay
	id      uuid.UUID
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{} // closed with the first picture, or with failed
	backlog *backlog[*Event]
	trouble trouble
	shared  sharing
	begun   bool // the first read; Relay.mu guards it

	// turn is held by whoever changes the state: for one frame, or one read with what follows from it.
	turn   sync.Mutex
	serial int // counts the changes
	doubts int // reads since the doubt came up
	timer  *time.Timer
	ended  bool

	mu        sync.Mutex // guards the state for readers
	state     state
	connected bool
	failed    error
}

// chatFeed joins the feed of a chat; fresh: what it reads first, it has yet to read.
func (r *Relay) chatFeed(chat uuid.UUID) (f *chatFeed, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, false, ErrClosed
	}
	f = r.chats[chat]
	if f == nil {
		f = &chatFeed{relay: r, id: chat, ready: make(chan struct{}), state: state{id: chat, snapshot: true}}
		f.ctx, f.cancel = context.WithCancel(r.ctx)
		f.backlog = newBacklog(r.options.Backlog, weighDelta, joinDeltas, f.collapse)
		r.chats[chat] = f
		r.wait.Go(f.run)
	}
	f.shared.join()
	return f, !f.begun, nil
}

func (f *chatFeed) begin() {
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	f.begun = true
}

func (f *chatFeed) leave() {
	f.shared.leave(f.relay, func() {
		if f.relay.chats[f.id] == f {
			delete(f.relay.chats, f.id)
		}
		f.cancel()
	})
}

func (f *chatFeed) picture() Picture {
	p := f.state.picture()
	p.Connected = f.connected
	return p
}

// run keeps the stream up until the last listener left or the chat is out of reach.
func (f *chatFeed) run() {
	err := f.relay.reconnect(f.ctx, "chat "+f.id.String(), &f.trouble, f.connect)
	f.cancel()
	f.relay.mu.Lock()
	if f.relay.chats[f.id] == f {
		delete(f.relay.chats, f.id)
	}
	f.shared.stop()
	f.relay.mu.Unlock()
	f.turn.Lock()
	f.ended = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.turn.Unlock()
	f.fail(err)
}

func (f *chatFeed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected = false
	f.failed = err
	f.backlog.end(err)
	if !f.isReady() {
		close(f.ready)
	}
}

func (f *chatFeed) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// connect reads over REST what the stream cannot replay, then follows the stream until it ends.
func (f *chatFeed) connect(up func()) error {
	if err := f.catchUp(); err != nil {
		return err
	}
	f.mu.Lock()
	from := f.state.lastID
	f.mu.Unlock()
	stream, err := f.relay.client.StreamChat(f.ctx, f.id, client.StreamRequest{AfterID: from})
	if err != nil {
		return err
	}
	defer stream.Close()
	defer f.setConnected(false)
	for {
		frame, err := stream.Next(f.ctx)
		if err != nil {
			return err
		}
		up()
		if err := f.frame(frame); err != nil {
			return err
		}
	}
}

func (f *chatFeed) setConnected(up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected = up
}

// change changes the state and tells the listeners. The caller holds turn.
func (f *chatFeed) change(do func(s *state)) {
	f.serial++
	f.mu.Lock()
	do(&f.state)
	news := f.state.take()
	for i, e := range news {
		if e.Serial != 0 { // told before, and read by listeners
			again := *e
			news[i] = &again
		}
		news[i].Serial = f.relay.serial.Add(1)
	}
	f.backlog.append(news)
	f.mu.Unlock()
	f.schedule()
}

func (f *chatFeed) catchUp() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	h, err := f.readFirst()
	if err != nil {
		return err
	}
	first := !f.isReady()
	f.change(func(s *state) {
		s.snapshot, s.queueTold, s.readAhead = true, false, nil
		if !s.ordered {
			s.voidPreview(nil) // May repeats the parts, and numbers none
		}
		s.sync(h)
		if first {
			s.take() // the picture has it all
		}
	})
	if first {
		close(f.ready)
	}
	return nil
}

func (f *chatFeed) frame(frame []client.StreamEvent) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.state.holdsAll(frame) { // or a long answer would put off the look that ends the doubt
		f.mu.Lock()
		defer f.mu.Unlock()
		f.state.apply(frame)
		return nil
	}
	var suspect bool
	f.change(func(s *state) {
		f.connected = true
		s.apply(frame)
		suspect = s.suspect
	})
	if !suspect {
		return nil
	}
	h, err := f.read(f.ctx)
	if err != nil {
		return err
	}
	f.change(func(s *state) { s.sync(h) })
	return nil
}

// ---- what only REST can say

const (
	readTimeout   = 10 * time.Second
	capacityAfter = time.Second     // without a sign of life of a running turn, ask whether it waits for capacity
	capacityAgain = 5 * time.Second // and while it does, nothing else tells that its turn has come
)

// doubtAfter are the pauses before the reads of a doubtful chat; the stream mostly brings the proof before the first.
var doubtAfter = []time.Duration{40 * time.Millisecond, 120 * time.Millisecond, 400 * time.Millisecond, time.Second}

// readFirst is read for a new connection. Whoever waits for the first of all gets a failure as the answer, but not one that
// passes soon.
func (f *chatFeed) readFirst() (*history, error) {
	if f.isReady() {
		return f.read(f.ctx)
	}
	f.begin()
	h, err := insist(f.ctx, f.relay.options, firstTries, func() (*history, error) { return f.read(f.ctx) })
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	return h, nil
}

// history is a chat and its last messages, read in this order: a message is stored before the status that follows it.
type history struct {
	chat     client.Chat
	messages []client.Message // oldest first
	older    bool             // there are older ones
	queue    []client.QueuedMessage
}

// readTries is how often a chat is read that does not stand still meanwhile.
const readTries = 3

// read reads the chat and its last messages. When these are of a turn that the status knows nothing of, it does so again.
func (f *chatFeed) read(ctx context.Context) (*history, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var h *history
	for range readTries {
		chat, err := f.relay.client.GetChat(ctx, f.id)
		if err != nil {
			return nil, err
		}
		if h != nil && chat.Status == h.chat.Status && chat.UpdatedAt.Equal(h.chat.UpdatedAt) {
			return h, nil // a partial answer, stored after the interrupt
		}
		h = &history{chat: *chat}
		if err := f.readMessages(ctx, h); err != nil {
			return nil, err
		}
		if !overtaken(&h.chat, h.messages) {
			return h, nil
		}
	}
	return h, nil
}

// overtaken: a chat that rested when it was read has a message since, so that it may have worked and rest in another way now.
func overtaken(c *client.Chat, messages []client.Message) bool {
	return atRest(c.Status) && slices.ContainsFunc(messages, func(m client.Message) bool { return m.CreatedAt.After(c.UpdatedAt) })
}

// readMessages reads the last messages, back to one that is known and stands: an edit takes away all messages from one on,
// so those before stand, too. The first read fills the window.
func (f *chatFeed) readMessages(ctx context.Context, h *history) error {
	c := f.relay.client
	known, limit := f.known(), recentMessages
	if len(known) == 0 {
		limit = windowMessages
	}
	page, err := c.ListMessages(ctx, f.id, client.ListMessagesRequest{Limit: limit})
	if err != nil {
		return err
	}
	h.messages, h.older, h.queue = page.Messages, page.HasMore, page.Queued
	for len(known) > 0 && h.older && !slices.ContainsFunc(page.Messages, func(m client.Message) bool { return known[m.ID] }) {
		oldest := h.messages[len(h.messages)-1].ID
		page, err = c.ListMessages(ctx, f.id, client.ListMessagesRequest{BeforeID: oldest, Limit: pageMessages})
		if err != nil {
			return err
		}
		h.messages, h.older = append(h.messages, page.Messages...), page.HasMore && len(page.Messages) > 0
	}
	slices.Reverse(h.messages)
	return nil
}

const (
	recentMessages = 10
	pageMessages   = 200 // the API's most
)

// known are the ids of the messages that are kept.
func (f *chatFeed) known() map[int64]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := make(map[int64]bool, len(f.state.messages))
	for i := range f.state.messages {
		known[f.state.messages[i].ID] = true
	}
	return known
}

// schedule sets the timer for the next look at a doubtful chat. The caller holds turn.
func (f *chatFeed) schedule() {
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	s := &f.state
	var after time.Duration
	switch {
	case f.ended:
		return
	case s.doubtful():
		after = doubtAfter[min(f.doubts, len(doubtAfter)-1)]
		if left := f.relay.options.Settle - time.Since(s.since); s.claim != "" && left > 0 {
			after = min(after, left)
		}
	case s.ordered && s.status == client.StatusRunning && s.asked != s.lastID && s.preview.empty() && !s.capacity:
		f.doubts, after = 0, capacityAfter
	case s.capacity:
		f.doubts, after = 0, capacityAgain
	default:
		f.doubts = 0
		return
	}
	serial := f.serial
	f.timer = time.AfterFunc(after, func() { f.look(serial) })
}

// look reads a doubtful chat. What came over the stream meanwhile is newer: then it only looks again.
func (f *chatFeed) look(serial int) {
	h, err := f.read(f.ctx)
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.ended || f.serial != serial {
		return
	}
	f.doubts++
	if err != nil {
		f.schedule()
		return
	}
	f.change(func(s *state) {
		s.sync(h)
		if s.claim != "" && s.claim == h.chat.Status && time.Since(s.since) >= f.relay.options.Settle {
			s.settle()
		}
	})
}

// ---- slow listeners

// collapse keeps the final states and puts the preview as it is now in the place of the deltas. The caller holds mu.
func (f *chatFeed) collapse(unread []*Event) []*Event {
	var kept []*Event
	stale := false // the listener's preview is not what the kept events make of it
	for _, e := range unread {
		switch {
		case e.Type == client.EventMessagePart || e.Type == client.EventPreviewReset:
			stale = true
			continue
		case e.Type == client.EventMessage && e.Message.Role != client.RoleUser:
			stale = false
		}
		kept = append(kept, e)
	}
	if !stale {
		return kept
	}
	from := len(kept)
	kept = append(kept, event(client.StreamEvent{Type: client.EventPreviewReset, ChatID: f.id}))
	for _, p := range f.state.preview.snapshot() {
		e := event(client.StreamEvent{Type: client.EventMessagePart, ChatID: f.id, MessagePart: &client.PartEvent{
			Role: client.RoleAssistant, Part: p, HistoryVersion: f.state.preview.version,
			GenerationAttempt: f.state.preview.attempt, Seq: f.state.preview.seq,
		}})
		e.Parts = 1
		kept = append(kept, e)
	}
	for _, e := range kept[from:] {
		e.Serial = unread[len(unread)-1].Serial
	}
	return kept
}
