package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"coder-chats-mcp/client"
)

// reconnect calls connect again and again, with jittered pauses, until ctx ends or the API refuses for good; it returns why.
// connect calls up when the connection proved good. t is told why there is none.
func (r *Relay) reconnect(ctx context.Context, what string, t *trouble, connect func(up func()) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = r.options.MinBackoff, r.options.MaxBackoff
	for {
		err := connect(func() {
			pause.Reset()
			t.last.Store(nil)
		})
		if ctx.Err() != nil {
			return ErrClosed
		}
		var permanent *backoff.PermanentError
		if errors.As(err, &permanent) {
			return permanent.Unwrap()
		}
		if refused(err) {
			return err
		}
		t.last.Store(&err)
		wait := max(pause.NextBackOff(), retryAfter(err))
		r.options.Logger.Info("upstream socket ended, will reconnect", "what", what, "error", err, "pause", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ErrClosed
		}
	}
}

// trouble is why there is no connection at present.
type trouble struct{ last atomic.Pointer[error] }

// now is nil while the connection is up.
func (t *trouble) now() error {
	if err := t.last.Load(); err != nil {
		return *err
	}
	return nil
}

// passing is a refusal that may pass.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

// refused: asking again will not help.
func refused(err error) bool {
	var later passing
	if errors.As(err, &later) {
		return false
	}
	switch client.KindOf(err) {
	case client.KindUnauthorized, client.KindForbidden, client.KindNotFound, client.KindInvalidArgument, client.KindUnsupported:
		return true
	}
	return false
}

func retryAfter(err error) time.Duration {
	var e *client.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// sharing counts the listeners of a feed. Relay.mu guards it.
type sharing struct {
	listeners int
	timer     *time.Timer
}

// join: the caller holds Relay.mu.
func (s *sharing) join() {
	s.listeners++
	s.stop()
}

// leave calls end, with Relay.mu held, when nobody joined for Options.Linger.
func (s *sharing) leave(r *Relay, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.listeners--
	if s.listeners > 0 || r.ctx.Err() != nil {
		return
	}
	s.stop()
	s.timer = time.AfterFunc(r.options.Linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if s.listeners == 0 {
			end()
		}
	})
}

func (s *sharing) stop() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
