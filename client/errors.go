package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what sort of failure an Error is.
type Kind string

// The kinds of failure.
const (
	KindNotFound        Kind = "not_found"        // missing, or somebody else's: the API does not say which
	KindUnauthorized    Kind = "unauthorized"     // no token, or an expired one
	KindForbidden       Kind = "forbidden"        // the account may not
	KindInvalidArgument Kind = "invalid_argument" // the API refuses the input
	KindConflict        Kind = "conflict"         // not in this state of the chat
	KindRateLimited     Kind = "rate_limited"     // too many requests; RetryAfter says how long
	KindQueueFull       Kind = "queue_full"       // the chat has its 20 queued messages
	KindTooLarge        Kind = "too_large"        // the request, or an answer above Options.MaxResponse
	KindUnavailable     Kind = "unavailable"      // no answer, or not one of a working server
	KindTimeout         Kind = "timeout"          // no answer in time
	KindUnsupported     Kind = "unsupported"      // this server lacks the operation
)

// Error is a failed operation. Status 0 means that no answer came: after a create, send or edit it may have happened.
type Error struct {
	Kind        Kind
	Op          string // the operation in words, "create chat"
	Status      int    // HTTP status
	Method      string
	Path        string // without the query
	Message     string // the API's, or a sentence of this package
	Detail      string
	Validations []Validation
	RetryAfter  time.Duration // 0 = the server named none
	RequestID   string        // the server's, for its logs

	hint    string
	version string // of the server
	noRoute bool   // the server does not know the address
	cause   error
}

// Validation is what the API says about one field of the input.
type Validation struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error says what happened, what the API said, and what to do next.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, "the Coder server answered %d %s: ", e.Status, http.StatusText(e.Status))
	}
	b.WriteString(strings.TrimSpace(e.Message))
	if e.Detail != "" {
		fmt.Fprintf(&b, " (%s)", strings.TrimSpace(e.Detail))
	}
	for _, v := range e.Validations {
		fmt.Fprintf(&b, " [%s: %s]", v.Field, v.Detail)
	}
	if next := e.next(); next != "" {
		s := b.String()
		if !strings.HasSuffix(s, ".") {
			b.WriteByte('.')
		}
		b.WriteString(" " + next)
	}
	return b.String()
}

// next is the sentence that says what to do.
func (e *Error) next() string {
	if e.hint != "" {
		return e.hint
	}
	switch e.Kind {
	case KindNotFound:
		return "Check the id; what belongs to another user is reported as missing, too."
	case KindUnauthorized:
		return "Get a new session token (coder login, or coder tokens create) and use that one."
	case KindForbidden:
		return "The token's account lacks the permission; an administrator can grant it."
	case KindConflict:
		return "Read the chat's status, then decide."
	case KindRateLimited:
		if e.RetryAfter > 0 {
			return fmt.Sprintf("Wait %s before the next request.", e.RetryAfter.Round(time.Second))
		}
		return "Wait a minute before the next request."
	case KindQueueFull:
		return "Wait for the chat to work off a queued message, or delete one."
	case KindTooLarge:
		return "Use less at a time."
	case KindUnavailable, KindTimeout:
		return e.nextWithoutAnswer()
	}
	return ""
}

func (e *Error) nextWithoutAnswer() string {
	s := "Try again later; if it stays, check the server's address and its health."
	if e.Status == 0 && e.Method != http.MethodGet && e.Method != "" {
		s = "It may have happened nevertheless: look before you repeat it."
	}
	if e.RetryAfter > 0 {
		s = fmt.Sprintf("Wait %s. ", e.RetryAfter.Round(time.Second)) + s
	}
	return s
}

// Unwrap gives the cause of an Error that no answer of the API is behind: a net error, a context's, a RedirectError.
func (e *Error) Unwrap() error { return e.cause }

// Unsent reports whether an operation that writes failed before the server could have heard of it: on a read that comes before it, on connecting, or on a
// redirect that was not followed.
func (e *Error) Unsent() bool {
	var redirect *RedirectError
	var network *net.OpError
	return e.Method == http.MethodGet || e.Method == "" ||
		e.Status == 0 && (errors.As(e.cause, &redirect) || errors.As(e.cause, &network) && network.Op == "dial")
}

// KindOf is the Kind of the Error in err's chain, "" when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// IsNotFound reports whether what was asked for is missing, or somebody else's.
func IsNotFound(err error) bool { return KindOf(err) == KindNotFound }

