package tools

import (
	"encoding/json"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
)

// Result is what a tool answers. Structured and Text each stand alone: some clients show their model only the one, some only the other.
type Result struct {
	Text       string
	Structured any
	// Content is what text cannot be: pictures, files, links. It follows the text.
	Content []mcp.Content
}

func (r *Result) mcp() *mcp.CallToolResult {
	content := []mcp.Content{mcp.TextContent{Type: "text", Text: r.Text}}
	return &mcp.CallToolResult{Content: append(content, r.Content...), StructuredContent: r.Structured}
}

// textf is a result whose text is formatted; structured goes beside it.
func textf(structured any, format string, args ...any) *Result {
	return &Result{Structured: structured, Text: fmt.Sprintf(format, args...)}
}

// fitting is how many of the items, from the front, stay within most bytes both as JSON and as text. At least one always does: a reader is better
// off with one item too many than with none.
func fitting[T any](items []T, most int, text func(T) string) int {
	structured, written := 0, 0
	for i, item := range items {
		encoded, err := json.Marshal(item)
		if err != nil {
			return i
		}
		structured += len(encoded) + 1
		written += len(text(item)) + 1
		if i > 0 && (structured > most || written > most) {
			return i
		}
	}
	return len(items)
}
