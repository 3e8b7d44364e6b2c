// Package view is how chats and what is in them are shown to callers: the JSON shapes and the text that tools and resources share.
// Every shape leaves out what is empty, because every byte is paid for by whoever reads it. What a chat says is quoted, never spoken in our voice.
package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Chat is one chat. Lists leave out URL and all that is about one chat alone.
type Chat struct {
	ID               uuid.UUID         `json:"id"`
	Title            string            `json:"title"`
	Status           client.Status     `json:"status"`
	URL              string            `json:"url,omitempty"`
	UpdatedAt        string            `json:"updated_at,omitempty"` // RFC 3339, UTC, seconds
	CreatedAt        string            `json:"created_at,omitempty"`
	Unread           bool              `json:"unread,omitempty"` // known in lists only
	Archived         bool              `json:"archived,omitempty"`
	Pinned           int               `json:"pin_order,omitempty"`
	PlanMode         string            `json:"plan_mode,omitempty"`
	Parent           *uuid.UUID        `json:"parent_chat_id,omitempty"`
	Children         []Chat            `json:"children,omitempty"`
	MoreChildren     int               `json:"more_children,omitempty"` // so many were left out for size: the chat's resource has them
	Labels           map[string]string `json:"labels,omitempty"`
	Owner            string            `json:"owner,omitempty"` // shared chats only
	OrganizationID   *uuid.UUID        `json:"organization_id,omitempty"`
	WorkspaceID      *uuid.UUID        `json:"workspace_id,omitempty"`
	ModelConfigID    *uuid.UUID        `json:"model_config_id,omitempty"`
	Summary          string            `json:"summary,omitempty"`
	WaitsForCapacity bool              `json:"waits_for_capacity,omitempty"` // status says running, but no agent has started
	Error            *Failure          `json:"last_error,omitempty"`
	Diff             *DiffStat         `json:"diff,omitempty"`
	Changes          string            `json:"changes,omitempty"` // the diff in a few words, where Diff is too long
	Files            []File            `json:"files,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
	Extra            map[string]any    `json:"extra,omitempty"` // what a later server sends and we do not know
}

// Failure is why a turn failed, in the words of the API and the model's provider.
type Failure struct {
	Kind      string `json:"kind,omitempty"`
	Message   string `json:"message,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Provider  string `json:"provider,omitempty"`
	Retryable bool   `json:"retryable,omitempty"`
	Status    int    `json:"status_code,omitempty"`
}

// DiffStat is the size of a chat's remote diff and its pull request, as the server last saw them.
type DiffStat struct {
	Files       int    `json:"files,omitempty"`
	Additions   int    `json:"additions,omitempty"`
	Deletions   int    `json:"deletions,omitempty"`
	URL         string `json:"url,omitempty"`
	PullRequest int    `json:"pr_number,omitempty"`
	State       string `json:"pr_state,omitempty"`
	Title       string `json:"pr_title,omitempty"`
	Draft       bool   `json:"pr_draft,omitempty"`
	Approved    bool   `json:"pr_approved,omitempty"`
	Changes     bool   `json:"pr_changes_requested,omitempty"`
	Branch      string `json:"branch,omitempty"`
	Base        string `json:"base_branch,omitempty"`
}

// File is a file linked to a chat.
type File struct {
	ID        uuid.UUID `json:"file_id"`
	Name      string    `json:"name,omitempty"`
	MediaType string    `json:"media_type,omitempty"`
	Size      int64     `json:"size,omitempty"`
}

// ListedChat is a chat as a row of a list.
func ListedChat(c client.Chat) Chat {
	v := Chat{
		ID: c.ID, Title: c.Title, Status: c.Status, UpdatedAt: stamp(c.UpdatedAt), Unread: c.HasUnread, Archived: c.Archived,
		Pinned: c.PinOrder, Labels: c.Labels, Diff: diffStat(c.DiffStatus), Parent: c.ParentChatID,
	}
	if c.Shared {
		v.Owner = c.OwnerUsername
	}
	for _, child := range c.Children {
		row := ListedChat(child)
		row.Parent, row.UpdatedAt = nil, ""
		v.Children = append(v.Children, row)
	}
	return v
}

// Short is a row of a long list: the diff in a few words, and no Unread, which is true of all that nobody opened in a browser; a search for has_unread
// finds those.
func (c Chat) Short() Chat {
	if c.Unread = false; c.Diff != nil {
		c.Changes, c.Diff = c.Diff.Short(), nil
	}
	children := make([]Chat, 0, len(c.Children))
	for _, child := range c.Children {
		children = append(children, child.Short())
	}
	c.Children = children
	return c
}

// BriefChat is a chat in an answer that is about what happened to it.
func BriefChat(c client.Chat, url string) Chat {
	return Chat{
		ID: c.ID, Title: c.Title, Status: c.Status, URL: url, Archived: c.Archived, WaitsForCapacity: c.QueuedForCapacity,
		Error: FailureOf(c.LastError), Warnings: c.Warnings,
	}
}

