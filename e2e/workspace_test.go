package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// repository is a real one in a folder of the test.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T, files map[string]string) repository {
	t.Helper()
	r := repository{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.write(files)
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "begin")
	return r
}

func (r repository) write(files map[string]string) {
	r.t.Helper()
	for path, content := range files {
		path = filepath.Join(r.dir, path)
		require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(r.t, os.WriteFile(path, []byte(content), 0o600))
	}
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

// diff is what git says is changed, of some paths or of all.
func (r repository) diff(paths ...string) string {
	r.t.Helper()
	r.git("add", "-A")
	return r.git(append([]string{"diff", "--cached", "-M", "HEAD", "--"}, paths...)...)
}

// numbers sums up what git itself counts in a diff.
func (r repository) numbers(paths ...string) (files, additions, deletions int) {
	r.t.Helper()
	for line := range strings.Lines(r.git(append([]string{"diff", "--cached", "-M", "--numstat", "HEAD", "--"}, paths...)...)) {
		columns := strings.Fields(line)
		added, _ := strconv.Atoi(columns[0]) // - for a binary
		deleted, _ := strconv.Atoi(columns[1])
		files, additions, deletions = files+1, additions+added, deletions+deleted
	}
	return files, additions, deletions
}

// state is what an agent reports of the repository. Above 3 MiB it says so in the diff's place (fixture 05/074).
func (r repository) state() simulator.GitRepository {
	r.t.Helper()
	text := r.diff()
	if len(text) > 3<<20 {
		text = fmt.Sprintf("Total diff too large to show. Size: %.1f MiB. Showing branch and remote only.", float64(len(text))/(1<<20))
	}
	return simulator.GitRepository{RepoRoot: r.dir, Branch: strings.TrimSpace(r.git("branch", "--show-current")), UnifiedDiff: text}
}

func lines(n int, of string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d of %s\n", i, of)
	}
	return b.String()
}

// large is a repository whose diff has more than 50,000 lines in many files, and everything in it that could break a page.
func large(t *testing.T) repository {
	t.Helper()
	begin := map[string]string{
		"old place/moved file.go": lines(300, "moved"), "gone.txt": lines(700, "gone"), "logo.bin": "\x00\x01\x02", "Grüße.txt": "hallo\n", "windows.txt": "one\r\ntwo\r\n",
		"wide.min.js": "x\n",
	}
	for i := range 20 {
		begin[fmt.Sprintf("edited/%02d.go", i)] = lines(400, fmt.Sprint("edited ", i))
	}
	r := newRepository(t, begin)
	require.NoError(t, os.MkdirAll(filepath.Join(r.dir, "new place"), 0o755))
	require.NoError(t, os.Rename(filepath.Join(r.dir, "old place/moved file.go"), filepath.Join(r.dir, "new place/moved file.go")))
	require.NoError(t, os.Remove(filepath.Join(r.dir, "gone.txt")))
	change := map[string]string{
		"logo.bin": "\x00\x02\x01", "Grüße.txt": "Grüße, 漢字, 🦊\n\u2028 no line of ours\n", "windows.txt": "one\r\nzwei\r\nthree", "--- a/odd": "+++ b/odd\n@@ -1 +1 @@\n",
		"wide.min.js": strings.Repeat("漢字🦊ab", 6000) + "\n", "empty.txt": "",
	}
	for i := range 20 {
		path := fmt.Sprintf("edited/%02d.go", i)
		change[path] = strings.ReplaceAll(begin[path], "7 of", "seven of")
	}
	for i := range 240 {
		path := fmt.Sprintf("module%02d/part%03d.go", i%12, i)
		change[path] = lines(200, path)
	}
	r.write(change)
	return r
}

