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

// Status is the state of a chat. Values that this package does not know pass through.
type Status string

// The statuses that servers are known to send. Pending exists until the summer of 2026, Interrupting since;
// Completed and Paused are in the reference and have never been seen.
const (
	StatusPending        Status = "pending"
	StatusRunning        Status = "running"
	StatusInterrupting   Status = "interrupting"
	StatusWaiting        Status = "waiting"
	StatusRequiresAction Status = "requires_action"
	StatusError          Status = "error"
	StatusCompleted      Status = "completed"
	StatusPaused         Status = "paused"
)

// Idle reports whether no turn is under way and none will start by itself: the chat takes a message at once.
func (s Status) Idle() bool {
	return s == StatusWaiting || s == StatusError || s == StatusCompleted || s == StatusPaused
}

// Busy reports whether a turn is under way or about to start.
func (s Status) Busy() bool {
	return s == StatusPending || s == StatusRunning || s == StatusInterrupting
}

// Chat is one conversation with an agent. Children are complete in lists; HasUnread is computed in lists only and
// false everywhere else, QueuedForCapacity in GetChat only.
type Chat struct {
	ID                  uuid.UUID         `json:"id"`
	OrganizationID      uuid.UUID         `json:"organization_id"`
	OwnerID             uuid.UUID         `json:"owner_id"`
	OwnerUsername       string            `json:"owner_username"`
	OwnerName           string            `json:"owner_name"`
	WorkspaceID         *uuid.UUID        `json:"workspace_id"`
	BuildID             *uuid.UUID        `json:"build_id"`
	AgentID             *uuid.UUID        `json:"agent_id"`
	ParentChatID        *uuid.UUID        `json:"parent_chat_id"`
	RootChatID          *uuid.UUID        `json:"root_chat_id"` // the chat's own id on a root
	LastModelConfigID   *uuid.UUID        `json:"last_model_config_id"`
	Title               string            `json:"title"`
	Status              Status            `json:"status"`
	PlanMode            string            `json:"plan_mode"` // "" or "plan"
	LastError           *ChatError        `json:"last_error"`
	LastTurnSummary     *string           `json:"last_turn_summary"`
	Summary             *string           `json:"summary"`
	DiffStatus          *DiffStatus       `json:"diff_status"`
	CreatedAt           time.Time         `json:"created_at"`
	UpdatedAt           time.Time         `json:"updated_at"`
	Archived            bool              `json:"archived"`
	Shared              bool              `json:"shared"`
	PinOrder            int               `json:"pin_order"` // 0 = not pinned
	MCPServerIDs        []uuid.UUID       `json:"mcp_server_ids"`
	Labels              map[string]string `json:"labels"`
	Files               []ChatFile        `json:"files"`
	HasUnread           bool              `json:"has_unread"`
	ClientType          string            `json:"client_type"` // "ui" or "api"
	Children            []Chat            `json:"children"`
	Warnings            []string          `json:"warnings"`
	QueuedForCapacity   bool              `json:"queued_for_capacity"`
	LastReasoningEffort string            `json:"last_reasoning_effort"`

	// Extra holds the members that this package does not know, by name, as they came.
	Extra map[string]json.RawMessage `json:"-"`
}

// ChatError is why a turn failed, kept in the chat until its next send, edit or interrupt.
type ChatError struct {
	Message    string `json:"message"`
	Detail     string `json:"detail"`
	Kind       string `json:"kind"` // auth, generic, rate_limit, overloaded, timeout, ...
	Provider   string `json:"provider"`
	Retryable  bool   `json:"retryable"`
	StatusCode int    `json:"status_code"` // of the provider; 0 when there was no answer
}