// WholeChat is all that is known of a chat.
func WholeChat(c client.Chat, url string) Chat {
	v := ListedChat(c)
	v.URL, v.CreatedAt, v.PlanMode = url, stamp(c.CreatedAt), c.PlanMode
	v.OrganizationID, v.WorkspaceID, v.ModelConfigID = &c.OrganizationID, c.WorkspaceID, c.LastModelConfigID
	v.WaitsForCapacity, v.Error, v.Warnings = c.QueuedForCapacity, FailureOf(c.LastError), c.Warnings
	for _, s := range []*string{c.Summary, c.LastTurnSummary} {
		if s != nil && *s != "" {
			v.Summary = *s
		}
	}
	for _, f := range c.Files {
		v.Files = append(v.Files, File{ID: f.ID, Name: f.Name, MediaType: f.MIMEType, Size: f.SizeBytes})
	}
	for name, value := range c.Extra {
		if v.Extra == nil {
			v.Extra = map[string]any{}
		}
		v.Extra[name] = value
	}
	return v
}

// Within is the chat with at most about so many bytes in either form: long words of others are cut, subchats left out from the end on.
func (c Chat) Within(most int) Chat {
	c.Summary = cutWords(c.Summary, most/8)
	c.Error = c.Error.Within(most / 4)
	room := most / 2
	for i, child := range c.Children {
		encoded, err := json.Marshal(child)
		if room -= max(len(encoded), len(child.Row())+len("subchat: \n")); err != nil || room < 0 {
			c.Children, c.MoreChildren = c.Children[:i], len(c.Children)-i
			break
		}
	}
	return c
}

// Within is the failure with at most about so many bytes of message and detail.
func (f *Failure) Within(most int) *Failure {
	if f == nil {
		return nil
	}
	cut := *f
	cut.Message, cut.Detail = cutWords(f.Message, min(most/2, longestWords)), cutWords(f.Detail, min(most/2, longestWords))
	return &cut
}

// longestWords is how much of what somebody says about a failure is worth to be read.
const longestWords = 2000

// cutWords says with an ellipsis that there was more.
func cutWords(text string, most int) string {
	cut, whole := Fit(text, most)
	if whole {
		return text
	}
	return cut + "…"
}

// FailureOf is nil for no error.
func FailureOf(e *client.ChatError) *Failure {
	if e == nil {
		return nil
	}
	return &Failure{Kind: e.Kind, Message: e.Message, Detail: e.Detail, Provider: e.Provider, Retryable: e.Retryable, Status: e.StatusCode}
}

// Text is the failure as part of a line. Message and detail may come from a model's provider, so they are quoted.
func (f *Failure) Text() string {
	var b strings.Builder
	b.WriteString(Word(orDefault(f.Kind, "error")))
	if f.Provider != "" {
		b.WriteString(" from " + Word(f.Provider))
	}
	if f.Status != 0 {
		fmt.Fprintf(&b, " (status %d)", f.Status)
	}
	if f.Message != "" {
		b.WriteString(": " + Inline(f.Message, 300))
	}
	if f.Detail != "" && f.Detail != f.Message {
		b.WriteString(" " + Inline(f.Detail, 300))
	}
	return b.String()
}

func diffStat(d *client.DiffStatus) *DiffStat {
	if d == nil || (d.ChangedFiles == 0 && d.Additions == 0 && d.Deletions == 0 && d.URL == "" && d.PRNumber == 0) {
		return nil
	}
	return &DiffStat{
		Files: d.ChangedFiles, Additions: d.Additions, Deletions: d.Deletions, URL: d.URL, PullRequest: d.PRNumber, State: d.PullRequestState,
		Title: d.PullRequestTitle, Draft: d.PullRequestDraft, Approved: d.Approved, Changes: d.ChangesRequested, Branch: d.HeadBranch, Base: d.BaseBranch,
	}
}

// Text is the diff's size and pull request in a few words; none when the server knows only its address so far.
func (d *DiffStat) Text() string {
	return d.inWords(fmt.Sprintf("+%d -%d in %s", d.Additions, d.Deletions, Count(d.Files, "file")))
}

// Short is Text without the count of files.
func (d *DiffStat) Short() string { return d.inWords(fmt.Sprintf("+%d -%d", d.Additions, d.Deletions)) }

func (d *DiffStat) inWords(size string) string {
	var words []string
	if d.Files != 0 || d.Additions != 0 || d.Deletions != 0 {
		words = append(words, size)
	}
	if d.PullRequest != 0 {
		words = append(words, strings.TrimSpace(fmt.Sprintf("PR #%d %s", d.PullRequest, wordOf(d.State))))
	}
	for _, flag := range []struct {
		on   bool
		word string
	}{{d.Draft, "draft"}, {d.Approved, "approved"}, {d.Changes, "changes requested"}} {
		if flag.on {
			words = append(words, flag.word)
		}
	}
	return strings.Join(words, ", ")
}

