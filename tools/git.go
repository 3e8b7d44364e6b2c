package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

type watchGitArgs struct {
	Chat        uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	WaitSeconds *float64  `json:"wait_seconds,omitempty" jsonschema:"minimum=0,description=for the first news; default 10"`
	Refresh     bool      `json:"refresh,omitempty" jsonschema:"description=scan first"`
	pieceArgs
}

const firstNews = 10 * time.Second

// workingTrees are the repositories of a chat's workspace that its tools have touched.
type workingTrees struct {
	Chat         uuid.UUID     `json:"id"`
	Repositories []workingTree `json:"repositories"`
	ScannedAt    string        `json:"scanned_at,omitempty"`
	Stale        bool          `json:"stale,omitempty"` // no longer live: the last that is known
	TimedOut     bool          `json:"timed_out,omitempty"`
	Note         string        `json:"note,omitempty"`
	NextOffset   int           `json:"next_offset,omitempty"` // counted through the patches of all repositories
	TotalBytes   int           `json:"total_bytes,omitempty"`
}

// workingTree is one repository: what is not committed in it.
type workingTree struct {
	Root   string `json:"root"`
	Branch string `json:"branch,omitempty"` // empty on a detached head
	Origin string `json:"origin,omitempty"`
	changes
	Patch string `json:"patch,omitempty"`
	Note  string `json:"note,omitempty"`

	parsed *diff.Diff
}

var _ = declare(Spec{
	Name: "watch_chat_git", Title: "Watch chat git", Operation: "Watch chat workspace git state via WebSockets", Toolset: Workspace, Effect: Reads, Idempotent: true,
	Description: "What is changed and not committed in the repositories of a chat's workspace, live: branch, stat, files, or the patch in pages.",
}, func(ctx context.Context, s *Session, a watchGitArgs) (*Result, error) {
	waiting, cancel := context.WithTimeout(ctx, s.wait(a.WaitSeconds, firstNews))
	defer cancel()
	tell := narrate(ctx, s.Peer, "waits for the workspace's agent")
	defer tell.end()
	answer := workingTrees{Chat: a.Chat, Repositories: []workingTree{}}
	listener, err := s.Relay.FollowGit(waiting, a.Chat)
	if err != nil {
		return answer.timedOut(ctx, explainWorkspace(err))
	}
	defer listener.Close()
	picture, err := gitPicture(waiting, listener, a.Refresh)
	var silent *relay.AgentSilentError
	switch {
	case errors.As(err, &silent):
		answer.Note = fmt.Sprintf("The workspace's agent did not answer a scan within %s: it is dead or the workspace is stopped, and this is the last known state. Start the workspace again, then ask again", silent.Waited)
	case err != nil:
		return answer.timedOut(ctx, explainWorkspace(err))
	}
	return answer.show(picture, a.pieceArgs, s.Config.MaxOutputBytes)
})

// gitPicture is the first picture there is, or the one after a scan.
func gitPicture(ctx context.Context, l *relay.GitListener, refresh bool) (relay.GitPicture, error) {
	if refresh {
		if err := l.Refresh(ctx); err != nil {
			return l.Picture(), err
		}
	}
	for {
		p := l.Picture()
		if refresh || !p.ScannedAt.IsZero() || p.Problem != "" {
			return p, nil
		}
		if _, err := l.Next(ctx); err != nil {
			return p, err
		}
	}
}

// timedOut is the answer when nothing was heard in time; any other failure stays one.
func (w workingTrees) timedOut(ctx context.Context, err error) (*Result, error) {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	w.TimedOut = true
	w.Note = "Nothing was heard of any repository in that time (timed_out): the chat's tools have touched none since the workspace's agent started, or the agent does not answer"
	return &Result{Text: sentence(w.Note), Structured: w}, nil
}

func sentence(note string) string { return strings.TrimSuffix(note, ".") + "." }

func (w workingTrees) show(p relay.GitPicture, a pieceArgs, most int) (*Result, error) {
	if !p.ScannedAt.IsZero() {
		w.ScannedAt = p.ScannedAt.UTC().Format(time.RFC3339)
	}
	w.Stale = p.Stale
	w.Note = cmp.Or(w.Note, noteOf(p))
	for _, r := range p.Repositories {
		tree, err := treeOf(r, a.Files)
		if err != nil {
			return nil, err
		}
		w.Repositories = append(w.Repositories, tree)
	}
	if a.Format == "" || a.Format == "patch" {
		if err := w.page(a, most); err != nil {
			return nil, err
		}
	}
	text := w.head(a.Offset)
	for i := range w.Repositories {
		text += "\n" + w.Repositories[i].show(a, most/(2*len(w.Repositories)))
	}
	if w.NextOffset > 0 {
		text += fmt.Sprintf("\n(more: offset %d)", w.NextOffset)
	}
	return &Result{Text: text, Structured: w}, nil
}

