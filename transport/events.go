package transport

import (
	"context"
	"errors"
	"strconv"
	"sync"
)

// ErrUnknownEvent says that a stream can't be resumed from an event: it never was, or has been forgotten.
var ErrUnknownEvent = errors.New("unknown or forgotten event id")

// Event is one message on a stream, with the id that a client resumes after.
type Event struct {
	ID   string
	Data []byte
	// Last marks the response, after which the stream has nothing more.
	Last bool
}

// EventStore is the log that Last-Event-ID resumes from. Streams are named within their session. An implementation on
// shared storage lets any replica resume any stream.
type EventStore interface {
	// Append logs events, whose IDs are empty, and returns their ids in order. An id is unique within its stream and
	// of the characters A-Z, a-z, 0-9 and -. The data must be copied if it is kept in another form than as it is.
	Append(ctx context.Context, session, stream string, events []Event) (ids []string, err error)
	// After returns what followed the event with the given id on the same stream, or ErrUnknownEvent.
	After(ctx context.Context, session, stream, id string) ([]Event, error)
	// Drop forgets a session that has ended.
	Drop(ctx context.Context, session string) error
}

// MemoryEvents is an EventStore in memory that keeps the newest events of each session, across its streams.
type MemoryEvents struct {
	limit    int
	mu       sync.Mutex
	sessions map[string]*sessionEvents
}

type sessionEvents struct {
	last  int64
	bytes int
	log   []loggedEvent
}

type loggedEvent struct {
	Event
	stream string
	number int64
}

// NewMemoryEvents returns a store that keeps up to limit bytes of messages for each session, 64 KiB if limit is 0, and
// always the newest one.
func NewMemoryEvents(limit int) *MemoryEvents {
	return &MemoryEvents{limit: orDefault(limit, 64<<10), sessions: map[string]*sessionEvents{}}
}

// eventOverhead is what a logged event costs besides its data.
const eventOverhead = 96

// Append implements EventStore.
func (m *MemoryEvents) Append(_ context.Context, session, stream string, events []Event) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[session]
	if s == nil {
		s = &sessionEvents{}
		m.sessions[session] = s
	}
	ids := make([]string, len(events))
	for i, e := range events {
		s.last++
		ids[i] = strconv.FormatInt(s.last, 36)
		e.ID = ids[i]
		s.log = append(s.log, loggedEvent{e, stream, s.last})
		s.bytes += len(e.Data) + eventOverhead
	}
	s.forget(m.limit)
	return ids, nil
}

func (s *sessionEvents) forget(limit int) {
	n := 0
	for s.bytes > limit && n < len(s.log)-1 {
		s.bytes -= len(s.log[n].Data) + eventOverhead
		s.log[n] = loggedEvent{}
		n++
	}
	s.log = s.log[n:]
}

// After implements EventStore.
func (m *MemoryEvents) After(_ context.Context, session, stream, id string) ([]Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[session]
	number, err := strconv.ParseInt(id, 36, 64)
	if s == nil || err != nil {
		return nil, ErrUnknownEvent
	}
	known := false
	var events []Event
	for _, e := range s.log {
		if e.stream != stream {
			continue
		}
		known = known || e.number == number
		if known && e.number > number {
			events = append(events, e.Event)
		}
	}
	if !known {
		return nil, ErrUnknownEvent
	}
	return events, nil
}

// Drop implements EventStore.
func (m *MemoryEvents) Drop(_ context.Context, session string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, session)
	if len(m.sessions) == 0 {
		m.sessions = map[string]*sessionEvents{} // a map keeps the memory of its best days
	}
	return nil
}
