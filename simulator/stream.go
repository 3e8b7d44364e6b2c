package simulator

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

const eventsPerFrame = 256

// streamEvent is one event of /chats/{chat}/stream.
type streamEvent struct {
	Type           string          `json:"type"`
	ChatID         uuid.UUID       `json:"chat_id"`
	Status         *statusPayload  `json:"status,omitempty"`
	Message        *message        `json:"message,omitempty"`
	MessagePart    *partPayload    `json:"message_part,omitempty"`
	QueuedMessages []*queued       `json:"queued_messages,omitempty"` // no key when the queue is empty
	Retry          *retryPayload   `json:"retry,omitempty"`
	Error          *chatError      `json:"error,omitempty"`
	ActionRequired *actionRequired `json:"action_required,omitempty"`
}

type statusPayload struct {
	Status string `json:"status"`
}

type partPayload struct {
	Role              string `json:"role"`
	Part              part   `json:"part"`
	HistoryVersion    int64  `json:"history_version,omitempty"`
	GenerationAttempt int    `json:"generation_attempt,omitempty"`
	Seq               int64  `json:"seq,omitempty"`
}

type retryPayload struct {
	Attempt    int       `json:"attempt"`
	DelayMS    int64     `json:"delay_ms"`
	Error      string    `json:"error"`
	Kind       string    `json:"kind"`
	Provider   string    `json:"provider"`
	StatusCode int       `json:"status_code,omitempty"`
	RetryingAt time.Time `json:"retrying_at"`
}

type actionRequired struct {
	ToolCalls []pendingCall `json:"tool_calls"`
}

// pendingCall is a dynamic tool's call that the client is to answer; Args is
// the model's text, valid JSON or not.
type pendingCall struct {
	ToolCallID string `json:"tool_call_id"`
	ToolName   string `json:"tool_name"`
	Args       string `json:"args"`
}

func (c *chat) event(e streamEvent) event {
	e.ChatID = c.id
	return event{json: encode(e), part: e.Type == "message_part"}
}

func (c *chat) statusEvent() event {
	return c.event(streamEvent{Type: "status", Status: &statusPayload{c.status}})
}

func (c *chat) messageEvent(m *message) event {
	e := c.event(streamEvent{Type: "message", Message: m})
	e.message = m.ID
	return e
}

func (c *chat) queueEvent() event {
	return c.event(streamEvent{Type: "queue_update", QueuedMessages: c.queue})
}

// publish hands one batch to everybody who streams the chat. The lock is held.
func (c *chat) publish(events ...event) {
	for f := range c.feeds {
		f.push(events...)
	}
}

// publishStatus tells the streams the chat's status, as often as this
// generation does.
func (s *Server) publishStatus(c *chat, before ...event) {
	events := append(before, c.statusEvent())
	if s.gen.statusTwice {
		events = append(events, c.statusEvent())
	}
	c.publish(events...)
}

// reset is preview_reset where the generation has it.
func (s *Server) reset(c *chat) []event {
	if !s.gen.previews {
		return nil
	}
	return []event{c.event(streamEvent{Type: "preview_reset"})}
}

// stream serves GET /chats/{chat}/stream.
func (s *Server) stream(c *call) *apiError {
	after, err := afterID(c)
	if err != nil {
		return err
	}
	k, ctx := s.upgrade(c, "stream", "Failed to open chat stream.", websocket.CompressionDisabled)
	if k == nil {
		return nil
	}
	defer s.release(k)
	connected := time.Now()
	defer s.background(ctx, k, k.hearNothing)()
	defer k.cancel()
	f := newFeed(s.gen.partBuffer)
	if s.gen.afterLive {
		f.after = after
	}
	s.mu.Lock()
	f.pending = s.snapshot(c.chat, after)
	c.chat.feeds[f] = struct{}{}
	c.chat.markRead()
	s.mu.Unlock()
	_ = pump(ctx, k, f, eventsPerFrame, streamFrame)
	s.mu.Lock()
	delete(c.chat.feeds, f)
	s.noticeGone(c.chat, connected)
	s.mu.Unlock()
	return nil
}

