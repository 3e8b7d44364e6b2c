// Package simulator is an in-memory Chats API with a scripted agent. It answers
// over real HTTP and WebSocket as the recordings of Coder servers do: the
// demo's backend and the tests' peer.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Server is one deployment. It is an http.Handler; Close ends its goroutines.
type Server struct {
	options Options
	gen     behaviour
	tokens  map[string]*User
	limits  *limiter
	routes  *router

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{} // of Capacity

	// mu guards all below, chats and what hangs on them included: a turn holds
	// it for one event at a time.
	mu          sync.Mutex
	closed      bool
	chats       map[uuid.UUID]*chat
	files       map[uuid.UUID]*file
	workspaces  map[uuid.UUID]*workspace
	watchers    map[uuid.UUID]map[*feed]struct{}
	lastMessage int64
	lastQueued  int64
	modelCalls  int
	sockets     map[*socket]struct{}
	requests    map[string]int
	intercept   func(http.ResponseWriter, *http.Request) bool
}

// New makes a server in the state that o describes.
func New(o Options) *Server {
	o = o.withDefaults()
	s := &Server{
		options:    o,
		gen:        behaviourOf(o.Generation),
		tokens:     map[string]*User{},
		chats:      map[uuid.UUID]*chat{},
		files:      map[uuid.UUID]*file{},
		workspaces: map[uuid.UUID]*workspace{},
		watchers:   map[uuid.UUID]map[*feed]struct{}{},
		sockets:    map[*socket]struct{}{},
		requests:   map[string]int{},

		lastMessage: o.LastMessageID, lastQueued: o.LastQueuedID,
	}
	s.limits = &limiter{window: s.scaled(time.Minute), buckets: map[string]*bucket{}}
	for i := range o.Users {
		s.tokens[o.Users[i].Token] = &o.Users[i]
	}
	for _, w := range o.Workspaces {
		s.workspaces[w.ID] = newWorkspace(w)
	}
	if o.Capacity > 0 {
		s.slots = make(chan struct{}, o.Capacity)
	}
	s.routes = s.newRouter()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends every turn and says goodbye on every socket, and returns when all
// goroutines of the server are gone.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.goodbye()
	s.cancel()
	s.work.Wait()
}

// Instance is a Server that listens on loopback.
type Instance struct {
	*Server
	URL string // http://127.0.0.1:PORT

	http *http.Server
	done chan struct{}
}

// Start serves a new Server on a free port of 127.0.0.1.
func Start(o Options) (*Instance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the simulator: %w", err)
	}
	s := New(o)
	i := &Instance{
		Server: s, URL: "http://" + l.Addr().String(),
		http: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	go func() {
		defer close(i.done)
		if err := i.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.options.Logger.Error("the simulator stopped serving", "error", err)
		}
	}()
	return i, nil
}

// Close ends the listener and the server.
func (i *Instance) Close() {
	i.Server.Close()
	_ = i.http.Close()
	<-i.done
}

// Users lists who may sign in.
func (s *Server) Users() []User { return append([]User(nil), s.options.Users...) }

// Requests counts requests by pattern, "GET /chats/{chat}/messages", WebSocket
// handshakes and refused requests included.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// Intercept lets f see every request first; true means that f has answered it.
// Nil ends that.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	intercept := s.intercept
	s.mu.Unlock()
	h := w.Header()
	h.Set("X-Coder-Request-Id", uuid.NewString())
	h.Set("X-Coder-Build-Version", s.gen.version)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Origin, Cookie")
	h.Add("Set-Cookie", "csrf_token="+uuid.NewString()+"; Path=/; HttpOnly; SameSite=Lax")
	match := s.routes.match(r)
	s.mu.Lock()
	s.requests[r.Method+" "+match.pattern]++
	s.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	s.answer(w, r, match)
}

// scaled turns a duration of the real server into one of this run.
func (s *Server) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.options.Speed)
}

// spawn runs f until the server closes. The lock is held.
func (s *Server) spawn(f func()) {
	if s.closed {
		return
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		f()
	}()
}

// pause waits for d, not scaled, and reports whether ctx lived through it.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// now is the time as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
