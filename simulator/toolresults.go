package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// requireAction stops the turn until the client has answered the dynamic
// calls, for five minutes at most. The lock is held.
func (s *Server) requireAction(c *chat, calls []part) {
	c.turn = nil
	c.status = statusRequiresAction
	c.version++
	c.touch()
	pending := c.pendingCalls()
	required := c.event(streamEvent{Type: "action_required", ActionRequired: &actionRequired{pending}})
	if s.gen.previews {
		c.publish(c.statusEvent(), required)
	} else {
		s.publishStatus(c)
		c.publish(required)
	}
	if s.gen.watchToolCalls {
		s.announce("status_change", c)
		s.announceAs("action_required", c, s.view(c), pending...)
	} else {
		s.announce("action_required", c)
	}
	s.setSummary(c, "Waiting for user input")
	ctx, cancel := context.WithCancel(s.ctx)
	c.patience = cancel
	s.spawn(func() {
		defer cancel()
		if pause(ctx, s.scaled(toolPatience)) {
			s.losePatience(c, ctx)
		}
	})
}

// losePatience gives up on a client that does not answer: May's chat fails, the
// later ones tell the model and go on.
func (s *Server) losePatience(c *chat, ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || c.status != statusRequiresAction {
		return
	}
	if s.gen.resumeOnStop {
		s.refuseCalls(c, "Tool execution timed out")
		return
	}
	s.storeRefusals(c, "Dynamic tool execution timed out")
	c.lastError = &chatError{Message: "Dynamic tool execution timed out", Kind: "generic"}
	c.status = statusError
	c.touch()
	s.publishStatus(c, c.event(streamEvent{Type: "error", Error: c.lastError}))
	s.announceStatus(c)
}

// storeRefusals answers all pending calls with an error.
func (s *Server) storeRefusals(c *chat, why string) []event {
	var events []event
	for _, p := range c.pendingCalls() {
		m := s.addMessage(c, "tool", nil, []part{{
			Type: "tool-result", ToolCallID: p.ToolCallID, ToolName: p.ToolName, Result: encode(why), IsError: true,
		}})
		events = append(events, c.messageEvent(m))
	}
	return events
}

// refuseCalls answers all pending calls with an error and lets the model go on.
func (s *Server) refuseCalls(c *chat, why string) {
	s.resume(c, s.storeRefusals(c, why))
}

// resume goes on after the pending calls were answered; rows are their results.
func (s *Server) resume(c *chat, rows []event) {
	c.version++
	c.status = s.gen.started
	c.touch()
	if s.gen.liveToolRows {
		c.publish(join(rows, []event{c.statusEvent()}, s.reset(c))...)
	}
	if s.gen.watchRunning { // May publishes nothing until the worker has it (05/024)
		s.announceStatus(c)
	}
	s.startTurn(c)
}

// pendingCalls are the dynamic calls of the last answer that have no result.
func (c *chat) pendingCalls() []pendingCall {
	answered := map[string]bool{}
	for i := len(c.messages) - 1; i >= 0; i-- {
		m := c.messages[i]
		switch m.Role {
		case "tool":
			answered[m.Content[0].ToolCallID] = true
		case "assistant":
			var calls []pendingCall
			for _, p := range m.Content {
				if p.Type == "tool-call" && !answered[p.ToolCallID] {
					calls = append(calls, pendingCall{p.ToolCallID, p.ToolName, p.rawArgs})
				}
			}
			return calls
		default:
			return nil
		}
	}
	return nil
}

type toolResult struct {
	ToolCallID string          `json:"tool_call_id"`
	Output     json.RawMessage `json:"output"`
	IsError    bool            `json:"is_error"`
}

// submitToolResults serves POST /chats/{chat}/tool-results.
func (s *Server) submitToolResults(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("submit tool results")
	}
	var req struct {
		Results []toolResult `json:"results"`
	}
	if err := decode(c, createLimit, s.gen.createTooLarge, "SubmitToolResultsRequest", &req); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := c.chat.pendingCalls()
	if err := s.checkResults(c.chat, pending, req.Results); err != nil {
		return err
	}
	var rows []event
	for _, p := range pending {
		for _, r := range req.Results {
			if r.ToolCallID == p.ToolCallID {
				rows = append(rows, c.chat.messageEvent(s.addMessage(c.chat, "tool", &c.user.ID, []part{{
					Type: "tool-result", ToolCallID: p.ToolCallID, ToolName: p.ToolName, Result: r.Output, IsError: r.IsError,
				}})))
			}
		}
	}
	s.resume(c.chat, rows)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) checkResults(c *chat, pending []pendingCall, results []toolResult) *apiError {
	switch {
	case len(results) == 0:
		return badRequest("At least one tool result is required.", "")
	case c.archived:
		return badRequest("Cannot submit tool results to an archived chat.", "")
	case c.status != statusRequiresAction:
		return conflict("Chat is not waiting for tool results.", fmt.Sprintf(s.gen.notWaiting, c.status))
	}
	given := map[string]bool{}
	for _, r := range results {
		if given[r.ToolCallID] {
			return badRequest("Duplicate tool_call_id in results.", fmt.Sprintf("Duplicate tool call ID %q.", r.ToolCallID))
		}
		given[r.ToolCallID] = true
	}
	known := map[string]bool{}
	for _, p := range pending {
		known[p.ToolCallID] = true
		if !given[p.ToolCallID] {
			return badRequest("Missing tool result.", fmt.Sprintf("Missing result for tool call %q.", p.ToolCallID))
		}
	}
	for _, r := range results {
		if !known[r.ToolCallID] {
			return badRequest("Unexpected tool result.", fmt.Sprintf("No pending tool call with ID %q.", r.ToolCallID))
		}
		if len(r.Output) == 0 {
			return badRequest("Tool result output must be valid JSON.", fmt.Sprintf("Output for tool call %q is not valid JSON.", r.ToolCallID))
		}
	}
	return nil
}

// undateDynamic takes created_at from the calls of a step with dynamic tools:
// May stores neither theirs nor those of the built-in ones beside (05/024, 05/034).
func (c *chat) undateDynamic(content []part) {
	if !c.callsDynamic(content) {
		return
	}
	for i := range content {
		if p := &content[i]; p.Type == "tool-call" {
			p.CreatedAt = nil
		}
	}
}

func (c *chat) callsDynamic(content []part) bool {
	return slices.ContainsFunc(content, func(p part) bool {
		return p.Type == "tool-call" && builtin(p.ToolName) == nil && c.offers(p.ToolName)
	})
}
