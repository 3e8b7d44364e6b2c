package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	// MaxBody is the longest message in bytes; more is 413. Default 4 MiB.
	MaxBody int64
	// BodyTimeout is how long a message may take to arrive; then it is 408. Default 30 s.
	BodyTimeout time.Duration
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
// sessions, and 2026-07-28 without.
type HTTPHandler struct {
	core *Core
	o    HTTPOptions

	mu       sync.Mutex
	closing  bool
	sessions map[string]*httpSession
	modern   map[*Session]struct{} // of running requests of protocol 2026-07-28
	callers  map[string]int        // sessions and listen streams by identity
	admitted int                   // their sum
	sweeper  *time.Timer           // set while there are sessions

	posts, gets, listening sync.WaitGroup
}

// HTTPHandler returns a handler for c's sessions. Shutdown ends it.
func (c *Core) HTTPHandler(o HTTPOptions) *HTTPHandler {
	if o.Identify == nil {
		o.Identify = func(r *http.Request) (string, context.Context, error) { return "", r.Context(), nil }
	}
	o.MaxBody = int64(orDefault(int(o.MaxBody), 4<<20))
	o.BodyTimeout = orDefault(o.BodyTimeout, 30*time.Second)
	o.MaxSessions = orDefault(o.MaxSessions, 10_000)
	o.IdleTimeout = orDefault(o.IdleTimeout, 30*time.Minute)
	o.FirstByte = orDefault(o.FirstByte, 10*time.Second)
	o.KeepAlive = orDefault(o.KeepAlive, 15*time.Second)
	if o.Events == nil {
		o.Events = NewMemoryEvents(0)
	}
	return &HTTPHandler{core: c, o: o, sessions: map[string]*httpSession{}, modern: map[*Session]struct{}{}, callers: map[string]int{}}
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
		return h.preflight(x)
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

// checkSource refuses pages and names that were not meant to reach this server.
func (h *HTTPHandler) checkSource(x *exchange) error {
	if !h.knownHost(x.r) {
		return &HTTPError{Status: http.StatusForbidden, Message: "this server does not answer to the Host " + strconv.Quote(x.r.Host)}
	}
	origin := x.r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if slices.Contains(h.o.AllowedOrigins, origin) {
		x.w.Header().Set("Access-Control-Allow-Origin", origin)
		x.w.Header().Set("Access-Control-Expose-Headers", mcp.HeaderSessionID+", WWW-Authenticate, Retry-After")
		x.w.Header().Add("Vary", "Origin")
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !(strings.EqualFold(u.Host, x.r.Host) || isLoopback(u.Host) && isLoopback(x.r.Host)) {
		return &HTTPError{Status: http.StatusForbidden, Message: "pages of the origin " + strconv.Quote(origin) + " may not use this server"}
	}
	return nil
}

func (h *HTTPHandler) knownHost(r *http.Request) bool {
	name := hostname(r.Host)
	if isLoopback(r.Host) {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && hostname(local.String()) == name {
		return true
	}
	return slices.ContainsFunc(h.o.AllowedHosts, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, r.Host) || strings.EqualFold(allowed, name)
	})
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(hostport string) bool {
	host := hostname(hostport)
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

func (h *HTTPHandler) preflight(x *exchange) error {
	if x.w.Header().Get("Access-Control-Allow-Origin") == "" {
		return &HTTPError{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"POST, GET, DELETE"}}, Message: "cross-origin calls are not enabled"}
	}
	x.w.Header().Set("Access-Control-Allow-Methods", "POST, GET, DELETE")
	x.w.Header().Set("Access-Control-Allow-Headers", strings.Join([]string{"Authorization", "Content-Type", "Accept",
		"Coder-Session-Token", mcp.HeaderSessionID, mcp.HeaderProtocolVersion, mcp.HeaderLastEventID, mcp.HeaderMethod, mcp.HeaderName}, ", "))
	x.w.Header().Set("Access-Control-Max-Age", "600")
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// read returns the message in the body.
func (h *HTTPHandler) read(x *exchange) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &HTTPError{Status: http.StatusUnsupportedMediaType, Message: "the Content-Type must be application/json"}
	}
	if !accepts(x.r, "application/json") || !accepts(x.r, "text/event-stream") {
		return nil, &HTTPError{Status: http.StatusNotAcceptable, Message: "Accept must name application/json and text/event-stream"}
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(h.o.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, h.o.MaxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, &HTTPError{Status: http.StatusRequestEntityTooLarge, Message: "a message may have " + strconv.FormatInt(h.o.MaxBody, 10) + " bytes"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &HTTPError{Status: http.StatusRequestTimeout, Message: "the message took too long to arrive"}
	case err != nil:
		return nil, &HTTPError{Status: http.StatusBadRequest, Message: "the message did not arrive whole"}
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

// accepts reports that the client takes the media type; one that sends no Accept takes all.
func accepts(r *http.Request, media string) bool {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, _, err := mime.ParseMediaType(part)
		if err == nil && (name == media || name == "*/*" || name == kind+"/*") {
			return true
		}
	}
	return false
}

// post serves one message.
func (h *HTTPHandler) post(x *exchange) error {
	body, err := h.read(x)
	if err != nil {
		return err
	}
	m, bad := parse(body)
	if bad != nil {
		writeJSON(x.w, http.StatusBadRequest, encodeError(m.ID, bad))
		return nil
	}
	if m.modern() || mcp.IsModernProtocol(x.version) {
		return h.postModern(x, m)
	}
	if x.version != "" && !mcp.IsValidProtocolVersion(x.version) {
		return &HTTPError{Status: http.StatusBadRequest, Message: "unsupported protocol version " + strconv.Quote(x.version) +
			"; this server knows " + strings.Join(mcp.ValidProtocolVersions, ", ")}
	}
	if m.Method == string(mcp.MethodInitialize) && m.ID != nil {
		return h.initialize(x, m)
	}
	s, err := h.lookup(x)
	if err != nil {
		return err
	}
	defer s.exit()
	switch {
	case m.isResponse():
		s.answer(m)
	case m.ID == nil:
		s.hear(x.ctx, m)
	case inline(m.Method):
		writeJSON(x.w, http.StatusOK, s.handle(x.ctx, m))
		s.save()
		return nil
	default:
		return h.call(x, s, m)
	}
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// call runs a request of a session and pours its stream. A lost connection leaves the request running.
func (h *HTTPHandler) call(x *exchange, s *httpSession, m *message) error {
	if err := h.join(&h.posts); err != nil {
		return err
	}
	defer h.posts.Done()
	st := s.newStream()
	r, refused := s.begin(x.ctx, m, st.box)
	if refused != nil {
		s.forget(st)
		return h.refuseRequest(x, m, refused)
	}
	c := st.attach()
	s.enter()
	h.posts.Add(1)
	stop := context.AfterFunc(s.ctx, func() { r.cancel(context.Cause(s.ctx)) })
	turn := s.turn(m.Method)
	go func() {
		defer h.posts.Done()
		defer s.exit()
		defer turn.end()
		turn.await()
		r.finish(h.core.serve(r, m))
		stop()
		st.finished()
		if turn.mine != nil {
			s.save()
		}
	}()
	h.pour(x, st, c, http.StatusOK)
	return nil
}

func (h *HTTPHandler) refuseRequest(x *exchange, m *message, refused *Error) error {
	status := http.StatusBadRequest
	if refused.Code == codeBusy {
		status = http.StatusTooManyRequests
		x.w.Header().Set("Retry-After", "1")
	}
	writeJSON(x.w, status, encodeError(m.ID, refused))
	return nil
}

// postModern serves a message of protocol 2026-07-28, where every request stands alone: its session is its own, no one
// else can cancel it, and the end of its connection does.
func (h *HTTPHandler) postModern(x *exchange, m *message) error {
	if m.isResponse() {
		return &HTTPError{Status: http.StatusBadRequest, Message: "protocol 2026-07-28 has no requests to the client: nothing was asked"}
	}
	if m.ID == nil {
		x.w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if bad := h.checkModern(x, m); bad != nil {
		writeJSON(x.w, http.StatusBadRequest, encodeError(m.ID, bad))
		return nil
	}
	if m.listens() {
		return h.postListen(x, m)
	}
	if err := h.join(&h.posts); err != nil {
		return err
	}
	defer h.posts.Done()
	s := h.core.newSession(x.ctx, "")
	s.identity, s.level = x.identity, m.meta.Meta.LogLevel
	st := &stream{box: s.out}
	r, refused := s.begin(x.ctx, m, st.box)
	if refused != nil {
		return h.refuseRequest(x, m, refused)
	}
	h.track(s)
	c := st.attach()
	h.posts.Add(1)
	go func() {
		defer h.posts.Done()
		defer h.untrack(s)
		s.open()
		r.finish(h.core.serve(r, m))
		s.close(ErrSessionOver)
	}()
	if !h.pour(x, st, c, 0) {
		s.cancelRequest(m.ID)
	}
	return nil
}

// postListen serves subscriptions/listen. It needs no goroutine besides those of the connection.
func (h *HTTPHandler) postListen(x *exchange, m *message) error {
	if err := h.join(&h.listening); err != nil {
		return err
	}
	defer h.listening.Done()
	if err := h.admit(x.identity); err != nil {
		return err
	}
	defer h.leave(x.identity)
	s := h.core.newSession(x.ctx, "")
	s.identity, s.level = x.identity, m.meta.Meta.LogLevel
	defer s.close(ErrSessionOver)
	r, refused := s.begin(x.ctx, m, s.out)
	if refused != nil {
		return h.refuseRequest(x, m, refused)
	}
	h.track(s)
	defer h.untrack(s)
	s.open()
	st := &stream{box: s.out}
	c := st.attach()
	// In a goroutine of its own, so that this one, which stays, keeps a small stack.
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if bad := s.listen(r, m); bad != nil {
			r.finish(bad)
			return
		}
		s.leave()
	}()
	<-opened
	if !h.pour(x, st, c, 0) {
		s.cancelRequest(m.ID)
	}
	return nil
}

// checkModern checks what must agree between headers and body.
func (h *HTTPHandler) checkModern(x *exchange, m *message) *Error {
	mismatch := func(text string) *Error { return &Error{Code: mcp.HEADER_MISMATCH, Message: text} }
	version := m.meta.Meta.Version
	switch {
	case x.r.Header.Get(mcp.HeaderLastEventID) != "":
		return mismatch("streams can't be resumed in protocol 2026-07-28: repeat the request with a new id")
	case x.version == "":
		return mismatch("the header " + mcp.HeaderProtocolVersion + " is missing")
	case version == "":
		return &Error{Code: mcp.INVALID_PARAMS, Message: "params._meta lacks " + mcp.MetaKeyProtocolVersion}
	case x.version != version:
		return mismatch("the header " + mcp.HeaderProtocolVersion + " and params._meta name different protocol versions")
	case !mcp.IsValidProtocolVersion(version):
		return nil // mcp-go's own answer lists the versions it knows
	}
	if err := mcp.ValidateStandardHeaders(x.r.Header.Get, version, mcp.MCPMethod(m.Method), m.Params); err != nil {
		return mismatch(err.Error())
	}
	tool := h.core.mcp.GetTool(m.meta.Name)
	if m.Method != string(mcp.MethodToolsCall) || tool == nil {
		return nil
	}
	if err := mcp.ValidateParamHeadersLookup(x.header, &tool.Tool, m.Params); err != nil {
		return mismatch(err.Error())
	}
	return nil
}

func (x *exchange) header(name string) (string, bool) {
	values := x.r.Header.Values(name)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// modernStatus is the HTTP status that protocol 2026-07-28 gives to a response.
func modernStatus(response []byte) int {
	var e struct {
		Error *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(response, &e) != nil || e.Error == nil {
		return http.StatusOK
	}
	switch e.Error.Code {
	case mcp.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case mcp.INVALID_PARAMS, mcp.INVALID_REQUEST, mcp.PARSE_ERROR, mcp.HEADER_MISMATCH,
		mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, mcp.UNSUPPORTED_PROTOCOL_VERSION:
		return http.StatusBadRequest
	default:
		return http.StatusOK
	}
}
