package tools_test

import (
	"encoding/json"
	"fmt"
	"net/http"
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
	require.Contains(t, text, "https://git.example/r/pull/7")
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
