package resources

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// firstScan is how long a reader waits for the first news. What the chat's tools have touched is told at once (fixtures 05/073, 05/077), of an
// untouched workspace nothing ever comes.
const firstScan = 3 * time.Second

// workingTrees are the repositories of a chat's workspace.
type workingTrees struct {
	Repositories []view.Repository `json:"repositories"`
	ScannedAt    string            `json:"scanned_at,omitempty"`
	Stale        bool              `json:"stale,omitempty"` // no longer live: the last that is known
	StaleSince   string            `json:"stale_since,omitempty"`
	Problem      string            `json:"problem,omitempty"`
	Note         string            `json:"note,omitempty"`
}

// readGit connects, waits for the first picture and leaves.
func readGit(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	listener, err := src.Relay.FollowGit(ctx, t.chat)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	picture, err := firstPicture(ctx, listener)
	if err != nil {
		return nil, err
	}
	return encoded(t, treesOf(picture, src.maxText()))
}

func firstPicture(ctx context.Context, listener *relay.GitListener) (relay.GitPicture, error) {
	picture := listener.Picture()
	if !picture.ScannedAt.IsZero() { // somebody follows it already: whether the agent is still there, only a scan can tell
		return scanned(ctx, listener)
	}
	waiting, stop := context.WithTimeout(ctx, firstScan)
	defer stop()
	next, err := listener.Next(waiting)
	switch {
	case err == nil:
		return next, nil
	case ctx.Err() != nil:
		return picture, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return listener.Picture(), nil
	}
	return picture, err
}

func scanned(ctx context.Context, listener *relay.GitListener) (relay.GitPicture, error) {
	err := listener.Refresh(ctx)
	picture := listener.Picture()
	if err == nil || ctx.Err() != nil || len(picture.Repositories) == 0 {
		return picture, err
	}
	picture.Problem = err.Error() // the last that is known is worth more than that
	return picture, nil
}

// rowBytes bounds, in bytes of JSON, what is said of single files, of all repositories together.
const rowBytes = 256 << 10

func treesOf(p relay.GitPicture, left int) workingTrees {
	v := workingTrees{
		Repositories: []view.Repository{}, ScannedAt: stamp(p.ScannedAt), Stale: p.Stale, StaleSince: stamp(p.StaleSince), Problem: p.Problem,
	}
	rows := rowBytes / max(1, len(p.Repositories))
	for _, r := range p.Repositories {
		tree := view.WorkingTree(r.Repository, left, rows)
		left -= len(tree.Diff)
		v.Repositories = append(v.Repositories, tree)
	}
	switch {
	case p.FromBefore:
		v.Note = view.FromBefore
	case p.ScannedAt.IsZero() && p.Problem == "":
		v.Note = fmt.Sprintf("nothing heard of any repository within %s: the chat's tools have touched none yet, or the workspace's agent does not answer", firstScan)
	case len(v.Repositories) == 0 && p.Problem == "":
		v.Note = "no repository that the chat's tools have touched is there any more"
	}
	return v
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
