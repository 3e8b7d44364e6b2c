package tools_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

var workshop = uuid.MustParse("5a3e2b52-8f4d-4a0e-9a55-0d7c1f2f3b11")

func withWorkspace(o simulator.Options, state string) simulator.Options {
	owner := uuid.MustParse("c0ffee00-0000-4000-8000-000000000001")
	o.Users = []simulator.User{{ID: owner, Username: "ada", Token: "simulator-user-1", AgentsAccess: true}}
	o.Workspaces = []simulator.Workspace{{ID: workshop, OwnerID: owner, AgentState: state, Files: map[string]string{"a.txt": "one\ntwo\n"}}}
	return o
}

// repository is a real one in a folder of the test.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	r := repository{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	for name, content := range map[string]string{"keep.txt": "1\n2\n3\n", "old name.txt": strings.Repeat("the same line\n", 20), "gone.txt": "x\n", "logo.bin": "\x00\x01\x02"} {
		write(t, content, r.dir, name)
	}
	r.git("add", ".")
	r.git("commit", "-q", "-m", "begin")
	return r
}

func (r repository) git(arguments ...string) string {
	r.t.Helper()
	command := exec.Command("git", arguments...)
	command.Dir = r.dir
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.test", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.test")
	output, err := command.Output()
	require.NoError(r.t, err, "git %v", arguments)
	return string(output)
}

// state is what an agent reports of the repository. Above 3 MiB it says so in the diff's place (fixture 05/074).
func (r repository) state() simulator.GitRepository {
	r.git("add", "-A")
	text := r.git("diff", "--cached", "-M", "HEAD")
	if len(text) > 3<<20 {
		text = fmt.Sprintf("Total diff too large to show. Size: %.1f MiB. Showing branch and remote only.", float64(len(text))/(1<<20))
	}
	return simulator.GitRepository{RepoRoot: r.dir, Branch: strings.TrimSpace(r.git("branch", "--show-current")), UnifiedDiff: text}
}

func (r repository) change() {
	write(r.t, "1\n2\nthree\n4\n", r.dir, "keep.txt")
	require.NoError(r.t, os.Rename(filepath.Join(r.dir, "old name.txt"), filepath.Join(r.dir, "new name.txt")))
	require.NoError(r.t, os.Remove(filepath.Join(r.dir, "gone.txt")))
	write(r.t, "\x00\x02\x01", r.dir, "logo.bin")
	write(r.t, "fresh\n", r.dir, "fresh.txt")
}

// gitBench is a bench whose chats' git stream sends what the test reports.
func gitBench(t *testing.T, change ...func(*tools.Config)) (b *bench, chat string, report func(...simulator.GitRepository)) {
	messages := make(chan simulator.GitMessage, 10)
	b = newBench(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) { return messages, nil }}, change...)
	return b, b.chat("hello", uuid.Nil), func(repositories ...simulator.GitRepository) {
		at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		messages <- simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: repositories}
	}
}

func list(o object, key string) []object {
	var out []object
	items, _ := o[key].([]any)
	for _, item := range items {
		out = append(out, item.(object))
	}
	return out
}

func TestGitShowsARealWorkingTree(t *testing.T) {
	r := newRepository(t)
	r.change()
	state := r.state()
	state.RemoteOrigin = "https://git.example.test/acme/widgets.git"
	b, chat, report := gitBench(t)
	report(state)

	text, got := b.ok("watch_chat_git", object{"chat": chat})
	require.Equal(t, "2026-11-22T10:00:00Z", got["scanned_at"])
	repos := list(got, "repositories")
	require.Len(t, repos, 1)
	repo := repos[0]
	require.Equal(t, r.dir, repo["root"])
	require.Equal(t, "main", repo["branch"])
	require.Equal(t, state.RemoteOrigin, repo["origin"])
	require.EqualValues(t, 3, repo["additions"])
	require.EqualValues(t, 2, repo["deletions"])
	require.Equal(t, state.UnifiedDiff, repo["patch"])
	statuses := map[string]string{}
	for _, f := range list(repo, "files") {
		statuses[f["path"].(string)] = f["status"].(string)
		if f["path"] == "new name.txt" {
			require.Equal(t, "old name.txt", f["old_path"])
		}
		require.Equal(t, f["path"] == "logo.bin", f["binary"] == true)
	}
	require.Equal(t, map[string]string{"keep.txt": "modified", "new name.txt": "renamed", "gone.txt": "deleted", "fresh.txt": "added", "logo.bin": "modified"}, statuses)
	require.Contains(t, text, `branch "main" of "https://git.example.test/acme/widgets.git"`)
	require.Contains(t, text, `renamed "old name.txt" => "new name.txt" +0 -0`)
	require.Contains(t, text, "\n> +three\n")

	text, got = b.ok("watch_chat_git", object{"chat": chat, "format": "stat", "files": []string{"*.txt", "!fresh*"}})
	require.NotContains(t, list(got, "repositories")[0], "patch")
	require.Len(t, list(list(got, "repositories")[0], "files"), 3)
	require.Contains(t, text, "keep.txt | +2 -1")
	require.NotContains(t, text, "fresh")

	text, _ = b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.NotContains(t, text, "\n> ")
	require.Equal(t, "invalid_argument", b.fails("watch_chat_git", object{"chat": chat, "files": []string{"[a"}}).Kind)
}

