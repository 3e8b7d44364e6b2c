package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/relay"
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
		require.NotContains(t, got, "timed_out", "an agent that knows no repository answers no scan (05/074)")
		require.Contains(t, text, "No repository is known: the chat's tools have touched none")

		chat = b.chat(`TOOL write_file {"path":"b.txt","content":"new\n"}`, workshop)
		_, got = b.ok("watch_chat_git", object{"chat": chat})
		repo := list(got, "repositories")[0]
		require.Equal(t, "/home/coder/repo", repo["root"])
		require.Contains(t, repo["patch"], "+new\n")
	})
}

// gitSockets is a bench whose chats' git stream sends on each new socket what the test says on the channel of that number.
func gitSockets(t *testing.T, n int) (b *bench, chat string, sockets []chan simulator.GitMessage) {
	for range n {
		sockets = append(sockets, make(chan simulator.GitMessage, 10))
	}
	var opened atomic.Int32
	b = newBench(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
		return sockets[min(int(opened.Add(1)), n)-1], nil
	}})
	return b, b.chat("hello", uuid.Nil), sockets
}

func gitChanges(repositories ...simulator.GitRepository) simulator.GitMessage {
	at := time.Now()
	return simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: repositories}
}

// listens keeps the chat's git stream open, as a subscription does.
func (b *bench) listens(chat string) *relay.GitListener {
	listener, err := b.session.Relay.FollowGit(b.t.Context(), uuid.MustParse(chat))
	require.NoError(b.t, err)
	b.t.Cleanup(listener.Close)
	return listener
}

func TestGitOfASilentAgent(t *testing.T) {
	r := newRepository(t)
	r.change()
	b, chat, sockets := gitSockets(t, 2)
	sockets[0] <- gitChanges(r.state())
	listener := b.listens(chat)
	b.ok("watch_chat_git", object{"chat": chat})
	text, got := b.ok("watch_chat_git", object{"chat": chat, "refresh": true, "format": "files"})
	require.Equal(t, true, got["stale"])
	require.Contains(t, text, "did not answer a scan within 100ms")
	require.Len(t, list(got, "repositories"), 1, "the last known state is shown")

	// The agent is back, and the socket of the dead one is not what it is waited for at.
	state := r.state()
	state.Branch = "later"
	sockets[1] <- gitChanges(state)
	require.Eventually(t, func() bool { return !listener.Picture().Stale }, 10*time.Second, time.Millisecond)
	text, got = b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.NotContains(t, got, "stale")
	require.Contains(t, text, `branch "later"`)
}

func TestGitOfAnAgentThatForgot(t *testing.T) {
	b, chat, sockets := gitSockets(t, 2)
	sockets[0] <- gitChanges(simulator.GitRepository{RepoRoot: "/r", Branch: "main", UnifiedDiff: patchOf(1, 1)})
	listener := b.listens(chat)
	b.ok("watch_chat_git", object{"chat": chat})
	close(sockets[0])
	require.Eventually(t, func() bool { return listener.Picture().FromBefore }, 10*time.Second, time.Millisecond)
	for _, arguments := range []object{{}, {"refresh": true}} {
		arguments["chat"], arguments["format"] = chat, "files"
		text, got := b.ok("watch_chat_git", arguments)
		require.Equal(t, true, got["stale"])
		require.Contains(t, got["note"], "its agent has told of no repository on it: it has restarted and knows none")
		require.NotContains(t, text, "is gone")
		require.NotContains(t, text, "dead")
		require.Len(t, list(got, "repositories"), 1)
	}
}

func TestGitOfALostConnection(t *testing.T) {
	r := newRepository(t)
	r.change()
	b, chat, sockets := gitSockets(t, 1)
	sockets[0] <- gitChanges(r.state())
	listener := b.listens(chat)
	_, got := b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.NotContains(t, got, "stale")
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		away := strings.HasSuffix(r.URL.Path, "/stream/git")
		if away {
			w.WriteHeader(http.StatusBadGateway)
		}
		return away
	})
	close(sockets[0])
	require.Eventually(t, func() bool { return listener.Picture().Stale }, 10*time.Second, time.Millisecond)
	text, got := b.ok("watch_chat_git", object{"chat": chat, "format": "files"})
	require.Equal(t, true, got["stale"])
	require.Contains(t, text, "The connection to the workspace is gone since ")
	require.Len(t, list(got, "repositories"), 1)

	text, got = b.ok("watch_chat_git", object{"chat": chat, "format": "files", "refresh": true})
	require.Equal(t, true, got["stale"])
	require.Contains(t, text, "There could be no scan, and this is the last known state: ")
	require.Contains(t, text, " cannot be reached or is failing. Next: try again")
	require.Len(t, list(got, "repositories"), 1)
}

