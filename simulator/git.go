package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

const (
	gitPoll      = 5 * time.Second
	gitCooldown  = time.Second
	gitDiffLimit = 3 << 20 // bytes of one repository's diff
)

// GitMessage is one message of stream/git from the server.
type GitMessage struct {
	Type         string          `json:"type"` // changes, error
	ScannedAt    *time.Time      `json:"scanned_at,omitempty"`
	Repositories []GitRepository `json:"repositories,omitempty"` // only those that changed
	Message      string          `json:"message,omitempty"`
}

// GitRepository is a repository's working tree.
type GitRepository struct {
	RepoRoot     string `json:"repo_root"`
	Branch       string `json:"branch"`
	RemoteOrigin string `json:"remote_origin,omitempty"`
	UnifiedDiff  string `json:"unified_diff,omitempty"` // at most 3 MiB, else a sentence
	Removed      bool   `json:"removed,omitempty"`
}

// checkAgent says why a chat's workspace cannot be reached.
func (s *Server) checkAgent(c *chat, none, state string) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch w := c.workspace; {
	case w == nil:
		return badRequest(none, "")
	case w.state == "none":
		return badRequest("Chat workspace has no agents.", "")
	case w.state != "connected":
		return badRequest(fmt.Sprintf(state, w.state), "")
	}
	return nil
}

// gitStream serves GET /chats/{chat}/stream/git. Its messages are fragmented,
// and compressed when the client offers it (05/073).
func (s *Server) gitStream(c *call) *apiError {
	if s.options.Git == nil {
		if err := s.checkAgent(c.chat, "Chat has no workspace to watch.", `Agent state is %q, it must be in the "connected" state.`); err != nil {
			return err
		}
	}
	k, ctx := s.upgrade(c, "git", "Failed to open chat git watch stream.", websocket.CompressionContextTakeover)
	if k == nil {
		return nil
	}
	defer s.release(k)
	defer s.background(ctx, k)()
	defer k.cancel()
	refresh := make(chan bool)
	s.mu.Lock()
	s.spawn(func() { readRefreshes(ctx, k, refresh) })
	s.mu.Unlock()
	if s.options.Git != nil {
		s.forwardGit(ctx, k, c.chat, refresh)
		return nil
	}
	s.followTree(ctx, k, c.chat, refresh)
	return nil
}

// readRefreshes turns the client's messages into refreshes; false is one of an
// unknown type, and what is no JSON ends the socket with 1001.
func readRefreshes(ctx context.Context, k *socket, refresh chan<- bool) {
	defer k.cancel()
	for {
		kind, b, err := k.conn.Read(ctx)
		if err != nil {
			return
		}
		var m struct{ Type string }
		if kind != websocket.MessageText || json.Unmarshal(b, &m) != nil {
			k.close(websocket.StatusGoingAway)
			return
		}
		select {
		case refresh <- m.Type == "refresh":
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) forwardGit(ctx context.Context, k *socket, c *chat, refresh <-chan bool) {
	messages, err := s.options.Git(ctx, c.id)
	if err != nil {
		_ = sendGit(ctx, k, GitMessage{Type: "error", Message: err.Error()})
		return
	}
	for {
		select {
		case m, ok := <-messages:
			if !ok || sendGit(ctx, k, m) != nil {
				return
			}
		case <-refresh: // the hook decides when to speak
		case <-ctx.Done():
			return
		}
	}
}

// followTree sends the working tree when it is known and whenever it changes,
// and the bare time of a scan on a refresh that found nothing new. While no
// repository is known, nothing is sent at all (05/074).
func (s *Server) followTree(ctx context.Context, k *socket, c *chat, refresh <-chan bool) {
	var last string
	scan := func(answer bool) bool {
		s.mu.Lock()
		repos := c.workspace.repositories()
		s.mu.Unlock()
		at := now()
		m := GitMessage{Type: "changes", ScannedAt: &at}
		switch state := string(encode(repos)); {
		case state != last:
			last, m.Repositories = state, repos
		case !answer || len(repos) == 0:
			return true
		}
		return sendGit(ctx, k, m) == nil
	}
	last = string(encode([]GitRepository(nil)))
	if !scan(false) {
		return
	}
	poll := time.NewTicker(s.scaled(gitPoll))
	defer poll.Stop()
	var cooled time.Time
	for {
		s.mu.Lock()
		changed := c.workspace.changes
		s.mu.Unlock()
		ok := true
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			ok = scan(false)
		case <-changed: // a tool of this chat reported the path
			ok = scan(false)
		case known := <-refresh:
			switch {
			case !known:
				ok = sendGit(ctx, k, GitMessage{Type: "error", Message: "unknown message type"}) == nil
			case time.Now().After(cooled):
				cooled = time.Now().Add(s.scaled(gitCooldown))
				ok = scan(true)
			}
		}
		if !ok {
			return
		}
	}
}

// sendGit writes a message as the real server does, through an encoder: a text
// frame without FIN and an empty continuation.
func sendGit(ctx context.Context, k *socket, m GitMessage) error {
	w, err := k.conn.Writer(ctx, websocket.MessageText)
	if err != nil {
		return fmt.Errorf("open a git message: %w", err)
	}
	if err := json.NewEncoder(w).Encode(m); err != nil {
		return fmt.Errorf("write a git message: %w", err)
	}
	return w.Close()
}

// repositories is what the agent sees; nothing before a tool was there. The
// lock is held.
func (w *workspace) repositories() []GitRepository {
	if w == nil || !w.touched {
		return nil
	}
	diff := w.unifiedDiff()
	if len(diff) > gitDiffLimit {
		diff = fmt.Sprintf("Total diff too large to show. Size: %.1f MiB. Showing branch and remote only.", float64(len(diff))/(1<<20))
	}
	return []GitRepository{{RepoRoot: w.root, Branch: w.branch, RemoteOrigin: w.origin, UnifiedDiff: diff}}
}
