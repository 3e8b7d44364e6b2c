package transport

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// stream is an outbox with at most one connection to pour it into. Messages that nobody is connected for wait in the
// outbox, where they can be joined; those that were sent are in the event log, for a client that missed them.
type stream struct {
	session *httpSession // nil for a request of protocol 2026-07-28, whose stream can't be resumed
	name    string
	box     *outbox
	call    *CallRecord // for another replica; nil for the session's own stream

	mu     sync.Mutex
	holder *connection
	done   bool // its request has been answered
	over   bool // its session has ended, and the event log forgotten it
}

// connection is one HTTP response that a stream is poured into.
type connection struct{ kicked chan struct{} }

// newStream makes the stream of one request.
func (s *httpSession) newStream() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers++
	// The names must not repeat on another replica that goes on with the session.
	st := &stream{session: s, name: strconv.FormatInt(time.Now().UnixMilli(), 36) + "-" + strconv.FormatInt(s.numbers, 36)}
	st.box = newOutbox(s.core.opts.MaxQueued, &s.counts, &s.core.counts)
	s.streams[st.name] = st
	return st
}

func (s *httpSession) stream(name string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[name]
}

// settle makes sure that no stream of an ended session adds to the event log any more.
func (s *httpSession) settle() {
	s.mu.Lock()
	streams := slices.Collect(maps.Values(s.streams))
	s.mu.Unlock()
	for _, st := range streams {
		st.mu.Lock()
		st.over = true
		st.mu.Unlock()
	}
}

func (s *httpSession) forget(st *stream) {
	s.mu.Lock()
	delete(s.streams, st.name)
	s.mu.Unlock()
	s.settleCall(st)
}

// attach makes a new connection the one, and the former one end.
func (st *stream) attach() *connection {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.kick()
	st.holder = &connection{kicked: make(chan struct{})}
	st.box.nudge()
	return st.holder
}

func (st *stream) kick() {
	if st.holder != nil {
		close(st.holder.kicked)
		st.holder = nil
	}
}

func (st *stream) detach(c *connection) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.holder == c {
		st.holder = nil
	}
	st.archive()
}

// finished is called when the request of the stream has been answered.
func (st *stream) finished() {
	st.box.close()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.done = true
	st.archive()
}

// archive moves a stream that is complete and has no connection into the event log.
func (st *stream) archive() {
	if !st.done || st.holder != nil || st.session == nil {
		return
	}
	for batch := st.box.take(writeSize); len(batch) > 0; batch = st.box.take(writeSize) {
		_, _ = st.logged(batch)
		st.box.written(batch)
	}
	st.session.forget(st)
}

var errKicked = errors.New("another connection has taken over the stream")

// next takes what is queued, and logs it unless it is the lone response of a stream that has not been opened.
func (st *stream) next(c *connection, out *sse) ([]*item, []Event, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.holder != c {
		st.box.nudge() // it was meant for the one that took over
		return nil, nil, errKicked
	}
	batch := st.box.take(writeSize)
	if !out.x.streaming && len(batch) == 1 && batch[0].last {
		return batch, []Event{event(batch[0])}, nil
	}
	if len(batch) > 0 {
		out.prime() // which is sent first, so it is logged first
	}
	events, err := st.logged(batch)
	return batch, events, err
}

func event(i *item) Event {
	data, err := i.encoded()
	if err != nil {
		data = lostJoin(i, err)
	}
	return Event{Data: data, Last: i.last}
}

// logged returns the batch as events, with ids if the stream can be resumed.
func (st *stream) logged(batch []*item) ([]Event, error) {
	events := make([]Event, len(batch))
	for n, i := range batch {
		events[n] = event(i)
	}
	return events, st.log(events)
}

// log runs with st.mu held.
func (st *stream) log(events []Event) error {
	if st.session == nil || len(events) == 0 || st.over {
		return nil
	}
	ids, err := st.session.handler.o.Events.Append(context.WithoutCancel(st.session.ctx), st.session.id, st.name, events)
	if err != nil {
		st.session.core.log.Error("events could not be logged: the stream can't be resumed from here", "error", err)
		return nil
	}
	st.session.noteCall(st, ids[0], events[len(events)-1].Last)
	for n := range events {
		events[n].ID = st.name + "_" + ids[n]
	}
	return nil
}

// pour writes the stream to x until it ends or another connection takes it over; an error means that x ended first. A call that
// has nothing to say but its response, and that soon, is answered with JSON; status 0 means the one of 2026-07-28.
func (h *HTTPHandler) pour(x *exchange, st *stream, c *connection, status int) error {
	defer st.detach(c)
	s := &sse{x: x, st: st}
	timer := time.NewTimer(h.o.FirstByte)
	defer timer.Stop()
	for {
		select {
		case <-st.box.ready:
			batch, events, err := st.next(c, s)
			if err != nil {
				return err
			}
			if len(batch) == 0 {
				if st.box.drained() {
					return s.open()
				}
				continue
			}
			if !x.streaming && len(batch) == 1 && batch[0].last {
				st.box.written(batch)
				if status == 0 {
					status = modernStatus(events[0].Data)
				}
				writeJSON(x.w, status, events[0].Data)
				return nil
			}
			last := batch[len(batch)-1].last
			err = s.write(events)
			st.box.written(batch)
			if err != nil || last {
				return err
			}
		case <-timer.C:
			if err := s.comment(); err != nil {
				return err
			}
			timer.Reset(h.o.KeepAlive)
		case <-c.kicked:
			return nil
		case <-x.r.Context().Done():
			return context.Cause(x.r.Context())
		}
	}
}

