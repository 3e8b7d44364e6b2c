package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
)

// request is one request of a client from its registration to its response.
type request struct {
	session  *Session
	id       json.RawMessage
	key      string
	method   string
	args     json.RawMessage // of a tool
	uri      string
	modern   bool
	level    mcp.LoggingLevel // modern requests carry their own
	token    json.RawMessage  // progress token, nil if the client wants none
	out      *outbox
	ctx      context.Context
	cancel   context.CancelCauseFunc
	unbind   func() bool // from the end of the session; nil if ctx descends from it
	silenced atomic.Bool // its client cancelled it
	answered bool        // guarded by out.mu
	failure  error       // the Go error behind the response; belongs to the goroutine that handles the request
	progress progress
}

var (
	// ErrCancelled is the cause of the end of a request's context (context.Cause) when its client took it back: with
	// notifications/cancelled or, over HTTP in protocol 2026-07-28, by closing its stream. The end of a session, of the server
	// or of a client's time to take an answer have other causes.
	ErrCancelled = errors.New("the client cancelled the request")

	errStopping = errors.New("the server is stopping and cut this request short")
	errNotTaken = errors.New("the client did not take the answer in time")
)

// codeBusy is of the range that JSON-RPC leaves to implementations: nothing is wrong with the request.
const codeBusy = -32000

// errSessionStopping refuses a request to a session that takes no more.
var errSessionStopping = &Error{Code: codeBusy, Message: "the server is stopping"}

type requestKey struct{}

func requestFrom(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// Arguments are those of the tool call that ctx belongs to, as they came: mcp-go passes numbers through float64.
func Arguments(ctx context.Context) json.RawMessage {
	if r := requestFrom(ctx); r != nil {
		return r.args
	}
	return nil
}

// begin registers m, so that a cancellation that follows finds it. Its context descends from ctx and ends with the
// session, too.
func (s *Session) begin(ctx context.Context, m *message, out *outbox) (*request, *Error) {
	r := &request{
		session: s, id: m.ID, key: idKey(m.ID), method: m.Method, args: m.meta.Arguments, uri: m.meta.URI,
		modern: m.modern(), token: m.meta.ProgressToken, out: out,
	}
	if r.modern {
		r.level = m.meta.LogLevel
	}
	if !validID(r.token) {
		r.token = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, errSessionStopping
	case s.inflight[r.key] != nil:
		return nil, &Error{Code: mcp.INVALID_REQUEST, Message: "a request with this id is still running"}
	case len(s.inflight) >= s.core.opts.MaxConcurrent:
		return nil, &Error{Code: codeBusy, Message: fmt.Sprintf(
			"%d requests are running, the most this server takes at once: wait for one to end, or cancel one", len(s.inflight))}
	}
	if r.modern && !s.legacy {
		s.version, s.client, s.caps = m.meta.Version, m.meta.Client, m.meta.Capabilities
	}
	if s.inflight == nil {
		s.inflight = map[string]*request{}
	}
	s.inflight[r.key] = r
	s.running++
	r.ctx, r.cancel = context.WithCancelCause(s.core.mcp.WithContext(context.WithValue(ctx, requestKey{}, r), s))
	if ctx != s.ctx {
		r.unbind = context.AfterFunc(s.ctx, func() { r.cancel(context.Cause(s.ctx)) })
	}
	return r, nil
}

// finish sends the response and forgets the request.
func (r *request) finish(reply []byte) {
	r.progress.stop()
	r.forget()
	r.out.respond(r.session.ctx, r, reply)
	r.session.leave()
	r.release()
}

func (r *request) release() {
	if r.unbind != nil {
		r.unbind()
	}
	r.cancel(nil)
}

func (r *request) forget() {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight[r.key] == r {
		delete(s.inflight, r.key)
	}
}

// arrive counts one more running request, unless the session is about to end.
func (s *Session) arrive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.running++
	}
	return !s.closing
}

// leave counts one running request less.
func (s *Session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.closing && s.running == 0 {
		close(s.quiet)
	}
}

// cancelRequest ends the request with the given id; it will not be answered.
func (s *Session) cancelRequest(id json.RawMessage, cause error) {
	s.mu.Lock()
	r := s.inflight[idKey(id)]
	s.mu.Unlock()
	if r == nil || r.method == string(mcp.MethodInitialize) {
		return
	}
	r.silenced.Store(true)
	r.cancel(cause)
}

// guarded answers for a panic of handle.
func (c *Core) guarded(r *request, handle func() answer) (reply answer) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in a request", "method", r.method, "panic", p, "stack", string(debug.Stack()))
			reply = c.failed(r, &Error{Code: mcp.INTERNAL_ERROR, Message: "the server failed on this request; its log says more"})
		}
	}()
	return handle()
}

// serve runs one request and returns its encoded response.
func (c *Core) serve(r *request, m *message) []byte {
	ctx, end := c.observe(r, m)
	reply := c.guarded(r, func() answer { return c.dispatch(ctx, r, m) })
	end(reply.Outcome)
	return reply.data
}

func (c *Core) dispatch(ctx context.Context, r *request, m *message) answer {
	if reply, done := c.directly(ctx, r, m); done {
		return reply
	}
	page, refused := c.listResources(ctx, r, m)
	if refused != nil {
		return r.refused(refused)
	}
	switch response := c.mcp.HandleMessage(ctx, m.forCore()).(type) {
	case mcp.JSONRPCResponse:
		if refusal := c.afterwards(r, m); refusal != nil {
			return r.refused(refusal)
		}
		return c.succeeded(r, page.in(response.Result), response.Result)
	case mcp.JSONRPCError:
		return c.failed(r, readable(r, response.Error))
	default:
		return c.failed(r, &Error{Code: mcp.INTERNAL_ERROR, Message: "the server has no answer to this request"})
	}
}

