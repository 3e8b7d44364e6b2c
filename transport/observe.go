package transport

import (
	"context"
	"encoding/json"
)

// Request is what Options.Observe sees of a request: how it was made and what it names, as the client wrote it.
type Request struct {
	ID      json.RawMessage
	Method  string
	Name    string // of a tool or a prompt
	URI     string // of a resource
	Params  json.RawMessage
	Session *Session
	// TraceParent and TraceState are of the request's _meta.
	TraceParent, TraceState string
}

// Outcome is what became of a request: a result, of mcp-go's types, or an error. Both are nil for a subscription that was opened.
type Outcome struct {
	Result any
	Err    *Error
}

func (c *Core) observe(r *request, m *message) (ctx context.Context, end func(Outcome)) {
	if c.opts.Observe == nil {
		return r.ctx, func(Outcome) {}
	}
	return c.opts.Observe(r.ctx, Request{
		ID: r.id, Method: m.Method, Name: m.meta.Name, URI: m.meta.URI, Params: m.Params, Session: r.session,
		TraceParent: m.meta.TraceParent, TraceState: m.meta.TraceState,
	})
}

// answer is an encoded response with what it says.
type answer struct {
	data []byte
	Outcome
}

func (r *request) refused(e *Error) answer {
	return answer{encodeError(r.id, e), Outcome{Err: e}}
}