// DiffStatus sums up the remote diff of a chat. Lists have one with empty fields where there is no diff.
type DiffStatus struct {
	ChatID           uuid.UUID  `json:"chat_id"`
	URL              string     `json:"url"`
	PullRequestState string     `json:"pull_request_state"`
	PullRequestTitle string     `json:"pull_request_title"`
	PullRequestDraft bool       `json:"pull_request_draft"`
	PRNumber         int        `json:"pr_number"`
	ChangesRequested bool       `json:"changes_requested"`
	Approved         bool       `json:"approved"`
	ReviewerCount    int        `json:"reviewer_count"`
	Additions        int        `json:"additions"`
	Deletions        int        `json:"deletions"`
	ChangedFiles     int        `json:"changed_files"`
	Commits          int        `json:"commits"`
	AuthorLogin      string     `json:"author_login"`
	AuthorAvatarURL  string     `json:"author_avatar_url"`
	BaseBranch       string     `json:"base_branch"`
	HeadBranch       string     `json:"head_branch"`
	RefreshedAt      *time.Time `json:"refreshed_at"`
	StaleAt          *time.Time `json:"stale_at"`
}

// ChatFile is a file linked to a chat; GetFile has its bytes.
type ChatFile struct {
	ID             uuid.UUID `json:"id"`
	OwnerID        uuid.UUID `json:"owner_id"`
	OrganizationID uuid.UUID `json:"organization_id"`
	Name           string    `json:"name"`
	MIMEType       string    `json:"mime_type"`
	SizeBytes      int64     `json:"size_bytes"` // 0 on servers of May
	CreatedAt      time.Time `json:"created_at"`
}

// InputPart is a piece of what a person says: text, a stored file, or a reference to lines of a file.
type InputPart struct {
	Type      string     `json:"type"` // "text", "file" or "file-reference"
	Text      string     `json:"text,omitempty"`
	FileID    *uuid.UUID `json:"file_id,omitempty"`
	FileName  string     `json:"file_name,omitempty"`
	StartLine int        `json:"start_line,omitempty"`
	EndLine   int        `json:"end_line,omitempty"`
	Content   string     `json:"content,omitempty"`
}

// TextPart is the input part that says text.
func TextPart(text string) InputPart { return InputPart{Type: "text", Text: text} }

// DynamicTool is a tool that the agent may call and that the caller answers with SubmitToolResults.
type DynamicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
}

// ListChatsRequest selects and pages chats; the zero value is the first page (50) of those not archived.
type ListChatsRequest struct {
	Query  string            // the API's q: archived:true, diff_url:"...", and on later servers title:, repo:, ...
	Labels map[string]string // all must match
	// Archived adds archived:BOOL to the query; nil leaves it to Query, whose default is false.
	Archived *bool
	Limit    int       // 0 = the server's default, 50
	Offset   int       // skips so many
	AfterID  uuid.UUID // goes on after this chat; an id that is not in the list gives an empty page
}

func (r ListChatsRequest) values() url.Values {
	v := url.Values{}
	q := r.Query
	if r.Archived != nil {
		q = strings.TrimSpace(q + " archived:" + strconv.FormatBool(*r.Archived))
	}
	if q != "" {
		v.Set("q", q)
	}
	for name, value := range r.Labels {
		v.Add("label", name+":"+value)
	}
	setInt(v, "limit", r.Limit)
	setInt(v, "offset", r.Offset)
	if r.AfterID != uuid.Nil {
		v.Set("after_id", r.AfterID.String())
	}
	return v
}

// ListChats is "List chats": the caller's own root chats with their children, pinned first, then the most recently
// updated. Nobody else's chats are listed, not even for a site owner.
func (c *Client) ListChats(ctx context.Context, r ListChatsRequest) ([]Chat, error) {
	var chats []Chat
	err := c.do(ctx, call{op: "list chats", query: r.values(), out: &chats})
	return chats, err
}

// CreateChatRequest starts a chat. Content must have at least one part: there is no chat without a first message.
type CreateChatRequest struct {
	OrganizationID  uuid.UUID         `json:"organization_id"` // zero = the caller's default organization
	Content         []InputPart       `json:"content"`
	WorkspaceID     uuid.UUID         `json:"workspace_id,omitzero"`
	ModelConfigID   uuid.UUID         `json:"model_config_id,omitzero"` // of ListModelConfigs, never of ListModels
	MCPServerIDs    []uuid.UUID       `json:"mcp_server_ids,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`    // at most 50
	PlanMode        string            `json:"plan_mode,omitempty"` // "" or "plan"
	SystemPrompt    string            `json:"system_prompt,omitempty"`
	DynamicTools    []DynamicTool     `json:"unsafe_dynamic_tools,omitempty"`
	ClientType      string            `json:"client_type,omitempty"` // "" = api
	ReasoningEffort string            `json:"reasoning_effort,omitempty"`
}

