package relay

import (
	"context"
	"errors"
	"time"
)

// firstLook is how long a wait may take to see how its chats stand, even when it is shorter itself: an answer without a
// status helps nobody.
const firstLook = 5 * time.Second

// firstTries is how long a first connection is tried again before its failure is the answer: well within firstLook, so that
// whoever waits hears of it.
const firstTries = 3 * time.Second

// patient is ctx for the first look of a wait: it outlives the deadline of ctx, but not its cancellation.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(firstLook, time.Until(deadline)))
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	return long, func() {
		stop()
		cancel()
	}
}
