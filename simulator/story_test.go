package simulator_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

func TestAStoryEditsARepositoryAndLeavesADiff(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g, Story: true})
		watch := w.dial(0, "/watch")
		id, _ := w.newChat("the totals are wrong by a cent")
		chat := w.until(id, "waiting")
		require.NotEmpty(t, chat["workspace_id"])
		require.NotEmpty(t, chat["agent_id"])
		status := chat["diff_status"].(object)
		require.Positive(t, status["additions"])
		require.Equal(t, 1., status["changed_files"])
		diff := w.get("/" + id + "/diff")
		require.Equal(t, "github", diff["provider"])
		require.NotEmpty(t, diff["remote_origin"])
		require.Contains(t, diff["branch"], "agent/")
		require.Contains(t, diff["diff"], "@@ ")
		told := strings.Join(w.transcript(id), "\n")
		require.Contains(t, told, diff["branch"])
		require.Equal(t, 3, strings.Count(told, "<tool-call>"))
		seen := watch.take(func(o object) bool { return brief(o) == "summary_change waiting" })
		require.Contains(t, strings.Join(seen, ","), "diff_status_change")
		w.send(id, "and why?")
		w.until(id, "waiting")
		require.Contains(t, w.transcript(id)[len(w.transcript(id))-1], "About your message")
	})
}

func TestParallelStoriesDiffer(t *testing.T) {
	w := start(t, simulator.Options{Story: true})
	files := map[string]bool{}
	var ids []string
	for _, prompt := range []string{"fix the totals", "write docs", "guard checkout", "limit requests", "tidy", "one more", "and another"} {
		id, _ := w.newChat(prompt)
		ids = append(ids, id)
	}
	for _, id := range ids {
		w.until(id, "waiting")
		diff := w.get("/" + id + "/diff")["diff"].(string)
		files[strings.SplitN(diff, "\n", 2)[0]] = true
	}
	require.Greater(t, len(files), 1)
}

func TestDiffsAreWhatGitWouldApply(t *testing.T) {
	w := start(t, simulator.Options{Workspaces: []simulator.Workspace{{
		ID: uuidOf(1), OwnerID: start(t, simulator.Options{}).Users()[0].ID,
		Files: map[string]string{
			"a.txt": "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n", "end.txt": "no newline",
		},
	}}})
	id, _ := w.newChat("hello", object{"workspace_id": uuidOf(1)})
	w.until(id, "waiting")
	want := map[string]string{
		"a.txt":   "zero\n1\n2\n3\n4\n5\n6\nseven\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n20\nlast\n",
		"end.txt": "no newline\nnow one",
		"new.txt": "hello\nworld\n",
	}
	for name, content := range want {
		w.send(id, "TOOL write_file "+jsonOf(object{"path": "/home/coder/repo/" + name, "content": content}))
		w.until(id, "waiting")
	}
	s := w.dial(0, "/"+id+"/stream/git")
	repo := s.next()["repositories"].([]any)[0].(object)
	require.Equal(t, "feature/x", repo["branch"])
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "end.txt"), []byte("no newline"), 0o600))
	cmd := exec.CommandContext(t.Context(), "git", "apply", "-")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(repo["unified_diff"].(string))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, repo["unified_diff"])
	for name, content := range want {
		is, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, content, string(is))
	}
}
