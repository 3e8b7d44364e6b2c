package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// repeatSafely makes the call, and makes it again after a failure that may pass: a GET only. What writes goes out once.
func (c *Client) repeatSafely(ctx context.Context, k *call, path []string) error {
	o := c.host.options
	waits := &backoff.ExponentialBackOff{
		InitialInterval: o.RetryBase, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: o.MaxRetryWait,
	}
	waits.Reset()
	for try := 1; ; try++ {
		err := c.once(ctx, k, path)
		if err == nil || try > o.Retries || ctx.Value(onceKey{}) != nil || !mayPass(k, err) || limitTold(ctx, err) {
			return err
		}
		wait := waits.NextBackOff()
		if after := retryAfterOf(err); after > 0 {
			wait = after + wait/8 // a little later than told, and not all at once
		}
		if wait > o.MaxRetryWait || !c.sleep(ctx, wait) {
			return err
		}
		o.Logger.Debug("trying again", "operation", k.op, "try", try+1, "waited", wait, "error", err)
	}
}

type onceKey struct{}

// Once makes calls with ctx be tried once, for callers that repeat by themselves and want to know of each failure.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

type tellLimitKey struct{}

// TellLimit makes calls with ctx give up at a rate limit, for callers that wait for it themselves and say so. Other failures are tried again as ever.
func TellLimit(ctx context.Context) context.Context {
	return context.WithValue(ctx, tellLimitKey{}, true)
}

func limitTold(ctx context.Context, err error) bool {
	return ctx.Value(tellLimitKey{}) != nil && IsRateLimited(err)
}

// mayPass reports whether the same GET may work later: the rate limit, a gateway without its server, a connection that
// failed. Not a time-out, which has cost its time already, nor a certificate that will be as wrong.
func mayPass(k *call, err error) bool {
	var e *Error
	if k.methodName() != http.MethodGet || !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusTooManyRequests:
		return e.Kind == KindRateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0:
		var certificate *tls.CertificateVerificationError
		var redirect *RedirectError
		return e.Kind == KindUnavailable && !errors.Is(err, context.Canceled) &&
			!errors.As(err, &certificate) && !errors.As(err, &redirect) && !errors.Is(err, errRedirectLoop)
	}
	return false
}

func retryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// sleep waits, unless ctx ends before: then at once, so that the caller sees the failure and not the deadline.
func (c *Client) sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
