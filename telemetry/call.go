package telemetry

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Call is an MCP request as it is observed: how it is made, and nothing of what it says. What a client made up is neither a method, nor a tool or a
// prompt: it would be a new time series each time.
type Call struct {
	Method   string
	Tool     string // that there is
	Prompt   string // that there is
	Resource string // for the span alone: it names a chat
	ID       string // of JSON-RPC
	Session  string // the Mcp-Session-Id; empty where there is none
	OverHTTP bool

	TraceParent, TraceState string // of the request's _meta

	Writes bool   // it is audited
	Caller string // a hash of the token
	Chat   string
	Waits  time.Duration // as long as it was asked to wait; that is not slowness
}

// Result is what became of a Call. The zero value is a success.
type Result struct {
	Failed   bool   // the result of a tool that says so
	Kind     string // of its failure: not_found, conflict ...
	Code     int    // of a JSON-RPC error
	Protocol string // that the request was served in
	Created  string // the chat that a write created
}

// Observe begins a request. The context that it returns carries the span, for Transport; end finishes it.
func (t *Telemetry) Observe(ctx context.Context, c Call) (observed context.Context, end func(Result)) {
	if t == nil {
		return ctx, func(Result) {}
	}
	if !methods[c.Method] {
		c.Method = "_OTHER"
	}
	began := time.Now()
	ctx, span := t.span(ctx, c)
	return ctx, func(r Result) {
		took := time.Since(began)
		attributes := append(c.attributes(), r.attributes()...)
		attributes = append(attributes, connection(r.Protocol, c.OverHTTP)...)
		t.calls.Record(context.WithoutCancel(ctx), took.Seconds(), metric.WithAttributes(attributes...))
		if span != nil {
			span.SetAttributes(append(attributes, c.spanAttributes()...)...)
			if failure := r.String(); failure != ok {
				span.SetStatus(codes.Error, failure)
			}
			span.End()
		}
		t.log(c, r, took)
	}
}

// methods are the requests of MCP, in all protocols that are served.
var methods = func() map[string]bool {
	known := map[string]bool{}
	for _, method := range []string{
		"initialize", "ping", "logging/setLevel", "completion/complete", "server/discover", "subscriptions/listen", "tools/list", "tools/call",
		"prompts/list", "prompts/get", "resources/list", "resources/read", "resources/templates/list", "resources/subscribe", "resources/unsubscribe",
	} {
		known[method] = true
	}
	return known
}()

func (t *Telemetry) span(ctx context.Context, c Call) (context.Context, trace.Span) {
	carrier := propagation.MapCarrier{"traceparent": c.TraceParent, "tracestate": c.TraceState}
	ctx = t.propagator.Extract(ctx, carrier)
	if t.tracer == nil {
		return ctx, nil
	}
	name := c.Method
	if target := c.target(); target != "" {
		name += " " + target
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
}

func (c Call) target() string { return c.Tool + c.Prompt }

func (c Call) attributes() []attribute.KeyValue {
	attributes := []attribute.KeyValue{attribute.String("mcp.method.name", c.Method)}
	if c.Tool != "" {
		attributes = append(attributes, attribute.String("gen_ai.tool.name", c.Tool), attribute.String("gen_ai.operation.name", "execute_tool"))
	}
	if c.Prompt != "" {
		attributes = append(attributes, attribute.String("gen_ai.prompt.name", c.Prompt))
	}
	return attributes
}

// spanAttributes are those that differ from call to call.
func (c Call) spanAttributes() (attributes []attribute.KeyValue) {
	for _, a := range []attribute.KeyValue{
		attribute.String("jsonrpc.request.id", c.ID), attribute.String("mcp.session.id", c.Session), attribute.String("mcp.resource.uri", c.Resource),
	} {
		if a.Value.AsString() != "" {
			attributes = append(attributes, a)
		}
	}
	return attributes
}

// errorKind is what went wrong in a tool. The conventions have one word for it all.
const errorKind = "coder_chats_mcp.error.kind"

func (r Result) attributes() []attribute.KeyValue {
	switch {
	case r.Code != 0:
		code := strconv.Itoa(r.Code)
		return []attribute.KeyValue{attribute.String("error.type", code), attribute.String("rpc.response.status_code", code)}
	case r.Failed:
		return []attribute.KeyValue{attribute.String("error.type", "tool_error"), attribute.String(errorKind, r.String())}
	}
	return nil
}

const ok = "ok"

// String is the result in a word.
func (r Result) String() string {
	switch {
	case r.Code != 0:
		return strconv.Itoa(r.Code)
	case r.Failed && r.Kind == "":
		return "tool_error"
	case r.Failed:
		return r.Kind
	}
	return ok
}

// connection says how a client is connected.
func connection(protocol string, overHTTP bool) []attribute.KeyValue {
	attributes := []attribute.KeyValue{attribute.String("network.transport", "pipe")}
	if overHTTP {
		attributes = []attribute.KeyValue{attribute.String("network.transport", "tcp"), attribute.String("network.protocol.name", "http")}
	}
	if protocol != "" {
		attributes = append(attributes, attribute.String("mcp.protocol.version", protocol))
	}
	return attributes
}

func (t *Telemetry) log(c Call, r Result, took time.Duration) {
	if t.options.Slow > 0 && took-c.Waits > t.options.Slow {
		t.options.Logger.Warn("slow call", "method", c.Method, "target", c.target(), "took", took.Round(time.Millisecond), "result", r.String(), "session", c.Session)
	}
	if t.options.Audit != nil && c.Writes {
		chat := c.Chat
		if chat == "" {
			chat = r.Created
		}
		t.options.Audit.Info("audit", "caller", c.Caller, "tool", c.Tool, "chat", chat, "result", r.String())
	}
}
