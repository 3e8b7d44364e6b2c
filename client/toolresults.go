package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"
)

// ToolResult answers one call of a dynamic tool.
type ToolResult struct {
	ToolCallID string          `json:"tool_call_id"`
	Output     json.RawMessage `json:"output"` // any JSON value
	IsError    bool            `json:"is_error,omitempty"`
}

// SubmitToolResults answers a chat that requires action (beyond the reference: POST .../tool-results). The results must
// cover exactly the pending calls, within 256 KiB; a conflict means that the chat does not wait for any.
func (c *Client) SubmitToolResults(ctx context.Context, id uuid.UUID, results []ToolResult) error {
	if results == nil {
		results = []ToolResult{}
	}
	return c.do(ctx, call{
		op: "submit tool results", method: http.MethodPost, path: chatPath(id, "tool-results"),
		in: struct {
			Results []ToolResult `json:"results"`
		}{results},
	})
}
