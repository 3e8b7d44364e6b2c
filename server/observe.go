package server

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/prompts"
	"coder-chats-mcp/schema"
	"coder-chats-mcp/telemetry"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// observe tells every request to whoever watches this server.
func (s *Server) observe(ctx context.Context, r transport.Request) (context.Context, func(transport.Outcome)) {
	c := telemetry.Call{
		Method: r.Method, ID: short(strings.Trim(string(r.ID), `"`)), Session: r.Session.SharedID(), OverHTTP: r.Session.OverHTTP(),
		TraceParent: r.TraceParent, TraceState: r.TraceState, Caller: "local",
	}
	if one := callerFrom(ctx); one != nil {
		c.Caller = one.identity
	}
	switch mcp.MCPMethod(r.Method) {
	case mcp.MethodToolsCall:
		if t := s.tool(r.Name); t != nil {
			s.observeTool(&c, t, r.Params)
		}
	case mcp.MethodPromptsGet:
		if slices.ContainsFunc(prompts.All(), func(p *prompts.Prompt) bool { return p.Name == r.Name }) {
			c.Prompt = r.Name
		}
	}
	if address, _, _ := strings.Cut(r.URI, "?"); strings.HasPrefix(address, "coder://") {
		c.Resource = short(address)
	}
	ctx, end := s.options.Telemetry.Observe(ctx, c)
	return ctx, func(o transport.Outcome) { end(resultOf(r, o)) }
}

// short keeps what clients make up within bounds, and fit for export.
func short(text string) string { return strings.ToValidUTF8(text[:min(len(text), 128)], "?") }

func (s *Server) observeTool(c *telemetry.Call, t *tools.Tool, params json.RawMessage) {
	c.Tool, c.Writes = t.Name, t.Effect != tools.Reads
	if !c.Writes && !slices.Contains(t.Arguments(), "wait_seconds") {
		return
	}
	var known struct {
		Arguments struct {
			Chat        json.RawMessage `json:"chat"`
			WaitSeconds float64         `json:"wait_seconds"`
		} `json:"arguments"`
	}
	_ = json.Unmarshal(params, &known) // of another type: the tool will say so
	c.Waits = time.Duration(known.Arguments.WaitSeconds * float64(time.Second))
	if known.Arguments.WaitSeconds == 0 && !c.Writes {
		c.Waits = tools.DefaultWait
	}
	if c.Writes && slices.Contains(t.Arguments(), "chat") {
		c.Chat = chatIn(known.Arguments.Chat)
	}
}

var chatArgument = schema.For[struct {
	Chat uuid.UUID `json:"chat" jsonschema:"format=chat"`
}]()

// chatIn is the chat as the tools understand the argument, and nothing else that it may hold.
func chatIn(argument json.RawMessage) string {
	if len(argument) == 0 {
		return "invalid"
	}
	arguments, err := json.Marshal(map[string]json.RawMessage{"chat": argument})
	if err != nil {
		return "invalid"
	}
	args, err := chatArgument.Decode(arguments, schema.Options{})
	if err != nil {
		return "invalid"
	}
	return args.Chat.String()
}

func resultOf(r transport.Request, o transport.Outcome) telemetry.Result {
	result := telemetry.Result{Protocol: r.Session.ProtocolVersion()}
	if o.Err != nil {
		result.Code = o.Err.Code
	}
	if of, is := o.Result.(*mcp.CallToolResult); is {
		result.Failed, result.Kind, result.Created = of.IsError, tools.KindOf(of), createdBy(r.Name, of)
	}
	return result
}

// createdBy is the chat that a result of create_chat is about, for the audit.
func createdBy(tool string, result *mcp.CallToolResult) string {
	if tool != "create_chat" || result.IsError {
		return ""
	}
	encoded, err := json.Marshal(result.StructuredContent)
	var chat struct {
		ID string `json:"id"`
	}
	if err != nil || json.Unmarshal(encoded, &chat) != nil {
		return ""
	}
	return chat.ID
}

// count shows what the transport counts of its messages.
func (s *Server) count(t *telemetry.Telemetry) {
	for name, counter := range map[string]struct {
		description string
		value       func() int64
	}{
		"mcp.server.messages.queued": {"messages that were queued for clients", func() int64 { return s.core.Stats().Queued }},
		"mcp.server.messages.joined": {"messages that were joined with one that still waited", func() int64 { return s.core.Stats().Joined }},
		"mcp.server.messages.held":   {"times that a producer had to wait for a slow client", func() int64 { return s.core.Stats().Held }},
	} {
		if err := t.Counter(name, counter.description, counter.value); err != nil {
			s.log.Warn("a metric cannot be registered", "metric", name, "error", err)
		}
	}
}
