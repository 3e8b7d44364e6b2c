package simulator

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	interruptDelay = 40 * time.Millisecond // until a stopped turn has stored its partial answer
	summaryDelay   = 5 * time.Millisecond
	firstToken     = 8               // token delays until a model begins
	toolPatience   = 5 * time.Minute // in requires_action
)

// turn is one run of the agent in a chat, over as many steps as it takes tools.
type turn struct {
	ctx         context.Context
	cancel      context.CancelFunc
	interrupted bool

	version   int64 // history_version of the step
	attempt   int   // generation_attempt
	seq       int64
	parts     []part  // the assistant's, of this attempt
	preview   []event // all parts of this attempt, for late streams
	listeners []*feed // of /stream/parts
	retry     *retryPayload
	drained   bool // it went on with a queued message
	failures  int  // of this step, for ERR's count
}

type verdict int

const (
	goOn verdict = iota // the step is stored, the model is to see it
	over                // the turn has its answer
	left                // stopped, failed or waiting for the client: nothing more to do here
)

// startTurn runs the agent on what the chat holds. The lock is held, and the
// chat's status says already that the turn was asked for.
func (s *Server) startTurn(c *chat) {
	ctx, cancel := context.WithCancel(s.ctx)
	t := &turn{ctx: ctx, cancel: cancel}
	c.turn = t
	if c.patience != nil {
		c.patience()
	}
	s.giveWorkspace(c)
	s.spawn(func() {
		defer cancel()
		s.run(c, t)
	})
}

func (s *Server) run(c *chat, t *turn) {
	if !s.takeSlot(c, t) {
		s.stopped(c, t)
		return
	}
	defer s.freeSlot(c)
	for s.pickUp(c, t) {
		v := goOn
		for v == goOn {
			v = s.step(c, t)
		}
		if v == left {
			break
		}
		if !s.finish(c, t) {
			return
		}
	}
	s.stopped(c, t)
}

// takeSlot waits until this root chat may generate.
func (s *Server) takeSlot(c *chat, t *turn) bool {
	if s.slots == nil || c.parent != nil {
		return true
	}
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	s.waiting(c, true)
	defer s.waiting(c, false)
	select {
	case s.slots <- struct{}{}:
		return true
	case <-t.ctx.Done():
		return false
	}
}

func (s *Server) waiting(c *chat, is bool) {
	s.mu.Lock()
	c.waitsForSlot = is
	s.mu.Unlock()
}

func (s *Server) freeSlot(c *chat) {
	if s.slots != nil && c.parent == nil {
		<-s.slots
	}
}

// owns says whether t is still the chat's turn. The lock is held.
func (c *chat) owns(t *turn) bool { return c.turn == t && t.ctx.Err() == nil }

// pickUp is the worker's finding the chat: pending becomes running.
func (s *Server) pickUp(c *chat, t *turn) bool {
	if !pause(t.ctx, s.scaled(s.gen.pickUp)) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.owns(t) {
		return false
	}
	s.bindWorkspace(c)
	if c.status == statusPending {
		c.status = statusRunning
		s.publishStatus(c)
	}
	return true
}

// step lets the model answer once, retrying as the provider's errors allow,
// stores the answer and runs the tools it calls.
func (s *Server) step(c *chat, t *turn) verdict {
	t.attempt, t.failures = 0, 0
	if s.compacts(c, t) {
		return over
	}
	t.attempt = 0
	for {
		r, ok := s.begin(c, t)
		if !ok || !s.speak(c, t, r) {
			return left
		}
		if r.fail == nil {
			return s.commit(c, t, r)
		}
		if !r.fail.retryable {
			s.fail(c, t, r.fail)
			return left
		}
		if !s.retry(c, t, r.fail) {
			return left
		}
	}
}

// begin opens an attempt and asks the model.
func (s *Server) begin(c *chat, t *turn) (*reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.owns(t) {
		return nil, false
	}
	first := t.attempt == 0
	if first {
		t.version = c.version
		c.version += c.acquire()
	}
	t.attempt++
	t.seq, t.parts, t.preview, t.retry = 0, nil, nil, nil
	c.staleRetry = nil
	c.publish(s.reset(c)...)
	return s.think(c, t), true
}

