package redisstore_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stop is what SIGTERM does to a replica; drain is the time that its calls have.
func (r *replica) stop(drain context.Context) (stopped <-chan error) {
	r.store.Stop()
	over := make(chan error, 1)
	go func() {
		err := r.handler.Shutdown(drain)
		r.store.Leave()
		over <- err
	}()
	require.Eventually(r.t, func() bool {
		response := (&client{t: r.t, header: http.Header{}}).do(r, http.MethodPost, initialize)
		return response.StatusCode == http.StatusServiceUnavailable && response.Close
	}, 20*time.Second, time.Millisecond)
	return over
}

// results counts the responses in the event log of a session.
func (d *database) results(session string) (count int) {
	d.t.Helper()
	r := d.client()
	keys, err := r.Keys(context.Background(), "*:log:{"+session+"}").Result()
	require.NoError(d.t, err)
	for _, key := range keys {
		entries, err := r.LRange(context.Background(), key, 0, -1).Result()
		require.NoError(d.t, err)
		for _, entry := range entries {
			if head, _, _ := strings.Cut(entry, "\n"); strings.HasSuffix(head, " 1") {
				count++
			}
		}
	}
	return count
}

// TestAReplicaThatStopsFinishesItsCalls: nobody else answers them or runs them again meanwhile.
func TestAReplicaThatStopsFinishesItsCalls(t *testing.T) {
	for _, tool := range []string{"steps", "write"} {
		t.Run(tool, func(t *testing.T) {
			d := openDatabase(t)
			a, b := d.replica("a", nil), d.replica("b", nil)
			c := hello(a, "u")
			go a.step()
			s := c.stream(b, http.MethodPost, call(1, tool, ""))
			s.progress()
			seen := s.last
			stopped := a.stop(t.Context())

			// The session is served completely: on the stream, on a second one that resumes it, and whatever else comes.
			resumed := c.stream(b, http.MethodGet, "", "Last-Event-ID", seen)
			require.Empty(t, s.next())
			go a.step()
			count, message := resumed.progress()
			require.Equal(t, 2, count)
			require.Equal(t, "a1", message)
			get := c.stream(b, http.MethodGet, "")
			for _, to := range []*replica{a, b} {
				require.Contains(t, content(t, c.do(to, http.MethodPost, call(2, "where", ""))), `"a"`)
				require.Equal(t, http.StatusAccepted, c.do(to, http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/initialized"}`).StatusCode)
			}

			a.step()
			resumed.progress()
			answer := resumed.next()
			require.Contains(t, answer, "done by a")
			require.Empty(t, resumed.next())
			require.Empty(t, get.next())
			require.NoError(t, <-stopped)
			resumed = c.stream(b, http.MethodGet, "", "Last-Event-ID", seen)
			resumed.progress()
			resumed.progress()
			require.Equal(t, answer, resumed.next())
			require.Equal(t, 1, d.results(c.header.Get("Mcp-Session-Id")))
			require.Contains(t, content(t, c.do(b, http.MethodPost, call(3, "where", ""))), `"b"`)
		})
	}
}

func TestAReplicaThatStopsGivesUpAtOnceWhatDoesNothing(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	busy, c := hello(a, "u"), hello(a, "u")
	go a.step()
	s := busy.stream(a, http.MethodPost, call(1, "steps", ""))
	s.progress()
	<-a.opened
	session := <-a.opened
	get := c.stream(b, http.MethodGet, "")
	require.NoError(t, session.Notify(t.Context(), "notifications/test", map[string]any{"i": 1}, nil))
	require.Contains(t, get.next(), `"i":1`)
	stopped := a.stop(t.Context())
	require.Empty(t, get.next())
	get = c.stream(b, http.MethodGet, "", "Last-Event-ID", get.last)
	session = <-b.opened
	require.True(t, session.Resumed())
	require.NoError(t, session.Notify(t.Context(), "notifications/test", map[string]any{"i": 2}, nil))
	require.Contains(t, get.next(), `"i":2`)
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(1, "where", ""))), `"b"`)
	require.Contains(t, content(t, c.do(a, http.MethodPost, call(1, "where", ""))), `"b"`, "passed on")
	require.Contains(t, content(t, busy.do(b, http.MethodPost, call(2, "where", ""))), `"a"`)

	// Whoever ends a session there ends it everywhere.
	require.Equal(t, http.StatusOK, busy.do(b, http.MethodDelete, "").StatusCode)
	require.Equal(t, http.StatusNotFound, busy.do(b, http.MethodPost, call(3, "where", "")).StatusCode)
	require.NoError(t, <-stopped)
}

func TestACallThatIsCutIsAnsweredOnce(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	go a.step()
	s := c.stream(b, http.MethodPost, call(1, "write", ""))
	s.progress()
	seen := s.last
	ctx, cut := context.WithCancelCause(t.Context())
	stopped := a.stop(ctx)
	over := errors.New("the time is over")
	cut(over)
	require.ErrorIs(t, <-stopped, over)
	answer := s.next()
	require.Contains(t, answer, "the server is stopping")
	require.Empty(t, s.next())
	s = c.stream(b, http.MethodGet, "", "Last-Event-ID", seen)
	require.Equal(t, answer, s.next())
	require.Empty(t, s.next())
	require.Equal(t, 1, d.results(c.header.Get("Mcp-Session-Id")))
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(2, "where", ""))), `"b"`)
}

func TestNoRequestFailsWhileItsSessionMoves(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = hello(a, "u")
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for {
				if answer := content(t, c.do(b, http.MethodPost, call(1, "where", ""))); !strings.Contains(answer, "result") {
					t.Error(answer)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	require.NoError(t, <-a.stop(t.Context()))
	close(stop)
	all.Wait()
}

func TestStreamsThatPassThroughAReplicaThatStopsEnd(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	get := c.stream(b, http.MethodGet, "")
	go a.step()
	s := c.stream(b, http.MethodPost, call(1, "steps", ""))
	s.progress()
	b.store.Stop()
	require.Empty(t, get.next())
	require.Equal(t, http.StatusServiceUnavailable, c.do(b, http.MethodGet, "").StatusCode)
	a.step()
	s.progress() // calls are worth to be waited for
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(2, "where", ""))), `"a"`)
	a.step()
	s.progress()
	require.Contains(t, s.next(), "done by a")
}