// CreateChat is "Create chat". It starts the first turn and is never repeated: after an error without an answer
// (KindOf unavailable or timeout) the chat may exist. The body may have 256 KiB.
func (c *Client) CreateChat(ctx context.Context, r CreateChatRequest) (*Chat, error) {
	if r.OrganizationID == uuid.Nil {
		me, err := c.Me(ctx)
		if err != nil {
			return nil, err
		}
		r.OrganizationID = me.DefaultOrganizationID
	}
	if r.Content == nil {
		r.Content = []InputPart{}
	}
	return c.chat(ctx, call{op: "create chat", method: http.MethodPost, in: r})
}

// GetChat is "Get chat by ID". It is cheap, and has what events lack: files, the last error, whether a turn waits for
// capacity.
func (c *Client) GetChat(ctx context.Context, id uuid.UUID) (*Chat, error) {
	return c.chat(ctx, call{op: "get chat", path: chatPath(id)})
}

// UpdateChatRequest names what changes; nil means unchanged. The server applies the fields one after another, and
// keeps those before the first that it refuses: send one per call where that matters.
type UpdateChatRequest struct {
	Title       *string           `json:"title,omitempty"` // 1..200 characters
	Archived    *bool             `json:"archived,omitempty"`
	Labels      map[string]string `json:"labels,omitzero"`         // replaces all; empty and not nil clears
	PinOrder    *int              `json:"pin_order,omitempty"`     // 0 unpins
	PlanMode    *string           `json:"plan_mode,omitempty"`     // "" or "plan"
	WorkspaceID *uuid.UUID        `json:"workspace_id,omitempty"`  // uuid.Nil unbinds
	MCPServers  []uuid.UUID       `json:"mcp_server_ids,omitzero"` // later servers; empty and not nil clears
}

// UpdateChat is "Update chat". Archiving what is archived already is an invalid_argument; archiving a busy chat a
// conflict on servers since August.
func (c *Client) UpdateChat(ctx context.Context, id uuid.UUID, r UpdateChatRequest) error {
	return c.do(ctx, call{op: "update chat", method: http.MethodPatch, path: chatPath(id), in: r})
}

// InterruptChat is "Interrupt chat". Servers of May answer in any state; later ones refuse an idle chat with a
// conflict, and answer interrupting for a running one.
func (c *Client) InterruptChat(ctx context.Context, id uuid.UUID) (*Chat, error) {
	return c.chat(ctx, call{op: "interrupt chat", method: http.MethodPost, path: chatPath(id, "interrupt")})
}

// RegenerateChatTitle is "Regenerate chat title". It waits for the model, up to 90 seconds.
func (c *Client) RegenerateChatTitle(ctx context.Context, id uuid.UUID) (*Chat, error) {
	return c.chat(ctx, call{
		op: "regenerate chat title", method: http.MethodPost, path: chatPath(id, "title", "regenerate"),
		timeout: max(c.host.options.Timeout, titleTimeout),
	})
}

// titleTimeout is for the one operation whose answer waits for a model.
const titleTimeout = 90 * time.Second

func (c *Client) chat(ctx context.Context, k call) (*Chat, error) {
	chat := new(Chat)
	k.out = chat
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if chat.ID == uuid.Nil {
		return nil, k.incomplete("the chat's id")
	}
	return chat, nil
}

func chatPath(id uuid.UUID, rest ...string) []string {
	return append([]string{id.String()}, rest...)
}

func setInt(v url.Values, name string, n int) {
	if n != 0 {
		v.Set(name, strconv.Itoa(n))
	}
}
