// Package relay keeps a caller's chats live: one upstream socket per followed chat, one for all of the caller's chats and
// one per workspace, each shared by every listener. It reconnects, resumes, and tells each listener every durable message
// and every final state once and in order, on servers of both generations.
package relay

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Options tunes a Relay. Zero values mean the defaults.
type Options struct {
	// Linger is how long an upstream socket outlives its last listener; 2 s.
	Linger time.Duration
	// MinBackoff and MaxBackoff bound the jittered pause before a reconnect, and before a read is repeated; 250 ms and 10 s.
	// Only a server that asks for a longer one (Retry-After) gets it.
	MinBackoff, MaxBackoff time.Duration
	// Settle is how long a doubtful `waiting` (no answer to be seen) is re-read before it is believed; 1.5 s.
	Settle time.Duration
	// Backlog is how many bytes of deltas a listener may lag behind before they collapse into the preview; 256 KiB.
	Backlog int
	// Silence is how long a workspace agent may take to answer a scan; 5 s.
	Silence time.Duration
	// Logger hears of reconnects; default: discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Linger, 2*time.Second)
	setDefault(&o.MinBackoff, 250*time.Millisecond)
	setDefault(&o.MaxBackoff, 10*time.Second)
	setDefault(&o.Settle, 1500*time.Millisecond)
	setDefault(&o.Backlog, 256<<10)
	setDefault(&o.Silence, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Relay shares the upstream sockets of one caller (one host and token). Never share one between callers.
type Relay struct {
	client  *client.Client
	options Options

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
	serial atomic.Int64 // of the last event of any chat, so that it grows also when a chat's feed is a new one
	mu     sync.Mutex   // guards what follows and the listener counts of all feeds
	chats  map[uuid.UUID]*chatFeed
	gits   map[uuid.UUID]*gitFeed
	watch  *watchFeed
	lists  *reads[struct{}, chatList]
	states *reads[uuid.UUID, *client.Chat]
	pages  *reads[uuid.UUID, *client.MessagesPage]
}

// New makes the relay of one caller.
func New(c *client.Client, o Options) *Relay {
	ctx, cancel := context.WithCancel(client.Once(context.Background())) // reconnect and reads.get repeat
	r := &Relay{client: c, options: o.withDefaults(), ctx: ctx, cancel: cancel}
	r.chats, r.gits = map[uuid.UUID]*chatFeed{}, map[uuid.UUID]*gitFeed{}
	r.lists = newReads(r, r.listChats)
	r.states = newReads(r, c.GetChat)
	r.pages = newReads(r, r.lastMessages)
	return r
}

// Close ends every listener with ErrClosed, closes the sockets and waits until they are gone.
func (r *Relay) Close() {
	r.mu.Lock()
	r.cancel()
	r.mu.Unlock()
	r.wait.Wait()
}

// spawn runs f until the relay closes; false: it is closed.
func (r *Relay) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	r.wait.Go(f)
	return true
}
