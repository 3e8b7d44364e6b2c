package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

type messagesJSON struct {
	Messages       []*message `json:"messages"`
	QueuedMessages []*queued  `json:"queued_messages"`
	HasMore        bool       `json:"has_more"`
}

// listMessages serves GET /chats/{chat}/messages: newest first, but oldest
// first with after_id alone; the queue only without a cursor (05/012).
func (s *Server) listMessages(c *call) *apiError {
	q := c.r.URL.Query()
	limit, wrong := positive32(q, "limit", 50)
	before, wrongBefore := positive64(q, "before_id")
	after, wrongAfter := positive64(q, "after_id")
	if all := slices.Concat(wrong, wrongBefore, wrongAfter); len(all) > 0 {
		return invalidQuery(all...)
	}
	switch {
	case limit < 1 || limit > 200:
		return badRequest("Invalid limit parameter (1-200).", "")
	case before > 0 && after >= before:
		return badRequest("after_id must be less than before_id.", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*message{}
	for _, m := range c.chat.messages {
		if m.ID > after && (before == 0 || m.ID < before) {
			found = append(found, m)
		}
	}
	if before > 0 || after == 0 {
		slices.Reverse(found)
	}
	page := messagesJSON{Messages: found, QueuedMessages: []*queued{}}
	if len(found) > limit {
		page.Messages, page.HasMore = found[:limit], true
	}
	if before == 0 && after == 0 {
		page.QueuedMessages = append(page.QueuedMessages, c.chat.queue...)
	}
	c.reply(http.StatusOK, page)
	return nil
}

type promptJSON struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

// listPrompts serves GET /chats/{chat}/prompts, newest first.
func (s *Server) listPrompts(c *call) *apiError {
	limit, wrong := positive32(c.r.URL.Query(), "limit", 0)
	if len(wrong) > 0 {
		return invalidQuery(wrong...)
	}
	if limit > 2000 {
		return badRequest("Invalid limit parameter (0-2000).", "")
	}
	if limit == 0 {
		limit = 500
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	prompts := []promptJSON{}
	for _, m := range slices.Backward(c.chat.messages) {
		if text := m.prompt(); m.Role == "user" && text != "" && len(prompts) < limit {
			prompts = append(prompts, promptJSON{m.ID, text})
		}
	}
	c.reply(http.StatusOK, map[string]any{"prompts": prompts})
	return nil
}

type sendRequest struct {
	Content         []inputPart  `json:"content"`
	ModelConfigID   *uuid.UUID   `json:"model_config_id"`
	MCPServerIDs    *[]uuid.UUID `json:"mcp_server_ids"`
	BusyBehavior    string       `json:"busy_behavior"`
	PlanMode        *string      `json:"plan_mode"`
	ReasoningEffort string       `json:"reasoning_effort"`
}

type sendResponse struct {
	Message       *message   `json:"message,omitempty"`
	Messages      []*message `json:"messages,omitempty"`
	QueuedMessage *queued    `json:"queued_message,omitempty"`
	Queued        bool       `json:"queued"`
	Warnings      []string   `json:"warnings,omitempty"`
}

// sendMessage serves POST /chats/{chat}/messages.
func (s *Server) sendMessage(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("send messages")
	}
	var req sendRequest
	if err := decode(c, s.gen.sendLimit, http.StatusRequestEntityTooLarge, "CreateChatMessageRequest", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts, model, err := s.checkSend(c, &req)
	if err != nil {
		return err
	}
	ch := c.chat
	if req.PlanMode != nil {
		ch.planMode = *req.PlanMode // at once, even if the message has to wait (05/014)
	}
	if req.MCPServerIDs != nil {
		ch.mcpServers = *req.MCPServerIDs
	}
	if req.ReasoningEffort != "" {
		ch.effort = req.ReasoningEffort
	}
	resp, err := s.accept(ch, parts, model, req.BusyBehavior)
	if err != nil {
		return err
	}
	resp.Warnings = s.link(ch, parts)
	c.reply(http.StatusOK, resp)
	return nil
}

func (s *Server) checkSend(c *call, req *sendRequest) ([]part, uuid.UUID, *apiError) {
	ch := c.chat
	if ch.archived {
		return nil, uuid.Nil, badRequest("Cannot send messages to an archived chat.", "")
	}
	switch req.BusyBehavior {
	case "", "queue", "interrupt":
	default:
		return nil, uuid.Nil, badRequest("Invalid busy_behavior value.", `Must be "queue" or "interrupt".`)
	}
	if err := checkPlanMode(req.PlanMode); err != nil {
		return nil, uuid.Nil, err
	}
	parts, err := s.checkContent(c.user, req.Content)
	if err == nil && req.MCPServerIDs != nil {
		err = s.checkMCPServers(*req.MCPServerIDs)
	}
	if err == nil && s.options.UsageLimit != nil {
		err = s.overSpent()
	}
	if err != nil {
		return nil, uuid.Nil, err
	}
	model, err := s.modelOf(ch, req.ModelConfigID)
	return parts, model, err
}

// modelOf is the model config that a send or edit asks for; none, or the nil
// UUID, keeps the chat's.
func (s *Server) modelOf(c *chat, id *uuid.UUID) (uuid.UUID, *apiError) {
	if id == nil || *id == uuid.Nil {
		return c.model, nil
	}
	m, err := s.chooseModel(id, false)
	if err != nil {
		return uuid.Nil, err
	}
	return m.ID, nil
}

// accept makes the content a message, or queues it while the chat is busy.
func (s *Server) accept(c *chat, parts []part, model uuid.UUID, busy string) (*sendResponse, *apiError) {
	if !c.active() && len(c.queue) == 0 {
		return s.acceptNow(c, parts, model), nil
	}
	if len(c.queue) >= queueLimit {
		return nil, &apiError{
			status: http.StatusTooManyRequests, Message: "Message queue is full.",
			Detail: fmt.Sprintf("Maximum %d messages can be queued.", queueLimit),
		}
	}
	q := s.enqueue(c, parts, model)
	resp := &sendResponse{QueuedMessage: q, Queued: true}
	switch {
	case !c.active() && s.gen.drainOnSend:
		resp.Messages = []*message{s.drain(c, nil)}
		s.startTurn(c)
	case busy == "interrupt":
		resp.Messages = s.makeWay(c)
	default:
		c.publish(c.queueEvent())
		if s.gen.watchRunning {
			s.announceStatus(c)
		}
	}
	return resp, nil
}

func (s *Server) acceptNow(c *chat, parts []part, model uuid.UUID) *sendResponse {
	s.settleTurn(c)
	c.model = model
	c.lastError = nil
	m := s.addMessage(c, "user", &c.owner.ID, parts)
	c.version++
	c.status = s.gen.started
	if s.gen.previews {
		c.publish(join([]event{c.messageEvent(m), c.statusEvent()}, s.reset(c))...)
	} else {
		s.publishStatus(c, c.messageEvent(m))
	}
	s.announceStatus(c)
	s.startTurn(c)
	resp := &sendResponse{Message: m}
	if s.gen.storedTwice {
		resp.Messages = []*message{m}
	}
	return resp
}

// makeWay stops what the chat does so that its queue goes on. In
// requires_action May's chat ends up waiting with the message stuck (05/025);
// the later ones answer the calls with an error, and tell that row.
func (s *Server) makeWay(c *chat) []*message {
	if c.status != statusRequiresAction {
		s.stopTurn(c, c.queueEvent())
		return nil
	}
	if !s.gen.resumeOnStop {
		s.stopTurn(c, c.queueEvent())
		return nil
	}
	known := len(c.messages)
	rows := s.storeRefusals(c, interruptedByUser)
	refused := slices.Clone(c.messages[known:])
	s.drain(c, rows)
	s.startTurn(c)
	return refused
}

type editRequest struct {
	Content       []inputPart `json:"content"`
	ModelConfigID *uuid.UUID  `json:"model_config_id"`
}

type editResponse struct {
	Message           *message   `json:"message"`
	Messages          []*message `json:"messages,omitempty"`
	DeletedMessageIDs []int64    `json:"deleted_message_ids,omitempty"`
	Warnings          []string   `json:"warnings,omitempty"`
}

// editMessage serves PATCH /chats/{chat}/messages/{id}: the message comes back
// under a new id, everything after it and the queue are gone, the model
// answers anew.
func (s *Server) editMessage(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("edit messages")
	}
	id, parseErr := strconv.ParseInt(c.id, 10, 64)
	if parseErr != nil || id <= 0 {
		return badRequest("Invalid chat message ID.", "Message ID must be a positive integer.")
	}
	var req editRequest
	if err := decode(c, s.gen.sendLimit, http.StatusRequestEntityTooLarge, "EditChatMessageRequest", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := c.chat
	parts, err := s.checkContent(c.user, req.Content)
	if err == nil && s.options.UsageLimit != nil {
		err = s.overSpent()
	}
	if err != nil {
		return err
	}
	at, err := ch.editable(id)
	if err != nil {
		return err
	}
	model, err := s.modelOf(ch, req.ModelConfigID)
	if err != nil {
		return err
	}
	resp := s.rewrite(ch, at, parts, model)
	resp.Warnings = s.link(ch, parts)
	c.reply(http.StatusOK, resp)
	return nil
}

// editable finds a user message's place in the chat.
func (c *chat) editable(id int64) (int, *apiError) {
	if c.archived {
		return 0, badRequest("Cannot edit messages in an archived chat.", "")
	}
	i := slices.IndexFunc(c.messages, func(m *message) bool { return m.ID == id })
	switch {
	case c.hidden[id], i >= 0 && c.messages[i].Role != "user":
		return 0, badRequest("Only user messages can be edited.", "")
	case i < 0:
		return 0, &apiError{status: http.StatusNotFound, Message: "Chat message not found.", Detail: "Message does not belong to this chat."}
	}
	return i, nil
}

func (s *Server) rewrite(c *chat, at int, parts []part, model uuid.UUID) *editResponse {
	c.abandon()
	var gone []int64
	for _, m := range c.messages[at:] {
		gone = append(gone, m.ID)
	}
	c.messages = slices.Clone(c.messages[:at])
	hadQueue := len(c.queue) > 0
	c.queue = nil
	c.lastError = nil
	c.model = model
	was := c.status
	c.status = s.gen.started
	c.version++
	m := s.addMessage(c, "user", &c.owner.ID, parts)
	s.publishRewrite(c, hadQueue, was != c.status)
	s.announceStatus(c)
	s.startTurn(c)
	resp := &editResponse{Message: m}
	if s.gen.storedTwice {
		resp.Messages, resp.DeletedMessageIDs = []*message{m}, gone
	}
	return resp
}

// publishRewrite repeats what is left of the history: after a history_reset
// where there is one, else without any word on what is gone (05/021).
func (s *Server) publishRewrite(c *chat, hadQueue, newStatus bool) {
	var history []event
	for _, m := range c.messages {
		history = append(history, c.messageEvent(m))
	}
	if !s.gen.previews {
		c.publish(history...)
		s.publishStatus(c, c.queueEvent())
		return
	}
	events := append([]event{c.event(streamEvent{Type: "history_reset"})}, history...)
	if hadQueue {
		events = append(events, c.queueEvent())
	}
	if newStatus {
		events = append(events, c.statusEvent())
	}
	c.publish(append(events, s.reset(c)...)...)
}
