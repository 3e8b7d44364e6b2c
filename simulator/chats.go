package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// chat is the state of one chat; the server's lock guards it.
type chat struct {
	id, organization         uuid.UUID
	owner                    *User
	parent                   *chat
	children                 []*chat
	model                    uuid.UUID
	effort                   string
	title, status, planMode  string
	lastError                *chatError
	turnSummary, summary     *string
	created, updated         time.Time
	archived, waitsForSlot   bool
	compacting               bool // the turn only stores a summary
	staleRetry               *retryPayload
	overfull                 int    // tokens of a context that is to be compacted
	resume                   string // what the model is to go on with after a compaction
	draining                 bool   // the turn goes on with a queued message: the worker keeps the chat
	pin                      int32
	mcpServers               []uuid.UUID
	labels                   map[string]string
	clientType, systemPrompt string
	workspace                *workspace
	bound                    bool // the first turn has told build and agent
	pushTold                 bool // diff_status_change was announced
	files                    []*file
	tools                    []dynamicTool
	acl                      map[uuid.UUID]string

	messages  []*message
	hidden    map[int64]bool // ids of system rows: never served, not editable
	queue     []*queued
	readUpTo  int64
	version   int64 // history_version: counts what the worker and clients commit
	turn      *turn
	patience  func() // ends the five minutes of requires_action
	retitling bool   // a title is being regenerated
	requests  int    // calls of models, for the cost
	feeds     map[*feed]struct{}
}

type chatError struct {
	Message    string `json:"message"`
	Detail     string `json:"detail,omitempty"`
	Kind       string `json:"kind"`
	Provider   string `json:"provider,omitempty"`
	Retryable  bool   `json:"retryable"`
	StatusCode int    `json:"status_code,omitempty"`
}

type dynamicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
}

// chatJSON is a chat on the wire, with the omissions of the real server.
type chatJSON struct {
	ID                  uuid.UUID         `json:"id"`
	OrganizationID      uuid.UUID         `json:"organization_id"`
	OwnerID             uuid.UUID         `json:"owner_id"`
	OwnerUsername       string            `json:"owner_username,omitempty"`
	OwnerName           string            `json:"owner_name,omitempty"`
	WorkspaceID         *uuid.UUID        `json:"workspace_id,omitempty"`
	BuildID             *uuid.UUID        `json:"build_id,omitempty"`
	AgentID             *uuid.UUID        `json:"agent_id,omitempty"`
	ParentChatID        *uuid.UUID        `json:"parent_chat_id,omitempty"`
	RootChatID          uuid.UUID         `json:"root_chat_id"`
	LastModelConfigID   uuid.UUID         `json:"last_model_config_id"`
	LastReasoningEffort string            `json:"last_reasoning_effort,omitempty"`
	Title               string            `json:"title"`
	Status              string            `json:"status"`
	PlanMode            string            `json:"plan_mode,omitempty"`
	LastError           *chatError        `json:"last_error,omitempty"`
	LastTurnSummary     *string           `json:"last_turn_summary"`
	Summary             json.RawMessage   `json:"summary,omitempty"`
	DiffStatus          *diffStatus       `json:"diff_status,omitempty"`
	CreatedAt           time.Time         `json:"created_at"`
	UpdatedAt           time.Time         `json:"updated_at"`
	Archived            bool              `json:"archived"`
	Shared              *bool             `json:"shared,omitempty"`
	PinOrder            int32             `json:"pin_order"`
	MCPServerIDs        []uuid.UUID       `json:"mcp_server_ids"`
	Labels              map[string]string `json:"labels"`
	Files               []fileJSON        `json:"files,omitempty"`
	HasUnread           bool              `json:"has_unread"`
	ClientType          string            `json:"client_type"`
	Warnings            []string          `json:"warnings,omitempty"`
	QueuedForCapacity   bool              `json:"queued_for_capacity,omitempty"`
	Children            []*chatJSON       `json:"children"`
}

// view is the chat as events and most answers show it: no files, no children,
// never unread. The lock is held.
func (s *Server) view(c *chat) *chatJSON {
	v := &chatJSON{
		ID: c.id, OrganizationID: c.organization, OwnerID: c.owner.ID,
		RootChatID: c.id, LastModelConfigID: c.model, LastReasoningEffort: c.effort,
		Title: c.title, Status: c.status, PlanMode: c.planMode, LastError: c.lastError, LastTurnSummary: c.turnSummary,
		CreatedAt: c.created, UpdatedAt: c.updated, Archived: c.archived, PinOrder: c.pin,
		MCPServerIDs: append([]uuid.UUID{}, c.mcpServers...), Labels: map[string]string{},
		ClientType: c.clientType, Children: []*chatJSON{},
	}
	for k, l := range c.labels {
		v.Labels[k] = l
	}
	if c.parent != nil {
		v.ParentChatID, v.RootChatID = &c.parent.id, c.root().id
	}
	if c.workspace != nil {
		v.WorkspaceID = &c.workspace.id
		if c.bound {
			v.BuildID, v.AgentID = &c.workspace.build, &c.workspace.agent
		}
		if d := c.diffStatus(); d.URL != "" || d.ChangedFiles > 0 {
			v.DiffStatus = d
		}
	}
	if s.gen.ownerNames {
		shared := len(c.acl) > 0
		v.OwnerUsername, v.OwnerName, v.Shared, v.Summary = c.owner.Username, c.owner.Name, &shared, encode(c.summary)
	}
	return v
}

