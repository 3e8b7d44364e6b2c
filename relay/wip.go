package relay

import (
	"context"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

type (
	chatFeed  struct{}
	gitFeed   struct{}
	watchFeed struct{}
	lister    struct{ relay *Relay }
	reader    struct{ relay *Relay }
)

// Follow follows one chat live. It returns when the first picture is there, or the typed error.
func (r *Relay) Follow(ctx context.Context, chat uuid.UUID) (*Listener, error) { return nil, ErrClosed }

// Listener is one reader of a chat.
type Listener struct{}

// Picture is the state that the events of Next go on from.
func (l *Listener) Picture() Picture { return Picture{} }

// Next waits for the next event.
func (l *Listener) Next(ctx context.Context) (Event, error) { return Event{}, ErrClosed }

// Close leaves the chat.
func (l *Listener) Close() {}

// WatchListener is one reader of the events about the caller's chats.
type WatchListener struct{}

// Watch listens to the events about the caller's chats.
func (r *Relay) Watch(ctx context.Context) (*WatchListener, error) { return nil, ErrClosed }

// Next waits for the next event.
func (l *WatchListener) Next(ctx context.Context) (client.WatchEvent, error) {
	return client.WatchEvent{}, ErrClosed
}

// Close leaves.
func (l *WatchListener) Close() {}

// GitPicture is the state of the working trees of a chat's workspace.
type GitPicture struct {
	Repositories []GitRepository // sorted by root
	ScannedAt    time.Time
	Problem      string    // what the server last reported to be wrong; "" since the last good scan
	Stale        bool      // the agent stopped answering, or the socket is down: this is the past
	StaleSince   time.Time // when that was noticed
}

// GitRepository is one working tree.
type GitRepository struct {
	client.Repository
	DiffOmitted bool // UnifiedDiff is the server's sentence that the diff is too large (3 MiB), not a diff
}

// GitListener is one reader of the working trees of a chat's workspace.
type GitListener struct{}

// FollowGit follows the working trees of a chat's workspace.
func (r *Relay) FollowGit(ctx context.Context, chat uuid.UUID) (*GitListener, error) {
	return nil, ErrClosed
}

// Picture is the state now.
func (l *GitListener) Picture() GitPicture { return GitPicture{} }

// Next waits for a picture newer than the last.
func (l *GitListener) Next(ctx context.Context) (GitPicture, error) { return GitPicture{}, ErrClosed }

// Refresh asks for a scan and waits for its answer.
func (l *GitListener) Refresh(ctx context.Context) error { return ErrClosed }

// Close leaves.
func (l *GitListener) Close() {}

// AgentSilentError says that the workspace's agent did not answer a scan.
type AgentSilentError struct{ Waited time.Duration }

func (e *AgentSilentError) Error() string {
	return "the workspace agent did not answer a scan within " + e.Waited.String() + ": the workspace may be stopped or its agent dead; what is shown is the last known state"
}