func TestGitThatIsNotWaitedForSaysWhatComesAtOnce(t *testing.T) {
	b := newBench(t, withWorkspace(simulator.Options{}, ""))
	now := func(chat any, more object) object {
		arguments := object{"chat": chat, "wait_seconds": 0}
		for k, v := range more {
			arguments[k] = v
		}
		return arguments
	}
	_, got := b.ok("watch_chat_git", now(b.chat(`TOOL write_file {"path":"b.txt","content":"new\n"}`, workshop), nil))
	require.NotContains(t, got, "timed_out")
	require.Contains(t, list(got, "repositories")[0]["patch"], "+new\n")

	require.Contains(t, b.fails("watch_chat_git", now(b.chat("hello", uuid.Nil), nil)).Message, "the chat has no workspace")
	require.Equal(t, "not_found", b.fails("watch_chat_git", now(uuid.New(), nil)).Kind)
	untouched := newBench(t, withWorkspace(simulator.Options{}, ""))
	chat := untouched.chat("hello", workshop)
	_, got = untouched.ok("watch_chat_git", now(chat, nil))
	require.Equal(t, true, got["timed_out"])
	require.Equal(t, []any{}, got["repositories"])
	f := untouched.fails("watch_chat_git", object{"chat": chat, "files": []string{"[a"}, "wait_seconds": 300})
	require.Equal(t, "invalid_argument", f.Kind)
	require.Contains(t, f.Message, `"[a" is not a valid glob`)
}

func TestGitThatTimesOutKeepsWhatIsKnown(t *testing.T) {
	b, chat, sockets := gitSockets(t, 1)
	patient := relay.New(b.session.Client, relay.Options{Linger: 50 * time.Millisecond, Silence: time.Minute})
	t.Cleanup(patient.Close)
	b.session.Relay = patient
	sockets[0] <- gitChanges(simulator.GitRepository{RepoRoot: "/r", Branch: "main", UnifiedDiff: patchOf(1, 1)})
	b.listens(chat)
	b.ok("watch_chat_git", object{"chat": chat})
	_, got := b.ok("watch_chat_git", object{"chat": chat, "refresh": true, "wait_seconds": 0})
	require.Equal(t, true, got["timed_out"])
	require.Contains(t, got["note"], "The scan was not answered in that time (timed_out)")
	require.Len(t, list(got, "repositories"), 1)
	require.Contains(t, list(got, "repositories")[0]["patch"], "+line 0")
}

func TestGitListsItsFilesInPages(t *testing.T) {
	b, chat, report := gitBench(t, most(4000))
	const each = 30
	var states []simulator.GitRepository
	for i := range 3 {
		states = append(states, simulator.GitRepository{RepoRoot: fmt.Sprintf("/r%d", i), Branch: "main", UnifiedDiff: patchOf(each, 1)})
	}
	states = append(states, simulator.GitRepository{RepoRoot: "/clean", Branch: "main"})
	report(states...)
	arguments := object{"chat": chat, "format": "files"}
	seen, pages := 0, 0
	for {
		text, got := b.ok("watch_chat_git", arguments)
		sized(t, text, got, 4000)
		pages++
		place := 0
		for _, repo := range list(got, "repositories") {
			require.NotContains(t, repo, "patch")
			for _, f := range list(repo, "files") {
				require.Equal(t, fmt.Sprintf("dir%d/file%03d.go", seen%each%3, seen%each), f["path"])
				require.Equal(t, fmt.Sprintf("/r%d", seen/each), repo["root"])
				seen++
				place++
			}
		}
		require.NotZero(t, place)
		if got["next_offset"] == nil {
			break
		}
		require.EqualValues(t, seen, got["next_offset"])
		require.Contains(t, text, fmt.Sprintf("(more: offset %d)", seen))
		arguments["offset"] = got["next_offset"]
	}
	require.Equal(t, 3*each, seen)
	require.Greater(t, pages, 2)
	arguments["offset"] = 3 * each
	require.Contains(t, b.fails("watch_chat_git", arguments).Message, "offset 90 is behind the last of 90 files: with format files it counts files")
	require.Contains(t, b.fails("watch_chat_git", object{"chat": chat, "format": "stat", "offset": 1}).Message, "stat has no pages")
}

func TestGitOfManyRepositoriesHasAShortStat(t *testing.T) {
	b, chat, report := gitBench(t)
	var states []simulator.GitRepository
	for i := range 4 {
		states = append(states, simulator.GitRepository{RepoRoot: fmt.Sprintf("/home/coder/repository-%d", i), Branch: "main", UnifiedDiff: patchOf(100, 3)})
	}
	report(states...)
	text, got := b.ok("watch_chat_git", object{"chat": chat, "format": "stat"})
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.Less(t, max(len(text), len(raw)), 2000)
	require.Equal(t, 4, strings.Count(text, "100 files, +300 -100\n"))
	for _, repo := range list(got, "repositories") {
		require.EqualValues(t, 100, repo["file_count"])
	}
}

func TestWhatAnAgentSaysInsteadOfADiffIsToldAsThat(t *testing.T) {
	b, chat, report := gitBench(t)
	report(
		simulator.GitRepository{RepoRoot: "/broken", UnifiedDiff: "fatal: bad object HEAD\n"},
		simulator.GitRepository{RepoRoot: "/large", UnifiedDiff: "Total diff too large to show. Size: 4.0 MiB. Showing branch and remote only."},
	)
	_, got := b.ok("watch_chat_git", object{"chat": chat})
	repos := list(got, "repositories")
	require.Equal(t, `The agent sends no diff, but says: "fatal: bad object HEAD\n"`, repos[0]["note"])
	require.Contains(t, repos[1]["note"], "The agent sends no diff above 3 MiB, but says: \"Total diff too large to show.")
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
