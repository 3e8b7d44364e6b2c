package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Role is who speaks. System messages exist but are never served.
type Role string

// The roles of a message.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
	RoleSystem    Role = "system"
)

// PartType is the kind of a message part. Values that this package does not know pass through.
type PartType string

// The part types that servers are known to send.
const (
	PartText          PartType = "text"
	PartReasoning     PartType = "reasoning"
	PartToolCall      PartType = "tool-call"
	PartToolResult    PartType = "tool-result"
	PartSource        PartType = "source"
	PartFile          PartType = "file"
	PartFileReference PartType = "file-reference"
	PartContextFile   PartType = "context-file"
	PartSkill         PartType = "skill"
)

// Message is one durable message of a chat. Its id comes from one sequence of the whole server: it grows, with gaps.
type Message struct {
	ID            int64      `json:"id"`
	ChatID        uuid.UUID  `json:"chat_id"`
	CreatedBy     *uuid.UUID `json:"created_by"` // user messages only
	ModelConfigID *uuid.UUID `json:"model_config_id"`
	CreatedAt     time.Time  `json:"created_at"`
	Role          Role       `json:"role"`
	Content       []Part     `json:"content"`
	Usage         *Usage     `json:"usage"` // completed assistant messages only

	// Extra holds the members that this package does not know, by name, as they came.
	Extra map[string]json.RawMessage `json:"-"`
}

// Text is what the message says: its text parts joined with nothing between, since an interrupted answer is one part per
// chunk.
func (m *Message) Text() string {
	var b strings.Builder
	for i := range m.Content {
		if m.Content[i].Type == PartText {
			b.WriteString(m.Content[i].Text)
		}
	}
	return b.String()
}

// ToolCalls are the message's tool-call parts, in order.
func (m *Message) ToolCalls() []Part {
	var calls []Part
	for _, p := range m.Content {
		if p.Type == PartToolCall {
			calls = append(calls, p)
		}
	}
	return calls
}

// IsContextOnly reports whether the message is none that somebody wrote: a workspace's context files and skills are
// stored as user messages that consist of nothing else.
func (m *Message) IsContextOnly() bool {
	for i := range m.Content {
		if t := m.Content[i].Type; t != PartContextFile && t != PartSkill {
			return false
		}
	}
	return len(m.Content) > 0
}

// Part is a piece of a message; which fields are set depends on Type. Args and Result are the JSON as the model or the
// tool produced it; Args is absent when the model produced none that is valid. On the stream, ArgsDelta and ResultDelta
// carry what is being produced.
type Part struct {
	Type               PartType        `json:"type"`
	Text               string          `json:"text"`
	ToolCallID         string          `json:"tool_call_id"`
	ToolName           string          `json:"tool_name"`
	Args               json.RawMessage `json:"args"`
	ArgsDelta          string          `json:"args_delta"`
	Result             json.RawMessage `json:"result"`
	ResultDelta        string          `json:"result_delta"`
	IsError            bool            `json:"is_error"`
	ProviderExecuted   bool            `json:"provider_executed"`
	URL                string          `json:"url"`
	MediaType          string          `json:"media_type"`
	FileName           string          `json:"file_name"`
	Name               string          `json:"name"`
	Title              string          `json:"title"`
	FileID             *uuid.UUID      `json:"file_id"`
	StartLine          int             `json:"start_line"`
	EndLine            int             `json:"end_line"`
	Content            string          `json:"content"`
	ContextFilePath    string          `json:"context_file_path"`
	SkillName          string          `json:"skill_name"`
	SourceID           string          `json:"source_id"`
	MCPServerConfigID  *uuid.UUID      `json:"mcp_server_config_id"`
	ContextFileAgentID *uuid.UUID      `json:"context_file_agent_id"`
	CreatedAt          *time.Time      `json:"created_at"`
	CompletedAt        *time.Time      `json:"completed_at"`

	// Extra holds the members that this package does not know, by name, as they came.
	Extra map[string]json.RawMessage `json:"-"`
}

// Usage is what a completed assistant message cost, in tokens.
type Usage struct {
	InputTokens         int64 `json:"input_tokens"`
	OutputTokens        int64 `json:"output_tokens"`
	TotalTokens         int64 `json:"total_tokens"`
	ReasoningTokens     int64 `json:"reasoning_tokens"`
	CacheCreationTokens int64 `json:"cache_creation_tokens"`
	CacheReadTokens     int64 `json:"cache_read_tokens"`
	ContextLimit        int64 `json:"context_limit"`
}

// ListMessagesRequest selects and pages messages: those with AfterID < id < BeforeID, zero meaning open.
type ListMessagesRequest struct {
	BeforeID int64
	AfterID  int64
	Limit    int // 1..200; 0 = the server's default, 50
}

