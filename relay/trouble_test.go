package relay_test

import (
	"context"
	"io"
	"log/slog"
	"net"
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

// failing makes the requests to one address fail so many times; the path ends so.
func (w *world) failing(suffix string, times int64, fail http.HandlerFunc) (left *atomic.Int64) {
	left = new(atomic.Int64)
	left.Store(times)
	w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, suffix) || left.Add(-1) < 0 {
			return false
		}
		fail(rw, r)
		return true
	})
	return left
}

func status(code int) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) }
}

func hangUp(rw http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// Whatever read a wait is at, a failure that may pass neither ends it nor makes a chat missing.
func TestAwaitOutlivesFailuresThatPass(t *testing.T) {
	failures := map[string]http.HandlerFunc{
		"500": status(http.StatusInternalServerError), "503": status(http.StatusServiceUnavailable),
		"504": status(http.StatusGatewayTimeout), "429": status(http.StatusTooManyRequests), "cut": hangUp,
	}
	eachGeneration(t, func(t *testing.T, w *world) {
		chat, archived := w.create("hello"), w.create("bye")
		for _, c := range []*client.Chat{chat, archived} {
			w.turn(c.ID, relay.TurnOptions{})
		}
		require.NoError(t, w.client.UpdateChat(w.ctx, archived.ID, client.UpdateChatRequest{Archived: new(true)}))
		for _, suffix := range []string{"/chats/watch", "/chats", "/messages", "/" + archived.ID.String()} {
			for name, fail := range failures {
				left := w.failing(suffix, 3, fail)
				other := relay.New(w.client, quick)
				r, err := other.Await(w.ctx, relay.AwaitRequest{Chats: []uuid.UUID{chat.ID, archived.ID}, All: true})
				other.Close()
				require.NoError(t, err, "%s at %s", name, suffix)
				require.Len(t, r.Settled, 2, "%s at %s", name, suffix)
				require.Empty(t, r.Missing, "%s at %s", name, suffix)
				require.Negative(t, left.Load(), "%s at %s was not asked", name, suffix)
			}
		}
	})
}

func TestAwaitOfADeploymentThatIsAwayFailsWhenItsPatienceEnds(t *testing.T) {
	w := newWorld(t, simulator.Options{RateLimit: -1})
	w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		hangUp(rw, r)
		return true
	})
	ctx, cancel := context.WithTimeout(w.ctx, time.Millisecond)
	defer cancel()
	_, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: []uuid.UUID{uuid.New()}})
	require.Equal(t, client.KindUnavailable, client.KindOf(err), "%v", err)
}

func TestWatchIsAsPatientAsItsContext(t *testing.T) {
	w := newWorld(t, simulator.Options{RateLimit: -1})
	left := w.failing("", 1<<30, status(http.StatusBadGateway))
	_, err := w.relay.Watch(t.Context())
	require.Equal(t, client.KindUnavailable, client.KindOf(err), "without a deadline the first failure is the answer: %v", err)
	ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel()
	_, err = w.relay.Watch(ctx)
	require.Equal(t, client.KindUnavailable, client.KindOf(err), "with one the last is: %v", err)
	require.Error(t, ctx.Err())
	left.Store(10)
	l, err := w.relay.Watch(w.ctx)
	require.NoError(t, err)
	l.Close()
}

// Only what the server asks for may be longer than MaxBackoff.
func TestPausesStayWithinTheirBound(t *testing.T) {
	var mu sync.Mutex
	var told []time.Duration
	o := quick
	o.MinBackoff, o.MaxBackoff = time.Millisecond, 4*time.Millisecond
	o.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "pause" {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, a.Value.Duration())
		}
		return a
	}}))
	server, err := simulator.Start(simulator.Options{RateLimit: -1})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w := newCaller(t, server, server.URL, o)
	w.failing("/chats/watch", 50, status(http.StatusBadGateway))
	l, err := w.relay.Watch(w.ctx)
	require.NoError(t, err)
	defer l.Close()
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, told, 50)
	for _, pause := range told {
		require.LessOrEqual(t, pause, o.MaxBackoff)
	}
}

// What answers at another address must not be waited for: only a person can mend that.
func TestARedirectElsewhereIsToldAtOnce(t *testing.T) {
	w := newWorld(t, simulator.Options{RateLimit: -1})
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer elsewhere.Close()
	w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, "http://"+elsewhere.Addr().String(), http.StatusFound)
		return true
	})
	_, err = w.relay.Await(w.ctx, relay.AwaitRequest{Chats: []uuid.UUID{uuid.New()}})
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	require.NoError(t, w.ctx.Err())
}