// Row is the chat as one line of a list: id, status, time, title, then what is special about it.
func (c Chat) Row() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.ID, wordOf(string(c.Status)))
	if c.UpdatedAt != "" {
		b.WriteString(" " + minute(c.UpdatedAt))
	}
	b.WriteString(" " + Inline(c.Title, 80))
	if flags := c.flags(); len(flags) > 0 {
		b.WriteString(" [" + strings.Join(flags, ", ") + "]")
	}
	for _, child := range c.Children {
		b.WriteString("\n  subchat " + child.Row())
	}
	return b.String()
}

func (c Chat) flags() []string {
	var flags []string
	for _, flag := range []struct {
		on   bool
		word string
	}{{c.Unread, "unread"}, {c.Archived, "archived"}, {c.Pinned > 0, "pinned"}, {c.WaitsForCapacity, "waits for capacity"}} {
		if flag.on {
			flags = append(flags, flag.word)
		}
	}
	if c.Owner != "" {
		flags = append(flags, "owner "+Word(c.Owner))
	}
	if c.Diff != nil && c.Diff.Text() != "" {
		flags = append(flags, c.Diff.Text())
	}
	if c.Changes != "" {
		flags = append(flags, c.Changes)
	}
	if len(c.Labels) > 0 {
		flags = append(flags, labels(c.Labels))
	}
	return flags
}

// Text is all of the chat, a line for each thing that is there.
func (c Chat) Text() string {
	var b strings.Builder
	b.WriteString("Chat " + c.ID.String() + " " + Inline(c.Title, 200) + " is " + wordOf(string(c.Status)) + ".")
	line := func(name, value string) {
		if value != "" {
			b.WriteString("\n" + name + ": " + value)
		}
	}
	line("page", c.URL)
	if c.WaitsForCapacity {
		line("note", "it waits for capacity: the deployment runs as many agents as it may, and this one starts when another ends")
	}
	if c.Error != nil {
		line("last error", c.Error.Text())
	}
	if c.Summary != "" {
		line("summary", Inline(c.Summary, 400))
	}
	if c.Diff != nil {
		line("diff", c.Diff.Text())
		line("pull request", inlineOf(c.Diff.Title))
		line("diff url", wordOf(c.Diff.URL))
		line("branch", wordOf(c.Diff.Branch))
	}
	line("created", minute(c.CreatedAt))
	line("updated", minute(c.UpdatedAt))
	line("labels", labels(c.Labels))
	line("plan mode", wordOf(c.PlanMode))
	line("owner", wordOf(c.Owner))
	line("workspace", id(c.WorkspaceID))
	line("model config", id(c.ModelConfigID))
	line("subchat of", id(c.Parent))
	if c.Archived {
		line("archived", "yes")
	}
	if c.Pinned > 0 {
		line("pinned", fmt.Sprint(c.Pinned))
	}
	for _, f := range c.Files {
		line("file", strings.TrimSpace(fmt.Sprintf("%s %s %s", f.ID, Inline(f.Name, 100), wordOf(f.MediaType))))
	}
	for _, child := range c.Children {
		line("subchat", child.Row())
	}
	if c.MoreChildren > 0 {
		line("more", fmt.Sprintf("%s left out for size: resource %s", Count(c.MoreChildren, "subchat"), ChatLink(c.ID, "")))
	}
	for _, warning := range c.Warnings {
		line("warning", Inline(warning, 1000))
	}
	return b.String()
}

func labels(m map[string]string) string {
	var words []string
	for _, name := range sortedKeys(m) {
		words = append(words, Word(name)+"="+Word(m[name]))
	}
	return strings.Join(words, " ")
}

// Word frames a foreign name within a line of ours: bare where it can be mistaken for nothing else, quoted otherwise.
func Word(v string) string {
	quoted := Inline(v, 100)
	if v != "" && quoted == `"`+v+`"` && !strings.ContainsAny(v, " ,]") {
		return v
	}
	return quoted
}

// wordOf is Word, and nothing for nothing.
func wordOf(v string) string {
	if v == "" {
		return ""
	}
	return Word(v)
}

// inlineOf is Inline, and nothing for nothing.
func inlineOf(v string) string {
	if v == "" {
		return ""
	}
	return Inline(v, 200)
}

func id(u *uuid.UUID) string {
	if u == nil {
		return ""
	}
	return u.String()
}

// Count is a number of things in words: "1 file", "2 files".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func minute(stamp string) string {
	if len(stamp) < len("2006-01-02T15:04") {
		return stamp
	}
	return strings.Replace(stamp[:len("2006-01-02T15:04")], "T", " ", 1)
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
