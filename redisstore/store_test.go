package redisstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/redisstore"
	"coder-chats-mcp/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

var sharedKey = []byte("a key that all replicas of a test share")

// database is a Redis of the test's own, on a Unix socket.
type database struct {
	t      *testing.T
	socket string
	server *exec.Cmd
}

func openDatabase(t *testing.T) *database {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("REQUIRE_REDIS") != "" {
			require.Fail(t, "redis-server is not installed")
		}
		t.Skip("needs redis-server: apt-get install redis-server")
	}
	folder, err := os.MkdirTemp("", "redis") // t.TempDir is too long for a socket's name
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	d := &database{t: t, socket: filepath.Join(folder, "s")}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *database) start() {
	d.t.Helper()
	d.server = exec.Command("redis-server", "--port", "0", "--unixsocket", d.socket, "--save", "", "--appendonly", "no", "--dir", filepath.Dir(d.socket))
	require.NoError(d.t, d.server.Start())
	probe := d.client()
	require.Eventually(d.t, func() bool { return probe.Ping(context.Background()).Err() == nil }, 10*time.Second, 10*time.Millisecond)
}

func (d *database) stop() {
	if d.server != nil {
		_ = d.server.Process.Kill()
		_ = d.server.Wait()
		d.server = nil
	}
}