// IsUnauthorized reports whether the token is missing, wrong or expired.
func IsUnauthorized(err error) bool { return KindOf(err) == KindUnauthorized }

// IsConflict reports whether the chat's state forbade it.
func IsConflict(err error) bool { return KindOf(err) == KindConflict }

// IsRateLimited reports whether there were too many requests. A full message queue is not that: see IsQueueFull.
func IsRateLimited(err error) bool { return KindOf(err) == KindRateLimited }

// IsQueueFull reports whether the chat's message queue is full.
func IsQueueFull(err error) bool { return KindOf(err) == KindQueueFull }

// IsUnsupported reports whether this server lacks the operation.
func IsUnsupported(err error) bool { return KindOf(err) == KindUnsupported }

// RedirectError is a redirect that was not followed, because the token goes to the configured host alone.
type RedirectError struct {
	From, To string // scheme://host
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("%s redirects to %s, which must not get the token; if that is the right address, configure it as the Coder URL", e.From, e.To)
}

// ClosedError is why a WebSocket ended. Code is the close code of the server, -1 when there was none: the connection broke
// or was closed from this side. errors.Is(err, io.EOF) holds for a normal end (1000, 1001) and for a bare end of the
// connection.
type ClosedError struct {
	Code   int
	Reason string

	cause error
}

func (e *ClosedError) Error() string {
	s := "the WebSocket ended"
	if e.Code >= 0 {
		s = fmt.Sprintf("the server closed the WebSocket with code %d", e.Code)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Is makes errors.Is(err, io.EOF) hold for ends that are no failure.
func (e *ClosedError) Is(target error) bool {
	return target == io.EOF && (e.Code == 1000 || e.Code == 1001)
}

// Unwrap gives the network's error, if there was one.
func (e *ClosedError) Unwrap() error { return e.cause }

// routeNotFound is what the server says about an address that it does not have.
const routeNotFound = "Route not found."

// queueFull tells a full message queue from the rate limit: both are 429, this one without Retry-After (019).
const queueFull = "Message queue is full."

// bodyTooLarge is what net/http says inside a server of May, which passes it on as the detail of a 400.
const bodyTooLarge = "http: request body too large"

// maxErrorBody bounds how much of a failed answer is read.
const maxErrorBody = 256 << 10

// answerError makes the Error of an answer that is no success. It reads resp.Body and does not close it.
func (c *Client) answerError(k *call, resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	e := &Error{
		Op: k.op, Status: resp.StatusCode, Method: k.methodName(), Path: resp.Request.URL.Path,
		RequestID: resp.Header.Get("X-Coder-Request-Id"), version: resp.Header.Get(versionHeader),
	}
	e.say(body, resp)
	e.Message, e.Detail = c.redact(e.Message), c.redact(e.Detail)
	for i, v := range e.Validations {
		e.Validations[i] = Validation{Field: c.redact(v.Field), Detail: c.redact(v.Detail)}
	}
	e.noRoute = resp.StatusCode == http.StatusNotFound && e.Message == routeNotFound
	if k.takenForID(e.Message) {
		e.noRoute, e.Message, e.Detail = true, "It took the operation's name for a chat's id ("+k.path[0]+").", ""
	}
	e.Kind = kindOf(resp.StatusCode, e.Message, e.Detail)
	if e.noRoute {
		e.Kind = KindUnsupported
	}
	if e.Kind != KindQueueFull {
		e.RetryAfter = retryAfter(resp, time.Now())
	}
	if e.Kind == KindUnsupported {
		e.hint = c.host.unsupportedHint()
	}
	return e
}

// say fills in what the body says, whatever sort of body it is.
func (e *Error) say(body []byte, resp *http.Response) {
	var api struct {
		Message     string       `json:"message"`
		Detail      string       `json:"detail"`
		Validations []Validation `json:"validations"`
	}
	// A refused WebSocket handshake is a line of text followed by the JSON (058).
	for _, candidate := range [][]byte{body, afterFirstLine(body)} {
		if json.NewDecoder(bytes.NewReader(candidate)).Decode(&api) == nil && api.Message != "" {
			e.Message, e.Detail, e.Validations = api.Message, api.Detail, api.Validations
			return
		}
	}
	if e.Message = excerpt(body, resp.Header.Get("Content-Type")); e.Message != "" {
		return
	}
	switch {
	case resp.StatusCode == http.StatusMethodNotAllowed:
		e.Message = "This address does not take " + e.Method + "."
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		e.Message = "It redirects to " + locationHost(resp) + ", and what writes is not sent twice; if that is the right address, configure it as the Coder URL."
	default:
		e.Message = "It gave no reason."
	}
}

func afterFirstLine(body []byte) []byte {
	_, rest, _ := bytes.Cut(body, []byte("\n"))
	return rest
}

func locationHost(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return origin(u)
}

func kindOf(status int, message, detail string) Kind {
	switch status {
	case http.StatusUnauthorized:
		return KindUnauthorized
	case http.StatusForbidden:
		return KindForbidden
	case http.StatusNotFound:
		return KindNotFound
	case http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return KindUnsupported
	case http.StatusConflict:
		return KindConflict
	case http.StatusRequestEntityTooLarge:
		return KindTooLarge
	case http.StatusTooManyRequests:
		if message == queueFull {
			return KindQueueFull
		}
		return KindRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return KindTimeout
	}
	if status >= 400 && status < 500 {
		if detail == bodyTooLarge || message == bodyTooLarge { // May's 256 KiB of create and tool-results (008)
			return KindTooLarge
		}
		return KindInvalidArgument
	}
	return KindUnavailable
}

// retryAfter reads Retry-After, in seconds or as a date, and of a rate limit X-Ratelimit-Reset, in seconds since the epoch.
// The server's Retry-After is a constant 60 s, its reset is exact (084): the sooner one counts. Times of the server are
// held against its own clock.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	wait := time.Duration(0)
	after := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseInt(after, 10, 32); err == nil {
		wait = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(after); err == nil {
		wait = t.Sub(now)
	}
	if resp.StatusCode != http.StatusTooManyRequests {
		return max(0, wait)
	}
	if n, err := strconv.ParseInt(resp.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
		if reset := time.Unix(n, 0).Sub(now); reset > 0 && (wait <= 0 || reset < wait) {
			wait = reset
		}
	}
	return max(0, wait)
}

// transportError makes the Error of a request that got no answer.
func (c *Client) transportError(ctx context.Context, k *call, path string, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	e := &Error{Op: k.op, Method: k.methodName(), Path: path, Kind: KindUnavailable, cause: withoutURL(err)}
	var redirect *RedirectError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &redirect):
		e.cause, e.Message = redirect, "The address "+redirect.Error()+"."
		e.hint = "Nothing was sent to the other address."
		return e
	case errors.Is(context.Cause(ctx), context.Canceled):
		e.cause, e.Message = context.Canceled, "The request was canceled before the Coder server answered."
	case context.Cause(ctx) == errTimeout, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind, e.Message = KindTimeout, "The Coder server at "+origin(c.host.base)+" did not answer in time."
	default:
		e.Message = "The Coder server at " + origin(c.host.base) + " can't be reached: " + c.redact(excerpt([]byte(e.cause.Error()), "")) + "."
	}
	return e
}

