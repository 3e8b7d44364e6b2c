package tools_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// patched makes the API answer that a chat's diff is so.
func (b *bench) patched(status int, body any) {
	raw, err := json.Marshal(body)
	require.NoError(b.t, err)
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/diff") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(raw)
		return true
	})
}

// patchOf is a patch of so many files with a hunk of so many lines each.
func patchOf(files, lines int) string {
	var b strings.Builder
	for f := range files {
		path := fmt.Sprintf("dir%d/file%03d.go", f%3, f)
		fmt.Fprintf(&b, "diff --git a/%[1]s b/%[1]s\nindex 1111111..2222222 100644\n--- a/%[1]s\n+++ b/%[1]s\n@@ -1 +1,%[2]d @@\n-old\n", path, lines)
		for l := range lines {
			fmt.Fprintf(&b, "+line %d of file %d\n", l, f)
		}
	}
	return b.String()
}

func TestTheDiffOfAStory(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		o := unlimited(g)
		o.Story = true
		b := newBench(t, o)
		id := b.chat("Refuse empty carts at checkout, please.", uuid.Nil)
		text, diff := b.ok("get_chat_diff", object{"chat": id})
		require.Equal(t, 1.0, diff["file_count"])
		require.True(t, strings.HasPrefix(diff["patch"].(string), "diff --git a/"), text)
		require.NotContains(t, diff, "next_offset")
		require.Equal(t, "modified", list(diff, "files")[0]["status"])
		require.Contains(t, text, `branch "agent/`)
		require.Contains(t, text, "\n> diff --git a/")
		text, stat := b.ok("get_chat_diff", object{"chat": id, "format": "stat"})
		require.NotContains(t, stat, "patch")
		require.Contains(t, text, list(stat, "files")[0]["path"])
		text, files := b.ok("get_chat_diff", object{"chat": id, "format": "files"})
		require.Equal(t, stat["files"], files["files"])
		require.Contains(t, text, "modified ")

		text, listed := b.ok("list_chats", nil)
		changes := list(listed, "chats")[0]["changes"].(string)
		require.Regexp(t, `^\+\d+ -\d+$`, changes)
		require.Contains(t, text, "["+changes+"]")
	})
}

func TestADiffIsPagedWithoutLoss(t *testing.T) {
	const bytes = 3000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	id := b.chat("hello", uuid.Nil)
	patch := patchOf(40, 12)
	b.patched(200, object{"diff": patch, "branch": "b", "remote_origin": "https://git.example/r"})
	got := ""
	arguments := object{"chat": id}
	for {
		text, page := b.ok("get_chat_diff", arguments)
		sized(t, text, page, bytes)
		require.Equal(t, float64(len(patch)), page["total_bytes"])
		require.Equal(t, 40.0, page["file_count"])
		got += page["patch"].(string)
		if page["next_offset"] == nil {
			break
		}
		require.Contains(t, text, fmt.Sprintf("(more: offset %v)", page["next_offset"]))
		if arguments["offset"] == nil {
			require.NotEmpty(t, page["files"])
			require.Contains(t, text, "more: narrow with files)")
		} else {
			require.Empty(t, page["files"], "the files are named once")
		}
		arguments["offset"] = page["next_offset"]
	}
	require.Equal(t, patch, got)

	text, stat := b.ok("get_chat_diff", object{"chat": id, "format": "stat"})
	sized(t, text, stat, 2000)
	require.NotEmpty(t, stat["more_files"])
	text, files := b.ok("get_chat_diff", object{"chat": id, "format": "files", "files": []string{"dir1/**", "!**/file001.go"}})
	require.Equal(t, 12.0, files["file_count"], text)
	require.NotContains(t, text, "file001.go")
	_, small := b.ok("get_chat_diff", object{"chat": id, "max_bytes": 100})
	require.LessOrEqual(t, len(small["patch"].(string)), 300)

	require.Contains(t, b.fails("get_chat_diff", object{"chat": id, "offset": len(patch) + 1}).Next, "begin again without offset")
	require.Equal(t, "invalid_argument", b.fails("get_chat_diff", object{"chat": id, "files": []string{"[a"}}).Kind)
}

