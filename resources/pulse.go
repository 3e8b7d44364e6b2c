package resources

import (
	"context"
	"time"
)

// updateInterval is the least time between two updates of one address.
const updateInterval = 250 * time.Millisecond

// pulse makes of any number of beats at most one call in each interval, and at least one after the last.
type pulse struct{ pending chan struct{} }

func newPulse() *pulse { return &pulse{pending: make(chan struct{}, 1)} }

func (p *pulse) beat() {
	select {
	case p.pending <- struct{}{}:
	default: // one is pending, and will be told after this
	}
}

func (p *pulse) run(ctx context.Context, tell func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.pending:
		}
		if ctx.Err() != nil {
			return
		}
		tell()
		select {
		case <-ctx.Done():
			return
		case <-time.After(updateInterval):
		}
	}
}
