package simulator

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
)

// The endpoints that came after May beside compaction and download URLs.

type aclUser struct {
	ID       uuid.UUID `json:"id"`
	Username string    `json:"username"`
	Name     string    `json:"name"`
	Role     string    `json:"role"`
}

// getACL serves GET /chats/{chat}/acl.
func (s *Server) getACL(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := []aclUser{}
	for _, u := range s.options.Users {
		if role := c.chat.acl[u.ID]; role != "" {
			users = append(users, aclUser{u.ID, u.Username, u.Name, role})
		}
	}
	c.reply(http.StatusOK, map[string]any{"users": users, "groups": []any{}})
	return nil
}

// patchACL serves PATCH /chats/{chat}/acl: user ids with the role read, or ""
// to take it back.
func (s *Server) patchACL(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID && !c.user.Owner {
		return forbidden()
	}
	var req struct {
		UserRoles map[string]string `json:"user_roles"`
	}
	if err := decode(c, 0, 0, "UpdateChatACL", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	roles := map[uuid.UUID]string{}
	for _, text := range sortedKeys(req.UserRoles) {
		id, problem := s.checkRole(text, req.UserRoles[text])
		if problem != "" {
			return &apiError{
				status: http.StatusBadRequest, Message: "Invalid request to update chat ACL.",
				Validations: []validation{{"user_roles", problem}},
			}
		}
		if id == c.user.ID {
			return badRequest("Cannot change your own chat sharing role.", "")
		}
		roles[id] = req.UserRoles[text]
	}
	if c.chat.acl == nil {
		c.chat.acl = map[uuid.UUID]string{}
	}
	for id, role := range roles {
		if role == "" {
			delete(c.chat.acl, id)
		} else {
			c.chat.acl[id] = role
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) checkRole(text, role string) (uuid.UUID, string) {
	id, err := uuid.Parse(text)
	switch {
	case err != nil:
		return id, text + " is not a valid UUID."
	case role != "" && role != "read":
		return id, fmt.Sprintf("role %q is not a valid chat role", role)
	case !slices.ContainsFunc(s.options.Users, func(u User) bool { return u.ID == id }):
		return id, fmt.Sprintf("user with ID %s does not exist", id)
	}
	return id, ""
}

// getCost serves GET /chats/{chat}/cost: nothing here has a price.
func (s *Server) getCost(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	unpriced := 0
	for _, m := range c.chat.messages {
		if m.Usage != nil {
			unpriced++
		}
	}
	c.reply(http.StatusOK, map[string]any{
		"chat_id": c.chat.id, "total_cost_micros": 0, "request_count": c.chat.requests, "unpriced_request_count": unpriced,
	})
	return nil
}

// refreshContext serves PUT /chats/{chat}/context.
func (s *Server) refreshContext(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.reply(http.StatusOK, s.view(c.chat))
	return nil
}

// reconcileInvalid serves POST /chats/{chat}/reconcile-invalid: no chat here is.
func (s *Server) reconcileInvalid(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return conflict("Chat is not in an invalid state.", fmt.Sprintf(
		"execute transaction: chat state transition ReconcileInvalidState not allowed from state %s: reconcile is only valid for invalid states", c.chat.stateCode()))
}

// debugRuns serves GET /chats/{chat}/debug/runs.
func (s *Server) debugRuns(c *call) *apiError {
	c.reply(http.StatusOK, []any{})
	return nil
}
