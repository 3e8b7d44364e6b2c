package tools

import (
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
	NextOffset int    `json:"next_offset,omitempty"` // bytes of the patch; with format files, files
	TotalBytes int    `json:"total_bytes,omitempty"`
}

var _ = declare(Spec{
	Name: "get_chat_diff", Title: "Get chat diff", Operation: "Get chat diff contents", Toolset: Workspace, Effect: Reads, Idempotent: true,
	Description: "What a chat's agent changed and pushed: stat (a short table), files (a list) or the patch in pages. Work not pushed: watch_chat_git.",
}, func(ctx context.Context, s *Session, a getDiffArgs) (*Result, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
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

func (d chatDiff) cut(a pieceArgs, text string, most int) (*Result, error) {
	parsed, err := matching(text, a.Files)
	if err != nil {
		return nil, err
	}
	stat := parsed.Stat()
	d.changes, d.Note = changesOf(stat), stat.Note
	switch a.Format {
	case "stat":
		return d.stat(stat), nil
	case "files":
		return d.files(a, stat.Rows, most)
	}
	return d.patch(a, parsed, most)
}

// stat is the diff as a table. What stands around it takes from its room.
func (d chatDiff) stat(s diff.Stat) *Result {
	d.shorten()
	head := d.head()
	d.Note = brief(d.Note, 300)
	d.list(s.Rows, short, statBytes-bytesOf("", d))
	return &Result{Text: head + s.Text(statBytes-len(head)), Structured: d}
}

// shorten cuts names that would not leave a table its room.
func (d *chatDiff) shorten() {
	const name = 100
	d.Branch, d.Origin = brief(d.Branch, name), brief(d.Origin, name)
	if d.PullRequest != nil {
		p := *d.PullRequest
		p.Title, p.Branch, p.Base = brief(p.Title, name), brief(p.Branch, name), brief(p.Base, name)
		d.PullRequest = &p
	}
}

// files is the list of files from the a.Offset-th on.
func (d chatDiff) files(a pieceArgs, files []diff.File, most int) (*Result, error) {
	if err := a.checkFiles(len(files)); err != nil {
		return nil, err
	}
	head := ""
	if a.Offset == 0 {
		head = d.head() + d.noted()
	}
	const frame = 100 // the totals and how it goes on
	d.listSome(files[a.Offset:], most-bytesOf(head, d)-frame)
	if d.MoreFiles > 0 {
		d.NextOffset = a.Offset + len(d.Files)
	}
	return &Result{Text: head + d.rows(fmt.Sprintf("offset %d, or %s", d.NextOffset, narrow)), Structured: d}, nil
}

func (d *chatDiff) head() string {
	head := ""
	if d.Branch != "" {
		head = fmt.Sprintf("branch %s of %s\n", view.Inline(d.Branch, 200), view.Inline(d.Origin, 200))
	}
	if p := d.PullRequest; p != nil && p.URL != "" {
		head += pullRequest(p) + "\n"
	}
	return head
}

// pullRequest is one line. Sizes of a pull request of which only the address is known would be zeros.
func pullRequest(p *view.DiffStat) string {
	if *p == (view.DiffStat{URL: p.URL}) {
		return "pull request " + view.Word(p.URL)
	}
	words := []string{p.Text()}
	if p.Title != "" {
		words = append(words, view.Inline(p.Title, 200))
	}
	return strings.Join(append(words, view.Word(p.URL)), " ")
}

func (d *chatDiff) noted() string {
	if d.Note == "" {
		return ""
	}
	return "note: " + d.Note + "\n"
}

// patch is a page of the patch.
func (d chatDiff) patch(a pieceArgs, parsed *diff.Diff, most int) (*Result, error) {
	head := ""
	if a.Offset == 0 {
		d.list(parsed.Files, changedFileOf, most/4)
		head = d.head() + d.noted() + d.rows(narrow) + "\n"
	}
	return paged(a.pageSize(most), most, func(size int) (*Result, int, error) {
		page, err := parsed.Page(a.Offset, size)
		if err != nil {
			return nil, 0, invalidPiece(err.Error(), "begin again without offset")
		}
		d.Patch, d.NextOffset, d.TotalBytes = page.Text, page.Next, page.Total
		return &Result{Text: head + d.pageText(page), Structured: d}, len(page.Text), nil
	})
}

func (d *chatDiff) pageText(page diff.Page) string {
	text := fmt.Sprintf("bytes %d to %d of %d", page.Offset, page.Offset+len(page.Text), page.Total)
	if page.Offset > 0 || page.Next > 0 {
		text += " (" + restart + ")"
	}
	text += "\n" + view.Quote(strings.TrimSuffix(page.Text, "\n"))
	if page.Next > 0 {
		text += fmt.Sprintf("\n(more: offset %d)", page.Next)
	}
	return text
}
