package server

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/telemetry"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// observed describes a request to whoever watches this server: how it is made, and nothing of what it says.
func (s *Server) observed(ctx context.Context, method mcp.MCPMethod, target string, meta *mcp.Meta) telemetry.Call {
	c := telemetry.Call{Method: string(method), Target: target, Caller: "local"}
	if meta != nil {
		c.Meta = meta.AdditionalFields
	}
	if t := transport.SessionFromContext(ctx); t != nil {
		c.Session, c.Protocol = t.ID(), t.ProtocolVersion()
	}
	if one := callerFrom(ctx); one != nil {
		c.Caller = one.identity
	}
	return c
}

func (s *Server) observedTool(ctx context.Context, t *tools.Tool, meta *mcp.Meta, arguments json.RawMessage) telemetry.Call {
	if s.options.Telemetry == nil {
		return telemetry.Call{}
	}
	c := s.observed(ctx, mcp.MethodToolsCall, t.Name, meta)
	c.Writes = t.Effect != tools.Reads
	var known struct {
		Chat        string  `json:"chat"`
		WaitSeconds float64 `json:"wait_seconds"`
	}
	_ = json.Unmarshal(arguments, &known) // of another type: the tool will say so
	c.Chat, c.Waits = known.Chat, time.Duration(known.WaitSeconds*float64(time.Second))
	if known.WaitSeconds == 0 && t.Effect == tools.Reads && slices.Contains(t.Arguments(), "wait_seconds") {
		c.Waits = tools.DefaultWait
	}
	return c
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

// createdBy is the chat that a result of create_chat is about, for the audit.
func createdBy(t *tools.Tool, result *mcp.CallToolResult) string {
	if t.Name != "create_chat" || result.IsError {
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
