package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// GitPicture is the state of the working trees of a chat's workspace. Its slices are shared: do not change them.
type GitPicture struct {
	Repositories []GitRepository // sorted by root; none before the chat's tools touched one
	ScannedAt    time.Time
	Problem      string    // what the server last said is wrong; "" since the last scan
	Stale        bool      // the agent stopped answering, or the socket is down: this is the past
	StaleSince   time.Time // when that was noticed
	FromBefore   bool      // the socket is a new one, on which the agent has told nothing: it has restarted and forgotten them, or it is silent
}

// GitRepository is the working tree of one repository.
type GitRepository struct {
	client.Repository
	DiffOmitted bool // UnifiedDiff is the server's sentence that the diff is too large (3 MiB), and no diff
}

// AgentSilentError says that the workspace's agent did not answer a scan. A dead agent does not close the socket (05/077).
type AgentSilentError struct{ Waited time.Duration }

func (e *AgentSilentError) Error() string {
	return fmt.Sprintf("The workspace's agent did not answer a scan within %s: the workspace is stopped, or its agent is dead. "+
		"What is shown is the last known state; check the workspace, start it again if need be.", e.Waited)
}

// offline are the refusals of a workspace that can come back (05/077, 05/079), as they begin.
var offline = []string{"Agent state is", "Chat workspace has no agents"}

// FollowGit is "Watch chat workspace git state via WebSockets", shared by all listeners of the chat, its deltas folded into
// one picture. It returns when the socket is up, or the typed *client.Error: no workspace, no agent, agent not connected.
func (r *Relay) FollowGit(ctx context.Context, chat uuid.UUID) (*GitListener, error) {
	f, err := r.gitFeed(chat)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.nothing(); err != nil {
		f.leave()
		return nil, err
	}
	return &GitListener{feed: f, seen: f.version, done: make(chan struct{})}, nil
}

// nothing is why there is neither a socket nor anything to show. mu is held.
func (f *gitFeed) nothing() error {
	if f.watch != nil {
		return nil
	}
	var away passing
	if len(f.repositories) == 0 && errors.As(f.trouble.now(), &away) {
		return away.error
	}
	return f.failed
}

// GitListener is one reader of the working trees of a chat's workspace. Only one goroutine may call Next.
type GitListener struct {
	feed *gitFeed
	seen int
	once sync.Once
	done chan struct{}
}

// Picture is the state now.
func (l *GitListener) Picture() GitPicture {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	return l.feed.picture()
}

// Next waits for a state that is newer than the last one it gave, at first than that of FollowGit. A slow caller misses
// states in between, never the last.
func (l *GitListener) Next(ctx context.Context) (GitPicture, error) {
	for {
		l.feed.mu.Lock()
		version, changed, failed, p := l.feed.version, l.feed.changed, l.feed.failed, l.feed.picture()
		l.feed.mu.Unlock()
		if version != l.seen {
			l.seen = version
			return p, nil
		}
		if failed != nil {
			return GitPicture{}, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return GitPicture{}, ctx.Err()
		case <-l.done:
			return GitPicture{}, ErrClosed
		}
	}
}

// Refresh asks for a scan and waits for its answer. The server takes one a second: whoever asks within that time shares the
// next. *AgentSilentError: no answer came although repositories are known (an agent that knows none need not answer).
func (l *GitListener) Refresh(ctx context.Context) error {
	_, err := l.feed.scans.try(ctx, struct{}{})
	return err
}

// Close stops listening.
func (l *GitListener) Close() {
	l.once.Do(func() {
		close(l.done)
		l.feed.leave()
	})
}

// gitFeed is one workspace's shared git socket.
type gitFeed struct {
	relay   *Relay
	id      uuid.UUID
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{}
	trouble trouble
	shared  sharing
	scans   *reads[struct{}, struct{}]

	mu           sync.Mutex
	watch        *client.GitWatch // nil while the socket is down
	repositories map[string]GitRepository
	renew        bool // a new socket: its first changes are all there is
	scannedAt    time.Time
	problem      string
	staleSince   time.Time
	answers      int // messages that came
	refreshed    time.Time
	version      int
	changed      chan struct{} // closed by the next change
	failed       error
}

func (r *Relay) gitFeed(chat uuid.UUID) (*gitFeed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	f := r.gits[chat]
	if f == nil {
		f = &gitFeed{
			relay: r, id: chat, ready: make(chan struct{}), changed: make(chan struct{}),
			repositories: map[string]GitRepository{},
		}
		f.ctx, f.cancel = context.WithCancel(r.ctx)
		f.scans = newReads(r, func(context.Context, struct{}) (struct{}, error) { return struct{}{}, f.scan() })
		r.gits[chat] = f
		r.wait.Go(f.run)
	}
	f.shared.join()
	return f, nil
}

func (f *gitFeed) leave() {
	f.shared.leave(f.relay, func() {
		if f.relay.gits[f.id] == f {
			delete(f.relay.gits, f.id)
		}
		f.cancel()
	})
}

func (f *gitFeed) run() {
	defer f.cancel()
	err := f.relay.reconnect(f.ctx, "git of chat "+f.id.String(), &f.trouble, f.connect)
	f.relay.mu.Lock()
	if f.relay.gits[f.id] == f {
		delete(f.relay.gits, f.id)
	}
	f.shared.stop()
	f.relay.mu.Unlock()
	f.change(func() { f.failed = err })
	f.begin()
}