func TestGitOfADetachedHeadCleanAndOverlarge(t *testing.T) {
	r := newRepository(t)
	r.git("checkout", "-q", "--detach")
	b, chat, report := gitBench(t)
	report(r.state())
	text, got := b.ok("watch_chat_git", object{"chat": chat})
	require.NotContains(t, list(got, "repositories")[0], "branch")
	require.Contains(t, text, ", detached head: nothing is changed")

	var large strings.Builder
	for random := rand.New(rand.NewPCG(1, 2)); large.Len() < 4<<20; {
		fmt.Fprintf(&large, "%016x\n", random.Uint64())
	}
	write(t, large.String(), r.dir, "large.txt")
	b, chat, report = gitBench(t)
	report(r.state())
	text, got = b.ok("watch_chat_git", object{"chat": chat})
	require.Contains(t, text, "The agent sends no diff above 3 MiB, but says: \"Total diff too large to show.")
	require.NotContains(t, list(got, "repositories")[0], "patch")
}

func TestGitPagesRunThroughAllRepositories(t *testing.T) {
	var states []simulator.GitRepository
	whole := ""
	for i := range 3 {
		r := newRepository(t)
		r.change()
		state := r.state()
		state.RepoRoot = fmt.Sprintf("/home/coder/%d", i)
		states, whole = append(states, state), whole+state.UnifiedDiff
	}
	b, chat, report := gitBench(t)
	report(states...)
	for _, size := range []int{100, 500, len(states[0].UnifiedDiff) + 20, len(whole)} {
		read, pages, offset := "", 0, 0
		for {
			pages++
			text, got := b.ok("watch_chat_git", object{"chat": chat, "max_bytes": size, "offset": offset})
			require.EqualValues(t, len(whole), got["total_bytes"])
			for _, repo := range list(got, "repositories") {
				if patch, ok := repo["patch"].(string); ok {
					require.LessOrEqual(t, len(patch), size)
					read += patch
				}
			}
			next, more := got["next_offset"].(float64)
			if !more {
				break
			}
			require.Contains(t, text, fmt.Sprintf("(more: offset %d)", int(next)))
			offset = int(next)
		}
		require.Equal(t, whole, read, "pages of %d", size)
		require.GreaterOrEqual(t, pages, len(whole)/size)
	}
	f := b.fails("watch_chat_git", object{"chat": chat, "offset": len(whole) + 1})
	require.Equal(t, "invalid_argument", f.Kind)
	require.Contains(t, f.Next, "without offset")
}

func TestGitStaysWithinAResult(t *testing.T) {
	r := newRepository(t)
	for i := range 300 {
		write(t, strings.Repeat("a line of text\n", 10), r.dir, fmt.Sprintf("file-%03d.txt", i))
	}
	b, chat, report := gitBench(t, func(c *tools.Config) { c.MaxOutputBytes = 10_000 })
	report(r.state())
	text, got := b.ok("watch_chat_git", object{"chat": chat})
	require.NotZero(t, list(got, "repositories")[0]["more_files"])
	require.NotZero(t, got["next_offset"])
	require.Less(t, len(text), 20_000)
	text, _ = b.ok("watch_chat_git", object{"chat": chat, "format": "stat"})
	require.Less(t, len(text), 2_100)
}

