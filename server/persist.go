package server

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// newPause is the pauses between attempts at what has no caller who would hear of a failure: 1 s, growing to a minute.
func newPause() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = time.Second, time.Minute
	return b
}

// persist tries again while the deployment is away, until the API refuses for good or ctx ends.
func persist[T any](ctx context.Context, try func() (T, error)) (T, error) {
	return backoff.Retry(ctx, func() (T, error) {
		v, err := try()
		return v, final(err)
	}, backoff.WithBackOff(newPause()), backoff.WithMaxElapsedTime(0))
}

// final marks an error that the next attempt would meet again.
func final(err error) error {
	switch client.KindOf(err) {
	case client.KindUnauthorized, client.KindForbidden, client.KindNotFound, client.KindUnsupported:
		return backoff.Permanent(err)
	}
	if errors.Is(err, relay.ErrClosed) {
		return backoff.Permanent(err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