// serveDiff makes the API say that a chat's pushed branch has this diff.
func (b backend) serveDiff(status int, body map[string]any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
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

// pages reads a diff page by page.
func (p *peer) pages(arguments map[string]any) (whole string, count int) {
	p.t.Helper()
	for {
		a := p.tool("get_chat_diff", arguments)
		page := a.ok()
		count++
		patch, _ := page["patch"].(string)
		whole += patch
		next, more := page["next_offset"].(float64)
		if !more {
			require.EqualValues(p.t, len(whole), page["total_bytes"])
			return whole, count
		}
		require.NotEmpty(p.t, patch)
		require.Contains(p.t, a.Text, fmt.Sprintf("(more: offset %d)", int(next)))
		arguments = with(arguments, "offset", next)
	}
}

// resource is the text of a resource, and its type.
func (p *peer) resource(uri string) (text, mime string) {
	p.t.Helper()
	read := p.request("resources/read", map[string]any{"uri": uri})
	require.Nil(p.t, read.Error, uri)
	var result struct {
		Contents []struct{ URI, MIMEType, Text string }
	}
	require.NoError(p.t, json.Unmarshal(read.Result, &result))
	require.Len(p.t, result.Contents, 1)
	require.Equal(p.t, uri, result.Contents[0].URI)
	return result.Contents[0].Text, result.Contents[0].MIMEType
}

// onOneSimulator is for tests of what no generation does differently, and that take their time.
func onOneSimulator(t *testing.T, o simulator.Options, test func(t *testing.T, b backend)) {
	t.Parallel()
	o.TokenDelay = time.Millisecond
	sim, err := simulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	test(t, backend{url: sim.URL, token: sim.Users()[0].Token, sim: sim})
}

func TestEndToEndLargeDiff(t *testing.T) {
	r := large(t)
	whole := r.diff()
	require.Greater(t, strings.Count(whole, "\n"), 50_000)
	files, additions, deletions := r.numbers()
	t.Run("whole", func(t *testing.T) { readWhole(t, r, whole) })
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := ownChat(p, uuid.Nil)
		b.serveDiff(http.StatusOK, map[string]any{"chat_id": chat, "branch": "feature/large", "remote_origin": "https://git.example.test/acme/widgets.git", "diff": whole})
		diff := func(more map[string]any) answer { return p.tool("get_chat_diff", with(more, "chat", chat)) }

		a := diff(map[string]any{"format": "stat"})
		stat := a.ok()
		require.Less(t, len(a.Text), 2000, a.Text)
		require.Less(t, len(a.Structured), 2000)
		require.Equal(t, []any{float64(files), float64(additions), float64(deletions)}, []any{stat["file_count"], stat["additions"], stat["deletions"]})
		require.EqualValues(t, files, len(stat["files"].([]any))+int(stat["more_files"].(float64)))
		require.Contains(t, a.Text, fmt.Sprintf("%d files, +%d -%d, 1 binary", files, additions, deletions))
		require.Contains(t, a.Text, `branch "feature/large" of "https://git.example.test/acme/widgets.git"`)
		require.NotContains(t, stat, "patch")

		listed := map[string]map[string]any{}
		for _, f := range diff(map[string]any{"format": "files", "files": []string{"module03/**", "!**/part003.go", "new place/*"}}).ok()["files"].([]any) {
			file := f.(map[string]any)
			listed[file["path"].(string)] = file
		}
		require.Len(t, listed, 20)
		require.NotContains(t, listed, "module03/part003.go")
		require.Equal(t, "old place/moved file.go", listed["new place/moved file.go"]["old_path"])
		require.Equal(t, "renamed", listed["new place/moved file.go"]["status"])
		require.EqualValues(t, 200, listed["module03/part015.go"]["additions"])

		first := diff(map[string]any{}).ok()
		require.LessOrEqual(t, len(first["patch"].(string)), 16_000)
		second := diff(map[string]any{"offset": first["next_offset"], "max_bytes": 1000}).ok()
		require.True(t, strings.HasPrefix(whole, first["patch"].(string)+second["patch"].(string)))
		require.Contains(t, diff(map[string]any{"offset": len(whole) + 1}).failed("invalid_argument"), "without offset")
		diff(map[string]any{"files": []string{"[a"}}).failed("invalid_argument")
	})
}

