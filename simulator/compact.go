package simulator

import (
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	compactDelay = 60 * time.Millisecond
	summarized   = "chat_summarized" // the tool whose call and result are a compaction
	compactAbove = 70                // percent of the context limit
)

const compactSummary = `{"title":"Fake title: You are performing a"}`

// maybeCompact compacts a chat whose answer just filled its context, and lets
// the model go on from the summary (05/086). The lock is held.
func (s *Server) maybeCompact(c *chat, t *turn, m *message) verdict {
	limit := m.Usage.ContextLimit
	if limit == 0 || m.Usage.InputTokens*100 < compactAbove*limit {
		return over
	}
	if s.gen.compactLate {
		c.overfull = m.Usage.InputTokens
		return over
	}
	s.compactFull(c, t, m.Usage.InputTokens)
	return goOn
}

func (s *Server) compactFull(c *chat, t *turn, tokens int) {
	s.storeSummary(c, t, "automatic", tokens, s.contextLimit(c.model))
	c.resume = "The following is a summary of the earlier conversation. The assistant was actively working when the context was compacted. " +
		"Continue the work described below:\n\n" + compactSummary
}

func (s *Server) storeSummary(c *chat, t *turn, source string, tokens, limit int) {
	t.attempt, t.seq, t.version = 1, 0, c.version
	c.publish(s.reset(c)...)
	id := summarized + "_" + uuid.NewString()
	args := encode(map[string]any{"source": source, "threshold_percent": compactAbove})
	call := part{Type: "tool-call", ToolCallID: id, ToolName: summarized}
	s.emit(c, t, "assistant", call)
	call.Args = args
	result := part{Type: "tool-result", ToolCallID: id, ToolName: summarized, Result: encode(map[string]any{
		"source": source, "summary": compactSummary, "threshold_percent": compactAbove, "context_tokens": tokens,
		"context_limit_tokens": limit, "usage_percent": float64(tokens) * 100 / float64(max(1, limit)),
	})}
	s.emit(c, t, "tool", result)
	t.parts, t.preview = nil, nil
	c.hide(s, 1)
	events := []event{
		c.messageEvent(s.addMessage(c, "assistant", nil, []part{call})),
		c.messageEvent(s.addMessage(c, "tool", nil, []part{result})),
	}
	c.version += 2
	c.publish(append(events, s.reset(c)...)...)
}

// compact serves POST /chats/{chat}/compact.
func (s *Server) compact(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("compact the chat")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := c.chat
	last := slices.IndexFunc(ch.messages, func(m *message) bool { return m.Role == "tool" && m.Content[0].ToolName == summarized })
	switch {
	case ch.archived:
		return badRequest("Cannot compact an archived chat.", "")
	case ch.active():
		return conflict("Cannot compact the chat in its current state.", "Compaction is not available while the chat is generating.")
	case last == len(ch.messages)-1:
		return conflict("Nothing to compact.", "The chat has no conversation to summarize after the latest compaction.")
	}
	ch.version++
	ch.status = s.gen.started
	ch.compacting = true
	ch.publish(append([]event{ch.statusEvent()}, s.reset(ch)...)...)
	s.announceStatus(ch)
	s.startTurn(ch)
	c.reply(http.StatusOK, s.view(ch))
	return nil
}

// compacts does what a manual compaction asked for, instead of an answer, or
// what a full context needs before one.
func (s *Server) compacts(c *chat, t *turn) bool {
	s.mu.Lock()
	asked := c.compacting
	s.mu.Unlock()
	if asked && !pause(t.ctx, 5*s.options.TokenDelay) { // the summary is an answer of the model, too
		return false
	}
	s.mu.Lock()
	manual := c.compacting
	s.mu.Unlock()
	if manual && !pause(t.ctx, s.scaled(compactDelay)) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !c.owns(t):
		return false
	case manual:
		c.compacting = false
		s.storeSummary(c, t, "manual", 10, s.contextLimit(c.model))
	case c.overfull > 0:
		s.compactFull(c, t, c.overfull)
		c.overfull = 0
	}
	return manual
}
