package simulator

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
)

// part is a message part. Every part carries the empty defaults of all kinds,
// as on the wire (05/024).
type part struct {
	Type               string          `json:"type"`
	Text               string          `json:"text"`
	ToolCallID         string          `json:"tool_call_id,omitempty"`
	ToolName           string          `json:"tool_name,omitempty"`
	MCPServerConfigID  *uuid.UUID      `json:"mcp_server_config_id"`
	Args               json.RawMessage `json:"args,omitempty"`
	ArgsDelta          string          `json:"args_delta,omitempty"`
	ParsedCommands     [][]string      `json:"parsed_commands,omitempty"`
	Result             json.RawMessage `json:"result,omitempty"`
	IsError            bool            `json:"is_error,omitempty"`
	URL                string          `json:"url"`
	MediaType          string          `json:"media_type"`
	Name               string          `json:"name,omitempty"`
	FileID             *uuid.UUID      `json:"file_id"`
	FileName           string          `json:"file_name"`
	StartLine          int             `json:"start_line"`
	EndLine            int             `json:"end_line"`
	Content            string          `json:"content"`
	ContextFilePath    string          `json:"context_file_path"`
	ContextFileAgentID *uuid.UUID      `json:"context_file_agent_id"`
	SkillName          string          `json:"skill_name"`
	CreatedAt          *time.Time      `json:"created_at,omitempty"`
	CompletedAt        *time.Time      `json:"completed_at,omitempty"`

	size    int    // of a file, in bytes
	rawArgs string // what the model wrote, also when it is no JSON
}

func textPart(text string) part { return part{Type: "text", Text: text} }

// message is a durable message. Ids come from one sequence for all chats.
type message struct {
	ID            int64      `json:"id"`
	ChatID        uuid.UUID  `json:"chat_id"`
	CreatedBy     *uuid.UUID `json:"created_by,omitempty"`
	ModelConfigID uuid.UUID  `json:"model_config_id"`
	CreatedAt     time.Time  `json:"created_at"`
	Role          string     `json:"role"`
	Content       []part     `json:"content"`
	Usage         *usage     `json:"usage,omitempty"`
}

type usage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
	TotalTokens  int `json:"total_tokens"`
	ContextLimit int `json:"context_limit"`
}

// queued is a message that waits for its turn, with ids of its own sequence.
type queued struct {
	ID            int64     `json:"id"`
	ChatID        uuid.UUID `json:"chat_id"`
	ModelConfigID uuid.UUID `json:"model_config_id"`
	Content       []part    `json:"content"`
	CreatedAt     time.Time `json:"created_at"`
}

// contextRow says whether this is the row of a workspace's context file: role
// user, but nobody's words.
func (m *message) contextRow() bool {
	return len(m.Content) > 0 && m.Content[0].Type == "context-file"
}

// prompt is what the user typed: the text parts without a separator.
func (m *message) prompt() string {
	var b strings.Builder
	for _, p := range m.Content {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// flatten is a user message as a model reads it: parts in a row, a file
// reference as a fenced quotation.
func flatten(parts []part, image func(part) string) string {
	var pieces []string
	for _, p := range parts {
		switch p.Type {
		case "text":
			pieces = append(pieces, p.Text)
		case "file-reference":
			pieces = append(pieces, quotation(p))
		case "file":
			if image != nil {
				pieces = append(pieces, image(p))
			}
		}
	}
	return strings.Join(pieces, " ")
}
