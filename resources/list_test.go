package resources_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/resources"
	"coder-chats-mcp/simulator"
)

func list(t *testing.T, src resources.Source, cursor string) ([]mcp.Resource, string) {
	t.Helper()
	page, next, err := resources.List(t.Context(), src, cursor)
	require.NoError(t, err)
	return page, next
}

func uris(page []mcp.Resource) []string {
	var all []string
	for _, r := range page {
		all = append(all, r.URI)
	}
	return all
}

func TestTheListHasChatsAndTheirDiffs(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		page, next := list(t, w.src, "")
		require.Equal(t, []string{"coder://chats", "coder://chats/models"}, uris(page))
		require.Empty(t, next)

		plain := w.chat(t, "hello")
		pushed := w.pushed(t)
		var chat, diff mcp.Resource
		eventually(t, func() bool {
			page, _ = list(t, w.src, "")
			return slices.Contains(uris(page), address(pushed.ID, "diff"))
		})
		require.Equal(t, []string{
			"coder://chats", "coder://chats/models", address(pushed.ID), address(pushed.ID, "diff"), address(plain.ID),
		}, uris(page))
		chat, diff = page[2], page[3]
		require.Equal(t, "application/json", chat.MIMEType)
		require.Equal(t, "text/x-diff", diff.MIMEType)
		require.Equal(t, "Diff of "+chat.Title, diff.Title)
		require.Contains(t, diff.Description, "+2 -0 in 2 files")
		for _, r := range page {
			require.NotEmpty(t, r.Name)
			require.NotEmpty(t, r.Description)
		}
		for _, r := range []mcp.Resource{chat, diff} {
			at, err := time.Parse(time.RFC3339, r.Annotations.LastModified)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, time.Minute)
		}
		for _, r := range page {
			read(t, w.src, r.URI)
		}
	})
}

func TestTitlesAreOneLine(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.chat(t, "hello NOTITLE")
	title := "first\nsecond\u2028third\u202eforth\x1b[31m"
	require.NoError(t, w.src.Client.UpdateChat(t.Context(), chat.ID, client.UpdateChatRequest{Title: &title}))
	page, _ := list(t, w.src, "")
	require.Equal(t, "first second third forth [31m", page[2].Title)
	require.Equal(t, page[2].Title, page[2].Name)
}

func TestPagesHaveEveryChatOnce(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	w.many(t, 120)
	var all []string
	cursor, pages := "", 0
	for {
		page, next := list(t, w.src, cursor)
		all = append(all, uris(page)...)
		pages++
		if cursor = next; next == "" {
			break
		}
	}
	require.Equal(t, 3, pages)
	require.Len(t, all, 122)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(all))), 122)
}

func TestAPageGoesOnWhenTheChatBeforeItIsArchived(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	w.many(t, 60)
	first, cursor := list(t, w.src, "")
	require.NotEmpty(t, cursor)
	last := first[len(first)-1].URI
	id := uuid.MustParse(last[len("coder://chats/"):])
	archived := true
	require.NoError(t, w.src.Client.UpdateChat(t.Context(), id, client.UpdateChatRequest{Archived: &archived}))
	second, next := list(t, w.src, cursor)
	require.Empty(t, next)
	require.GreaterOrEqual(t, len(second), 9)
}

func TestABadCursorIsRefused(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	w.many(t, 51)
	_, good := list(t, w.src, "")
	raw, err := base64.RawURLEncoding.DecodeString(good)
	require.NoError(t, err)
	raw[3]++
	for _, bad := range []string{"x", "!", good[:len(good)-2], good + "AA", base64.RawURLEncoding.EncodeToString(raw), uuid.NewString()} {
		_, _, err := resources.List(t.Context(), w.src, bad)
		require.Equal(t, client.KindInvalidArgument, client.KindOf(err), bad)
		require.ErrorContains(t, err, "not one that resources/list returned")
	}
	_, _, err = resources.List(t.Context(), w.with(t, "expired-token"), "")
	require.True(t, client.IsUnauthorized(err))
}

