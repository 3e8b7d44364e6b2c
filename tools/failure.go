package tools

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/schema"
	"coder-chats-mcp/view"
)

// Failure is a failed call as its caller reads it: what happened, what the API said, what to do next.
type Failure struct {
	Kind       string `json:"type"` // not_found, unauthorized, forbidden, invalid_argument, conflict, rate_limited, too_large, unavailable, timeout, unsupported, internal
	Message    string `json:"message"`
	API        string `json:"api_message,omitempty"`
	RetryAfter int    `json:"retry_after_seconds,omitempty"`
	Next       string `json:"next,omitempty"`
}

func (f *Failure) Error() string { return f.Text() }

// Text is the failure in a few sentences. What the API said is quoted.
func (f *Failure) Text() string {
	var b strings.Builder
	b.WriteString(f.Kind + ": " + f.Message + ".")
	if f.API != "" {
		b.WriteString(" The API said: " + view.Inline(f.API, 500) + ".")
	}
	if f.RetryAfter > 0 {
		fmt.Fprintf(&b, " Try again in %d s.", f.RetryAfter)
	}
	if f.Next != "" {
		b.WriteString(" Next: " + f.Next + ".")
	}
	return b.String()
}

func failed(f *Failure) *mcp.CallToolResult {
	return &mcp.CallToolResult{
		IsError: true, StructuredContent: map[string]any{"error": f},
		Content: []mcp.Content{mcp.TextContent{Type: "text", Text: f.Text()}},
	}
}

// KindOf is the type of error that a result tells of, "" for a success.
func KindOf(result *mcp.CallToolResult) string {
	structured, ok := result.StructuredContent.(map[string]any)
	f, failed := structured["error"].(*Failure)
	if !ok || !failed || !result.IsError {
		return ""
	}
	return f.Kind
}

// cut is an error that came of the end of a call's context, with why that ended.
type cut struct {
	error
	cancelled bool // by the client, or nobody says why; else this server is stopping
}

func (c *cut) Unwrap() error { return c.error }

// ended adds to an error of a call why the call's context ended, if it did.
func (s *Session) ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(cause, context.DeadlineExceeded) {
		return err
	}
	return &cut{err, errors.Is(cause, context.Canceled) || s.Peer.Cancelled(ctx)}
}

// failure is for a call that got no answer of the API any more; api, if not nil, says how far it came.
func (c *cut) failure(t Spec, api *client.Error) *Failure {
	if c.cancelled {
		return &Failure{Kind: string(client.KindTimeout), Message: "the call was cancelled", Next: "what was sent before that is done; look with get_chat"}
	}
	return &Failure{
		Kind: string(client.KindUnavailable), Message: "this MCP server is stopping and cut the call short",
		Next: after(t, api, "call it again: another replica answers it, or this server once it is back"),
	}
}

// explain turns what a tool returned into a Failure.
func explain(t Spec, s *Session, err error) *Failure {
	var own *Failure
	if errors.As(err, &own) {
		return own
	}
	var bad *schema.Error
	if errors.As(err, &bad) {
		return &Failure{Kind: string(client.KindInvalidArgument), Message: bad.Error(), Next: "nothing was sent; call " + t.Name + " again, corrected"}
	}
	var noDiff *view.DiffError
	if errors.As(err, &noDiff) {
		return &Failure{Kind: string(noDiff.Kind), Message: noDiff.Message, Next: noDiff.Next}
	}
	var api *client.Error
	var over *cut
	answered := errors.As(err, &api) && api.Status != 0
	switch {
	case errors.As(err, &over) && !answered:
		return over.failure(t, api)
	case api != nil:
		return explainAPI(t, s, api)
	case errors.Is(err, context.Canceled):
		return &Failure{Kind: string(client.KindTimeout), Message: "the call was cancelled", Next: "what was sent before that is done; look with get_chat"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Kind: string(client.KindTimeout), Message: "the call took too long", Next: after(t, nil, "call it again")}
	}
	return &Failure{Kind: string(client.KindUnavailable), Message: strings.TrimSuffix(err.Error(), "."), Next: after(t, nil, "call it again")}
}