// readWhole reads the diff in pages, of all files and of some, and as a resource.
func readWhole(t *testing.T, r repository, whole string) {
	onOneSimulator(t, simulator.Options{RateLimit: -1}, func(t *testing.T, b backend) {
		p := start(t, b.environment(), "stdio", "--max-output-bytes", "200000")
		chat := ownChat(p, uuid.Nil)
		b.serveDiff(http.StatusOK, map[string]any{"chat_id": chat, "diff": whole})
		read, count := p.pages(map[string]any{"chat": chat, "max_bytes": 1 << 20})
		require.True(t, whole == read, "the pages are the diff, byte for byte")
		require.Greater(t, count, len(whole)/200_000, "a page stays within what a result may have")
		read, count = p.pages(map[string]any{"chat": chat, "max_bytes": 20_000, "files": []string{"module03/**", "!**/part0*.go"}})
		require.True(t, r.diff("module03", ":!module03/part0*") == read, "so are those of some files")
		require.Greater(t, count, len(read)/20_001)
		read, _ = p.pages(map[string]any{"chat": chat, "max_bytes": 20_000, "files": []string{"wide.min.js"}})
		require.True(t, r.diff("wide.min.js") == read, "a line that fits no page is cut between characters")

		address := "coder://chats/" + chat + "/diff"
		text, mime := p.resource(address)
		require.Equal(t, "text/x-diff", mime)
		require.True(t, whole == text)
		for _, path := range []string{"Grüße.txt", "module00/part012.go", "logo.bin", "empty.txt", "--- a/odd"} {
			text, mime := p.resource(address + "?file=" + url.PathEscape(path))
			require.Equal(t, "text/x-diff", mime)
			require.Equal(t, r.diff(path), text)
		}
		missing := p.request("resources/read", map[string]any{"uri": address + "?file=none.go"})
		require.NotNil(t, missing.Error)
		require.Equal(t, -32002, missing.Error.Code)
		require.Contains(t, missing.Error.Message, "has no file")
	})
}

func TestEndToEndDiffsThatAreNotThere(t *testing.T) {
	onEverySimulator(t, withWorkspace(simulator.Options{}), func(t *testing.T, b backend) {
		p := start(t, b.environment())
		for bound, why := range map[uuid.UUID]string{uuid.Nil: "the chat has no workspace", workspace: "no branch of the chat's workspace has been pushed"} {
			chat := ownChat(p, bound)
			require.Contains(t, p.tool("get_chat_diff", map[string]any{"chat": chat}).ok()["empty"], why)
			text, _ := p.resource("coder://chats/" + chat + "/diff")
			require.Contains(t, text, "# No diff: "+why)
		}
		chat := ownChat(p, workspace)
		b.serveDiff(http.StatusInternalServerError, map[string]any{"message": "Internal error.", "detail": `no token available for "github"`})
		require.Contains(t, p.tool("get_chat_diff", map[string]any{"chat": chat}).failed("forbidden"), "connect your git account")
		read := p.request("resources/read", map[string]any{"uri": "coder://chats/" + chat + "/diff"})
		require.NotNil(t, read.Error)
		require.Contains(t, read.Error.Message, "connect your git account")
	})
}

// A whole task: what the agent did in its workspace is in the working tree, and in the diff once it is pushed.
func TestEndToEndDiffAndGitOfATask(t *testing.T) {
	onEverySimulator(t, simulator.Options{Story: true}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := p.tool("create_chat", map[string]any{"prompt": "Refuse empty carts at checkout, please.", "wait_seconds": 60}).ok()["id"].(string)
		pushed := p.tool("get_chat_diff", map[string]any{"chat": chat}).ok()
		require.NotEmpty(t, pushed["patch"])
		require.NotEmpty(t, pushed["branch"])
		tree := only(t, p.tool("watch_chat_git", map[string]any{"chat": chat, "refresh": true}))
		require.Equal(t, pushed["patch"], tree["patch"])
		require.Equal(t, pushed["branch"], tree["branch"])
		text, mime := p.resource("coder://chats/" + chat + "/git")
		require.Equal(t, "application/json", mime)
		require.Equal(t, pushed["patch"], trees(t, text)[0]["diff"])
	})
}

