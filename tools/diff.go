package tools

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
	"coder-chats-mcp/view"
)

type getDiffArgs struct {
	Chat uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	pieceArgs
}

// pieceArgs say which piece of a diff is wanted.
type pieceArgs struct {
	Files    []string `json:"files,omitempty" jsonschema:"description=globs; !glob excludes"`
	Format   string   `json:"format,omitempty" jsonschema:"enum=patch,enum=stat,enum=files,description=default patch"`
	Offset   int      `json:"offset,omitempty" jsonschema:"minimum=0,description=next_offset of the page before"`
	MaxBytes int      `json:"max_bytes,omitempty" jsonschema:"minimum=100,description=of a page; default 16000"`
}

const diffPage = 16_000

// pageSize is how many bytes of a patch a page has. Quoted or as JSON they are some more, and the list of files stands beside them.
func (a pieceArgs) pageSize(most int) int {
	return min(cmp.Or(a.MaxBytes, diffPage), most/2)
}

// chatDiff is a diff or a piece of it.
type chatDiff struct {
	Chat        uuid.UUID      `json:"id"`
	Branch      string         `json:"branch,omitempty"`
	Origin      string         `json:"remote_origin,omitempty"`
	PullRequest *view.DiffStat `json:"pull_request,omitempty"`
	Empty       string         `json:"empty,omitempty"` // why there is no diff
	changes
	Note       string `json:"note,omitempty"`
	Patch      string `json:"patch,omitempty"`
	NextOffset int    `json:"next_offset,omitempty"`
	TotalBytes int    `json:"total_bytes,omitempty"`
}

// changes are a diff in numbers and the files that it changes.
type changes struct {
	Additions int           `json:"additions"`
	Deletions int           `json:"deletions"`
	FileCount int           `json:"file_count"`
	Files     []changedFile `json:"files"` // not repeated on later pages
	MoreFiles int           `json:"more_files,omitempty"`
}

// changesOf is the diff in numbers; list names the files.
func changesOf(s diff.Stat) changes {
	return changes{Additions: s.Additions, Deletions: s.Deletions, FileCount: s.Files, Files: []changedFile{}}
}

type changedFile struct {
	Path      string `json:"path"`
	OldPath   string `json:"old_path,omitempty"`
	Status    string `json:"status"`
	Additions int    `json:"additions,omitempty"`
	Deletions int    `json:"deletions,omitempty"`
	Binary    bool   `json:"binary,omitempty"`
	Note      string `json:"note,omitempty"`
}

func (f changedFile) row() string {
	path := view.Inline(f.Path, 200)
	if f.OldPath != "" {
		path = view.Inline(f.OldPath, 200) + " => " + path
	}
	if f.Binary {
		return fmt.Sprintf("%s %s binary", f.Status, path)
	}
	return fmt.Sprintf("%s %s +%d -%d", f.Status, path, f.Additions, f.Deletions)
}

var _ = declare(Spec{
	Name: "get_chat_diff", Title: "Get chat diff", Operation: "Get chat diff contents", Toolset: Workspace, Effect: Reads, Idempotent: true,
	Description: "What a chat's agent changed and pushed: stat (a short table), files (a list) or the patch in pages. Work not pushed: watch_chat_git.",
}, func(ctx context.Context, s *Session, a getDiffArgs) (*Result, error) {
	remote, err := s.Client.GetDiff(ctx, a.Chat)
	if err != nil {
		return nil, view.ExplainDiff(err, s.Client)
	}
	answer := chatDiff{Chat: a.Chat, Branch: remote.Branch, Origin: remote.RemoteOrigin, changes: changesOf(diff.Stat{})}
	if remote.Diff == "" || remote.PullRequestURL != "" {
		chat, err := s.Client.GetChat(ctx, a.Chat)
		if err != nil {
			return nil, err
		}
		answer.describe(remote, chat)
	}
	if answer.Empty != "" {
		return textf(answer, "No diff: %s", answer.Empty), nil
	}
	return answer.cut(a.pieceArgs, remote.Diff, s.Config.MaxOutputBytes)
})

