package relay_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

// gitWorld is a server whose workspace says what the test says.
func gitWorld(t *testing.T, g simulator.Generation, o relay.Options) (*world, *client.Chat, chan simulator.GitMessage) {
	t.Helper()
	messages := make(chan simulator.GitMessage, 10)
	server, err := simulator.Start(simulator.Options{
		Generation: g, RateLimit: -1, Speed: 20, TokenDelay: time.Millisecond,
		Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) { return messages, nil },
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w := newCaller(t, server, server.URL, o)
	return w, w.create("hello"), messages
}

func changes(at time.Time, repos ...simulator.GitRepository) simulator.GitMessage {
	return simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: repos}
}

func (w *world) followGit(chat uuid.UUID) *relay.GitListener {
	w.t.Helper()
	l, err := w.relay.FollowGit(w.ctx, chat)
	require.NoError(w.t, err)
	w.t.Cleanup(l.Close)
	return l
}

func (w *world) nextGit(l *relay.GitListener) relay.GitPicture {
	w.t.Helper()
	p, err := l.Next(w.ctx)
	require.NoError(w.t, err)
	return p
}

func TestGitFoldsDeltasIntoOnePicture(t *testing.T) {
	w, chat, messages := gitWorld(t, simulator.August2026, quick)
	l, second := w.followGit(chat.ID), w.followGit(chat.ID)
	w.eventually(func() bool { return w.server.SocketsOf("git") == 1 }, "one socket")
	require.Empty(t, l.Picture().Repositories)
	at := time.Now().UTC().Truncate(time.Second)
	b := simulator.GitRepository{RepoRoot: "/b", Branch: "main", UnifiedDiff: "diff --git a/x b/x\n"}
	messages <- changes(at, b, simulator.GitRepository{RepoRoot: "/a", Branch: "main"})
	p := w.nextGit(l)
	require.Len(t, p.Repositories, 2)
	require.Equal(t, "/a", p.Repositories[0].RepoRoot)
	require.Equal(t, at, p.ScannedAt.UTC())
	require.False(t, p.Repositories[1].DiffOmitted)

	messages <- changes(at, simulator.GitRepository{RepoRoot: "/a", Branch: "other", UnifiedDiff: "Total diff too large to show. Size: 3.9 MiB. Showing branch and remote only."})
	p = w.nextGit(l)
	require.Equal(t, "other", p.Repositories[0].Branch)
	require.True(t, p.Repositories[0].DiffOmitted)
	require.Equal(t, b.UnifiedDiff, p.Repositories[1].UnifiedDiff)

	messages <- changes(at.Add(time.Second))
	require.Len(t, w.nextGit(l).Repositories, 2, "no repositories: nothing changed")
	messages <- changes(at, simulator.GitRepository{RepoRoot: "/b", Removed: true})
	require.Len(t, w.nextGit(l).Repositories, 1)
	messages <- simulator.GitMessage{Type: "error", Message: "git is not installed"}
	require.Equal(t, "git is not installed", w.nextGit(l).Problem)
	require.Len(t, second.Picture().Repositories, 1)
	l.Close()
	_, err := l.Next(w.ctx)
	require.ErrorIs(t, err, relay.ErrClosed)
	second.Close()
	w.eventually(func() bool { return w.server.SocketsOf("git") == 0 }, "the socket closes")
}

