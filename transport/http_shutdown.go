package transport

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// refusedForNow ends the connection, too: the next one may reach a server that goes on.
var refusedForNow = http.Header{"Retry-After": {"1"}, "Connection": {"close"}, HeaderMoved: {"1"}}

var (
	errShutdown = &HTTPError{Status: http.StatusServiceUnavailable, Header: refusedForNow, Message: "the server is stopping"}
	errMoved    = &HTTPError{Status: http.StatusServiceUnavailable, Header: refusedForNow, Message: "the session is moving to another replica: repeat the request"}
)

// Shutdown refuses new sessions and requests of protocol 2026-07-28 with 503, ends subscriptions/listen streams with their
// result, lets running calls finish until ctx ends, and cuts the rest short, which is then answered. It returns ctx's error
// if it had to cut anything. Call it before http.Server.Shutdown, which waits for streams.
//
// Without a SessionStore, GET streams end at once, and sessions take nothing more but responses, notifications, ping and
// DELETE. With one, a session is given up as soon as no call of it runs, so that another replica can go on with it, and is
// served completely until then.
func (h *HTTPHandler) Shutdown(ctx context.Context) error {
	h.stop()
	sessions, modern := h.live()
	for _, s := range modern {
		s.stop()
		s.endListens()
	}
	ended := true
	if h.o.Sessions == nil {
		for _, s := range sessions {
			s.own.mu.Lock()
			s.own.kick()
			s.own.mu.Unlock()
		}
		ended = h.gets.wait(ctx)
	} else {
		eachOf(sessions, func(s *httpSession) { h.retire(ctx, s) })
		ended = h.held.wait(ctx)
	}
	ended = h.listening.wait(ctx) && ended
	ended = h.posts.wait(ctx) && ended
	rest := context.WithoutCancel(ctx)
	if !ended {
		h.cutShort(rest)
	}
	h.giveUpAll(rest)
	if !ended {
		return context.Cause(ctx)
	}
	return nil
}

func (h *HTTPHandler) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing.Swap(true) {
		close(h.quit)
	}
	if h.sweeper != nil {
		h.sweeper.Stop()
	}
}

// join lets one more exchange be waited for by Shutdown, unless that has begun.
func (h *HTTPHandler) join(group *tally) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Load() {
		return errShutdown
	}
	group.add()
	return nil
}

// joinSession is join for an exchange of a session: one that Shutdown has not given up yet goes on.
func (h *HTTPHandler) joinSession(group *tally) error {
	if h.o.Sessions == nil {
		return h.join(group)
	}
	group.add()
	return nil
}

// track and untrack keep the sessions of requests of protocol 2026-07-28 within Shutdown's reach.
func (h *HTTPHandler) track(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modern[s] = struct{}{}
	if h.closing.Load() {
		s.stop()
	}
}

func (h *HTTPHandler) untrack(s *Session) { h.mu.Lock(); delete(h.modern, s); h.mu.Unlock() }

func (h *HTTPHandler) live() (sessions []*httpSession, modern []*Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		sessions = append(sessions, s)
	}
	for s := range h.modern {
		modern = append(modern, s)
	}
	return sessions, modern
}

// retire gives a session up that has nothing to do here any more, once Shutdown has begun and if another replica can go on
// with it.
func (h *HTTPHandler) retire(ctx context.Context, s *httpSession) {
	if h.o.Sessions != nil && h.closing.Load() && s.idle() {
		h.handOver(ctx, s)
	}
}

// idle reports, once, that no call of the session runs, is being sent, or may still be resumed here. From then on the
// session takes nothing more.
func (s *httpSession) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.uses > s.listeners || len(s.streams) > 1 {
		return false
	}
	s.gone = true
	return true
}

// releasing bounds how long the store may take to hear that a session is given up. A replica that has left has none.
const releasing = 2 * time.Second

// handOver ends a session here and tells the store that anybody may go on with it, in this order: nothing that is saved
// late takes it back.
func (h *HTTPHandler) handOver(ctx context.Context, s *httpSession) {
	if !h.remove(s) {
		return
	}
	defer h.held.done()
	h.close(s)
	s.saving.Lock() // what is being saved is saved
	defer s.saving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, releasing)
	defer cancel()
	if err := h.o.Sessions.Release(ctx, s.id); err != nil {
		h.core.log.Warn("a session could not be released: others take it when they notice that this replica is gone", "error", err)
	}
}

// giveUpAll ends the sessions that are left.
func (h *HTTPHandler) giveUpAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releasing)
	defer cancel()
	sessions, _ := h.live()
	eachOf(sessions, func(s *httpSession) {
		if h.o.Sessions == nil {
			h.drop(s)
			return
		}
		s.mu.Lock()
		s.gone = true
		s.mu.Unlock()
		h.handOver(ctx, s)
	})
	h.held.wait(ctx)
	h.gets.wait(ctx)
}

// eachOf does something with each session, a few at a time.
func eachOf(sessions []*httpSession, do func(*httpSession)) {
	next := make(chan *httpSession)
	var workers sync.WaitGroup
	for range min(16, len(sessions)) {
		workers.Go(func() {
			for s := range next {
				do(s)
			}
		})
	}
	for _, s := range sessions {
		next <- s
	}
	close(next)
	workers.Wait()
}

// cutShort cancels what still runs and gives it a moment to say so.
func (h *HTTPHandler) cutShort(ctx context.Context) {
	sessions, modern := h.live()
	for _, s := range sessions {
		s.stop()
		s.cutShort()
	}
	for _, s := range modern {
		s.cutShort()
	}
	ctx, cancel := context.WithTimeout(ctx, cutGrace)
	defer cancel()
	h.posts.wait(ctx)
}

// tally counts what runs. Unlike with a sync.WaitGroup, more may come while somebody waits for the end.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0 again; nil unless somebody waits
}

func (t *tally) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait reports whether there was nothing before the end of ctx.
func (t *tally) wait(ctx context.Context) bool {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return true
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return true
	case <-ctx.Done():
		return false
	}
}
