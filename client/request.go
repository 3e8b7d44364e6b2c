package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// call is one operation: what to ask, and where the answer goes.
type call struct {
	op      string
	method  string   // "" = GET
	root    bool     // path begins at the deployment's address, not at its chats
	path    []string // elements, not escaped
	query   url.Values
	header  http.Header
	in      any           // sent as JSON
	body    io.Reader     // sent as it is
	size    int64         // of body; 0 = unknown
	timeout time.Duration // of one try; 0 = Options.Timeout

	out  any             // takes the answer's JSON; nil: its body does not matter
	keep **http.Response // takes the answer itself, its body still to be read and closed
}

// The operations whose address is not everywhere under the chats' prefix.
const (
	opListModels       = "list chat models"
	opListModelConfigs = "list model configs"
	opDesktop          = "open chat desktop"
)

func (k *call) methodName() string {
	if k.method == "" {
		return http.MethodGet
	}
	return k.method
}

// do makes the call and decodes its answer.
func (c *Client) do(ctx context.Context, k call) error {
	return c.addressed(ctx, &k, func(path []string) error { return c.repeatSafely(ctx, &k, path) })
}

// addressed calls use with the call's address on this server. When the server knows no such route, it is asked anew which
// generation it is: it may have been upgraded under us. The call goes to the new address even when it writes, for a route
// that does not exist did nothing.
func (c *Client) addressed(ctx context.Context, k *call, use func(path []string) error) error {
	if k.root {
		return use(k.path)
	}
	g, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	err = c.inGeneration(ctx, k, g, use)
	if !isRouteNotFound(err) || !c.host.forget(g, k.op) {
		return err
	}
	now, discoverErr := c.Generation(ctx)
	switch {
	case discoverErr != nil:
		return err
	case now.Prefix == g.Prefix:
		c.host.lacks(now, k.op)
		return err
	case k.body != nil:
		return c.movedError(k, now)
	}
	return c.inGeneration(ctx, k, now, use)
}

// movedError is for an upload, whose body can't be read a second time.
func (c *Client) movedError(k *call, now Generation) error {
	return &Error{
		Op: k.op, Kind: KindUnavailable, Method: k.methodName(), Status: http.StatusNotFound,
		Message: "The server was upgraded and has this operation at another address now (" + now.Prefix + ").",
		hint:    "Nothing was stored; repeat it.",
	}
}

func isRouteNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.noRoute
}

// takenForID reports whether the server took the operation's own name (models, watch) for a chat's id: it lacks the
// operation then, and its next route is the one of a chat (058).
func (k *call) takenForID(message string) bool {
	return !k.root && len(k.path) == 1 && uuid.Validate(k.path[0]) != nil && message == fmt.Sprintf("Invalid UUID %q.", k.path[0])
}

// inGeneration tries the addresses that the operation may have in a generation, until one is a route.
func (c *Client) inGeneration(ctx context.Context, k *call, g Generation, use func(path []string) error) error {
	paths, err := c.addresses(ctx, k, g)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err = use(path); !isRouteNotFound(err) {
			return err
		}
	}
	return err
}

func (c *Client) addresses(ctx context.Context, k *call, g Generation) ([][]string, error) {
	usual := pathOf(g.Prefix, append([]string{"chats"}, k.path...)...)
	if g.Prefix != prefixV2 {
		return [][]string{usual}, nil
	}
	experimental := pathOf(prefixExperimental, append([]string{"chats"}, k.path...)...)
	switch k.op {
	case opListModels, opListModelConfigs:
		me, err := c.Me(ctx)
		if err != nil {
			return nil, err
		}
		models := pathOf(prefixV2, "organizations", me.DefaultOrganizationID.String(), "chats", "models")
		if k.op == opListModels {
			return [][]string{models}, nil
		}
		return [][]string{usual, experimental, models}, nil // whether the configs were promoted is not known; models took their place
	case opDesktop: // stays experimental in 2.38
		return [][]string{experimental, usual}, nil
	}
	return [][]string{usual}, nil
}

func pathOf(prefix string, rest ...string) []string {
	return append(strings.Split(strings.Trim(prefix, "/"), "/"), rest...)
}

// address is the URL of a path. Its elements are ids and names of our own, none of them a "..".
func (h *Host) address(path []string, query url.Values) string {
	var b strings.Builder
	b.WriteString(h.url)
	for _, element := range path {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(element))
	}
	if q := query.Encode(); q != "" {
		b.WriteString("?" + q)
	}
	return b.String()
}

// errTimeout is the cause of a context whose call ran out of Options.Timeout.
var errTimeout = errors.New("the time-out of the request ran out")

