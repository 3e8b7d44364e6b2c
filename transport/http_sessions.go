package transport

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// httpSession is a session of protocols 2025-03-26 to 2025-11-25: one object, and one stream for each of its requests
// besides its own.
type httpSession struct {
	*Session
	handler *HTTPHandler
	own     *stream   // what GET receives
	adopted sync.Once // restores what another replica saved

	saving sync.Mutex // keeps the record's versions in order; taken before mu and after a stream's

	mu        sync.Mutex
	streams   map[string]*stream // its own, and those of requests that may still be resumed before they end
	calls     map[string]CallRecord
	numbers   int64
	uses      int // running exchanges and requests
	listeners int // of uses, those that only receive the session's own stream
	gone      bool
	used      time.Time
}

func (h *HTTPHandler) newHTTPSession(ctx context.Context, id, identity string) *httpSession {
	s := &httpSession{Session: h.core.newSession(ctx, id), handler: h, used: time.Now()}
	s.identity, s.overHTTP, s.shown = identity, true, true
	s.own = &stream{session: s, name: "0", box: s.out}
	s.streams = map[string]*stream{s.own.name: s.own}
	return s
}

// initialize opens a session.
func (h *HTTPHandler) initialize(x *exchange, m *message) error {
	if err := h.join(&h.posts); err != nil {
		return err
	}
	defer h.posts.done()
	if err := h.admit(x.identity); err != nil {
		return err
	}
	s := h.newHTTPSession(x.ctx, "", x.identity)
	s.enter()
	defer s.exit()
	reply := s.handle(x.ctx, m)
	if !s.isLegacy() {
		h.leave(x.identity)
		s.close(ErrSessionOver)
		writeJSON(x.w, http.StatusOK, reply)
		return nil
	}
	s.open()
	s.adopted.Do(func() {})
	h.add(s)
	if s.save() != nil {
		h.drop(s)
		return errStoreFails
	}
	x.w.Header().Set(mcp.HeaderSessionID, s.id)
	writeJSON(x.w, http.StatusOK, reply)
	return nil
}

// admit counts one more session or listen stream of the caller, if there is room.
func (h *HTTPHandler) admit(identity string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	perCaller := h.o.MaxSessionsPerCaller
	if h.admitted < h.o.MaxSessions && (perCaller <= 0 || h.callers[identity] < perCaller) {
		h.admitted++
		h.callers[identity]++
		return nil
	}
	wait := max(1, int(h.o.IdleTimeout.Seconds())/4)
	return &HTTPError{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {strconv.Itoa(wait)}},
		Message: "too many MCP sessions: end one with DELETE, or wait until idle ones expire"}
}

func (h *HTTPHandler) leave(identity string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.admitted--
	if h.callers[identity]--; h.callers[identity] == 0 {
		delete(h.callers, identity)
	}
}

// add puts s into the table and returns it, or the session that is there by that id.
func (h *HTTPHandler) add(s *httpSession) *httpSession {
	h.mu.Lock()
	defer h.mu.Unlock()
	if first := h.sessions[s.id]; first != nil {
		return first
	}
	h.sessions[s.id] = s
	h.held.add()
	if h.sweeper == nil {
		h.sweeper = time.AfterFunc(h.sweepInterval(), h.sweep)
	}
	return s
}

// remove takes s out of the table, and reports whether it was there.
func (h *HTTPHandler) remove(s *httpSession) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.id] != s {
		return false
	}
	delete(h.sessions, s.id)
	if len(h.sessions) == 0 {
		h.sessions = map[string]*httpSession{} // a map keeps the memory of its best days
	}
	return true
}

func (h *HTTPHandler) sweepInterval() time.Duration { return max(h.o.IdleTimeout/8, time.Millisecond) }

// sweep ends the sessions that have been idle for too long. It runs only while there are sessions.
func (h *HTTPHandler) sweep() {
	h.mu.Lock()
	var idle, used []*httpSession
	for _, s := range h.sessions {
		switch unused := s.idleFor(); {
		case unused >= h.o.IdleTimeout:
			idle = append(idle, s)
		case unused == 0:
			used = append(used, s)
		}
	}
	h.mu.Unlock()
	for _, s := range idle {
		h.drop(s)
	}
	for _, s := range used {
		_ = s.save() // a stream keeps its session alive in the store, too
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sessions) > 0 && !h.closing.Load() {
		h.sweeper.Reset(h.sweepInterval())
		return
	}
	h.sweeper = nil
}

// drop ends a session here; what is shared with other replicas expires by itself.
func (h *HTTPHandler) drop(s *httpSession) {
	if !h.remove(s) {
		return
	}
	defer h.held.done()
	h.close(s)
	if h.o.Sessions == nil {
		h.forgetEvents(s)
	}
}

