package server

import (
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/tools"
)

// watchChats tells what happens from the moment of its call on: made again, it would keep to itself what the first one saw.
const watchChats = "watch_chats"

// repeatable reports that another replica may go on with a call that its own did not finish: one that reads or is idempotent, and the creation of a
// chat with a request_id, which finds the chat if there is one.
func (s *Server) repeatable(name string, arguments json.RawMessage) bool {
	var a struct {
		RequestID string `json:"request_id"`
	}
	t := s.tool(name)
	switch {
	case t == nil || name == watchChats:
		return false
	case t.Effect == tools.Reads || t.Idempotent:
		return true
	}
	return name == "create_chat" && json.Unmarshal(arguments, &a) == nil && a.RequestID != ""
}

// lost is the result of a call that is not repeated.
func (s *Server) lost(name string) *mcp.CallToolResult {
	f := &tools.Failure{Kind: string(client.KindUnavailable), Message: "the server that ran this call went away before it answered"}
	switch t := s.tool(name); {
	case name == watchChats:
		f.Message += ", and what it saw is lost: events may be missing"
		f.Next = "list_chats shows the state of all chats; then call it again"
	case t != nil && t.Effect == tools.Reads:
		f.Next = "call it again"
	default:
		f.Next = "what was asked for may have been done: look before you repeat it"
	}
	return &mcp.CallToolResult{
		IsError: true, StructuredContent: map[string]any{"error": f}, Content: []mcp.Content{mcp.TextContent{Type: "text", Text: f.Text()}},
	}
}
