package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// Diff is the pushed state of a chat's branch, as the git provider has it. All but ChatID is empty without a workspace
// or a branch.
type Diff struct {
	ChatID         uuid.UUID `json:"chat_id"`
	Provider       string    `json:"provider"`
	RemoteOrigin   string    `json:"remote_origin"`
	Branch         string    `json:"branch"`
	PullRequestURL string    `json:"pull_request_url"`
	Diff           string    `json:"diff"` // unified; at most 4 MiB
}

// GetDiff is "Get chat diff contents".
func (c *Client) GetDiff(ctx context.Context, id uuid.UUID) (*Diff, error) {
	diff := new(Diff)
	if err := c.do(ctx, call{op: "get chat diff", path: chatPath(id, "diff"), out: diff}); err != nil {
		return nil, err
	}
	return diff, nil
}

// GitMessage is news of the working trees of a chat's workspace: Type "changes" with the repositories that changed (none
// = nothing changed), or "error" with a Message.
type GitMessage struct {
	Type         string       `json:"type"`
	Message      string       `json:"message"`
	ScannedAt    time.Time    `json:"scanned_at"`
	Repositories []Repository `json:"repositories"`
}

// Repository is the working tree of one repository.
type Repository struct {
	RepoRoot     string `json:"repo_root"`
	Branch       string `json:"branch"`
	RemoteOrigin string `json:"remote_origin"`
	UnifiedDiff  string `json:"unified_diff"` // above 3 MiB the server puts a sentence in its place
	Removed      bool   `json:"removed"`
}

// GitWatch is the live state of the working trees of a chat's workspace.
type GitWatch struct {
	s       *socket
	pending []GitMessage
}

// WatchGit is "Watch chat workspace git state via WebSockets". A chat without a workspace, or whose agent is not
// connected, is an invalid_argument. Nothing is sent before the chat's tools have touched a repository. An agent that
// dies does not end the watch.
func (c *Client) WatchGit(ctx context.Context, id uuid.UUID) (*GitWatch, error) {
	s, err := c.dial(ctx, call{op: "watch chat git", path: chatPath(id, "stream", "git")})
	if err != nil {
		return nil, err
	}
	return &GitWatch{s: s}, nil
}

// Next waits for the next message. It ends as Stream.Next does; one caller at a time.
func (w *GitWatch) Next(ctx context.Context) (GitMessage, error) {
	for len(w.pending) == 0 {
		frame, err := w.s.next(ctx)
		if err != nil {
			return GitMessage{}, err
		}
		if err := w.decode(frame); err != nil {
			return GitMessage{}, err
		}
	}
	message := w.pending[0]
	w.pending = w.pending[1:]
	return message, nil
}

func (w *GitWatch) decode(frame []byte) error {
	err := eachEvent(frame, func(raw []byte) error {
		var message GitMessage
		if err := json.Unmarshal(raw, &message); err != nil {
			return err
		}
		w.pending = append(w.pending, message)
		return nil
	}, w.s.envelopeFailed)
	return w.s.frameError(frame, err)
}

// Refresh asks for a scan now; the server takes one a second. It is safe beside Next. A ctx that ends while it writes ends
// the watch.
func (w *GitWatch) Refresh(ctx context.Context) error {
	if err := w.s.conn.Write(ctx, websocket.MessageText, []byte(`{"type":"refresh"}`)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.s.closedError(err)
	}
	return nil
}

// Close ends the watch.
func (w *GitWatch) Close() error { return w.s.Close() }

// Messages ranges over the watch until it ends or ctx does; the last pair carries the error.
func (w *GitWatch) Messages(ctx context.Context) iter.Seq2[GitMessage, error] {
	return pump(ctx, w.Next)
}