// gitSockets is a server whose workspace says on each new socket what the test says on the channel of that number.
func gitSockets(t *testing.T, o relay.Options, n int) (w *world, chat *client.Chat, sockets []chan simulator.GitMessage) {
	t.Helper()
	for range n {
		sockets = append(sockets, make(chan simulator.GitMessage, 10))
	}
	var opened atomic.Int32
	server, err := simulator.Start(simulator.Options{
		Generation: simulator.August2026, RateLimit: -1, Speed: 20, TokenDelay: time.Millisecond,
		Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
			return sockets[min(int(opened.Add(1)), n)-1], nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w = newCaller(t, server, server.URL, o)
	return w, w.create("hello"), sockets
}

var impatient = relay.Options{
	Linger: quick.Linger, MinBackoff: quick.MinBackoff, MaxBackoff: quick.MaxBackoff, Settle: quick.Settle, Silence: 300 * time.Millisecond,
}

// The server pings on over an agent that is dead (05/077), so that nothing else would ever end the socket.
func TestGitReplacesASocketWhoseAgentDiedWithoutAWord(t *testing.T) {
	w, chat, sockets := gitSockets(t, impatient, 2)
	l := w.followGit(chat.ID)
	require.NoError(t, l.Refresh(w.ctx), "an agent that knows no repository need not answer")
	sockets[0] <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/a", Branch: "main"})
	require.False(t, w.nextGit(l).Stale)
	err := l.Refresh(w.ctx)
	var silent *relay.AgentSilentError
	require.True(t, errors.As(err, &silent), "%v", err)
	require.Contains(t, err.Error(), "agent")
	p := l.Picture()
	require.True(t, p.Stale)
	require.NotZero(t, p.StaleSince)
	require.Len(t, p.Repositories, 1, "the last known state")

	sockets[1] <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/a", Branch: "later"})
	w.eventually(func() bool { return l.Picture().Repositories[0].Branch == "later" }, "the agent that came back is heard on a new socket")
	require.False(t, l.Picture().Stale)
	require.Equal(t, 2, w.server.Requests()["GET /chats/{chat}/stream/git"])
}

func TestGitOfAnAgentThatRestartedAndForgotIsNotTakenForDead(t *testing.T) {
	w, chat, sockets := gitSockets(t, impatient, 2)
	l := w.followGit(chat.ID)
	at := time.Now()
	sockets[0] <- changes(at, simulator.GitRepository{RepoRoot: "/a"}, simulator.GitRepository{RepoRoot: "/b"})
	w.nextGit(l)
	close(sockets[0])
	w.eventually(func() bool { return l.Picture().FromBefore }, "the socket is up again")
	require.NoError(t, l.Refresh(w.ctx), "it knows no repository, and need not answer")
	p := l.Picture()
	require.True(t, p.Stale)
	require.True(t, p.FromBefore)
	require.Len(t, p.Repositories, 2)
	require.Equal(t, 1, w.server.SocketsOf("git"))

	sockets[1] <- changes(time.Now())
	w.eventually(func() bool { return len(l.Picture().Repositories) == 0 }, "what it says is all there is")
	require.False(t, l.Picture().Stale)
	require.False(t, l.Picture().FromBefore)
}

// While somebody listens, a workspace that was stopped is waited for.
func TestGitComesBackWithItsWorkspace(t *testing.T) {
	w, chat, sockets := gitSockets(t, impatient, 2)
	l := w.followGit(chat.ID)
	sockets[0] <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/a"})
	w.nextGit(l)
	var refusals atomic.Int32
	w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/stream/git") {
			return false
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"message":"Agent state is \"disconnected\", it must be in the \"connected\" state."}`))
		refusals.Add(1)
		return true
	})
	close(sockets[0])
	w.eventually(func() bool { return refusals.Load() > 2 }, "it is asked for again and again")
	require.True(t, l.Picture().Stale)
	require.Equal(t, client.KindInvalidArgument, client.KindOf(l.Refresh(w.ctx)), "a scan says why there is none")
	second := w.followGit(chat.ID)
	require.Len(t, second.Picture().Repositories, 1)

	w.server.Intercept(nil)
	sockets[1] <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/a", Branch: "later"})
	w.eventually(func() bool { return l.Picture().Repositories[0].Branch == "later" }, "it is there again")
	require.False(t, second.Picture().Stale)
}

// Where nothing is known of it, a workspace that is away is told as such to whoever comes.
func TestGitOfAWorkspaceThatWentAwayUnknown(t *testing.T) {
	w, chat, sockets := gitSockets(t, impatient, 1)
	w.followGit(chat.ID)
	w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/stream/git") {
			return false
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"message":"Chat workspace has no agents."}`))
		return true
	})
	close(sockets[0])
	w.eventually(func() bool {
		l, err := w.relay.FollowGit(w.ctx, chat.ID)
		if err == nil {
			l.Close()
			return false
		}
		return client.KindOf(err) == client.KindInvalidArgument && strings.Contains(err.Error(), "no agents")
	}, "the refusal is told")
}

func TestGitAsksForAtMostOneScanASecond(t *testing.T) {
	server, err := simulator.Start(simulator.Options{
		Generation: simulator.August2026, RateLimit: -1, TokenDelay: time.Millisecond, Story: true,
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w := newCaller(t, server, server.URL, quick)
	chat := w.create("add a test")
	w.turn(chat.ID, relay.TurnOptions{})
	l := w.followGit(chat.ID)
	w.eventually(func() bool { return len(l.Picture().Repositories) > 0 }, "the agent reported its repository")
	began := time.Now()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { require.NoError(t, l.Refresh(w.ctx)) })
	}
	all.Wait()
	require.NoError(t, l.Refresh(w.ctx))
	require.GreaterOrEqual(t, time.Since(began), time.Second)
	require.Less(t, time.Since(began), 8*time.Second)
}

func TestGitComesBackAfterACut(t *testing.T) {
	w, chat, messages := gitWorld(t, simulator.May2026, quick)
	l := w.followGit(chat.ID)
	messages <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/a"}, simulator.GitRepository{RepoRoot: "/b"})
	w.nextGit(l)
	w.server.CloseSockets("git", 1001)
	require.True(t, w.nextGit(l).Stale)
	w.eventually(func() bool { return w.server.SocketsOf("git") == 1 }, "the socket is up again")
	messages <- changes(time.Now(), simulator.GitRepository{RepoRoot: "/b"})
	p := w.nextGit(l)
	require.False(t, p.Stale)
	require.Len(t, p.Repositories, 1, "a new socket tells all there is")
}

func TestGitWithoutAWorkspaceSaysSo(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("hello")
		_, err := w.relay.FollowGit(w.ctx, chat.ID)
		require.Equal(t, client.KindInvalidArgument, client.KindOf(err))
		require.Contains(t, err.Error(), "Chat has no workspace to watch.")
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err = w.relay.FollowGit(ctx, chat.ID)
		require.Error(t, err)
	})
}