func TestADiffOfAPullRequestNamesIt(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	b.patched(200, object{"diff": patchOf(1, 1), "branch": "b", "remote_origin": "https://git.example/r", "pull_request_url": "https://git.example/r/pull/7"})
	text, diff := b.ok("get_chat_diff", object{"chat": id})
	require.Equal(t, "https://git.example/r/pull/7", diff["pull_request"].(object)["url"])
	require.Contains(t, text, "\npull request https://git.example/r/pull/7\n", "of which nothing else is known")
}

// proposed makes the API answer that a chat has a pull request of so many files.
func (b *bench) proposed(patch, title string, files int) {
	raw, err := json.Marshal(object{
		"diff": patch, "branch": "coder/rework-the-billing-handlers", "remote_origin": "https://github.com/acme-corporation/enterprise-billing.git",
		"pull_request_url": "https://github.com/acme-corporation/enterprise-billing/pull/1234",
	})
	require.NoError(b.t, err)
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		id := path.Base(strings.TrimSuffix(r.URL.Path, "/diff"))
		if uuid.Validate(id) != nil || r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/diff") {
			_, _ = w.Write(raw)
			return true
		}
		_ = json.NewEncoder(w).Encode(object{"id": id, "status": "waiting", "title": "t", "diff_status": object{
			"chat_id": id, "url": "https://github.com/acme-corporation/enterprise-billing/pull/1234", "pull_request_state": "open", "pull_request_title": title,
			"pr_number": 1234, "additions": 11 * files, "deletions": files, "changed_files": files, "head_branch": "coder/rework-the-billing-handlers", "base_branch": "main",
		}})
		return true
	})
}

func TestAStatStaysShortWhateverStandsAroundIt(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	var handlers, deep strings.Builder
	for i := range 3600 {
		name := fmt.Sprintf("services/billing/internal/handlers/handler_%04d.go", i)
		fmt.Fprintf(&handlers, "diff --git a/%[1]s b/%[1]s\nindex 1111111..2222222 100644\n--- a/%[1]s\n+++ b/%[1]s\n@@ -1 +1,2 @@\n-old\n+a\n+b\n", name)
		fmt.Fprintf(&deep, "diff --git a/%[1]s b/%[1]s\nindex 1111111..2222222 100644\n--- a/%[1]s\n+++ b/%[1]s\n@@ -1,5 +1 @@\n-old\n+a\n", strings.Repeat("長い名前/", 60)+name)
	}
	const title = "Rework the billing handlers so that every one of them validates its input before use"
	for name, c := range map[string]struct{ patch, title string }{
		"a pull request":   {handlers.String(), title},
		"a long title":     {handlers.String(), strings.Repeat(title+" ", 20)},
		"an irregular one": {handlers.String()[:handlers.Len()-5], title},
		"long paths":       {deep.String(), title},
	} {
		t.Run(name, func(t *testing.T) {
			b.proposed(c.patch, c.title, 3600)
			text, got := b.in(t).ok("get_chat_diff", object{"chat": id, "format": "stat"})
			raw, err := json.Marshal(got)
			require.NoError(t, err)
			require.Less(t, len(text), 2048, text)
			require.Less(t, len(raw), 2048)
			require.NotEmpty(t, got["files"])
			require.Contains(t, text, "PR #1234 open")
			require.Contains(t, text, "\n3600 files, +")
			if note, ok := got["note"].(string); ok {
				require.Equal(t, 1, strings.Count(text, note[:40]), "it stands once")
			}
		})
	}
}

func TestAListOfFilesIsReadInPages(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238), most(3000))
	id := b.chat("hello", uuid.Nil)
	b.patched(200, object{"diff": patchOf(100, 1), "branch": "b", "remote_origin": "https://git.example/r"})
	arguments := object{"chat": id, "format": "files"}
	seen := 0
	for {
		text, got := b.ok("get_chat_diff", arguments)
		raw, err := json.Marshal(got)
		require.NoError(t, err)
		require.LessOrEqual(t, max(len(text), len(raw)), 3000)
		for _, f := range list(got, "files") {
			require.Equal(t, fmt.Sprintf("dir%d/file%03d.go", seen%3, seen), f["path"])
			seen++
		}
		if got["next_offset"] == nil {
			break
		}
		require.EqualValues(t, seen, got["next_offset"])
		require.EqualValues(t, 100-seen, got["more_files"])
		require.Contains(t, text, fmt.Sprintf("(%d more: offset %d, or narrow with files)", 100-seen, seen))
		arguments["offset"] = got["next_offset"]
	}
	require.Equal(t, 100, seen)
	arguments["offset"] = 100
	f := b.fails("get_chat_diff", arguments)
	require.Equal(t, "invalid_argument", f.Kind)
	require.Contains(t, f.Message, "offset 100 is behind the last of 100 files: with format files it counts files")
	require.Contains(t, b.fails("get_chat_diff", object{"chat": id, "format": "stat", "offset": 10}).Message, "stat has no pages")
}