func TestTemplatesCoverEveryAddressWithAVariable(t *testing.T) {
	var templates []string
	for _, template := range resources.Templates() {
		templates = append(templates, template.URITemplate.Raw())
		require.NotEmpty(t, template.Name)
		require.NotEmpty(t, template.Title)
		require.NotEmpty(t, template.Description)
		_, err := json.Marshal(template)
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		"coder://chats/files/{file}", "coder://chats/{chat}", "coder://chats/{chat}/messages", "coder://chats/{chat}/diff",
		"coder://chats/{chat}/diff{?file}", "coder://chats/{chat}/prompts", "coder://chats/{chat}/git",
	}, templates)
}

func TestChatsCompleteByIdAndTitle(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one := w.chat(t, "Fix the login NOTITLE")
		two := w.chat(t, "Write documentation NOTITLE")
		complete := func(value string) []string {
			values, total, more, err := resources.Complete(t.Context(), w.src, "chat", value)
			require.NoError(t, err)
			require.Len(t, values, total)
			require.False(t, more)
			return values
		}
		require.Equal(t, []string{two.ID.String(), one.ID.String()}, complete(""))
		require.Equal(t, []string{one.ID.String()}, complete(one.ID.String()[:8]))
		require.Equal(t, []string{one.ID.String()}, complete("LOGIN"))
		require.Equal(t, []string{}, complete("nothing like it"))
	})
}

func TestSubchatsComplete(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		parent := w.chat(t, `TOOL spawn_agent {"prompt":"Look into the parser","title":"Parser work"}`)
		require.NotEmpty(t, parent.Children)
		values, _, _, err := resources.Complete(t.Context(), w.src, "chat", parent.Children[0].ID.String()[:13])
		require.NoError(t, err)
		require.Equal(t, []string{parent.Children[0].ID.String()}, values)
	})
}

func TestAHundredValuesAtMost(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	w.many(t, 105)
	values, total, more, err := resources.Complete(t.Context(), w.src, "chat", "number")
	require.NoError(t, err)
	require.Len(t, values, 100)
	require.Equal(t, 105, total)
	require.True(t, more)
}

func TestFilesCompleteByIdAndName(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := w.upload(t, "notes.md", "text/markdown", []byte("# Notes\n"))
		w.create(t, client.CreateChatRequest{Content: []client.InputPart{client.TextPart("read this"), {Type: "file", FileID: &id}}})
		for _, value := range []string{"", "NOTES", id.String()[:6]} {
			values, total, more, err := resources.Complete(t.Context(), w.src, "file", value)
			require.NoError(t, err)
			require.Equal(t, []string{id.String()}, values)
			require.Equal(t, 1, total)
			require.False(t, more)
		}
	})
}

func TestPathsCompleteFromTheDiff(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.pushed(t)
	for value, want := range map[string][]string{"": {"a b.go", "sub/c+d.go"}, "SUB": {"sub/c+d.go"}, "zzz": {}} {
		values, total, more, err := resources.CompletePath(t.Context(), w.src, chat.ID.String(), value)
		require.NoError(t, err)
		require.Equal(t, want, values)
		require.Equal(t, len(want), total)
		require.False(t, more)
	}
	values, _, _, err := resources.CompletePath(t.Context(), w.src, "not yet", "")
	require.NoError(t, err)
	require.Empty(t, values)
}

func TestOtherArgumentsHaveNoValues(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	values, total, more, err := resources.Complete(t.Context(), w.src, "task", "x")
	require.NoError(t, err)
	require.Equal(t, []string{}, values)
	require.Zero(t, total)
	require.False(t, more)
	for _, argument := range []string{"chat", "file"} {
		_, _, _, err = resources.Complete(t.Context(), w.with(t, "expired-token"), argument, "")
		require.True(t, client.IsUnauthorized(err))
	}
}