// fullView adds what only GET of one chat and create show.
func (s *Server) fullView(c *chat) *chatJSON {
	v := s.view(c)
	for _, f := range c.files {
		v.Files = append(v.Files, s.fileView(f))
	}
	v.QueuedForCapacity = c.waitsForSlot
	v.Children = s.childViews(c)
	return v
}

// listView is an element of a list, of children too: always a diff_status, and
// the only place where has_unread is computed (05/009).
func (s *Server) listView(c *chat) *chatJSON {
	v := s.view(c)
	v.DiffStatus = c.diffStatus()
	v.HasUnread = c.unread()
	v.Children = s.childViews(c)
	return v
}

// childViews leaves archived children out of a living parent.
func (s *Server) childViews(c *chat) []*chatJSON {
	views := []*chatJSON{}
	for _, k := range slices.Backward(c.children) {
		if k.archived == c.archived {
			views = append(views, s.listView(k))
		}
	}
	return views
}

func (c *chat) root() *chat {
	for c.parent != nil {
		c = c.parent
	}
	return c
}

func (c *chat) markRead() {
	if n := len(c.messages); n > 0 {
		c.readUpTo = c.messages[n-1].ID
	}
}

func (c *chat) unread() bool {
	for _, m := range slices.Backward(c.messages) {
		if m.ID <= c.readUpTo {
			return false
		}
		if m.Role == "assistant" {
			return true
		}
	}
	return false
}

func (c *chat) touch() { c.updated = now() }

type createRequest struct {
	OrganizationID  uuid.UUID         `json:"organization_id"`
	Content         []inputPart       `json:"content"`
	SystemPrompt    string            `json:"system_prompt"`
	WorkspaceID     *uuid.UUID        `json:"workspace_id"`
	ModelConfigID   *uuid.UUID        `json:"model_config_id"`
	MCPServerIDs    []uuid.UUID       `json:"mcp_server_ids"`
	Labels          map[string]string `json:"labels"`
	PlanMode        string            `json:"plan_mode"`
	ClientType      string            `json:"client_type"`
	DynamicTools    []dynamicTool     `json:"unsafe_dynamic_tools"`
	ReasoningEffort string            `json:"reasoning_effort"`
}

