package simulator

import (
	"github.com/coder/websocket"
)

// watchEvent is one event of /chats/watch.
type watchEvent struct {
	Kind      string        `json:"kind"`
	Chat      *chatJSON     `json:"chat"`
	ToolCalls []pendingCall `json:"tool_calls,omitempty"`
}

// watch serves GET /chats/watch: the caller's own chats, also for a site owner.
func (s *Server) watch(c *call) *apiError {
	f := newFeed(0)
	s.mu.Lock() // before the handshake: who has its answer misses nothing
	if s.watchers[c.user.ID] == nil {
		s.watchers[c.user.ID] = map[*feed]struct{}{}
	}
	s.watchers[c.user.ID][f] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers[c.user.ID], f)
		s.mu.Unlock()
	}()
	k, ctx := s.upgrade(c, "watch", "Failed to open chat watch stream.", websocket.CompressionDisabled)
	if k == nil {
		return nil
	}
	defer s.release(k)
	defer s.background(ctx, k, k.hearNothing)()
	defer k.cancel()
	_ = pump(ctx, k, f, 1, func(e []event) []byte { return append(e[0].json[:len(e[0].json):len(e[0].json)], '\n') })
	return nil
}

// announce tells the owner's watchers about a chat. The lock is held.
func (s *Server) announce(kind string, c *chat) { s.announceAs(kind, c, s.view(c)) }

// announceAs announces a view of the chat that may be stale.
func (s *Server) announceAs(kind string, c *chat, v *chatJSON, calls ...pendingCall) {
	if len(s.watchers[c.owner.ID]) == 0 {
		return
	}
	e := event{json: encode(watchEvent{Kind: kind, Chat: v, ToolCalls: calls})}
	for f := range s.watchers[c.owner.ID] {
		f.push(e)
	}
}

// announceStatus is status_change, but for `running` where that is not told.
func (s *Server) announceStatus(c *chat) {
	if c.status == statusRunning && !s.gen.watchRunning {
		return
	}
	s.announce("status_change", c)
}