// acquire counts the worker's taking the chat, which it keeps between steps.
func (c *chat) acquire() int64 {
	if n := len(c.messages); n > 0 && c.messages[n-1].Role == "user" && !c.draining {
		return 1
	}
	c.draining = false
	return 0
}

// speak sends the parts of a reply as they come.
func (s *Server) speak(c *chat, t *turn, r *reply) bool {
	if r.deltas == nil {
		return t.ctx.Err() == nil
	}
	if !pause(t.ctx, firstToken*s.options.TokenDelay) {
		return false
	}
	for wait, p := range r.deltas {
		if wait > 0 && !pause(t.ctx, wait) {
			return false
		}
		s.mu.Lock()
		ok := c.owns(t)
		if ok {
			s.emit(c, t, "assistant", p)
		}
		s.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// emit publishes one part. The lock is held.
func (s *Server) emit(c *chat, t *turn, role string, p part) {
	payload := &partPayload{Role: role, Part: p}
	if s.gen.previews {
		t.seq++
		payload.HistoryVersion, payload.GenerationAttempt, payload.Seq = t.version, t.attempt, t.seq
	}
	e := c.event(streamEvent{Type: "message_part", MessagePart: payload})
	t.preview = append(t.preview, e)
	if role == "assistant" {
		t.parts = append(t.parts, p)
	}
	c.publish(e)
	for _, f := range t.listeners {
		f.push(e)
	}
}

// commit stores the answer of a step, then runs its tools.
func (s *Server) commit(c *chat, t *turn, r *reply) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.owns(t) {
		return left
	}
	content := r.content(t.parts)
	t.parts, t.preview = nil, nil
	if len(content) == 0 {
		return over
	}
	if !s.gen.parsedCalls {
		c.undateDynamic(content)
	}
	m := s.addMessage(c, "assistant", nil, content)
	m.Usage = r.cost(s.contextLimit(c.model))
	c.version += 2
	c.publish(join([]event{c.messageEvent(m)}, s.reset(c))...)
	if len(r.calls) == 0 {
		return s.maybeCompact(c, t, m)
	}
	return s.runTools(c, t, r.calls)
}

// retry tells of a failed attempt and waits for the next one.
func (s *Server) retry(c *chat, t *turn, f *failure) bool {
	s.mu.Lock()
	if !c.owns(t) {
		s.mu.Unlock()
		return false
	}
	t.failures++
	wait := f.after
	if wait == 0 {
		wait = min(time.Minute, time.Second<<(t.failures-1))
	}
	t.retry = &retryPayload{
		Attempt: t.failures, DelayMS: wait.Milliseconds(), Error: f.Message, Kind: f.Kind, Provider: f.Provider,
		StatusCode: f.StatusCode, RetryingAt: now().Add(s.scaled(wait)),
	}
	c.publish(c.event(streamEvent{Type: "retry", Retry: t.retry}))
	s.mu.Unlock()
	return pause(t.ctx, s.scaled(wait))
}

// fail ends the turn in error; a backlog stays where it is (05/050).
func (s *Server) fail(c *chat, t *turn, f *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.owns(t) {
		return
	}
	c.turn = nil
	e := f.chatError
	c.lastError, c.status = &e, statusError
	c.version += 2
	c.touch()
	told := c.event(streamEvent{Type: "error", Error: &e})
	if s.gen.previews {
		c.publish(c.statusEvent(), told)
	} else {
		s.publishStatus(c, told)
	}
	s.announceStatus(c)
	s.clearSummary(c)
}

// finish ends a turn that has its answer: the chat rests, or takes the next
// message of its queue and true is returned.
func (s *Server) finish(c *chat, t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.owns(t) {
		return true // stopped at the very end: pickUp will see it
	}
	if len(c.queue) > 0 {
		s.drain(c, nil)
		if s.gen.watchRunning || !t.drained && c.turnSummary == nil {
			s.setSummary(c, s.gen.drainSummary)
		}
		t.drained = true
		return true
	}
	c.turn = nil
	c.status = statusWaiting
	c.version += 2
	c.touch()
	s.publishStatus(c)
	s.announceStatus(c)
	s.summarizeTurn(c)
	return false
}

// drain makes the queue's head the next message, in the turn that goes on or
// in a new one; before goes out with it. The lock is held.
func (s *Server) drain(c *chat, before []event) *message {
	q := c.queue[0]
	c.queue = c.queue[1:]
	c.model = q.ModelConfigID
	c.lastError = nil
	c.version++
	c.draining = true
	m := s.addMessage(c, "user", &c.owner.ID, q.Content)
	events := append(before, c.messageEvent(m), c.queueEvent())
	was := c.status
	c.status = s.gen.started
	if s.gen.previews {
		if was != c.status {
			events = append(events, c.statusEvent())
		}
		c.publish(append(events, s.reset(c)...)...)
	} else {
		s.publishStatus(c, events...)
	}
	s.announceStatus(c)
	return m
}

// stopTurn asks the running turn to end. The lock is held.
func (s *Server) stopTurn(c *chat, before ...event) {
	if c.turn != nil {
		c.turn.interrupted = true
		if s.gen.staleRetry {
			c.staleRetry = c.turn.retry
		}
		c.turn.retry = nil
		c.turn.cancel()
	}
	c.lastError = nil
	c.status = statusWaiting
	if s.gen.interrupting {
		c.status = statusInterrupting
	}
	c.touch()
	s.publishStatus(c, before...)
	s.announceStatus(c)
}

// stopped is the rest of an interrupted turn: the partial answer is stored,
// the queue goes on.
func (s *Server) stopped(c *chat, t *turn) {
	if !pause(s.ctx, s.scaled(interruptDelay)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.turn != t || !t.interrupted {
		return
	}
	partial := s.settle(c)
	if len(c.queue) > 0 && !c.archived {
		s.drain(c, partial)
		s.setSummary(c, "")
		s.startTurn(c)
		c.turn.drained = true
		return
	}
	if s.gen.interrupting {
		c.status = statusWaiting
		c.version += 2
		c.touch()
		events := append(partial, c.statusEvent())
		if len(partial) > 0 {
			events = append(events, s.reset(c)...)
		}
		c.publish(events...)
	} else {
		s.publishStatus(c, partial...) // once more (05/067)
	}
	s.announceStatus(c)
	s.clearSummary(c)
}

// settleTurn stores the partial answer of a stopped turn now instead of some
// milliseconds later, because something else is about to be stored.
func (s *Server) settleTurn(c *chat) {
	if c.turn != nil && c.turn.interrupted {
		c.publish(s.settle(c)...)
	}
}

// settle ends a stopped turn and stores what had come of its answer, without usage.
func (s *Server) settle(c *chat) []event {
	t := c.turn
	c.turn = nil
	content := s.partial(t.parts)
	if len(content) == 0 {
		return nil
	}
	c.version++
	return []event{c.messageEvent(s.addMessage(c, "assistant", nil, content))}
}

// abandon drops a turn and all that came of it, as an edit does.
func (c *chat) abandon() {
	if c.turn != nil {
		c.turn.cancel()
		c.turn = nil
	}
}

// partial keeps what was said; calls that were not finished are dropped. The
// later servers keep one text part per chunk (08/012).
func (s *Server) partial(parts []part) []part {
	var said []part
	for _, p := range parts {
		if p.Type == "text" || p.Type == "reasoning" {
			said = append(said, p)
		}
	}
	if s.gen.chunkedParts {
		return said
	}
	return merge(said)
}

// merge joins neighbours of one kind.
func merge(parts []part) []part {
	var merged []part
	var text strings.Builder
	flush := func() {
		if n := len(merged); n > 0 && text.Len() > 0 {
			merged[n-1].Text = text.String()
		}
		text.Reset()
	}
	for _, p := range parts {
		if n := len(merged); n == 0 || merged[n-1].Type != p.Type {
			flush()
			merged = append(merged, p)
		}
		text.WriteString(p.Text)
	}
	flush()
	return merged
}

// addMessage appends a durable message. The lock is held.
func (s *Server) addMessage(c *chat, role string, by *uuid.UUID, content []part) *message {
	s.lastMessage++
	m := &message{
		ID: s.lastMessage, ChatID: c.id, CreatedBy: by, ModelConfigID: c.model, CreatedAt: now(), Role: role, Content: content,
	}
	c.messages = append(c.messages, m)
	c.updated = m.CreatedAt
	return m
}

// hide spends n ids on rows that are never served: the system prompts.
func (c *chat) hide(s *Server, n int) {
	for range n {
		s.lastMessage++
		c.hidden[s.lastMessage] = true
	}
}
