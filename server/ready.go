package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"coder-chats-mcp/client"
)

// readiness is whether Coder is reachable, asked at most every few seconds however many probes come, and whatever becomes of them.
type readiness struct {
	client *client.Client
	ctx    context.Context
	end    context.CancelFunc
	asking sync.WaitGroup

	mu      sync.Mutex
	checked time.Time
	err     error
	asked   chan struct{} // closed with the answer; nil while nobody asks
}

const readyFor = 5 * time.Second

func newReadiness(c *client.Client) *readiness {
	r := &readiness{client: c}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

func (r *readiness) serve(w http.ResponseWriter, q *http.Request) {
	select {
	case <-r.fresh():
	case <-q.Context().Done():
		return
	}
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err != nil {
		http.Error(w, "Coder is not reachable: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

var answered = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// fresh is closed when the answer is.
func (r *readiness) fresh() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.asked != nil:
		return r.asked
	case time.Since(r.checked) <= readyFor || r.ctx.Err() != nil:
		return answered
	}
	asked := make(chan struct{})
	r.asked = asked
	r.asking.Go(func() {
		defer close(asked)
		ctx, cancel := context.WithTimeout(client.Once(r.ctx), readyFor)
		defer cancel()
		_, err := r.client.BuildInfo(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checked, r.err, r.asked = time.Now(), err, nil
	})
	return asked
}

func (r *readiness) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.asking.Wait()
}