// MessagesPage is a page of messages: oldest first when only AfterID was given, newest first otherwise. Queued is filled
// only when neither cursor was given.
type MessagesPage struct {
	Messages []Message       `json:"messages"`
	Queued   []QueuedMessage `json:"queued_messages"`
	HasMore  bool            `json:"has_more"`
}

// ListMessages is "List chat messages".
func (c *Client) ListMessages(ctx context.Context, id uuid.UUID, r ListMessagesRequest) (*MessagesPage, error) {
	v := url.Values{}
	setInt(v, "limit", r.Limit)
	if r.BeforeID != 0 {
		v.Set("before_id", strconv.FormatInt(r.BeforeID, 10))
	}
	if r.AfterID != 0 {
		v.Set("after_id", strconv.FormatInt(r.AfterID, 10))
	}
	page := new(MessagesPage)
	err := c.do(ctx, call{op: "list chat messages", path: chatPath(id, "messages"), query: v, out: page})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// SendMessageRequest is what to say, and how when the chat is busy.
type SendMessageRequest struct {
	Content         []InputPart `json:"content"`
	ModelConfigID   uuid.UUID   `json:"model_config_id,omitzero"` // zero = the chat's own
	BusyBehavior    string      `json:"busy_behavior,omitempty"`  // "queue" (default) or "interrupt"
	PlanMode        *string     `json:"plan_mode,omitempty"`      // nil = unchanged; takes effect at once, also when queued
	MCPServerIDs    []uuid.UUID `json:"mcp_server_ids,omitzero"`  // nil = unchanged; empty and not nil clears
	ReasoningEffort string      `json:"reasoning_effort,omitempty"`
}

// SendMessageResponse says what became of the message: Message when it is stored, QueuedMessage when it waits. Later
// servers also say in Messages all rows that the call stored: a send behind an error may have promoted an older queued
// message, which is then in Messages without being this one.
type SendMessageResponse struct {
	Message       *Message       `json:"message"`
	Messages      []Message      `json:"messages"`
	QueuedMessage *QueuedMessage `json:"queued_message"`
	Queued        bool           `json:"queued"`
	Warnings      []string       `json:"warnings"`
}

// SendMessage is "Send chat message". It is never repeated: after an error without an answer the message may have
// arrived. A chat queues 20 messages; the next is refused with queue_full.
func (c *Client) SendMessage(ctx context.Context, id uuid.UUID, r SendMessageRequest) (*SendMessageResponse, error) {
	if r.Content == nil {
		r.Content = []InputPart{}
	}
	sent := new(SendMessageResponse)
	k := call{op: "send chat message", method: http.MethodPost, path: chatPath(id, "messages"), in: r, out: sent}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if sent.Message == nil && sent.QueuedMessage == nil && len(sent.Messages) == 0 {
		return nil, k.incomplete("the message")
	}
	return sent, nil
}

// EditMessageRequest is what a user message shall say instead.
type EditMessageRequest struct {
	Content         []InputPart `json:"content"`
	ModelConfigID   uuid.UUID   `json:"model_config_id,omitzero"` // zero = the chat's own
	ReasoningEffort string      `json:"reasoning_effort,omitempty"`
}

// EditMessageResponse has the message under its new id; DeletedMessageIDs only on later servers.
type EditMessageResponse struct {
	Message           *Message  `json:"message"`
	Messages          []Message `json:"messages"`
	DeletedMessageIDs []int64   `json:"deleted_message_ids"`
	Warnings          []string  `json:"warnings"`
}

// EditMessage is "Edit chat message": it replaces a user message, drops everything after it and the queue, and runs from
// there. The message gets a new id.
func (c *Client) EditMessage(ctx context.Context, id uuid.UUID, messageID int64, r EditMessageRequest) (*EditMessageResponse, error) {
	if r.Content == nil {
		r.Content = []InputPart{}
	}
	edited := new(EditMessageResponse)
	k := call{
		op: "edit chat message", method: http.MethodPatch,
		path: chatPath(id, "messages", strconv.FormatInt(messageID, 10)), in: r, out: edited,
	}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if edited.Message == nil {
		return nil, k.incomplete("the message")
	}
	return edited, nil
}

// Prompt is the text of one user message; ID is the message's.
type Prompt struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

// ListPrompts is "List chat user prompts", newest first; limit 1..2000, 0 = the server's default, 500.
func (c *Client) ListPrompts(ctx context.Context, id uuid.UUID, limit int) ([]Prompt, error) {
	v := url.Values{}
	setInt(v, "limit", limit)
	var out struct {
		Prompts []Prompt `json:"prompts"`
	}
	err := c.do(ctx, call{op: "list chat prompts", path: chatPath(id, "prompts"), query: v, out: &out})
	return out.Prompts, err
}