// close ends a session that was removed.
func (h *HTTPHandler) close(s *httpSession) {
	h.leave(s.identity)
	s.close(ErrSessionOver)
	s.settle()
}

func (h *HTTPHandler) forgetEvents(s *httpSession) {
	if err := h.o.Events.Drop(context.WithoutCancel(s.ctx), s.id); err != nil {
		h.core.log.Warn("the events of a session could not be forgotten", "error", err)
	}
}

// end ends a session everywhere.
func (h *HTTPHandler) end(s *httpSession) {
	if h.o.Sessions != nil {
		if err := h.o.Sessions.Delete(context.WithoutCancel(s.ctx), s.id); err != nil {
			h.core.log.Warn("a session could not be deleted from the store", "error", err)
		}
	}
	h.drop(s)
	if h.o.Sessions != nil {
		h.forgetEvents(s)
	}
}

// Sessions is the number of open sessions and listen streams.
func (h *HTTPHandler) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admitted
}

var (
	errSessionMissing = &HTTPError{Status: http.StatusBadRequest, Message: "the header " + mcp.HeaderSessionID + " is missing: initialize first"}
	errSessionUnknown = &HTTPError{Status: http.StatusNotFound, Message: "no such MCP session, or it has expired: initialize again"}
	errStoreFails     = &HTTPError{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}},
		Message: "the store of MCP sessions can't be reached at the moment; protocol 2026-07-28 needs none"}
)

// lookup finds the session of x and marks it as used; the caller exits it. To another identity it doesn't exist.
func (h *HTTPHandler) lookup(x *exchange) (*httpSession, error) {
	id := x.r.Header.Get(mcp.HeaderSessionID)
	if id == "" {
		return nil, errSessionMissing
	}
	h.mu.Lock()
	s := h.sessions[id]
	h.mu.Unlock()
	switch {
	case s == nil && h.closing.Load():
		return nil, errShutdown
	case h.o.Sessions != nil:
		return h.lookupShared(x, id, s)
	case s == nil || s.identity != x.identity:
		return nil, errSessionUnknown
	}
	s.enter()
	return s, nil
}

// lookupShared consults the store first: another replica may have opened the session, or ended it.
func (h *HTTPHandler) lookupShared(x *exchange, id string, s *httpSession) (*httpSession, error) {
	record, err := h.o.Sessions.Load(x.r.Context(), id)
	switch {
	case errors.Is(err, ErrNoSession):
		if s != nil {
			h.drop(s)
		}
		return nil, errSessionUnknown
	case err != nil:
		h.core.log.Error("the session store fails", "error", err)
		return nil, errStoreFails
	case record.Identity != x.identity:
		return nil, errSessionUnknown
	case s == nil:
		if s, err = h.adopt(x, record); err != nil {
			return nil, err
		}
	}
	if !s.enter() {
		return nil, errMoved
	}
	// Whoever finds a session that is being taken over waits for that: its streams are not there before.
	s.adopted.Do(func() { s.takeOver(x.ctx, record) })
	if errors.Is(s.save(), ErrNoSession) {
		s.exit()
		return nil, errMoved
	}
	return s, nil
}

// adopt makes room for a session that another replica opened.
func (h *HTTPHandler) adopt(x *exchange, record SessionRecord) (*httpSession, error) {
	if err := h.admit(x.identity); err != nil {
		return nil, err
	}
	s := h.newHTTPSession(x.ctx, record.ID, record.Identity)
	if first := h.add(s); first != s {
		h.leave(x.identity)
		return first, nil
	}
	if h.closing.Load() {
		h.drop(s)
		return nil, errShutdown
	}
	return s, nil
}

// save tells the store what the session has become. It may run with a stream locked.
func (s *httpSession) save() error {
	h := s.handler
	if h.o.Sessions == nil {
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.ctx.Err() != nil {
		return nil
	}
	err := h.o.Sessions.Save(s.ctx, s.sharedRecord(), h.o.IdleTimeout)
	switch {
	case errors.Is(err, ErrNoSession):
		go h.drop(s) // which waits for the streams
	case err != nil && s.ctx.Err() == nil:
		h.core.log.Error("a session could not be saved", "error", err)
	}
	return err
}

// enter marks the session as used until exit, unless this replica has given it up.
func (s *httpSession) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	s.uses++
	return true
}

func (s *httpSession) exit() {
	s.mu.Lock()
	s.uses--
	s.used = time.Now()
	s.mu.Unlock()
	s.handler.retire(context.WithoutCancel(s.ctx), s)
}

// listen marks an exchange that has entered as one that Shutdown does not wait for, until it has ended.
func (s *httpSession) listen() (ended func()) {
	count := func(more int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners += more
	}
	count(1)
	s.handler.retire(context.WithoutCancel(s.ctx), s)
	return func() { count(-1) }
}

func (s *httpSession) idleFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses > 0 {
		return 0
	}
	return time.Since(s.used)
}