// createChat serves POST /chats.
func (s *Server) createChat(c *call) *apiError {
	var req createRequest
	if err := decode(c, createLimit, s.gen.createTooLarge, "CreateChatRequest", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts, ch, err := s.newChat(c.user, &req)
	if err != nil {
		return err
	}
	s.chats[ch.id] = ch
	ch.hide(s, 2)
	s.addMessage(ch, "user", &c.user.ID, parts)
	warnings := s.link(ch, parts)
	ch.status = s.gen.started
	s.announce("created", ch)
	s.startTurn(ch)
	s.autoTitle(ch)
	v := s.fullView(ch)
	v.Warnings = warnings
	c.reply(http.StatusCreated, v)
	return nil
}

func (s *Server) newChat(u *User, req *createRequest) ([]part, *chat, *apiError) {
	if err := s.mayCreate(u, req.OrganizationID); err != nil {
		return nil, nil, err
	}
	parts, err := s.checkContent(u, req.Content)
	if err == nil {
		err = s.checkCreate(req)
	}
	if err != nil {
		return nil, nil, err
	}
	model, err := s.chooseModel(req.ModelConfigID, true)
	if err != nil {
		return nil, nil, err
	}
	if s.options.UsageLimit != nil {
		return nil, nil, s.overSpent()
	}
	at := now()
	ch := &chat{
		id: uuid.New(), organization: req.OrganizationID, owner: u, model: model.ID, effort: req.ReasoningEffort,
		title: firstTitle(parts), planMode: req.PlanMode, created: at, updated: at,
		mcpServers: req.MCPServerIDs, labels: req.Labels, clientType: req.ClientType, systemPrompt: req.SystemPrompt,
		tools: req.DynamicTools, hidden: map[int64]bool{}, version: 1, feeds: map[*feed]struct{}{},
	}
	if ch.clientType == "" {
		ch.clientType = "api"
	}
	if req.WorkspaceID != nil {
		w := s.workspaces[*req.WorkspaceID]
		if w == nil || w.owner != u.ID {
			return nil, nil, noWorkspace()
		}
		ch.workspace = w
	}
	return parts, ch, nil
}

func noWorkspace() *apiError {
	return badRequest("Workspace not found or you do not have access to this resource", "")
}

func (s *Server) overSpent() *apiError {
	return &apiError{status: http.StatusConflict, Message: "Chat usage limit exceeded.", UsageLimit: s.options.UsageLimit}
}

func (s *Server) mayCreate(u *User, organization uuid.UUID) *apiError {
	switch {
	case organization == uuid.Nil:
		return badRequest("organization_id is required.", "")
	case u.OrganizationID != organization:
		return &apiError{status: http.StatusForbidden, Message: "You are not a member of the specified organization."}
	case !u.AgentsAccess && !u.Owner:
		return forbidden()
	}
	return nil
}

var reasoningEfforts = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

func (s *Server) checkCreate(req *createRequest) *apiError {
	if n := utf8.RuneCountInString(req.SystemPrompt); s.gen.promptLimit > 0 && n > s.gen.promptLimit {
		return badRequest("System prompt exceeds maximum length.", fmt.Sprintf("System prompt must be at most %d characters, got %d.", s.gen.promptLimit, n))
	}
	if err := checkPlanMode(&req.PlanMode); err != nil {
		return err
	}
	if req.ClientType != "" && req.ClientType != "ui" && req.ClientType != "api" {
		return badRequest("Invalid client_type.", fmt.Sprintf("got %q, want one of [ui api]", req.ClientType))
	}
	if e := req.ReasoningEffort; e != "" && !slices.Contains(reasoningEfforts, e) {
		return badRequest("Invalid reasoning_effort value.", fmt.Sprintf("Invalid value %q, must be one of %s", e, strings.Join(reasoningEfforts, ", ")))
	}
	if err := checkLabels(req.Labels); err != nil {
		return err
	}
	if err := s.checkMCPServers(req.MCPServerIDs); err != nil {
		return err
	}
	return checkDynamicTools(req.DynamicTools)
}

func checkPlanMode(mode *string) *apiError {
	if mode == nil || *mode == "" || *mode == "plan" {
		return nil
	}
	return badRequest("Invalid plan_mode value.", "")
}

func (s *Server) checkMCPServers(ids []uuid.UUID) *apiError {
	var bad []string
	for _, id := range ids {
		if !slices.Contains(s.options.MCPServers, id) {
			bad = append(bad, id.String())
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return badRequest(s.gen.badMCPServer, "Invalid IDs: "+strings.Join(bad, ", "))
}

func checkDynamicTools(tools []dynamicTool) *apiError {
	if len(tools) > 250 {
		return badRequest("Too many dynamic tools.", "Maximum 250 dynamic tools per chat.")
	}
	seen := map[string]bool{}
	for _, t := range tools {
		if strings.TrimSpace(t.Name) == "" {
			return badRequest("Dynamic tool name must not be empty.", "")
		}
		if seen[t.Name] {
			return badRequest("Duplicate dynamic tool name.", fmt.Sprintf("Tool %q appears more than once.", t.Name))
		}
		seen[t.Name] = true
	}
	return nil
}

var labelKey = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/-]*$`)

func checkLabels(labels map[string]string) *apiError {
	var wrong []validation
	fail := func(format string, args ...any) {
		wrong = append(wrong, validation{"labels", fmt.Sprintf(format, args...)})
	}
	if len(labels) > 50 {
		fail("too many labels (%d); maximum is 50", len(labels))
	}
	for _, k := range sortedKeys(labels) {
		switch {
		case k == "":
			fail("label key must not be empty")
		case len(k) > 64:
			fail("label key %q exceeds maximum length of 64 bytes", k)
		case !labelKey.MatchString(k):
			fail("label key %q contains invalid characters; must match %s", k, labelKey)
		}
		switch v := labels[k]; {
		case k == "":
		case v == "":
			fail("label value for key %q must not be empty", k)
		case len(v) > 256:
			fail("label value for key %q exceeds maximum length of 256 bytes", k)
		}
	}
	if wrong == nil {
		return nil
	}
	return &apiError{status: http.StatusBadRequest, Message: "Invalid labels.", Validations: wrong}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// getChat serves GET /chats/{chat}.
func (s *Server) getChat(c *call) *apiError {
	s.mu.Lock()
	v := s.fullView(c.chat)
	s.mu.Unlock()
	c.reply(http.StatusOK, v)
	return nil
}
