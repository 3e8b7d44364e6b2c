package view_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

var (
	root  = uuid.MustParse("1c3ff024-0450-497b-97d5-a65464216353")
	child = uuid.MustParse("2c3ff024-0450-497b-97d5-a65464216353")
	other = uuid.MustParse("3c3ff024-0450-497b-97d5-a65464216353")
	nine  = time.Date(2026, 11, 22, 9, 30, 15, 123, time.FixedZone("", 3600))
)

func encoded(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func TestAChatWithNothingSpecialIsShort(t *testing.T) {
	c := client.Chat{ID: root, Title: "Say hello", Status: client.StatusWaiting, UpdatedAt: nine, DiffStatus: &client.DiffStatus{ChatID: root, BaseBranch: "main"}}
	v := view.ListedChat(c).Short()
	require.JSONEq(t, `{"id":"`+root.String()+`","title":"Say hello","status":"waiting","updated_at":"2026-11-22T08:30:15Z"}`, encoded(t, v))
	require.Equal(t, root.String()+` waiting 2026-11-22 08:30 "Say hello"`, v.Row())
	require.Equal(t, root.String()+`  "Say hello"`, view.Chat{ID: root, Title: "Say hello"}.Row())
}

var busy = client.Chat{
	ID: root, Title: "Fix\n\x1b[31mit", Status: client.StatusRunning, UpdatedAt: nine, CreatedAt: nine, HasUnread: true, Archived: true, PinOrder: 2, PlanMode: "plan",
	Labels: map[string]string{"team": "shop", "a": "two words"}, Shared: true, OwnerUsername: "bob", QueuedForCapacity: true,
	OrganizationID: other, WorkspaceID: &other, LastModelConfigID: &child, ParentChatID: &other,
	DiffStatus: &client.DiffStatus{
		ChangedFiles: 2, Additions: 10, Deletions: 3, URL: "https://git.example/pr/7", PRNumber: 7, PullRequestState: "open", PullRequestTitle: "Fix it",
		PullRequestDraft: true, Approved: true, ChangesRequested: true, HeadBranch: "fix/\x1bit", BaseBranch: "main",
	},
	Children: []client.Chat{{ID: child, Title: "Look", Status: client.StatusError, ParentChatID: &root, UpdatedAt: nine, HasUnread: true, DiffStatus: &client.DiffStatus{Additions: 1}}},
}

func TestARowTellsWhatIsSpecial(t *testing.T) {
	v := view.ListedChat(busy)
	require.Equal(t, root.String()+` running 2026-11-22 08:30 "Fix\n\x1b[31mit" `+
		`[unread, archived, pinned, owner bob, +10 -3 in 2 files, PR #7 open, draft, approved, changes requested, a="two words" team=shop]`+
		"\n  subchat "+child.String()+` error "Look" [unread, +1 -0 in 0 files]`, v.Row())
	require.Equal(t, root.String()+` running 2026-11-22 08:30 "Fix\n\x1b[31mit" `+
		`[archived, pinned, owner bob, +10 -3, PR #7 open, draft, approved, changes requested, a="two words" team=shop]`+
		"\n  subchat "+child.String()+` error "Look" [+1 -0]`, v.Short().Row())
	require.JSONEq(t, `{
		"id": "`+root.String()+`", "title": "Fix\n\u001b[31mit", "status": "running", "updated_at": "2026-11-22T08:30:15Z", "archived": true, "pin_order": 2,
		"parent_chat_id": "`+other.String()+`", "labels": {"team": "shop", "a": "two words"}, "owner": "bob",
		"changes": "+10 -3, PR #7 open, draft, approved, changes requested",
		"children": [{"id": "`+child.String()+`", "title": "Look", "status": "error", "changes": "+1 -0"}]
	}`, encoded(t, v.Short()))
	require.NotNil(t, v.Diff, "the row itself is as it was")
	require.True(t, v.Children[0].Unread)
}

func TestAWholeChatTellsAll(t *testing.T) {
	c := busy
	summary, label := "", "Finished \x1b[1mit"
	c.Summary, c.LastTurnSummary = &summary, &label
	c.LastError = &client.ChatError{Message: "No\nkey", Detail: "ask \"them\"", Kind: "auth", Provider: "open ai", StatusCode: 401}
	c.Files = []client.ChatFile{{ID: other, Name: "a b.png", MIMEType: "image/png", SizeBytes: 3}}
	c.Warnings = []string{"limit is\nnear"}
	c.Extra = map[string]json.RawMessage{"mood": json.RawMessage(`"good"`)}
	v := view.WholeChat(c, "https://c.example/agents/x")
	require.Equal(t, `Chat `+root.String()+` "Fix\n\x1b[31mit" is running.
page: https://c.example/agents/x
note: it waits for capacity: the deployment runs as many agents as it may, and this one starts when another ends
last error: auth from "open ai" (status 401): "No\nkey" "ask \"them\""
summary: "Finished \x1b[1mit"
diff: +10 -3 in 2 files, PR #7 open, draft, approved, changes requested
pull request: "Fix it"
diff url: https://git.example/pr/7
branch: "fix/\x1bit"
created: 2026-11-22 08:30
updated: 2026-11-22 08:30
labels: a="two words" team=shop
plan mode: plan
owner: bob
workspace: `+other.String()+`
model config: `+child.String()+`
subchat of: `+other.String()+`
archived: yes
pinned: 2
file: `+other.String()+` "a b.png" image/png
subchat: `+child.String()+` error "Look" [unread, +1 -0 in 0 files]
warning: "limit is\nnear"`, v.Text())
	require.Contains(t, encoded(t, v), `"extra":{"mood":"good"}`)
	require.Contains(t, encoded(t, v), `"last_error":{"kind":"auth","message":"No\nkey","detail":"ask \"them\"","provider":"open ai","status_code":401}`)
}

func TestABriefChatIsAboutWhatHappened(t *testing.T) {
	v := view.BriefChat(busy, "https://c.example/agents/x")
	require.JSONEq(t, `{"id":"`+root.String()+`","title":"Fix\n\u001b[31mit","status":"running","url":"https://c.example/agents/x","archived":true,"waits_for_capacity":true}`, encoded(t, v))
	require.Contains(t, v.Row(), "waits for capacity")
}

func TestAFailureSaysWhatIsKnown(t *testing.T) {
	require.Nil(t, view.FailureOf(nil))
	require.Equal(t, "error", view.FailureOf(&client.ChatError{}).Text())
	require.Equal(t, `generic: "same"`, view.FailureOf(&client.ChatError{Kind: "generic", Message: "same", Detail: "same"}).Text())
}

func TestCount(t *testing.T) {
	require.Equal(t, "0 files", view.Count(0, "file"))
	require.Equal(t, "1 file", view.Count(1, "file"))
	require.Equal(t, "2 files", view.Count(2, "file"))
}

func TestADiffOfWhichOnlyTheAddressIsKnownHasNoSize(t *testing.T) {
	c := view.WholeChat(client.Chat{Status: client.StatusWaiting, DiffStatus: &client.DiffStatus{URL: "https://git.example/pr/7"}}, "")
	require.Contains(t, c.Text(), "diff url: https://git.example/pr/7")
	require.NotContains(t, c.Text(), "+0 -0")
	require.NotContains(t, c.Row(), "[")
}