// noticeGone marks the chat read when the real server would notice that the
// client left: at its next ping (05/061). The lock is held.
func (s *Server) noticeGone(c *chat, connected time.Time) {
	every := s.scaled(heartbeat)
	left := every - time.Since(connected)%every
	s.spawn(func() {
		if pause(s.ctx, left) {
			s.mu.Lock()
			c.markRead()
			s.mu.Unlock()
		}
	})
}

func afterID(c *call) (int64, *apiError) {
	text := c.r.URL.Query().Get("after_id")
	if text == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, badRequest("Invalid after_id parameter.", err.Error())
	}
	return id, nil
}

// streamFrame joins events into the array that one frame is.
func streamFrame(events []event) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, e := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e.json)
	}
	b.WriteString("]\n")
	return b.Bytes()
}

// snapshot is what a stream begins with: everything durable above after, and
// the answer in progress. The lock is held.
func (s *Server) snapshot(c *chat, after int64) []event {
	var history, parts []event
	for _, m := range c.messages {
		if m.ID > after {
			history = append(history, c.messageEvent(m))
		}
	}
	var retry []event
	if c.staleRetry != nil {
		retry = []event{c.event(streamEvent{Type: "retry", Retry: c.staleRetry})}
	}
	if t := c.turn; t != nil {
		parts = t.preview
		if t.retry != nil {
			retry = []event{c.event(streamEvent{Type: "retry", Retry: t.retry})}
		}
	}
	var queue []event
	if len(c.queue) > 0 {
		queue = []event{c.queueEvent()}
	}
	if s.gen.partsFirst {
		return join([]event{c.statusEvent()}, retry, parts, history, queue)
	}
	return join(history, queue, []event{c.statusEvent()}, s.notices(c), retry, s.reset(c), parts)
}

// notices are the events that explain a status to a late stream.
func (s *Server) notices(c *chat) []event {
	switch {
	case !s.gen.replayNotices:
		return nil
	case c.status == statusError && c.lastError != nil:
		return []event{c.event(streamEvent{Type: "error", Error: c.lastError})}
	case c.status == statusRequiresAction:
		return []event{c.event(streamEvent{Type: "action_required", ActionRequired: &actionRequired{c.pendingCalls()}})}
	}
	return nil
}

func join(lists ...[]event) []event {
	var all []event
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// streamParts serves GET /chats/{chat}/stream/parts, the later servers' inner
// stream: silent until the client names an episode, then its parts (08/072).
func (s *Server) streamParts(c *call) *apiError {
	k, ctx := s.upgrade(c, "parts", "", websocket.CompressionDisabled)
	if k == nil {
		return nil
	}
	defer s.release(k)
	defer s.background(ctx, k)()
	defer k.cancel()
	_, b, err := k.conn.Read(ctx)
	if err != nil {
		return nil
	}
	var episode struct {
		HistoryVersion    int64 `json:"history_version"`
		GenerationAttempt int   `json:"generation_attempt"`
	}
	if json.Unmarshal(b, &episode) != nil {
		_ = k.conn.Close(websocket.StatusInvalidFramePayloadData, "failed to unmarshal JSON")
		return nil
	}
	var reader sync.WaitGroup
	reader.Go(func() { k.hearNothing(ctx) })
	defer reader.Wait()
	defer k.cancel()
	f := newFeed(0)
	s.mu.Lock()
	if t := c.chat.turn; t != nil && t.version == episode.HistoryVersion && t.attempt == episode.GenerationAttempt {
		f.pending = join(t.preview)
		t.listeners = append(t.listeners, f)
	}
	s.mu.Unlock()
	_ = pump(ctx, k, f, eventsPerFrame, streamFrame)
	return nil
}
