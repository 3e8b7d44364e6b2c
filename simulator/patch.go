package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

type patchRequest struct {
	Title       *string            `json:"title"`
	Labels      *map[string]string `json:"labels"`
	PlanMode    *string            `json:"plan_mode"`
	PinOrder    *int32             `json:"pin_order"`
	WorkspaceID *uuid.UUID         `json:"workspace_id"`
	Archived    *bool              `json:"archived"`
}

// patchChat serves PATCH /chats/{chat}. Fields are applied one after another;
// a field that fails leaves the earlier ones in place (05/010).
func (s *Server) patchChat(c *call) *apiError {
	var req patchRequest
	if err := decode(c, 0, 0, "UpdateChatRequest", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := checkPlanMode(req.PlanMode); err != nil {
		return err
	}
	if err := s.patchTitle(c.chat, req.Title); err != nil {
		return err
	}
	if req.Labels != nil {
		if err := checkLabels(*req.Labels); err != nil {
			return err
		}
		c.chat.labels = *req.Labels
		c.chat.touch()
	}
	if req.PlanMode != nil {
		c.chat.planMode = *req.PlanMode
	}
	if err := s.patchWorkspace(c, req.WorkspaceID); err != nil {
		return err
	}
	if req.Archived != nil {
		if err := s.setArchived(c.chat, *req.Archived); err != nil {
			return err
		}
	}
	if req.PinOrder != nil {
		if err := s.setPin(c.chat, *req.PinOrder); err != nil {
			return err
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) patchTitle(c *chat, title *string) *apiError {
	if title == nil {
		return nil
	}
	text := strings.TrimSpace(*title)
	switch {
	case text == "":
		return badRequest("Title cannot be empty.", "")
	case utf8.RuneCountInString(text) > 200:
		return badRequest("Title must be at most 200 characters.", "")
	case s.gen.titleLock && (c.retitling || c.status == statusPending):
		return conflict("Title regeneration already in progress for this chat.", "")
	}
	s.setTitle(c, text)
	return nil
}

func (s *Server) setTitle(c *chat, title string) {
	if title == c.title {
		return
	}
	c.title = title
	s.announce("title_change", c)
}

func (s *Server) patchWorkspace(c *call, id *uuid.UUID) *apiError {
	if id == nil {
		return nil
	}
	if *id == uuid.Nil {
		c.chat.workspace, c.chat.bound = nil, false
		return nil
	}
	w := s.workspaces[*id]
	if w == nil || w.owner != c.chat.owner.ID {
		return noWorkspace()
	}
	c.chat.workspace, c.chat.bound = w, false
	return nil
}

// setArchived archives or brings back a chat and its children.
func (s *Server) setArchived(c *chat, archive bool) *apiError {
	if c.parent != nil && !s.gen.archiveChild {
		return badRequest("Chat archive state can only be changed on the root chat.", "")
	}
	if c.archived == archive {
		if archive {
			return badRequest("Chat is already archived.", "")
		}
		return badRequest("Chat is already not archived.", "")
	}
	if !archive {
		if c.parent != nil && c.parent.archived {
			return badRequest("Cannot unarchive a child chat while its parent is archived. Unarchive the parent chat to cascade.", "")
		}
		s.each(c, func(k *chat) { k.archived = false; s.announce("created", k) })
		return nil
	}
	if c.active() && !s.gen.archiveActive {
		return conflict("Cannot archive an active chat. Interrupt or wait for the chat to finish first.",
			"execute transaction: execute transaction: chat state transition SetArchived not allowed from state "+c.stateCode())
	}
	s.each(c, func(k *chat) {
		k.archived = true
		s.unpin(k)
		if k.status == statusRunning || k.status == statusPending {
			s.stopTurn(k)
		}
		s.announce("deleted", k)
	})
	return nil
}

func (s *Server) each(c *chat, f func(*chat)) {
	f(c)
	for _, k := range c.children {
		s.each(k, f)
	}
}

func (c *chat) active() bool {
	switch c.status {
	case statusPending, statusRunning, statusInterrupting, statusRequiresAction:
		return true
	}
	return false
}

// stateCode is the state's name in the later servers' transition errors: a
// letter for the status, X before it when archived, and whether a backlog waits.
func (c *chat) stateCode() string {
	code := map[string]string{
		statusWaiting: "W", statusRunning: "R", statusInterrupting: "I", statusRequiresAction: "A", statusError: "E",
	}[c.status]
	if c.status != statusWaiting {
		code += map[bool]string{false: "0", true: "1"}[len(c.queue) > 0]
	}
	if c.archived {
		code = "X" + code
	}
	return code
}

// setPin pins at the end at first, whatever number is asked for, and moves
// within the pinned chats later (05/010).
func (s *Server) setPin(c *chat, order int32) *apiError {
	switch {
	case order < 0:
		return badRequest("Pin order must be non-negative.", "")
	case order == 0:
		s.unpin(c)
		return nil
	case c.parent != nil:
		return badRequest("Cannot pin a child chat.", "")
	case c.archived:
		return badRequest("Cannot pin an archived chat.", "")
	}
	pinned := s.pinned(c.owner)
	if c.pin == 0 {
		c.pin = int32(len(pinned) + 1)
		return nil
	}
	pinned = slices.DeleteFunc(pinned, func(k *chat) bool { return k == c })
	pinned = slices.Insert(pinned, min(int(order)-1, len(pinned)), c)
	number(pinned)
	return nil
}

func (s *Server) unpin(c *chat) {
	if c.pin == 0 {
		return
	}
	c.pin = 0
	number(s.pinned(c.owner))
}

func (s *Server) pinned(u *User) []*chat {
	var found []*chat
	for _, c := range s.chats {
		if c.owner == u && c.pin > 0 {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *chat) int { return cmp.Compare(a.pin, b.pin) })
	return found
}

func number(pinned []*chat) {
	for i, c := range pinned {
		c.pin = int32(i + 1)
	}
}
