package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"coder-chats-mcp/client"
)

// reconnect calls connect again and again, with jittered pauses, until ctx ends or the API refuses for good; it returns why.
// connect calls up when the connection proved good. t is told why there is none.
func (r *Relay) reconnect(ctx context.Context, what string, t *trouble, connect func(up func()) error) error {
	pauses := newPauses(r.options)
	for {
		err := connect(func() {
			pauses.growing.Reset()
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
		wait := pauses.after(err)
		r.options.Logger.Info("upstream socket ended, will reconnect", "what", what, "error", err, "pause", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ErrClosed
		}
	}
}

// insist repeats try while it fails in a way that may pass, with the pauses of a reconnect, as long as patience lasts and ctx
// does not end before the next attempt. It returns the last failure of the server's then: it says more than that the time is up.
func insist[V any](ctx context.Context, o Options, patience time.Duration, try func() (V, error)) (V, error) {
	until := time.Now().Add(patience)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	pauses := newPauses(o)
	var before error
	for {
		v, err := try()
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return v, cmp.Or(before, err)
		case !mayPass(err):
			return v, err
		}
		before = err
		pause := pauses.after(err)
		if time.Until(until) < pause {
			return v, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return v, err
		}
	}
}

// always is the patience of who waits until the context ends.
const always = 1 << 62 * time.Nanosecond

// pauses are those between attempts.
type pauses struct {
	growing *backoff.ExponentialBackOff
	longest time.Duration
}

func newPauses(o Options) pauses {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = o.MinBackoff, o.MaxBackoff
	return pauses{b, o.MaxBackoff}
}

// after is the pause after a failure: within Options.MaxBackoff, jitter included, unless the server asks for a longer one.
func (p pauses) after(err error) time.Duration {
	return max(min(p.growing.NextBackOff(), p.longest), retryAfter(err))
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
	case client.KindUnauthorized, client.KindForbidden, client.KindNotFound, client.KindInvalidArgument, client.KindUnsupported,
		client.KindTooLarge:
		return true
	}
	return false
}

// mayPass: it is the server or the way to it that failed, and the same may work later.
func mayPass(err error) bool { return client.KindOf(err) != "" && !refused(err) && !misled(err) }

// misled: what answers there is another host, or is not known to be the right one. That passes only when somebody mends it.
func misled(err error) bool {
	var redirect *client.RedirectError
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &redirect) || errors.As(err, &certificate)
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