// trees are the repositories of the git resource.
func trees(t *testing.T, text string) []map[string]any {
	t.Helper()
	var v struct{ Repositories []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v.Repositories
}

func repositories(a answer) []map[string]any {
	a.t.Helper()
	var all []map[string]any
	for _, r := range a.ok()["repositories"].([]any) {
		all = append(all, r.(map[string]any))
	}
	return all
}

func only(t *testing.T, a answer) map[string]any {
	t.Helper()
	all := repositories(a)
	require.Len(t, all, 1, a.Text)
	return all[0]
}

// agent is a workspace's: it tells a new watcher all it knows, then what changes. It hears no refresh.
type agent struct {
	mu       sync.Mutex
	known    map[string]simulator.GitRepository
	dead     bool // it tells new watchers nothing
	watchers []chan simulator.GitMessage
}

func newAgent() *agent { return &agent{known: map[string]simulator.GitRepository{}} }

func scanned(repositories ...simulator.GitRepository) simulator.GitMessage {
	at := time.Now()
	return simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: repositories}
}

func (a *agent) watch(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	watcher := make(chan simulator.GitMessage, 20)
	if len(a.known) > 0 && !a.dead {
		watcher <- scanned(slices.Collect(maps.Values(a.known))...)
	}
	a.watchers = append(a.watchers, watcher)
	return watcher, nil
}

// die makes the agent tell nothing of what it knows.
func (a *agent) die() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead = true
}

func (a *agent) watched() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.watchers)
}

func (a *agent) report(r simulator.GitRepository) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[r.RepoRoot] = r; r.Removed {
		delete(a.known, r.RepoRoot)
	}
	for _, watcher := range a.watchers {
		watcher <- scanned(r)
	}
}

type simulators = func(t *testing.T, o simulator.Options, test func(t *testing.T, b backend))

// withAgent runs a test with a chat whose workspace has the agent.
func withAgent(t *testing.T, on simulators, test func(t *testing.T, p *peer, chat string, a *agent)) {
	agents := sync.Map{}
	of := func(chat uuid.UUID) *agent {
		a, _ := agents.LoadOrStore(chat, newAgent())
		return a.(*agent)
	}
	o := simulator.Options{Git: func(ctx context.Context, chat uuid.UUID) (<-chan simulator.GitMessage, error) {
		return of(chat).watch(ctx, chat)
	}}
	on(t, o, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := ownChat(p, uuid.Nil)
		test(t, p, chat, of(uuid.MustParse(chat)))
	})
}

