package redisstore_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/redisstore"
)

// journal is a log that a test can read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) has(what string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), what)
}

func TestAReplicaThatHasJustStartedTakesNothingFromOneThatMayComeBack(t *testing.T) {
	d := openDatabase(t)
	cautious := func(o *redisstore.Options) { o.Lease, o.Calm = 5*time.Second, 0 }
	a := d.replica("a", cautious)
	c := hello(a, "u")
	b := d.replica("b", cautious)
	d.endLeases(b) // a renews its own within a second
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(1, "where", ""))), `"a"`)
}

// TestAfterAnOutageOfRedisReplicasDoNotRobOneAnother: all leases have ended, and who renews the own first finds no other.
func TestAfterAnOutageOfRedisReplicasDoNotRobOneAnother(t *testing.T) {
	d := openDatabase(t)
	var heard journal
	cautious := func(o *redisstore.Options) {
		o.Lease, o.Calm, o.Logger = 2*time.Second, 0, slog.New(slog.NewTextHandler(&heard, nil))
	}
	a, b := d.replica("a", nil), d.replica("b", cautious)
	gone := d.replica("gone", nil)
	left := hello(gone, "u")
	gone.die()
	d.endLeases(a, b)
	require.Contains(t, content(t, left.do(b, http.MethodPost, call(1, "where", ""))), `"b"`, "once it has been calm")

	d.stop()
	require.Eventually(t, func() bool { return heard.has("can't be reached") }, 20*time.Second, time.Millisecond)
	d.start()
	require.Eventually(t, func() bool { return heard.has("reached again") }, 20*time.Second, time.Millisecond)
	a = d.replica("a", func(o *redisstore.Options) { o.Lease = time.Second })
	c := hello(a, "u")
	d.endLeases(b) // a renews its own within a fifth of a second
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(2, "where", ""))), `"a"`)
}