func megabytes(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt(n, 10) + " bytes"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

// withoutURL takes off net/http's wrapping, which repeats method and URL.
func withoutURL(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// redact keeps the token out of what the server says.
func (c *Client) redact(s string) string {
	if len(c.token) < 4 {
		return s
	}
	return strings.ReplaceAll(s, c.token, "[token]")
}

// maxExcerpt bounds, in bytes, what is quoted of a text that the API did not write.
const maxExcerpt = 300

// excerpt makes one short line of a body that is not the API's JSON: the title of a page, the beginning of a text.
func excerpt(body []byte, contentType string) string {
	text := string(body[:min(len(body), 16<<10)])
	if strings.Contains(contentType, "html") || strings.Contains(strings.ToLower(text[:min(len(text), 512)]), "<html") {
		return pageTitle(text)
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}), " ")
	if len(text) <= maxExcerpt {
		return text
	}
	cut := maxExcerpt
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func pageTitle(page string) string {
	lower := strings.ToLower(page)
	start := strings.Index(lower, "<title>")
	end := strings.Index(lower, "</title>")
	if len(lower) != len(page) || start < 0 || end < start {
		return "an HTML page, not the API's JSON (a proxy in between?)"
	}
	title := excerpt([]byte(page[start+len("<title>"):end]), "")
	if title == "" || strings.Contains(title, "<") {
		return "an HTML page, not the API's JSON (a proxy in between?)"
	}
	return "an HTML page titled “" + title + "”, not the API's JSON (a proxy in between?)"
}
