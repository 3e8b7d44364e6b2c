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

const (
	firstNews = 10 * time.Second
	// atOnce is what the news that comes with the connection may take, also for a call that does not wait.
	atOnce = time.Second
	// gitConnect is how long the workspace's agent may take to be reached. It is no part of the wait: whoever does not want to wait for news wants
	// to know all the same why there can be none.
	gitConnect = 20 * time.Second
)

// workingTrees are the repositories of a chat's workspace that its tools have touched.
type workingTrees struct {
	Chat         uuid.UUID     `json:"id"`
	Repositories []workingTree `json:"repositories"`
	ScannedAt    string        `json:"scanned_at,omitempty"`
	Stale        bool          `json:"stale,omitempty"` // no longer live: the last that is known
	TimedOut     bool          `json:"timed_out,omitempty"`
	Note         string        `json:"note,omitempty"`
	NextOffset   int           `json:"next_offset,omitempty"` // counted through the patches of all repositories; with format files through their files
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
	if err := a.check(); err != nil {
		return nil, err
	}
	if _, err := matching("", a.Files); err != nil { // before anything is waited for
		return nil, err
	}
	tell := narrate(ctx, s.Peer, "waits for the workspace's agent")
	defer tell.end()
	listener, err := s.followGit(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	waiting, cancel := context.WithTimeout(ctx, max(s.wait(a.WaitSeconds, firstNews), atOnce))
	defer cancel()
	picture, err := gitPicture(waiting, listener, a.Refresh)
	if s.Peer.Cancelled(ctx) {
		return nil, ctx.Err()
	}
	answer := workingTrees{Chat: a.Chat, Repositories: []workingTree{}}
	if err != nil {
		if err := answer.explain(s, picture, err, waiting.Err() != nil); err != nil {
			return nil, err
		}
	}
	return answer.show(picture, a.pieceArgs, s.Config.MaxOutputBytes)
})

// followGit connects to the workspace.
func (s *Session) followGit(ctx context.Context, chat uuid.UUID) (*relay.GitListener, error) {
	connecting, cancel := context.WithTimeout(ctx, gitConnect)
	defer cancel()
	listener, err := s.Relay.FollowGit(connecting, chat)
	switch {
	case err == nil:
		return listener, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, &Failure{
			Kind: string(client.KindTimeout), Message: fmt.Sprintf("the agent of the chat's workspace was not reached within %d s", int(gitConnect.Seconds())),
			Next: "try again; if it stays, check the workspace in Coder",
		}
	}
	return nil, explainWorkspace(err)
}

// gitPicture is the first picture there is, or the one after a scan. With an error it is what was known before.
func gitPicture(ctx context.Context, l *relay.GitListener, refresh bool) (relay.GitPicture, error) {
	if refresh {
		err := l.Refresh(ctx)
		return l.Picture(), err
	}
	for {
		p := l.Picture()
		switch {
		case p.FromBefore: // an agent that knows anything tells it at once
			return renewed(ctx, l)
		case !p.ScannedAt.IsZero() || p.Problem != "":
			return p, nil
		}
		if _, err := l.Next(ctx); err != nil {
			return l.Picture(), err
		}
	}
}

func renewed(ctx context.Context, l *relay.GitListener) (relay.GitPicture, error) {
	soon, cancel := context.WithTimeout(ctx, atOnce)
	defer cancel()
	for {
		p := l.Picture()
		if !p.FromBefore {
			return p, nil
		}
		if _, err := l.Next(soon); err != nil {
			return l.Picture(), nil
		}
	}
}

