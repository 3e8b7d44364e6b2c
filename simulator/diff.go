package simulator

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

type diffJSON struct {
	ChatID       uuid.UUID `json:"chat_id"`
	Provider     string    `json:"provider,omitempty"`
	RemoteOrigin string    `json:"remote_origin,omitempty"`
	Branch       string    `json:"branch,omitempty"`
	Diff         string    `json:"diff,omitempty"`
}

// getDiff serves GET /chats/{chat}/diff: what was pushed, not the working tree
// (05/073).
func (s *Server) getDiff(c *call) *apiError {
	s.mu.Lock()
	d := diffJSON{ChatID: c.chat.id}
	if w := c.chat.workspace; w != nil && w.pushed {
		d.Provider, d.RemoteOrigin, d.Branch, d.Diff = "github", w.origin, w.branch, w.unifiedDiff()
	}
	s.mu.Unlock()
	c.reply(http.StatusOK, d)
	return nil
}

type diffStatus struct {
	ChatID           uuid.UUID  `json:"chat_id"`
	URL              string     `json:"url,omitempty"`
	PullRequestTitle string     `json:"pull_request_title"`
	PullRequestDraft bool       `json:"pull_request_draft"`
	ChangesRequested bool       `json:"changes_requested"`
	Additions        int        `json:"additions"`
	Deletions        int        `json:"deletions"`
	ChangedFiles     int        `json:"changed_files"`
	HeadBranch       string     `json:"head_branch,omitempty"`
	RefreshedAt      *time.Time `json:"refreshed_at,omitempty"`
}

func (c *chat) diffStatus() *diffStatus {
	d := &diffStatus{ChatID: c.id}
	w := c.workspace
	if w == nil || !w.pushed {
		return d
	}
	d.URL = strings.TrimSuffix(w.origin, ".git") + "/tree/" + w.branch
	at := c.updated
	d.HeadBranch, d.RefreshedAt = w.branch, &at
	d.ChangedFiles = len(w.changedPaths())
	for _, p := range w.changedPaths() {
		for _, l := range compare(lines(w.base[p]), lines(w.tree[p])) {
			switch l.op {
			case '+':
				d.Additions++
			case '-':
				d.Deletions++
			}
		}
	}
	return d
}

// workspaceChanged follows a step's tools: the first push is announced. The
// lock is held.
func (s *Server) workspaceChanged(c *chat) {
	if w := c.workspace; w != nil && w.pushed && !c.pushTold {
		c.pushTold = true
		s.announce("diff_status_change", c)
	}
}