func TestEndToEndGitOfRealRepositories(t *testing.T) {
	r := newRepository(t, map[string]string{"keep.txt": "1\n2\n3\n", "old name.txt": lines(20, "the old one"), "gone.txt": "x\n", "logo.bin": "\x00\x01\x02"})
	require.NoError(t, os.Rename(filepath.Join(r.dir, "old name.txt"), filepath.Join(r.dir, "new name.txt")))
	require.NoError(t, os.Remove(filepath.Join(r.dir, "gone.txt")))
	r.write(map[string]string{"keep.txt": "1\n2\nthree\n4\n", "logo.bin": "\x00\x02\x01", "fresh.txt": "fresh\n"})
	working := r.state()
	working.RemoteOrigin = "https://git.example.test/acme/widgets.git"
	_, additions, deletions := r.numbers()

	detached := newRepository(t, map[string]string{"a.txt": "a\n"})
	detached.git("checkout", "-q", "--detach")

	var bytes strings.Builder
	for random := rand.New(rand.NewPCG(1, 2)); bytes.Len() < 4<<20; {
		fmt.Fprintf(&bytes, "%016x\n", random.Uint64())
	}
	heavy := newRepository(t, map[string]string{"a.txt": "a\n"})
	heavy.write(map[string]string{"heavy.txt": bytes.String()})
	clean, overlarge := detached.state(), heavy.state()

	withAgent(t, onEverySimulator, func(t *testing.T, p *peer, chat string, a *agent) {
		for _, state := range []simulator.GitRepository{working, clean, overlarge} {
			a.report(state)
		}
		at := func(root string, all []map[string]any) map[string]any {
			i := slices.IndexFunc(all, func(r map[string]any) bool { return r["root"] == root || r["repo_root"] == root })
			require.GreaterOrEqual(t, i, 0, root)
			return all[i]
		}
		seen := p.tool("watch_chat_git", map[string]any{"chat": chat})
		all := repositories(seen)
		require.Len(t, all, 3)

		tree := at(working.RepoRoot, all)
		require.Equal(t, []any{"main", working.RemoteOrigin, working.UnifiedDiff}, []any{tree["branch"], tree["origin"], tree["patch"]})
		require.Equal(t, []any{float64(additions), float64(deletions)}, []any{tree["additions"], tree["deletions"]})
		statuses := map[string]string{}
		for _, f := range tree["files"].([]any) {
			file := f.(map[string]any)
			statuses[file["path"].(string)] = file["status"].(string)
			require.Equal(t, file["path"] == "logo.bin", file["binary"] == true)
		}
		require.Equal(t, map[string]string{"keep.txt": "modified", "new name.txt": "renamed", "gone.txt": "deleted", "fresh.txt": "added", "logo.bin": "modified"}, statuses)
		require.Contains(t, seen.Text, `renamed "old name.txt" => "new name.txt" +0 -0`)

		require.NotContains(t, at(clean.RepoRoot, all), "branch")
		require.Contains(t, seen.Text, ", detached head: nothing is changed")

		require.Contains(t, at(overlarge.RepoRoot, all)["note"], "The agent sends no diff above 3 MiB")
		require.NotContains(t, at(overlarge.RepoRoot, all), "patch")
		require.Contains(t, seen.Text, `"Total diff too large to show. Size: 4.`)

		stat := p.tool("watch_chat_git", map[string]any{"chat": chat, "format": "stat", "files": []string{"*.txt", "!fresh*"}})
		require.NotContains(t, at(working.RepoRoot, repositories(stat)), "patch")
		require.Contains(t, stat.Text, "keep.txt | +2 -1")
		require.NotContains(t, stat.Text, "fresh")

		address := "coder://chats/" + chat + "/git"
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": address}).Error)
		told := len(p.notifications(updated))
		removed := clean
		removed.Removed = true
		a.report(removed)
		a.report(simulator.GitRepository{RepoRoot: overlarge.RepoRoot, Branch: "other", UnifiedDiff: working.UnifiedDiff})
		p.eventually("the subscription tells of it", func() bool { return len(p.notifications(updated)) > told })
		p.eventually("the deltas are folded into one picture", func() bool {
			all := repositories(p.tool("watch_chat_git", map[string]any{"chat": chat}))
			return len(all) == 2 && at(overlarge.RepoRoot, all)["branch"] == "other" && at(overlarge.RepoRoot, all)["patch"] == working.UnifiedDiff
		})
		require.Nil(t, p.request("resources/unsubscribe", map[string]any{"uri": address}).Error)
	})
}

// The resource connects by itself: nobody has watched before.
func TestEndToEndGitResource(t *testing.T) {
	r := newRepository(t, map[string]string{"a.txt": "a\n"})
	r.write(map[string]string{"a.txt": "b\n"})
	changed := r.state() // git lets one at a time work in a repository
	withAgent(t, onEverySimulator, func(t *testing.T, p *peer, chat string, a *agent) {
		heavy := simulator.GitRepository{RepoRoot: "/z", Branch: "b", UnifiedDiff: "Total diff too large to show. Size: 4.1 MiB. Showing branch and remote only."}
		a.report(changed)
		a.report(heavy)
		text, mime := p.resource("coder://chats/" + chat + "/git")
		require.Equal(t, "application/json", mime)
		all := trees(t, text)
		require.Len(t, all, 2, text)
		require.Equal(t, changed.UnifiedDiff, all[0]["diff"])
		require.Equal(t, heavy.UnifiedDiff, all[1]["diff"])
		require.Contains(t, all[1]["note"], "no diff")
	})
}