// once makes one try of a call.
func (c *Client) once(ctx context.Context, k *call, path []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := k.timeout
	if timeout == 0 {
		timeout = c.host.options.Timeout
	}
	timer := time.AfterFunc(timeout, func() { cancel(errTimeout) })
	defer timer.Stop()

	req, err := c.request(ctx, k, path)
	if err != nil {
		cancel(nil)
		return err
	}
	resp, err := c.host.http.Do(req)
	if err != nil {
		defer cancel(nil)
		return c.transportError(ctx, k, req.URL.Path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer cancel(nil)
		defer resp.Body.Close()
		return c.answerError(k, resp)
	}
	if k.keep != nil {
		resp.Body = c.kept(ctx, k, resp, cancel, timeout)
		*k.keep = resp
		return nil
	}
	defer cancel(nil)
	defer resp.Body.Close()
	return c.decode(ctx, k, resp)
}

// keptBody is an answer's body that its caller reads. It may take as long as it takes, but no single Read longer than the time-out of a request:
// that ends the request, as Close does.
type keptBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *time.Timer
	limit  time.Duration
	stall  *Error
}

func (c *Client) kept(ctx context.Context, k *call, resp *http.Response, cancel context.CancelCauseFunc, limit time.Duration) *keptBody {
	b := &keptBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, limit: limit}
	b.idle = time.AfterFunc(limit, func() { cancel(errTimeout) })
	b.idle.Stop() // nobody waits yet
	b.stall = &Error{
		Op: k.op, Kind: KindTimeout, Method: k.methodName(), Path: resp.Request.URL.Path, cause: errTimeout,
		Message: "The Coder server at " + origin(c.host.base) + " stopped in the middle of its answer: nothing came for " + limit.String() + ".",
	}
	return b
}

// Read fails with a *Error of KindTimeout when nothing came for too long, else as the body does.
func (b *keptBody) Read(p []byte) (int, error) {
	b.idle.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.idle.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errTimeout) {
		return n, b.stall
	}
	return n, err
}

func (b *keptBody) Close() error {
	b.idle.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// incomplete is the error of an answer that was a success and lacks what the operation is about. What writes was done.
func (k *call) incomplete(missing string) *Error {
	return &Error{
		Op: k.op, Kind: KindUnavailable, Method: k.methodName(), Status: http.StatusOK,
		Message: "The answer lacks " + missing + ", so it is not what the Chats API would say (a proxy in between?).",
	}
}

func (c *Client) request(ctx context.Context, k *call, path []string) (*http.Request, error) {
	body, size := k.body, k.size
	if k.in != nil {
		encoded, err := json.Marshal(k.in)
		if err != nil {
			return nil, &Error{
				Op: k.op, Kind: KindInvalidArgument, Method: k.methodName(), cause: err,
				Message: "The request can't be written as JSON: " + err.Error() + ".",
			}
		}
		body = bytes.NewReader(encoded)
	}
	if sized, ok := body.(interface{ Len() int }); ok && size == 0 {
		size = int64(sized.Len())
		if size == 0 {
			body = http.NoBody
		}
	}
	if body != nil && body != http.NoBody {
		body = io.NopCloser(body) // the reader stays the caller's; and net/http can't rewind it to repeat the request
	}
	req, err := http.NewRequestWithContext(ctx, k.methodName(), c.host.address(path, k.query), body)
	if err != nil {
		return nil, &Error{Op: k.op, Kind: KindInvalidArgument, Method: k.methodName(), Message: "The request can't be made.", cause: err}
	}
	if body != nil && body != http.NoBody {
		req.ContentLength = size
		if size == 0 {
			req.ContentLength = -1
		}
	}
	req.Header = c.header(k)
	return req, nil
}

func (c *Client) header(k *call) http.Header {
	h := http.Header{"User-Agent": {c.host.options.UserAgent}, "Accept": {"application/json"}}
	for name, values := range k.header {
		h[name] = values
	}
	if k.keep != nil {
		h["Accept"] = []string{"*/*"}
	}
	if k.in != nil {
		h["Content-Type"] = []string{"application/json"}
	}
	if c.token != "" {
		h["Coder-Session-Token"] = []string{c.token}
	}
	return h
}

func (c *Client) decode(ctx context.Context, k *call, resp *http.Response) error {
	if k.out == nil {
		return nil
	}
	limit := c.host.options.MaxResponse
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return c.transportError(ctx, k, resp.Request.URL.Path, err)
	}
	e := &Error{
		Op: k.op, Status: resp.StatusCode, Method: k.methodName(), Path: resp.Request.URL.Path,
		RequestID: resp.Header.Get("X-Coder-Request-Id"),
	}
	if int64(len(body)) > limit {
		e.Kind, e.Message = KindTooLarge, "The answer is larger than "+megabytes(limit)+"."
		return e
	}
	if err := unmarshal(body, k.out); err != nil {
		e.Kind, e.cause = KindUnavailable, err
		e.Message = "The answer is not what the Chats API would say: " + c.redact(excerpt(body, resp.Header.Get("Content-Type")))
		return e
	}
	return nil
}

// unmarshal is json.Unmarshal that asks what decodes itself at once, not after a second look at the whole.
func unmarshal(data []byte, out any) error {
	if own, ok := out.(json.Unmarshaler); ok && json.Valid(data) {
		return own.UnmarshalJSON(data)
	}
	return json.Unmarshal(data, out)
}