func TestGitOfTheSimulatorsOwnWorkspace(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, withWorkspace(simulator.Options{Generation: g}, ""))
		chat := b.chat("hello", workshop)
		text, got := b.ok("watch_chat_git", object{"chat": chat, "wait_seconds": 0.2})
		require.Equal(t, true, got["timed_out"])
		require.Contains(t, text, "(timed_out): the chat's tools have touched none")

		text, got = b.ok("watch_chat_git", object{"chat": chat, "refresh": true})
		require.NotContains(t, got, "timed_out", "the scan was answered")
		require.Contains(t, text, "No repository is ")

		chat = b.chat(`TOOL write_file {"path":"b.txt","content":"new\n"}`, workshop)
		_, got = b.ok("watch_chat_git", object{"chat": chat})
		repo := list(got, "repositories")[0]
		require.Equal(t, "/home/coder/repo", repo["root"])
		require.Contains(t, repo["patch"], "+new\n")
	})
}

func TestGitOfASilentAgent(t *testing.T) {
	r := newRepository(t)
	r.change()
	b, chat, report := gitBench(t)
	report(r.state())
	b.ok("watch_chat_git", object{"chat": chat})
	text, got := b.ok("watch_chat_git", object{"chat": chat, "refresh": true, "format": "files"})
	require.Equal(t, true, got["stale"])
	require.Contains(t, text, "did not answer a scan within 100ms")
	require.Len(t, list(got, "repositories"), 1, "the last known state is shown")
}

func TestGitOfALostConnection(t *testing.T) {
	r := newRepository(t)
	r.change()
	first, later := make(chan simulator.GitMessage, 1), make(chan simulator.GitMessage)
	var calls atomic.Int32
	b := newBench(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
		if calls.Add(1) == 1 {
			return first, nil
		}
		return later, nil
	}})
	chat := b.chat("hello", uuid.Nil)
	at := time.Now()
	first <- simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: []simulator.GitRepository{r.state()}}
	listener, err := b.session.Relay.FollowGit(t.Context(), uuid.MustParse(chat))
	require.NoError(t, err)
	defer listener.Close()
	_, got := b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.NotContains(t, got, "stale")
	close(first)
	require.Eventually(t, func() bool { return listener.Picture().Stale }, 10*time.Second, time.Millisecond)
	text, got := b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.Equal(t, true, got["stale"])
	require.Contains(t, text, "The connection to the workspace is gone since ")
	require.Len(t, list(got, "repositories"), 1)
}

func TestGitTellsWhatTheAgentReports(t *testing.T) {
	messages := make(chan simulator.GitMessage, 1)
	b := newBench(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) { return messages, nil }})
	messages <- simulator.GitMessage{Type: "error", Message: "git is not installed"}
	text, _ := b.ok("watch_chat_git", object{"chat": b.chat("hello", uuid.Nil)})
	require.Contains(t, text, `The workspace's agent reports: "git is not installed"`)
}

func TestWhatIsMissingBehindAChatIsTold(t *testing.T) {
	for _, tool := range []string{"watch_chat_git", "view_chat_desktop"} {
		for name, c := range map[string]struct {
			state     string
			workspace uuid.UUID
			kind      string
			says, api string
		}{
			"no workspace":     {"", uuid.Nil, "invalid_argument", "the chat has no workspace", "Chat has no workspace"},
			"no agent":         {"none", workshop, "invalid_argument", "workspace has no agent", "Chat workspace has no agents."},
			"agent offline":    {"disconnected", workshop, "unavailable", "agent of the chat's workspace is not connected", `Agent state is \"disconnected\"`},
			"agent connecting": {"connecting", workshop, "unavailable", "agent of the chat's workspace is not connected", `Agent state is \"connecting\"`},
		} {
			t.Run(tool+" "+name, func(t *testing.T) {
				b := newBench(t, withWorkspace(simulator.Options{Generation: simulator.May2026}, c.state))
				f := b.fails(tool, object{"chat": b.chat("hello", c.workspace)})
				require.Equal(t, c.kind, f.Kind)
				require.Contains(t, f.Message, c.says)
				require.Contains(t, f.Text(), c.api)
			})
		}
		t.Run(tool+" no chat", func(t *testing.T) {
			f := newBench(t, simulator.Options{}).fails(tool, object{"chat": uuid.New()})
			require.Equal(t, "not_found", f.Kind)
		})
	}
}