func (f *gitFeed) begin() {
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

// change changes the picture and tells the listeners.
func (f *gitFeed) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.version++
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *gitFeed) connect(up func()) error {
	w, err := f.relay.client.WatchGit(f.ctx, f.id)
	if err != nil {
		return f.refusal(err)
	}
	defer w.Close()
	f.mu.Lock()
	f.watch, f.renew = w, true
	f.mu.Unlock()
	f.trouble.last.Store(nil) // a workspace may have nothing to say for hours
	f.begin()
	for {
		m, err := w.Next(f.ctx)
		if err != nil {
			f.change(func() {
				f.watch = nil
				f.grownStale()
			})
			return err
		}
		up()
		f.change(func() { f.fold(&m) })
	}
}

// refusal is a failure to connect. The first one is the caller's to know; later ones are waited out where a workspace can come back.
func (f *gitFeed) refusal(err error) error {
	select {
	case <-f.ready:
	default:
		return backoff.Permanent(err)
	}
	var api *client.Error
	if errors.As(err, &api) && slices.ContainsFunc(offline, func(begin string) bool { return strings.HasPrefix(api.Message, begin) }) {
		return passing{err}
	}
	return err
}

func (f *gitFeed) grownStale() {
	if f.staleSince.IsZero() {
		f.staleSince = time.Now()
	}
}

// fold takes a delta: only the repositories that changed, none when nothing did.
func (f *gitFeed) fold(m *client.GitMessage) {
	f.answers++
	f.staleSince = time.Time{}
	if m.Type == "error" {
		f.problem = m.Message
		return
	}
	f.problem, f.scannedAt = "", m.ScannedAt
	if f.renew {
		f.renew = false
		clear(f.repositories)
	}
	for _, r := range m.Repositories {
		if r.Removed {
			delete(f.repositories, r.RepoRoot)
			continue
		}
		f.repositories[r.RepoRoot] = GitRepository{Repository: r, DiffOmitted: strings.HasPrefix(r.UnifiedDiff, tooLarge)}
	}
}

// tooLarge begins what the server puts in the place of a diff above 3 MiB (05/074).
const tooLarge = "Total diff too large to show."

func (f *gitFeed) picture() GitPicture {
	p := GitPicture{
		Repositories: slices.SortedFunc(maps.Values(f.repositories), func(a, b GitRepository) int {
			return cmp.Compare(a.RepoRoot, b.RepoRoot)
		}),
		ScannedAt: f.scannedAt, Problem: f.problem, Stale: !f.staleSince.IsZero(), StaleSince: f.staleSince,
		FromBefore: f.watch != nil && f.renew && len(f.repositories) > 0,
	}
	return p
}

// refreshEvery is a little more than the server's cooldown, within which it ignores what it is asked.
const refreshEvery = 1100 * time.Millisecond

// scan asks the agent and waits for a word of it. It asks twice: the server may have ignored the first because of somebody
// else's refresh just before. A socket whose agent owes an answer and gives none is closed: the server would ping on (05/077),
// and only a new one finds the agent that may have come back.
func (f *gitFeed) scan() error {
	f.mu.Lock()
	pause := time.Until(f.refreshed.Add(refreshEvery))
	f.mu.Unlock()
	if err := f.sleep(pause); err != nil {
		return err
	}
	f.mu.Lock()
	before := f.answers
	f.mu.Unlock()
	silence := f.relay.options.Silence
	var owing *client.GitWatch
	for range 2 {
		f.ask()
		if answered, err := f.answered(before, silence/2); answered || err != nil {
			return err
		}
		if err := f.trouble.now(); err != nil {
			return err
		}
		if owing = f.owing(); owing == nil {
			return nil
		}
	}
	f.change(f.grownStale)
	_ = owing.Close()
	return &AgentSilentError{Waited: silence}
}

// owing is the socket whose agent has to answer a scan; nil where it need not, because it has told of no repository (05/074). What was told on
// another socket does not count: an agent that restarts forgets (05/077).
func (f *gitFeed) owing() *client.GitWatch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.renew || len(f.repositories) == 0 {
		return nil
	}
	return f.watch
}

// ask sends a refresh, if the socket is up; one that is not will tell all there is when it comes up.
func (f *gitFeed) ask() {
	f.mu.Lock()
	watch := f.watch
	f.refreshed = time.Now()
	f.mu.Unlock()
	if watch == nil {
		return
	}
	if err := watch.Refresh(f.ctx); err != nil {
		f.relay.options.Logger.Info("git refresh failed", "chat", f.id, "error", err)
	}
}

// answered waits for a message after `before`.
func (f *gitFeed) answered(before int, patience time.Duration) (bool, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		answered, changed, failed := f.answers > before, f.changed, f.failed
		f.mu.Unlock()
		if answered || failed != nil {
			return answered, failed
		}
		select {
		case <-changed:
		case <-timer.C:
			return false, nil
		case <-f.ctx.Done():
			return false, f.over()
		}
	}
}

func (f *gitFeed) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-f.ctx.Done():
		return f.over()
	}
}

// over is why there will be no more of it.
func (f *gitFeed) over() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.failed, ErrClosed)
}
