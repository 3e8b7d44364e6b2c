package transport

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Session is one client: a stdio connection, an HTTP session, or a single HTTP request of protocol 2026-07-28. All
// methods may be called at any time from any goroutine.
type Session struct {
	core     *Core
	id       string
	identity string
	overHTTP bool
	shown    bool // the client has the id
	ctx      context.Context
	cancel   context.CancelCauseFunc
	out      *outbox // what belongs to no request
	counts   counters
	begun    atomic.Bool // SessionOpened was called

	mu        sync.Mutex
	legacy    bool // initialize was answered
	resumed   bool // another replica had it before
	client    mcp.Implementation
	caps      mcp.ClientCapabilities
	version   string
	level     mcp.LoggingLevel
	inflight  map[string]*request
	running   int           // requests in inflight that have a goroutine, and pings
	closing   bool          // no new requests
	quiet     chan struct{} // closed once closing and nothing runs
	subs      subscriptions
	asked     asked
	roots     roots
	ordered   chan struct{} // closed when the last subscribe or unsubscribe request is done
	values    map[any]any
	valuesMu  sync.Mutex
	closeOnce sync.Once
}

var (
	_ server.SessionWithLogging         = (*Session)(nil)
	_ server.SessionWithClientInfo      = (*Session)(nil)
	_ server.SessionWithProtocolVersion = (*Session)(nil)
	_ server.SessionWithElicitation     = (*Session)(nil)
	_ server.SessionWithSampling        = (*Session)(nil)
	_ server.SessionWithRoots           = (*Session)(nil)
)

// newSession makes a session whose context keeps the values of ctx, but not its end.
func (c *Core) newSession(ctx context.Context, id string) *Session {
	if id == "" {
		id = uuid.NewString()
	}
	s := &Session{core: c, id: id, quiet: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.out = newOutbox(c.opts.MaxQueued, &s.counts, &c.counts)
	return s
}

// SessionFromContext returns the session whose request ctx belongs to, or nil outside of one.
func SessionFromContext(ctx context.Context) *Session {
	if r := requestFrom(ctx); r != nil {
		return r.session
	}
	return nil
}

// ID identifies the session; over HTTP it is the Mcp-Session-Id, or random for protocol 2026-07-28.
func (s *Session) ID() string { return s.id }

// SharedID is the id where the client knows it, the Mcp-Session-Id; empty on stdio and in protocol 2026-07-28.
func (s *Session) SharedID() string {
	if s.shown {
		return s.id
	}
	return ""
}

// OverHTTP tells streamable HTTP from stdio.
func (s *Session) OverHTTP() bool { return s.overHTTP }

// Identity is what HTTPOptions.Identify returned for the request that opened the session; empty on stdio.
func (s *Session) Identity() string { return s.identity }

// Client says what the client calls itself.
func (s *Session) Client() mcp.Implementation { s.mu.Lock(); defer s.mu.Unlock(); return s.client }

// Capabilities are those the client declared: with initialize, or with its latest request of protocol 2026-07-28.
func (s *Session) Capabilities() mcp.ClientCapabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps
}

// Resumed says that another replica had the session before: what happened between its end and now was not told.
func (s *Session) Resumed() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.resumed }

// ProtocolVersion is the negotiated version, or that of the latest request for a client of 2026-07-28.
func (s *Session) ProtocolVersion() string { s.mu.Lock(); defer s.mu.Unlock(); return s.version }

// Context lives as long as the session and has the values of the context it was opened with.
func (s *Session) Context() context.Context { return s.ctx }

// Done is closed when the session ends.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Stats counts the messages to this session.
func (s *Session) Stats() Stats { return s.counts.stats() }

// LoadOrStore returns the session's value for key, made by create the first time. create must not call LoadOrStore.
func (s *Session) LoadOrStore(key any, create func() any) any {
	s.valuesMu.Lock()
	defer s.valuesMu.Unlock()
	if v, ok := s.values[key]; ok {
		return v
	}
	if s.values == nil {
		s.values = map[any]any{}
	}
	v := create()
	s.values[key] = v
	return v
}

// open calls SessionOpened once.
func (s *Session) open() {
	if hook := s.core.opts.Hooks.SessionOpened; s.begun.CompareAndSwap(false, true) && hook != nil {
		s.tell(func() { hook(s) })
	}
}

// tell calls a hook that has no answer, and survives it.
func (s *Session) tell(hook func()) {
	defer func() {
		if p := recover(); p != nil {
			s.core.log.Error("panic in a hook", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	hook()
}

// close ends the session: its requests are cancelled, its subscriptions given up, its outbox takes nothing more.
func (s *Session) close(cause error) {
	s.closeOnce.Do(func() {
		s.stop()
		s.cancel(cause)
		s.releaseAll()
		s.out.close()
		if hook := s.core.opts.Hooks.SessionClosed; s.begun.Load() && hook != nil {
			s.tell(func() { hook(s) })
		}
	})
}

// stop refuses new requests. quiet is closed when the last running one is done.
func (s *Session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	if s.running == 0 {
		close(s.quiet)
	}
}

// The rest is what mcp-go asks of a session.

// SessionID is ID, under mcp-go's name.
func (s *Session) SessionID() string { return s.id }

// Initialize and Initialized exist for mcp-go. A session is always ready: the outbox keeps what comes early.
func (s *Session) Initialize() {}

// Initialized is always true.
func (s *Session) Initialized() bool { return true }

// NotificationChannel is nil, so that mcp-go's lossy senders fail at once instead of losing a part.
func (s *Session) NotificationChannel() chan<- mcp.JSONRPCNotification { return nil }

// GetClientInfo is Client, under mcp-go's name.
func (s *Session) GetClientInfo() mcp.Implementation { return s.Client() }

// GetClientCapabilities is Capabilities, under mcp-go's name.
func (s *Session) GetClientCapabilities() mcp.ClientCapabilities { return s.Capabilities() }

// SetClientInfo is called by mcp-go. What initialize said stands: a request of 2026-07-28 on the same connection
// speaks for itself alone.
func (s *Session) SetClientInfo(client mcp.Implementation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.legacy {
		s.client = client
	}
}

// SetClientCapabilities is called by mcp-go.
func (s *Session) SetClientCapabilities(caps mcp.ClientCapabilities) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.legacy {
		s.caps = caps
	}
}

// SetProtocolVersion is called by mcp-go.
func (s *Session) SetProtocolVersion(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

// initializing and initialized enclose the handling of initialize, which mcp-go reports by SetProtocolVersion.
func (s *Session) initializing() { s.mu.Lock(); s.legacy, s.version = false, ""; s.mu.Unlock() }

func (s *Session) initialized() { s.mu.Lock(); s.legacy = s.version != ""; s.mu.Unlock() }

func (s *Session) isLegacy() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.legacy }