// get serves the stream of what belongs to no request, or resumes any stream after Last-Event-ID.
func (h *HTTPHandler) get(x *exchange, s *httpSession) error {
	if !accepts(x.r, "text/event-stream") {
		return &HTTPError{Status: http.StatusNotAcceptable, Message: "Accept must name text/event-stream"}
	}
	last := x.r.Header.Get(mcp.HeaderLastEventID)
	name, id, _ := strings.Cut(last, "_")
	group := &h.gets
	if last != "" && name != s.own.name {
		group = &h.posts // Shutdown waits for it as for the call's first stream
	}
	if err := h.joinSession(group); err != nil {
		return err
	}
	defer group.done()
	if group == &h.gets {
		defer s.listen()()
	}
	if last != "" {
		return h.resume(x, s, name, id)
	}
	c := s.own.attach()
	if out := (&sse{x: x, st: s.own}); out.comment() != nil {
		s.own.detach(c)
		return nil
	}
	_ = h.pour(x, s.own, c, http.StatusOK)
	return nil
}

// resume sends what followed the event on its stream. Only an event that is known takes the stream from whoever has it.
func (h *HTTPHandler) resume(x *exchange, s *httpSession, name, id string) error {
	st := s.stream(name)
	var c *connection
	missed, err := h.o.Events.After(x.ctx, s.id, name, id)
	if err == nil && st != nil {
		c = st.attach() // from here on nobody else adds to the log
		if missed, err = h.o.Events.After(x.ctx, s.id, name, id); err != nil {
			st.detach(c)
		}
	}
	switch {
	case errors.Is(err, ErrUnknownEvent):
		return &HTTPError{Status: http.StatusBadRequest, Message: "the stream can't be resumed from there: " + err.Error() + "; open it without " + mcp.HeaderLastEventID}
	case err != nil:
		h.core.log.Error("the event log fails", "error", err)
		return errStoreFails
	case st == nil:
		st = &stream{session: s, name: name}
	}
	for n := range missed {
		missed[n].ID = name + "_" + missed[n].ID
	}
	out := &sse{x: x, st: st, resumed: name + "_" + id}
	failed := out.comment() != nil || out.write(missed) != nil
	complete := len(missed) > 0 && missed[len(missed)-1].Last
	switch {
	case c == nil:
	case failed || complete:
		st.detach(c)
	default:
		_ = h.pour(x, st, c, http.StatusOK)
	}
	return nil
}

// sse writes server-sent events.
type sse struct {
	x       *exchange
	st      *stream
	resumed string // id that the client goes on after
	primed  string // id of the event without data that comes first
}

// open sends the header and, to clients of 2025-11-25, an event without data to resume from before anything was said. On a resumed stream that is the
// one they came with: some forget it with the connection that they had it from.
func (s *sse) open() error {
	if s.x.streaming {
		return nil
	}
	s.st.mu.Lock()
	s.prime()
	s.st.mu.Unlock()
	s.x.streaming = true
	header := s.x.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	s.x.w.WriteHeader(http.StatusOK)
	if s.primed == "" {
		return http.NewResponseController(s.x.w).Flush()
	}
	return s.send([]byte("retry: " + reconnectAfter + "\nid: " + s.primed + "\ndata: \n\n"))
}

// reconnectAfter is when a client that lost a stream should come back for the rest, in milliseconds.
const reconnectAfter = "1000"

// prime logs the event that opens a fresh stream, unless that is open. It runs with st.mu held.
func (s *sse) prime() {
	switch {
	case s.x.streaming, s.primed != "", s.st.session == nil, s.st.session.ProtocolVersion() < mcp.ProtocolVersion20251125:
		return
	case s.resumed != "":
		s.primed = s.resumed
		return
	}
	events := []Event{{Data: []byte{}}}
	if s.st.log(events) == nil {
		s.primed = events[0].ID
	}
}

func (s *sse) write(events []Event) error {
	if err := s.open(); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, e := range events {
		if len(e.Data) == 0 {
			continue
		}
		if e.ID != "" {
			b.WriteString("id: " + e.ID + "\n")
		}
		b.WriteString("event: message\ndata: ")
		b.Write(e.Data)
		b.WriteString("\n\n")
	}
	return s.send(b.Bytes())
}

func (s *sse) comment() error {
	if err := s.open(); err != nil {
		return err
	}
	return s.send([]byte(": still here\n\n"))
}

func (s *sse) send(data []byte) error {
	if _, err := s.x.w.Write(data); err != nil {
		return err
	}
	return http.NewResponseController(s.x.w).Flush()
}