func (d *database) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: d.socket})
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *database) open(change func(*redisstore.Options)) *redisstore.Store {
	d.t.Helper()
	o := redisstore.Options{URL: "unix://" + d.socket, Key: sharedKey, Address: "http://127.0.0.1:1", Logger: quiet}
	if change != nil {
		change(&o)
	}
	s, err := redisstore.Open(o)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(id string) transport.SessionRecord {
	return transport.SessionRecord{
		ID: id, Identity: "0123", ProtocolVersion: "2025-11-25", Client: mcp.Implementation{Name: "c", Version: "1"},
		LogLevel: mcp.LoggingLevelDebug, Subscriptions: []string{"coder://chats"},
		Calls: []transport.CallRecord{{Stream: "s", First: "1", ID: []byte(`7`), Tool: true, Request: []byte(`{"id":7}`)}},
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := redisstore.Options{URL: "redis://127.0.0.1:1", Key: sharedKey, Address: "http://127.0.0.1:1", Logger: quiet}
	for want, change := range map[string]func(*redisstore.Options){
		"at least 32 bytes":  func(o *redisstore.Options) { o.Key = o.Key[:31] },
		"http://HOST:PORT":   func(o *redisstore.Options) { o.Address = "10.0.0.1:80" },
		"redis://[user:pass": func(o *redisstore.Options) { o.URL = "http://u:secret@h" },
		"redis://[user:pas":  func(o *redisstore.Options) { o.URL = "redis://u:secret@h:x:y" },
	} {
		o := good
		change(&o)
		_, err := redisstore.Open(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestSessionsAreKeptUntilTheyExpireOrEnd(t *testing.T) {
	d := openDatabase(t)
	s, other := d.open(nil), d.open(nil)
	ctx := t.Context()
	_, err := s.Load(ctx, "a")
	require.ErrorIs(t, err, transport.ErrNoSession)
	_, err = s.Load(ctx, strings.Repeat("a", 1000))
	require.ErrorIs(t, err, transport.ErrNoSession)

	require.NoError(t, s.Save(ctx, record("a"), time.Minute))
	got, err := other.Load(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, record("a"), got)
	require.ErrorIs(t, other.Save(ctx, record("a"), time.Minute), transport.ErrNoSession, "it is another replica's")

	require.NoError(t, other.Delete(ctx, "a"))
	_, err = s.Load(ctx, "a")
	require.ErrorIs(t, err, transport.ErrNoSession)
	require.ErrorIs(t, s.Save(ctx, record("a"), time.Minute), transport.ErrNoSession, "a late save brings nothing back")

	require.NoError(t, s.Save(ctx, record("b"), 0))
	require.Eventually(t, func() bool {
		_, err := s.Load(ctx, "b")
		return err == transport.ErrNoSession
	}, 10*time.Second, 20*time.Millisecond)
}

func TestServersWithAnotherKeySeeNothing(t *testing.T) {
	d := openDatabase(t)
	require.NoError(t, d.open(nil).Save(t.Context(), record("a"), time.Minute))
	stranger := d.open(func(o *redisstore.Options) { o.Key = slices.Concat(sharedKey, []byte("!")) })
	_, err := stranger.Load(t.Context(), "a")
	require.ErrorIs(t, err, transport.ErrNoSession)
}

func events(texts ...string) (list []transport.Event) {
	for _, text := range texts {
		list = append(list, transport.Event{Data: []byte(text)})
	}
	return list
}

func TestEventsFollowOneAnother(t *testing.T) {
	d := openDatabase(t)
	a, b := d.open(nil), d.open(nil)
	ctx := t.Context()
	first, err := a.Append(ctx, "s", "x", events("", "one\ntwo", `{"three":3}`))
	require.NoError(t, err)
	require.Len(t, first, 3)
	_, err = b.Append(ctx, "s", "y", events("of another stream"))
	require.NoError(t, err)
	last, err := b.Append(ctx, "s", "x", []transport.Event{{Data: []byte("four"), Last: true}})
	require.NoError(t, err)

	got, err := b.After(ctx, "s", "x", first[0])
	require.NoError(t, err)
	require.Equal(t, []transport.Event{
		{ID: first[1], Data: []byte("one\ntwo")}, {ID: first[2], Data: []byte(`{"three":3}`)}, {ID: last[0], Data: []byte("four"), Last: true},
	}, got)
	got, err = a.After(ctx, "s", "x", last[0])
	require.NoError(t, err)
	require.Empty(t, got)

	for _, unknown := range [][3]string{{"s", "x", "99"}, {"s", "y", first[0]}, {"t", "x", first[0]}, {"s", "x", "-"}, {"s", "x", ""}} {
		_, err = a.After(ctx, unknown[0], unknown[1], unknown[2])
		require.ErrorIs(t, err, transport.ErrUnknownEvent, "%v", unknown)
	}
	require.NoError(t, a.Drop(ctx, "s"))
	_, err = b.After(ctx, "s", "x", first[0])
	require.ErrorIs(t, err, transport.ErrUnknownEvent)
}

func TestTheLogIsBoundedAndKeepsTheNewest(t *testing.T) {
	d := openDatabase(t)
	s := d.open(func(o *redisstore.Options) { o.MaxBytes = 1000 })
	ctx := t.Context()
	var ids []string
	for i := range 30 {
		more, err := s.Append(ctx, "s", "x", events(fmt.Sprintf("%0100d", i)))
		require.NoError(t, err)
		ids = append(ids, more...)
	}
	_, err := s.After(ctx, "s", "x", ids[10])
	require.ErrorIs(t, err, transport.ErrUnknownEvent)
	got, err := s.After(ctx, "s", "x", ids[25])
	require.NoError(t, err)
	require.Len(t, got, 4)
	huge, err := s.Append(ctx, "s", "x", events(strings.Repeat("h", 5000)))
	require.NoError(t, err)
	got, err = s.After(ctx, "s", "x", huge[0])
	require.NoError(t, err)
	require.Empty(t, got)

	// A log that has expired begins anew, with ids of its own.
	r := d.client()
	keys, err := r.Keys(ctx, "*:log:{s}").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NoError(t, r.Del(ctx, keys...).Err())
	again, err := s.Append(ctx, "s", "x", events("a", "b"))
	require.NoError(t, err)
	require.NotContains(t, ids, again[0])
	got, err = s.After(ctx, "s", "x", again[0])
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func TestEventsOfManyReplicasMixWhole(t *testing.T) {
	d := openDatabase(t)
	stores := []*redisstore.Store{d.open(nil), d.open(nil), d.open(nil)}
	begin, err := stores[0].Append(t.Context(), "s", "x", events("begin"))
	require.NoError(t, err)
	var all sync.WaitGroup
	for n, s := range stores {
		all.Go(func() {
			for i := range 20 {
				_, err := s.Append(t.Context(), "s", "x", events(fmt.Sprint(n, i, "a"), fmt.Sprint(n, i, "b")))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := stores[1].After(t.Context(), "s", "x", begin[0])
	require.NoError(t, err)
	require.Len(t, got, 120)
	ids := map[string]bool{}
	for i, e := range got {
		ids[e.ID] = true
		if i%2 == 0 {
			require.Equal(t, strings.TrimSuffix(string(e.Data), "a")+"b", string(got[i+1].Data), "appended together, they stand together")
		}
	}
	require.Len(t, ids, 120)
}

func TestEveryKeyExpiresAndLiesInTheNamespace(t *testing.T) {
	d := openDatabase(t)
	s := d.open(nil)
	ctx := t.Context()
	require.NoError(t, s.Save(ctx, record("a"), time.Minute))
	require.NoError(t, s.Save(ctx, record("b"), time.Minute))
	require.NoError(t, s.Delete(ctx, "b"))
	_, err := s.Append(ctx, "a", "x", events("e"))
	require.NoError(t, err)
	r := d.client()
	keys, err := r.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 5, "%v", keys) // the replica, two sessions, the log and its counters
	for _, key := range keys {
		require.True(t, strings.HasPrefix(key, "coder-chats-mcp:"), key)
		ttl, err := r.PTTL(ctx, key).Result()
		require.NoError(t, err)
		require.Positive(t, ttl, key)
	}
}

func TestRedisDownIsAnError(t *testing.T) {
	d := openDatabase(t)
	s := d.open(nil)
	d.stop()
	ctx := t.Context()
	_, err := s.Load(ctx, "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, transport.ErrNoSession)
	require.Error(t, s.Save(ctx, record("a"), time.Minute))
	require.Error(t, s.Delete(ctx, "a"))
	_, err = s.Append(ctx, "a", "x", events("e"))
	require.Error(t, err)
	_, err = s.After(ctx, "a", "x", "1")
	require.Error(t, err)
	require.NotErrorIs(t, err, transport.ErrUnknownEvent)
	require.Error(t, s.Drop(ctx, "a"))

	d.start()
	require.NoError(t, s.Save(ctx, record("a"), time.Minute))
}
