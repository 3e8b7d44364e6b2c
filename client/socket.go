package client

import (
	"context"
	"errors"
	"iter"
)

var errNotYet = errors.New("not yet")

type socket struct{}

func (s *socket) Close() error { return nil }

func (c *Client) dial(ctx context.Context, k call) (*socket, error) { return nil, errNotYet }

// pump ranges over next until it fails.
func pump[T any](ctx context.Context, next func(context.Context) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := next(ctx)
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}