// after is the advice for a call that may or may not have had its effect.
func after(t Spec, e *client.Error, again string) string {
	switch {
	case t.Effect == Reads || t.Idempotent:
		return again
	case e != nil && e.Unsent():
		return "nothing was sent: " + again
	}
	return "it may have taken effect: look with list_chats or list_chat_messages before you " + again
}

func explainAPI(t Spec, s *Session, e *client.Error) *Failure {
	f := &Failure{Kind: string(e.Kind), API: apiText(e), RetryAfter: int((e.RetryAfter + 999_999_999) / 1_000_000_000)}
	host := s.Client.Host().URL().Host
	var redirect *client.RedirectError
	switch e.Kind {
	case client.KindNotFound:
		f.Message, f.Next = "there is no such thing, or this token may not see it", "check the id; list_chats shows the chats that there are"
		if strings.Contains(e.Message, "message") { // of a message, queued or not
			f.Next = "check the id: list_chat_messages shows the chat's messages and its queue"
		}
	case client.KindUnauthorized:
		f.Message, f.Next = "Coder does not accept the token", "get a new one with `coder login` or `coder tokens create`, set CODER_SESSION_TOKEN, and restart this server"
	case client.KindForbidden:
		f.Message, f.Next = "this token may not do that", "creating chats needs the organization role agents-access; a stranger's chat can be read at most"
	case client.KindInvalidArgument:
		f.Message, f.Next = "the API refused the arguments", "correct what it names and call "+t.Name+" again"
	case client.KindConflict:
		f.Message, f.Next = "the chat is not in a state for that", "get_chat tells its state; wait for it with await_chats, or interrupt_chat first"
	case client.KindRateLimited:
		f.Message = "too many requests"
		f.Next = "wait; await_chats and stream_chat wait without polling"
	case client.KindQueueFull:
		f.Kind, f.Message = string(client.KindConflict), "the chat's queue is full (20 messages)"
		f.Next = "wait for a turn to end with stream_chat, or make room with manage_chat_queue"
	case client.KindTooLarge:
		f.Message, f.Next = "that is more than the API takes", "send less, or upload it with upload_chat_file and refer to it"
		if e.Status < http.StatusBadRequest { // an answer
			f.Message, f.Next = "that is more than this server takes at once", "ask for less: a smaller limit, a page"
		}
	case client.KindUnavailable:
		f.Message, f.Next = host+" cannot be reached or is failing", after(t, e, "try again in a moment")
		if e.Status == http.StatusOK || e.Status == http.StatusCreated {
			f.Message = host + " answered, but not as the Chats API does"
		}
		if errors.As(e, &redirect) {
			f.Next = "nothing was done; if that is the right address, set CODER_URL to it and restart this server"
		}
	case client.KindTimeout:
		f.Message, f.Next = host+" did not answer in time", after(t, e, "try again")
	case client.KindUnsupported:
		f.Message, f.Next = "this Coder server does not have that operation", "it may be too old or too new for it; `coder-chats-mcp doctor` tells its version"
	default:
		f.Kind, f.Message, f.Next = string(client.KindUnavailable), "the API failed", after(t, e, "try again")
	}
	if e.Status == 0 { // these words are of our own making
		f.API, f.Message = "", strings.TrimSuffix(apiText(e), ".")
	}
	return f
}

// apiText is the API's message, detail and validations in one line.
func apiText(e *client.Error) string {
	words := []string{e.Message}
	if e.Detail != "" && e.Detail != e.Message {
		words = append(words, e.Detail)
	}
	for _, v := range e.Validations {
		words = append(words, v.Field+": "+v.Detail)
	}
	if e.Status != 0 {
		words = append(words, fmt.Sprintf("(status %d)", e.Status))
	}
	return strings.TrimSpace(strings.Join(words, " "))
}
