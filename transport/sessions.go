package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// ErrNoSession says that a session is unknown, ended or expired.
var ErrNoSession = errors.New("no such MCP session")

// SessionRecord is what another replica needs to go on with an HTTP session. It holds no secret as long as
// HTTPOptions.Identify returns none.
type SessionRecord struct {
	ID              string                 `json:"id"`
	Identity        string                 `json:"identity"`
	ProtocolVersion string                 `json:"protocol_version"`
	Client          mcp.Implementation     `json:"client"`
	Capabilities    mcp.ClientCapabilities `json:"capabilities"`
	LogLevel        mcp.LoggingLevel       `json:"log_level,omitempty"`
	Subscriptions   []string               `json:"subscriptions,omitempty"`
	Calls           []CallRecord           `json:"calls,omitempty"`
}

// SessionStore shares HTTP sessions between replicas. It is read with every request of a session, so that one that
// was ended on any replica is gone on all.
type SessionStore interface {
	// Save keeps the record until ttl has passed without another Save. ErrNoSession says that the session was ended, or
	// belongs to another replica now: then it is over here.
	Save(ctx context.Context, record SessionRecord, ttl time.Duration) error
	// Load returns the record or ErrNoSession.
	Load(ctx context.Context, id string) (SessionRecord, error)
	// Delete ends the session for all replicas.
	Delete(ctx context.Context, id string) error
	// Release says that this replica is done with the session: nobody has it, and anyone may go on with it. What this
	// replica saves afterwards, by mistake, must not take it back. A session that is not this replica's stays as it is.
	Release(ctx context.Context, id string) error
}

// MemorySessions is a SessionStore for handlers within one process.
type MemorySessions struct {
	mu      sync.Mutex
	records map[string]expiringRecord
}

type expiringRecord struct {
	SessionRecord
	expires time.Time
}

// NewMemorySessions returns an empty store.
func NewMemorySessions() *MemorySessions {
	return &MemorySessions{records: map[string]expiringRecord{}}
}

// Save implements SessionStore.
func (m *MemorySessions) Save(_ context.Context, record SessionRecord, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[record.ID] = expiringRecord{record, time.Now().Add(ttl)}
	return nil
}

// Load implements SessionStore.
func (m *MemorySessions) Load(_ context.Context, id string) (SessionRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[id]
	if !ok || time.Now().After(r.expires) {
		delete(m.records, id)
		return SessionRecord{}, ErrNoSession
	}
	return r.SessionRecord, nil
}

// Delete implements SessionStore.
func (m *MemorySessions) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, id)
	return nil
}

// Release implements SessionStore. Here everybody has every session.
func (m *MemorySessions) Release(context.Context, string) error { return nil }

// record describes the session as it is now.
func (s *Session) record() SessionRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := SessionRecord{ID: s.id, Identity: s.identity, ProtocolVersion: s.version, Client: s.client, Capabilities: s.caps, LogLevel: s.level}
	for uri := range s.subs.legacy {
		r.Subscriptions = append(r.Subscriptions, uri)
	}
	return r
}

// restore makes a fresh session the one that r describes. A subscription that is refused now is left out.
func (s *Session) restore(r SessionRecord) {
	s.mu.Lock()
	s.identity, s.version, s.client, s.caps, s.level = r.Identity, r.ProtocolVersion, r.Client, r.Capabilities, r.LogLevel
	s.legacy, s.resumed = true, true
	s.mu.Unlock()
	s.open()
	for _, uri := range r.Subscriptions {
		if err := s.subscribe(uri); err != nil {
			s.core.log.Warn("a subscription of a resumed session was refused", "uri", uri, "error", err)
		}
	}
}
