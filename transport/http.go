package transport

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// HTTPOptions configures an HTTPHandler. The zero value of every field means its default.
type HTTPOptions struct {
	// Identify says who calls. identity binds sessions to their caller: another identity's session doesn't exist.
	// It is stored and compared, so it should be a hash and not the credential itself. The values of ctx, which
	// should descend from the request's, reach the handlers and, from the request that opened it, Session.Context.
	// An error refuses the request: as it says if it is an *HTTPError, else with 401. Default: everybody is "".
	Identify func(*http.Request) (identity string, ctx context.Context, err error)
	// AllowedHosts are further values of the Host header to accept, with or without a port; "*" is any. Loopback
	// names and the address the connection came to are always accepted, anything else is 403: DNS rebinding.
	AllowedHosts []string
	// AllowedOrigins are origins ("https://app.example") whose pages may call, for which CORS is then answered.
	// A request from any other page is 403, unless page and server are on the same host or both on loopback.
	AllowedOrigins []string
	// AllowedHeaders are headers that those pages may send besides MCP's own.
	AllowedHeaders []string
	// MaxBody is the longest message in bytes; more is 413. Default 4 MiB.
	MaxBody int64
	// MaxSessions bounds sessions and listen streams together, MaxSessionsPerCaller those of one identity; one more
	// is 429. Default 10,000, and no bound of its own per caller.
	MaxSessions, MaxSessionsPerCaller int
	// IdleTimeout ends a session that has neither a request nor a stream for so long. Default 30 min.
	IdleTimeout time.Duration
	// FirstByte is when a call that still runs opens its stream with a comment, KeepAlive the time from one comment
	// to the next. Default 10 s and 15 s.
	FirstByte, KeepAlive time.Duration
	// Events is what lost streams resume from. Default NewMemoryEvents(0).
	Events EventStore
	// Sessions, if set, lets any replica that shares it and Events go on with a session.
	Sessions SessionStore
}

// HTTPError refuses a request on the level of HTTP.
type HTTPError struct {
	Status  int
	Header  http.Header
	Message string
}

func (e *HTTPError) Error() string { return e.Message }

// HTTPHandler serves MCP over streamable HTTP at whatever path it is mounted: protocols 2025-03-26 to 2025-11-25 with
// sessions, and 2026-07-28 without. Deadlines go around it.
type HTTPHandler struct {
	core *Core
	o    HTTPOptions
	crew *crew
	quit chan struct{} // closed by Shutdown

	closing atomic.Bool // Shutdown has begun; it is set with mu held

	mu       sync.Mutex
	sessions map[string]*httpSession
	modern   map[*Session]struct{} // of running requests of protocol 2026-07-28
	callers  map[string]int        // sessions and listen streams by identity
	admitted int                   // their sum
	sweeper  *time.Timer           // set while there are sessions

	posts, gets, listening tally
	held                   tally // sessions that are not given up
}

// HTTPHandler returns a handler for c's sessions. Shutdown ends it.
func (c *Core) HTTPHandler(o HTTPOptions) *HTTPHandler {
	if o.Identify == nil {
		o.Identify = func(r *http.Request) (string, context.Context, error) { return "", r.Context(), nil }
	}
	o.MaxBody = int64(orDefault(int(o.MaxBody), 4<<20))
	o.MaxSessions = orDefault(o.MaxSessions, 10_000)
	o.IdleTimeout = orDefault(o.IdleTimeout, 30*time.Minute)
	o.FirstByte = orDefault(o.FirstByte, 10*time.Second)
	o.KeepAlive = orDefault(o.KeepAlive, 15*time.Second)
	if o.Events == nil {
		o.Events = NewMemoryEvents(0)
	}
	quit := make(chan struct{})
	return &HTTPHandler{core: c, o: o, crew: newCrew(quit), quit: quit, sessions: map[string]*httpSession{}, modern: map[*Session]struct{}{}, callers: map[string]int{}}
}

// exchange is one HTTP request on its way through the handler.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	identity  string
	ctx       context.Context // the values of Identify, without the end of the request
	version   string          // of the header
	streaming bool            // the header of an event stream has been sent
}

func (h *HTTPHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{w: w, r: r, version: r.Header.Get(mcp.HeaderProtocolVersion)}
	if err := h.serve(x); err != nil {
		refuse(w, err)
	}
}

func (h *HTTPHandler) serve(x *exchange) error {
	if err := h.checkSource(x); err != nil {
		return err
	}
	if x.r.Method == http.MethodOptions {
		return h.preflight(x, "POST, GET, DELETE")
	}
	identity, ctx, err := h.o.Identify(x.r)
	if err != nil {
		return identification(err)
	}
	x.identity, x.ctx = identity, context.WithoutCancel(ctx)
	switch x.r.Method {
	case http.MethodPost:
		return h.post(x)
	case http.MethodGet, http.MethodDelete:
		if mcp.IsModernProtocol(x.version) {
			return &HTTPError{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"POST"}},
				Message: x.r.Method + " is not part of protocol " + x.version + ": use subscriptions/listen"}
		}
		s, err := h.lookup(x)
		if err != nil {
			return err
		}
		defer s.exit()
		if x.r.Method == http.MethodDelete {
			h.end(s)
			x.w.WriteHeader(http.StatusOK)
			return nil
		}
		return h.get(x, s)
	default:
		return &HTTPError{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"POST, GET, DELETE"}}, Message: "use POST, GET or DELETE"}
	}
}

func identification(err error) error {
	var refused *HTTPError
	if errors.As(err, &refused) {
		return refused
	}
	return &HTTPError{Status: http.StatusUnauthorized, Header: http.Header{"WWW-Authenticate": {"Bearer"}}, Message: err.Error()}
}

// refuse answers with an error that belongs to no message.
func refuse(w http.ResponseWriter, err error) {
	var e *HTTPError
	if !errors.As(err, &e) {
		e = &HTTPError{Status: http.StatusInternalServerError, Message: "the server failed on this request"}
	}
	for name, values := range e.Header {
		w.Header()[name] = values
	}
	writeJSON(w, e.Status, encodeError(nil, &Error{Code: codeBusy, Message: e.Message}))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