// Control characters are six bytes each in JSON, and a blank line three times its length when it is quoted.
func TestAPageFitsHoweverMuchItGrows(t *testing.T) {
	const bytes = 10_000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	id := b.chat("hello", uuid.Nil)
	for name, line := range map[string]string{"controls": strings.Repeat("\x01", 79), "blanks": "", "tags": "<a><b></b></a>", "separators": strings.Repeat("\u2028", 20), "one": strings.Repeat("\x02", 40_000)} {
		t.Run(name, func(t *testing.T) {
			lines := max(1, 20_000/(len(line)+1))
			patch := fmt.Sprintf("diff --git a/a b/a\nnew file mode 100644\nindex 0000000..2222222\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,%d @@\n%s", lines, strings.Repeat("+"+line+"\n", lines))
			b.patched(200, object{"diff": patch, "branch": "b", "remote_origin": "https://git.example/r"})
			git, chat, report := gitBench(t, most(bytes))
			report(simulator.GitRepository{RepoRoot: "/r", UnifiedDiff: patch})
			for tool, call := range map[string]func(object) (string, object){
				"get_chat_diff":  func(a object) (string, object) { a["chat"] = id; return b.in(t).ok("get_chat_diff", a) },
				"watch_chat_git": func(a object) (string, object) { a["chat"] = chat; return git.ok("watch_chat_git", a) },
			} {
				read, arguments := "", object{"max_bytes": bytes}
				for {
					text, got := call(arguments)
					raw, err := json.Marshal(got)
					require.NoError(t, err)
					require.LessOrEqual(t, max(len(text), len(raw)), bytes, tool)
					page, _ := got["patch"].(string)
					if tool == "watch_chat_git" {
						page, _ = list(got, "repositories")[0]["patch"].(string)
					}
					require.NotEmpty(t, page)
					if read += page; got["next_offset"] == nil {
						break
					}
					require.Contains(t, text, "if that number changes between pages, begin again")
					if name != "one" {
						require.True(t, strings.HasSuffix(page, "\n"), "it ends with a line")
					}
					arguments["offset"] = got["next_offset"]
				}
				require.Equal(t, patch, read, tool)
			}
		})
	}
}

func TestWhyThereIsNoDiffIsTold(t *testing.T) {
	b := newBench(t, withWorkspace(unlimited(simulator.V238), ""))
	text, diff := b.ok("get_chat_diff", object{"chat": b.chat("hello", uuid.Nil)})
	require.Contains(t, text, "No diff: the chat has no workspace")
	require.Equal(t, []any{}, diff["files"])
	id := b.chat("hello", workshop)
	text, diff = b.ok("get_chat_diff", object{"chat": id})
	require.Contains(t, text, "watch_chat_git")
	require.Contains(t, diff["empty"], "pushed")

	require.Equal(t, "not_found", b.fails("get_chat_diff", object{"chat": uuid.New()}).Kind)
	b.patched(500, object{"message": "Internal error.", "detail": `no token available for "github"`})
	f := b.fails("get_chat_diff", object{"chat": id})
	require.Equal(t, "forbidden", f.Kind)
	require.Contains(t, f.Next, b.sim.URL+"/settings/external-auth")
	b.patched(500, object{"message": "Internal error.", "detail": "diff too large"})
	require.Equal(t, "too_large", b.fails("get_chat_diff", object{"chat": id}).Kind)
	b.patched(500, object{"message": "Internal error."})
	require.Equal(t, "unavailable", b.fails("get_chat_diff", object{"chat": id}).Kind)
}

func TestFailuresReadAsSentences(t *testing.T) {
	f := &tools.Failure{Kind: "conflict", Message: "it is busy", API: "Chat is\nrunning", RetryAfter: 3, Next: "wait"}
	require.EqualError(t, f, `conflict: it is busy. The API said: "Chat is\nrunning". Try again in 3 s. Next: wait.`)
}