// A dead agent leaves the socket open (05/077): only a scan that gets no answer tells.
func TestEndToEndGitOfAnAgentThatDied(t *testing.T) {
	r := newRepository(t, map[string]string{"a.txt": "a\n"})
	r.write(map[string]string{"a.txt": "b\n"})
	last := r.state()
	withAgent(t, onOneSimulator, func(t *testing.T, p *peer, chat string, a *agent) {
		a.report(last)
		require.NotContains(t, p.tool("watch_chat_git", map[string]any{"chat": chat}).ok(), "stale")

		address := "coder://chats/" + chat + "/git"
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": address}).Error)
		a.die()
		sockets := a.watched()
		dead := p.tool("watch_chat_git", map[string]any{"chat": chat, "refresh": true, "wait_seconds": 60})
		require.Equal(t, true, dead.ok()["stale"])
		require.Contains(t, dead.Text, "agent did not answer a scan within 5s")
		require.Contains(t, dead.Text, "last known state")
		require.Equal(t, last.UnifiedDiff, only(t, dead)["patch"])
		p.eventually("the socket is replaced", func() bool { return a.watched() > sockets })
		read, _ := p.resource(address)
		require.Contains(t, read, `"stale":true`)
		require.Contains(t, read, "its agent has told of no repository on it")
		require.Contains(t, read, last.RepoRoot)

		a.report(last)
		p.eventually("an agent that is back is no longer stale", func() bool {
			return p.tool("watch_chat_git", map[string]any{"chat": chat}).ok()["stale"] == nil
		})
	})
}

// Whoever asks within a second of a scan shares the next: a real agent ignores what comes sooner.
func TestEndToEndGitIsScannedAtMostOnceASecond(t *testing.T) {
	onOneSimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := ownChat(p, uuid.Nil)
		scans := &scanner{}
		b.sim.Intercept(scans.serve)
		require.Len(t, repositories(p.tool("watch_chat_git", map[string]any{"chat": chat})), 1)

		began := time.Now()
		for range 2 {
			var calls []chan message
			for range 5 {
				_, call := p.startTool("watch_chat_git", map[string]any{"chat": chat, "refresh": true, "wait_seconds": 60})
				calls = append(calls, call)
			}
			before := scans.count()
			for _, call := range calls {
				p.result("watch_chat_git", call).ok()
			}
			require.GreaterOrEqual(t, scans.count(), max(before, 1))
		}
		asked := scans.count()
		require.GreaterOrEqual(t, asked, 2, "each of the two rounds saw a scan of its own")
		require.LessOrEqual(t, asked, 1+int(time.Since(began)/time.Second))
		require.Less(t, asked, 10)
	})
}

// scanner is a workspace's agent that answers every refresh, however fast they come, and counts them.
type scanner struct {
	mu    sync.Mutex
	scans int
}

func (s *scanner) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans
}

func (s *scanner) serve(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/stream/git") {
		return false
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return true
	}
	defer func() { _ = conn.CloseNow() }()
	repositories := []simulator.GitRepository{{RepoRoot: "/home/coder/repo", Branch: "main"}}
	for {
		news, err := json.Marshal(scanned(repositories...))
		if err != nil || conn.Write(r.Context(), websocket.MessageText, news) != nil {
			return true
		}
		if _, _, err := conn.Read(r.Context()); err != nil {
			return true
		}
		s.mu.Lock()
		s.scans++
		s.mu.Unlock()
		repositories = nil
	}
}