// directly serves what comes most often without mcp-go, which reads a message four times before it begins: ping, where the protocol has it, and the
// tools of Options.CallTool. What is not as the protocol wants it is mcp-go's, which says what is wrong.
func (c *Core) directly(ctx context.Context, r *request, m *message) (reply answer, done bool) {
	if m.odd || r.modern && !(m.meta.Capable && mcp.IsValidProtocolVersion(m.meta.Version) && c.signature() != nil) {
		return answer{}, false
	}
	switch {
	case m.Method == string(mcp.MethodPing) && !r.modern:
		return c.succeeded(r, mcp.EmptyResult{}, mcp.EmptyResult{}), true
	case m.Method == string(mcp.MethodToolsCall) && c.opts.CallTool != nil:
		result, err := c.guardTool(ctx, m.meta.Name, func() (*mcp.CallToolResult, error) { return c.opts.CallTool(ctx, m.meta.Name, m.meta.Arguments) })
		switch {
		case err != nil:
			return r.refused(refusal(r, err)), true
		case result == nil:
			return answer{}, false
		case r.modern:
			c.sign(result)
		}
		return c.succeeded(r, result, result), true
	}
	return answer{}, false
}

// sign adds what protocol 2026-07-28 wants of a result, as mcp-go does.
func (c *Core) sign(result *mcp.CallToolResult) {
	if result.ResultType == "" {
		result.ResultType = mcp.ResultTypeComplete
	}
	if meta := result.EnsureResultMeta(); meta.ServerInfo() == nil {
		meta.SetMetaField(mcp.MetaKeyServerInfo, c.signature())
	}
}

// askSignature is how mcp-go names the server in its results; nil if it does not.
func (c *Core) askSignature() json.RawMessage {
	question := fmt.Sprintf(`{"jsonrpc":%q,"id":0,"method":%q,"params":{"_meta":{%q:%q,%q:{}}}}`, mcp.JSONRPC_VERSION, mcp.MethodServerDiscover,
		mcp.MetaKeyProtocolVersion, mcp.LATEST_PROTOCOL_VERSION, mcp.MetaKeyClientCapabilities)
	response, ok := c.mcp.HandleMessage(context.Background(), json.RawMessage(question)).(mcp.JSONRPCResponse)
	if !ok {
		return nil
	}
	var signed struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	if data, err := encode(response.Result); err != nil || json.Unmarshal(data, &signed) != nil {
		return nil
	}
	return signed.Meta[mcp.MetaKeyServerInfo]
}

// succeeded answers with shown; result is what it was made of.
func (c *Core) succeeded(r *request, shown, result any) answer {
	data, err := encodeResult(r.id, shown)
	if err != nil {
		c.log.Error("a result does not encode", "method", r.method, "error", err)
		return c.failed(r, &Error{Code: mcp.INTERNAL_ERROR, Message: "the server can't express the result in JSON; its log says more"})
	}
	return answer{data, Outcome{Result: result}}
}

// afterwards does what mcp-go only acknowledges.
func (c *Core) afterwards(r *request, m *message) *Error {
	switch mcp.MCPMethod(m.Method) {
	case mcp.MethodResourcesSubscribe:
		if err := r.session.subscribe(m.meta.URI); err != nil {
			return refusal(r, err)
		}
	case mcp.MethodResourcesUnsubscribe:
		r.session.unsubscribe(m.meta.URI)
	}
	return nil
}

// failed answers with e. What went wrong inside of a tool is the tool's result, for the model to read.
func (c *Core) failed(r *request, e *Error) answer {
	if r.method != string(mcp.MethodToolsCall) || e.Code != mcp.INTERNAL_ERROR {
		return r.refused(e)
	}
	result := mcp.NewToolResultError(e.Message)
	if r.modern {
		result.ResultType = mcp.ResultTypeComplete
	}
	data, err := encodeResult(r.id, result)
	if err != nil {
		return r.refused(e)
	}
	return answer{data, Outcome{Result: result}}
}

// handle runs m in the calling goroutine. It is for what is quick and must be done before the next message is read.
func (s *Session) handle(ctx context.Context, m *message) []byte {
	r := &request{session: s, id: m.ID, method: m.Method, modern: m.modern(), out: s.out}
	r.ctx = s.core.mcp.WithContext(context.WithValue(ctx, requestKey{}, r), s)
	if m.Method != string(mcp.MethodInitialize) || r.modern {
		return s.core.serve(r, m)
	}
	s.initializing()
	defer s.initialized()
	return s.core.serve(r, m)
}

// hear handles a notification of the client.
func (s *Session) hear(ctx context.Context, m *message) {
	switch m.Method {
	case string(mcp.MethodNotificationCancelled):
		s.cancelRequest(m.meta.RequestID, ErrCancelled)
		return
	case mcp.MethodNotificationRootsListChanged:
		s.roots.forget()
	}
	defer func() {
		if p := recover(); p != nil {
			s.core.log.Error("panic in a notification", "method", m.Method, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	r := &request{session: s, method: m.Method, out: s.out}
	s.core.mcp.HandleMessage(s.core.mcp.WithContext(context.WithValue(ctx, requestKey{}, r), s), m.raw)
}