// describe adds what only the chat knows: its pull request, and why there is no diff.
func (d *chatDiff) describe(remote *client.Diff, chat *client.Chat) {
	d.PullRequest = view.ListedChat(*chat).Diff
	if remote.PullRequestURL != "" && d.PullRequest == nil {
		d.PullRequest = &view.DiffStat{URL: remote.PullRequestURL}
	}
	if remote.Diff == "" {
		d.Empty = view.WhyNoDiff(chat, remote)
	}
}

// matching is the part of a diff that the globs name.
func matching(text string, globs []string) (*diff.Diff, error) {
	parsed, err := diff.Parse(text).Match(globs)
	if err != nil {
		return nil, &Failure{Kind: string(client.KindInvalidArgument), Message: err.Error(), Next: "correct files"}
	}
	return parsed, nil
}

func (d *chatDiff) cut(a pieceArgs, text string, most int) (*Result, error) {
	parsed, err := matching(text, a.Files)
	if err != nil {
		return nil, err
	}
	stat := parsed.Stat()
	d.changes, d.Note = changesOf(stat), stat.Note
	head := d.head()
	switch a.Format {
	case "stat":
		d.list(stat.Rows, diff.DefaultStatBytes-300)
		return &Result{Text: head + stat.Text(0), Structured: d}, nil
	case "files":
		d.list(stat.Rows, most)
		return &Result{Text: head + d.rows(), Structured: d}, nil
	}
	return d.page(a, parsed, head, most)
}

// list puts as many files into the answer as fit.
func (d *changes) list(files []diff.File, most int) {
	all := make([]changedFile, 0, len(files))
	for _, f := range files {
		all = append(all, changedFile{Path: f.Path, OldPath: f.OldPath, Status: f.Status, Additions: f.Additions, Deletions: f.Deletions, Binary: f.Binary, Note: f.Note})
	}
	d.Files = all[:fitting(all, most, changedFile.row)]
	d.MoreFiles = len(all) - len(d.Files)
}

func (d *changes) rows() string {
	var b strings.Builder
	fmt.Fprintf(&b, "+%d -%d in %s\n", d.Additions, d.Deletions, view.Count(d.FileCount, "file"))
	for _, f := range d.Files {
		b.WriteString(f.row() + "\n")
	}
	if d.MoreFiles > 0 {
		fmt.Fprintf(&b, "(%d more: narrow with files)\n", d.MoreFiles)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (d *chatDiff) head() string {
	var b strings.Builder
	if d.Branch != "" {
		fmt.Fprintf(&b, "branch %s of %s\n", view.Inline(d.Branch, 200), view.Inline(d.Origin, 200))
	}
	if p := d.PullRequest; p != nil && p.URL != "" {
		fmt.Fprintf(&b, "%s %s %s\n", p.Text(), view.Inline(p.Title, 200), view.Word(p.URL))
	}
	if d.Note != "" {
		b.WriteString("note: " + d.Note + "\n")
	}
	return b.String()
}

func (d *chatDiff) page(a pieceArgs, parsed *diff.Diff, head string, most int) (*Result, error) {
	page, err := parsed.Page(a.Offset, a.pageSize(most))
	if err != nil {
		return nil, &Failure{Kind: string(client.KindInvalidArgument), Message: err.Error(), Next: "begin again without offset"}
	}
	d.Patch, d.NextOffset, d.TotalBytes = page.Text, page.Next, page.Total
	text := fmt.Sprintf("bytes %d to %d of %d", page.Offset, page.Offset+len(page.Text), page.Total)
	if a.Offset == 0 {
		d.list(parsed.Files, most/4)
		text = head + d.rows() + "\n" + text
	}
	text += "\n" + view.Quote(strings.TrimSuffix(page.Text, "\n"))
	if page.Next > 0 {
		text += fmt.Sprintf("\n(more: offset %d)", page.Next)
	}
	return &Result{Text: text, Structured: d}, nil
}