func noteOf(p relay.GitPicture) string {
	switch {
	case p.Problem != "":
		return "The workspace's agent reports: " + view.Inline(p.Problem, 300)
	case p.Stale:
		return "The connection to the workspace is gone since " + p.StaleSince.UTC().Format(time.RFC3339) + "; this is the last known state"
	case len(p.Repositories) > 0:
		return ""
	case p.ScannedAt.IsZero():
		return "No repository is known: the chat's tools have touched none since the workspace's agent started"
	}
	return "No repository is left that the chat's tools have touched"
}

func treeOf(r relay.GitRepository, globs []string) (workingTree, error) {
	t := workingTree{Root: r.RepoRoot, Branch: r.Branch, Origin: r.RemoteOrigin}
	text := r.UnifiedDiff
	if r.DiffOmitted || diff.Parse(text).Malformed {
		t.Note = "The agent sends no diff above 3 MiB, but says: " + view.Inline(text, 300) + ". Have the chat show parts of it, or commit and push, then get_chat_diff"
		text = ""
	}
	parsed, err := matching(text, globs)
	if err != nil {
		return t, err
	}
	stat := parsed.Stat()
	t.parsed, t.changes, t.Note = parsed, changesOf(stat), cmp.Or(t.Note, stat.Note)
	return t, nil
}

// page puts a page into the trees. It runs through the patches of all; one that does not fit behind another begins the next page.
func (w *workingTrees) page(a pieceArgs, most int) error {
	for _, t := range w.Repositories {
		w.TotalBytes += len(t.parsed.Text())
	}
	if a.Offset > w.TotalBytes {
		return &Failure{
			Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("offset %d is behind the end of the patches, which have %d bytes: they have changed", a.Offset, w.TotalBytes),
			Next: "begin again without offset",
		}
	}
	size := a.pageSize(most)
	room, start := size, 0
	for i := range w.Repositories {
		t := &w.Repositories[i]
		end := start + len(t.parsed.Text())
		if a.Offset >= end {
			start = end
			continue
		}
		if room < size && end-start > room {
			w.NextOffset = start
			return nil
		}
		page, err := t.parsed.Page(max(a.Offset-start, 0), room)
		if err != nil {
			return err
		}
		t.Patch = page.Text
		if room -= len(page.Text); page.Next > 0 {
			w.NextOffset = start + page.Next
			return nil
		}
		start = end
	}
	return nil
}

func (w workingTrees) head(offset int) string {
	head := "Working trees of chat " + w.Chat.String()
	if w.ScannedAt != "" {
		head += ", scanned at " + w.ScannedAt
	}
	if w.TotalBytes > 0 && (offset > 0 || w.NextOffset > 0) {
		head += fmt.Sprintf("; patches of %d bytes, from %d (if that number changes between pages, begin again)", w.TotalBytes, offset)
	}
	if w.Note != "" {
		head += "\n" + sentence(w.Note)
	}
	return head
}

func (t *workingTree) show(a pieceArgs, most int) string {
	var b strings.Builder
	b.WriteString(view.Inline(t.Root, 200))
	if t.Branch == "" {
		b.WriteString(", detached head")
	} else {
		b.WriteString(", branch " + view.Inline(t.Branch, 200))
	}
	if t.Origin != "" {
		b.WriteString(" of " + view.Inline(t.Origin, 200))
	}
	if t.Note != "" && (a.Format != "stat" || t.FileCount == 0) { // the table has it, too
		b.WriteString("\n" + sentence(t.Note))
	}
	if t.FileCount == 0 {
		if t.Note == "" {
			b.WriteString(": nothing is changed")
		}
		return b.String()
	}
	switch {
	case a.Format == "stat":
		t.list(t.parsed.Files, min(most, diff.DefaultStatBytes))
		b.WriteString("\n" + strings.TrimSuffix(t.parsed.Stat().Text(min(most, diff.DefaultStatBytes)), "\n"))
	case a.Offset == 0:
		t.list(t.parsed.Files, most)
		b.WriteString("\n" + t.rows())
	}
	if t.Patch != "" {
		b.WriteString("\n" + view.Quote(strings.TrimSuffix(t.Patch, "\n")))
	}
	return b.String()
}
