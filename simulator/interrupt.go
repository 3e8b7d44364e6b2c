package simulator

import "net/http"

const interruptedByUser = "Tool execution interrupted by user"

// interrupt serves POST /chats/{chat}/interrupt. May answers 200 whatever the
// chat does; the later servers refuse when nothing runs.
func (s *Server) interrupt(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := c.chat
	switch {
	case ch.status == statusPending: // it runs anyway (05/018)
		ch.touch()
	case ch.status == statusRequiresAction && !ch.archived:
		s.interruptCalls(ch)
	case ch.status == statusRunning:
		ch.version++
		s.stopTurn(ch)
	case s.gen.interrupting:
		return conflict("Chat is not in an interruptible state.",
			"execute transaction: chat state transition Interrupt not allowed from state "+ch.stateCode())
	default:
		s.stopTurn(ch)
	}
	c.reply(http.StatusOK, s.view(ch))
	return nil
}

func (s *Server) interruptCalls(c *chat) {
	if s.gen.resumeOnStop {
		s.refuseCalls(c, interruptedByUser)
		return
	}
	s.storeRefusals(c, interruptedByUser)
	if c.patience != nil {
		c.patience()
	}
	s.stopTurn(c)
}
