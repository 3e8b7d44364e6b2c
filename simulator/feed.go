package simulator

import (
	"encoding/json"
	"sync"
)

// event is one event of a stream or watch socket, encoded once for all who listen.
type event struct {
	json json.RawMessage
	part bool // may be dropped by a generation that drops

	message int64 // id of the message that it brings, if it does
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // every type that comes here marshals
	}
	return b
}

// feed is the outbox of one socket. Pushing never waits: a slow reader costs
// memory, never the machine's time.
type feed struct {
	wake      chan struct{}
	partLimit int   // pending parts above which further ones are dropped; 0: none
	after     int64 // messages up to this id are held back

	mu      sync.Mutex
	pending []event
	parts   int
}

func newFeed(partLimit int) *feed {
	return &feed{wake: make(chan struct{}, 1), partLimit: partLimit}
}

func (f *feed) push(events ...event) {
	f.mu.Lock()
	for _, e := range events {
		if e.message != 0 && e.message <= f.after {
			continue
		}
		if e.part {
			if f.partLimit > 0 && f.parts >= f.partLimit {
				continue
			}
			f.parts++
		}
		f.pending = append(f.pending, e)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take removes up to most events, oldest first.
func (f *feed) take(most int) []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(most, len(f.pending))
	taken := f.pending[:n:n]
	f.pending = f.pending[n:]
	for _, e := range taken {
		if e.part {
			f.parts--
		}
	}
	return taken
}