// explain says what a failure means for what is known nevertheless. Where nothing is, it gives the failure back.
func (w *workingTrees) explain(s *Session, p relay.GitPicture, err error, timedOut bool) error {
	var silent *relay.AgentSilentError
	known := len(p.Repositories) > 0
	switch w.TimedOut = timedOut; {
	case timedOut && known:
		w.Note = "The scan was not answered in that time (timed_out): this is the state before it"
	case timedOut:
		w.Note = "Nothing was heard of any repository in that time (timed_out): the chat's tools have touched none since the workspace's agent started, or the agent does not answer"
	case errors.As(err, &silent):
		w.Note = fmt.Sprintf("The workspace's agent did not answer a scan within %s: it is dead or the workspace is stopped, and this is the last known state. Start the workspace again, then ask again", silent.Waited)
	case known:
		f := explain(Spec{Name: "watch_chat_git", Effect: Reads}, s, explainWorkspace(err))
		w.Note = fmt.Sprintf("There could be no scan, and this is the last known state: %s. Next: %s", f.Message, f.Next)
	default:
		return explainWorkspace(err)
	}
	return nil
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
	switch a.Format {
	case "stat":
		return w.stat(), nil
	case "files":
		return w.files(a, most)
	}
	return w.patches(a, most)
}

func noteOf(p relay.GitPicture) string {
	switch {
	case p.Problem != "":
		return "The workspace's agent reports: " + view.Inline(p.Problem, 300)
	case p.FromBefore:
		return view.FromBefore
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
	switch {
	case r.DiffOmitted:
		t.Note = "The agent sends no diff above 3 MiB, but says: " + view.Inline(text, 300) + ". Have the chat show parts of it, or commit and push, then get_chat_diff"
		text = ""
	case diff.Parse(text).Malformed:
		t.Note = "The agent sends no diff, but says: " + view.Inline(text, 300)
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

// stat is a table of each repository. They share the room of one.
func (w workingTrees) stat() *Result {
	head := w.head()
	titles, count := len(head), max(1, len(w.Repositories))
	for i := range w.Repositories {
		t := &w.Repositories[i]
		const name = 100
		t.Root, t.Branch, t.Origin, t.Note = diff.Short(t.Root), brief(t.Branch, name), brief(t.Origin, name), brief(t.Note, 300)
		titles += len(t.title()) + len("\n")
	}
	room := (statBytes - bytesOf("", w)) / count
	for i := range w.Repositories {
		t := &w.Repositories[i]
		t.list(t.parsed.Files, short, room)
		head += "\n" + t.title()
		if t.FileCount > 0 {
			head += "\n" + strings.TrimSuffix(t.parsed.Stat().Text(max(1, (statBytes-titles)/count)), "\n")
		} else {
			head += t.unchanged()
		}
	}
	return &Result{Text: head, Structured: w}
}

// files is the list of the files of all repositories, from the a.Offset-th on.
func (w workingTrees) files(a pieceArgs, most int) (*Result, error) {
	count := 0
	for _, t := range w.Repositories {
		count += t.FileCount
	}
	if err := a.checkFiles(count); err != nil {
		return nil, err
	}
	titles := w.head()
	for i := range w.Repositories {
		titles += w.Repositories[i].title() + w.Repositories[i].remark()
	}
	const frame = 100 // of each repository: its totals and how it goes on
	room := most - bytesOf(titles, w) - frame*len(w.Repositories)
	w.listFrom(a.Offset, room)
	text := w.head()
	for i := range w.Repositories {
		t := &w.Repositories[i]
		text += "\n" + t.title() + t.remark()
		if t.FileCount > 0 {
			text += "\n" + t.rows(narrow)
		}
	}
	return &Result{Text: text + w.more(), Structured: w}, nil
}

// listFrom names the files from the offset-th on, through all repositories, as many as have room.
func (w *workingTrees) listFrom(offset, room int) {
	start := 0 // the place of the repository's first file
	for i := range w.Repositories {
		t := &w.Repositories[i]
		files := t.parsed.Files[min(max(offset-start, 0), t.FileCount):]
		switch {
		case w.NextOffset > 0:
			t.MoreFiles = len(files)
		case start <= offset: // the first that is named
			room -= t.listSome(files, room)
		default:
			room -= t.list(files, changedFileOf, room)
		}
		if w.NextOffset == 0 && t.MoreFiles > 0 {
			w.NextOffset = start + t.FileCount - t.MoreFiles
		}
		start += t.FileCount
	}
}

// patches is a page of the patches of all repositories.
func (w workingTrees) patches(a pieceArgs, most int) (*Result, error) {
	for _, t := range w.Repositories {
		w.TotalBytes += len(t.parsed.Text())
	}
	if a.Offset > w.TotalBytes {
		return nil, invalidPiece(fmt.Sprintf("offset %d is behind the end of the patches, which have %d bytes: they have changed", a.Offset, w.TotalBytes), "begin again without offset")
	}
	if a.Offset == 0 {
		for i := range w.Repositories {
			t := &w.Repositories[i]
			t.list(t.parsed.Files, changedFileOf, most/4/len(w.Repositories))
		}
	}
	return paged(a.pageSize(most), most, func(size int) (*Result, int, error) {
		patch, err := w.page(a.Offset, size)
		if err != nil {
			return nil, 0, err
		}
		return &Result{Text: w.pageText(a.Offset), Structured: w.copy()}, patch, nil
	})
}

// copy is what the next page does not change.
func (w workingTrees) copy() workingTrees {
	w.Repositories = append([]workingTree{}, w.Repositories...)
	return w
}

// page puts a page into the trees. It runs through the patches of all; one that does not fit behind another begins the next page.
func (w *workingTrees) page(offset, size int) (bytes int, err error) {
	w.NextOffset = 0
	start := 0
	for i := range w.Repositories {
		t := &w.Repositories[i]
		t.Patch = ""
		end := start + len(t.parsed.Text())
		if full := bytes > 0 && end-start > size-bytes; w.NextOffset == 0 && full {
			w.NextOffset = start
		}
		if w.NextOffset > 0 || offset >= end || start == end {
			start = end
			continue
		}
		page, err := t.parsed.Page(max(offset-start, 0), size-bytes)
		if err != nil {
			return 0, err
		}
		t.Patch = page.Text
		if bytes += len(page.Text); page.Next > 0 {
			w.NextOffset = start + page.Next
		}
		start = end
	}
	return bytes, nil
}

func (w workingTrees) pageText(offset int) string {
	text := w.head()
	if w.TotalBytes > 0 && (offset > 0 || w.NextOffset > 0) {
		text += fmt.Sprintf("\npatches of %d bytes, from %d (%s)", w.TotalBytes, offset, restart)
	}
	for i := range w.Repositories {
		t := &w.Repositories[i]
		text += "\n" + t.title() + t.remark()
		if offset == 0 && t.FileCount > 0 {
			text += "\n" + t.rows(narrow)
		}
		if t.Patch != "" {
			text += "\n" + view.Quote(strings.TrimSuffix(t.Patch, "\n"))
		}
	}
	return text + w.more()
}

func (w workingTrees) more() string {
	if w.NextOffset == 0 {
		return ""
	}
	return fmt.Sprintf("\n(more: offset %d)", w.NextOffset)
}

func (w workingTrees) head() string {
	if len(w.Repositories) == 0 && w.Note != "" {
		return sentence(w.Note)
	}
	head := "Working trees of chat " + w.Chat.String()
	if w.ScannedAt != "" {
		head += ", scanned at " + w.ScannedAt
	}
	if w.Note != "" {
		head += "\n" + sentence(w.Note)
	}
	return head
}

func (t *workingTree) title() string {
	title := view.Inline(t.Root, 200)
	if t.Branch == "" {
		title += ", detached head"
	} else {
		title += ", branch " + view.Inline(t.Branch, 200)
	}
	if t.Origin != "" {
		title += " of " + view.Inline(t.Origin, 200)
	}
	return title
}

// remark is what is to be said of a repository beside its files.
func (t *workingTree) remark() string {
	if t.FileCount == 0 {
		return t.unchanged()
	}
	if t.Note != "" {
		return "\n" + sentence(t.Note)
	}
	return ""
}

func (t *workingTree) unchanged() string {
	if t.Note != "" {
		return "\n" + sentence(t.Note)
	}
	return ": nothing is changed"
}
