package transport

import (
	"context"
	"net/http"
	"sync"
)

var errShutdown = &HTTPError{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Message: "the server is stopping"}

// join lets one more exchange be waited for by Shutdown, unless that has begun.
func (h *HTTPHandler) join(group *sync.WaitGroup) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return errShutdown
	}
	group.Add(1)
	return nil
}

// track and untrack keep the sessions of requests of protocol 2026-07-28 within Shutdown's reach.
func (h *HTTPHandler) track(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modern[s] = struct{}{}
	if h.closing {
		s.stop()
	}
}

func (h *HTTPHandler) untrack(s *Session) { h.mu.Lock(); delete(h.modern, s); h.mu.Unlock() }

// Shutdown refuses new requests with 503, ends subscriptions/listen streams with their result, then GET streams, then
// lets running calls finish until ctx ends, cuts the rest short, and ends all sessions here; those in a SessionStore
// live on for other replicas. It returns ctx's error if it had to cut anything. Call it before http.Server.Shutdown,
// which waits for streams.
func (h *HTTPHandler) Shutdown(ctx context.Context) error {
	h.stop()
	sessions, modern := h.live()
	for _, s := range modern {
		s.stop()
		s.endListens()
	}
	ended := wait(ctx, &h.listening)
	for _, s := range sessions {
		s.own.mu.Lock()
		s.own.kick()
		s.own.mu.Unlock()
	}
	ended = wait(ctx, &h.gets) && ended
	ended = wait(ctx, &h.posts) && ended
	if !ended {
		h.cutShort(context.WithoutCancel(ctx))
	}
	sessions, _ = h.live()
	for _, s := range sessions {
		h.drop(s)
	}
	if !ended {
		return context.Cause(ctx)
	}
	return nil
}

func (h *HTTPHandler) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.closing = true
		close(h.quit)
	}
	if h.sweeper != nil {
		h.sweeper.Stop()
	}
}

// stopping reports that Shutdown has begun. From then on others may have the sessions, and the calls here end in peace.
func (h *HTTPHandler) stopping() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closing
}

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

// cutShort cancels what still runs and gives it a moment to say so.
func (h *HTTPHandler) cutShort(ctx context.Context) {
	sessions, modern := h.live()
	for _, s := range sessions {
		s.cutShort()
	}
	for _, s := range modern {
		s.cutShort()
	}
	ctx, cancel := context.WithTimeout(ctx, cutGrace)
	defer cancel()
	wait(ctx, &h.posts)
}

func wait(ctx context.Context, group *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
