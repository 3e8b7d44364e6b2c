package relay_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
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

// faultyProxy forwards TCP and breaks each connection at a byte that a seed decides. (Toxiproxy gives all connections of a
// proxy the same fault at a time of the clock, which no seed repeats.)
type faultyProxy struct {
	listener net.Listener
	upstream string
	seed     uint64
	conns    atomic.Uint64
	counts   [5]atomic.Int64 // by fault
	wait     sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool
	closed   bool
}

const (
	cut   = iota // both directions end in order, as if the server closed without a close frame
	reset        // RST
	stall        // nothing more comes, then RST
	hang         // nothing more comes, ever: only missed pings tell
	slow         // a trickle for a while, then in order again
)

var faultNames = [...]string{"cut", "reset", "stalled", "hung", "slowed"}

func newFaultyProxy(t *testing.T, target string, seed uint64) *faultyProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &faultyProxy{listener: l, upstream: strings.TrimPrefix(target, "http://"), seed: seed, open: map[net.Conn]bool{}}
	p.wait.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func (p *faultyProxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *faultyProxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.wait.Wait()
}

// keep registers a connection, so that close can end it; false: too late.
func (p *faultyProxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *faultyProxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	c.Close()
}

func (p *faultyProxy) serve() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.upstream)
		if err != nil {
			down.Close()
			continue
		}
		if !p.keep(down) || !p.keep(up) {
			return
		}
		rng := rand.New(rand.NewPCG(p.seed, p.conns.Add(1)))
		p.wait.Go(func() {
			_, _ = io.Copy(up, down)
			p.drop(up)
		})
		p.wait.Go(func() {
			p.forward(down, up, rng)
			p.drop(up)
			p.drop(down)
		})
	}
}

// forward copies what the server says, up to the fault.
func (p *faultyProxy) forward(down, up net.Conn, rng *rand.Rand) {
	for {
		healthy := int64(rng.ExpFloat64() * 10_000)
		if n, err := io.CopyN(down, up, healthy); err != nil || n < healthy {
			return
		}
		fault := rng.IntN(5)
		if fault == hang && rng.IntN(4) > 0 {
			fault = slow // a hung socket costs the time of a missed ping
		}
		p.counts[fault].Add(1)
		switch fault {
		case cut:
			return
		case reset:
			_ = down.(*net.TCPConn).SetLinger(0)
			return
		case stall:
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			_ = down.(*net.TCPConn).SetLinger(0)
			return
		case hang:
			_, _ = io.Copy(io.Discard, up)
			return
		case slow:
			for range 20 {
				if _, err := io.CopyN(down, up, int64(1+rng.IntN(40))); err != nil {
					return
				}
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
			}
		}
	}
}

func (p *faultyProxy) String() string {
	s := fmt.Sprintf("%d connections", p.conns.Load())
	for i, name := range faultNames {
		s += fmt.Sprintf(", %d %s", p.counts[i].Load(), name)
	}
	return s
}

// faultTurns is how many turns each generation does: 1,000, fewer with -short, or as RELAY_TURNS says.
func faultTurns(t *testing.T) int {
	if s := os.Getenv("RELAY_TURNS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	if testing.Short() {
		return 100
	}
	return 1000
}

// faultSeed is RELAY_SEED, or another one each time.
func faultSeed(t *testing.T) uint64 {
	s := os.Getenv("RELAY_SEED")
	if s == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err)
	return seed
}

// faultyRelay is a relay whose connections break.
func faultyRelay(t *testing.T, server *simulator.Instance, seed uint64) (*relay.Relay, *faultyProxy) {
	t.Helper()
	proxy := newFaultyProxy(t, server.URL, seed)
	c, err := client.New(proxy.url(), server.Users()[0].Token, client.Options{
		RetryBase: 5 * time.Millisecond, PingTimeout: 1800 * time.Millisecond, Timeout: 2 * time.Second,
		HandshakeTimeout: 2 * time.Second,
	})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	r := relay.New(c, quick)
	t.Cleanup(r.Close)
	return r, proxy
}

// Whoever goes on with the cursor of the wait before hears of the end of every turn, and of each once, while the sockets are
// cut, stalled, slowed and reset, and whatever the waits ended for.
func TestChaosEverySettlingIsAwaitedOnce(t *testing.T) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026} {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			const chats, turns = 8, 6
			seed := faultSeed(t)
			server, err := simulator.Start(simulator.Options{Generation: g, TokenDelay: time.Millisecond, Speed: 12, RateLimit: -1})
			require.NoError(t, err)
			t.Cleanup(server.Close)
			direct := newCaller(t, server, server.URL, quick)
			r, proxy := faultyRelay(t, server, seed)
			prompts := []string{"hello", "SLOW 6 60", "LONG 60", "ERR 400", "EMPTY"}
			rng := rand.New(rand.NewPCG(seed, 1))
			var ids []uuid.UUID
			last, told := map[uuid.UUID]int64{}, map[uuid.UUID]int{}
			for range chats {
				ids = append(ids, direct.create(prompts[rng.IntN(len(prompts))]).ID)
			}
			cursor, waits, failures := "", 0, 0
			for total := 0; total < chats*turns; waits++ {
				require.NoError(t, direct.ctx.Err(), "seed %d: stuck; told %v", seed, told)
				ctx, cancel := context.WithTimeout(direct.ctx, time.Duration(rng.IntN(1000))*time.Millisecond)
				result, err := r.Await(ctx, relay.AwaitRequest{Chats: ids, Cursor: cursor})
				cancel()
				if err != nil {
					failures++
					continue
				}
				require.Empty(t, result.Missing, "seed %d", seed)
				cursor = result.Cursor
				for _, s := range result.Settled {
					id := s.Chat.ID
					require.Greater(t, s.LastID, last[id], "seed %d: told twice", seed)
					last[id] = s.LastID
					total++
					if told[id]++; told[id] < turns {
						direct.send(id, prompts[rng.IntN(len(prompts))])
					}
				}
			}
			t.Logf("seed %d: %d settlings in %d waits, %d of which failed; %s", seed, chats*turns, waits, failures, proxy)
			for id, n := range told {
				require.Equal(t, turns, n, "seed %d: %s", seed, id)
			}
		})
	}
}

// Every durable message, final status and action_required reaches every listener exactly once and in order, while the
// sockets are cut, stalled, slowed and reset.
func TestChaosNothingIsLostOrDoubledWhileSocketsBreak(t *testing.T) {
	seed := faultSeed(t)
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026} {
		t.Run(string(g), func(t *testing.T) {
			turns := faultTurns(t)
			server, err := simulator.Start(simulator.Options{Generation: g, TokenDelay: time.Millisecond, Speed: 12, RateLimit: -1})
			require.NoError(t, err)
			t.Cleanup(server.Close)
			direct := newCaller(t, server, server.URL, quick)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			t.Cleanup(cancel)
			direct.ctx = ctx
			r, proxy := faultyRelay(t, server, seed)

			const perChat = 20
			var total tally
			var all sync.WaitGroup
			for n := range (turns + perChat - 1) / perChat {
				all.Go(func() {
					d := &driver{w: direct, relay: r, rng: rand.New(rand.NewPCG(seed, uint64(n)+1<<32)), turns: min(perChat, turns-n*perChat)}
					total.add(d.drive(t))
				})
			}
			all.Wait()
			t.Logf("seed %d: %d turns; %s; told: %d messages, %d final statuses, %d action_required, %d settled; lost %d, doubled %d, stuck %d",
				seed, total.turns, proxy, total.messages, total.statuses, total.actions, total.settled, total.lost, total.doubled, total.stuck)
			require.Equal(t, turns, total.turns)
			require.Zero(t, total.lost)
			require.Zero(t, total.doubled)
			require.Zero(t, total.stuck)
		})
	}
}

type tally struct {
	mu                                                                sync.Mutex
	turns, messages, statuses, actions, settled, lost, doubled, stuck int
}

func (a *tally) add(b *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turns += b.turns
	a.messages += b.messages
	a.statuses += b.statuses
	a.actions += b.actions
	a.settled += b.settled
	a.lost += b.lost
	a.doubled += b.doubled
	a.stuck += b.stuck
}

// driver does turns in one chat, one after the other, and notes what a listener hears of them.
type driver struct {
	w     *world
	relay *relay.Relay
	rng   *rand.Rand
	turns int
	chat  *client.Chat
	log   []string // final statuses, action_required and settled, in order
	ids   []int64
}

var prompts = []string{
	"hello", "SLOW 6 60", "LONG 60", "TOOL list_templates {}", "TEXTTOOL list_templates {}", "TOOL my_tool {\"x\":1}", "ERR 400",
	"MIDERR 2 1", "REASON deep", "EMPTY",
}

func (d *driver) drive(t *testing.T) *tally {
	out := &tally{}
	prompt := "hello"
	d.chat = d.create(t)
	l := d.follow(t)
	defer l.Close()
	for _, m := range l.Picture().Messages {
		d.ids = append(d.ids, m.ID)
	}
	var expected []string
	if !l.Picture().Settled {
		expected = append(expected, "waiting", "settled waiting")
		if !d.hear(l, 0, out) {
			return out
		}
	}
	for n := 1; ; n++ {
		out.turns++
		if n == d.turns {
			break
		}
		prompt = prompts[d.rng.IntN(len(prompts))]
		sent := d.w.send(d.chat.ID, prompt)
		ok := d.hear(l, sent.Message.ID, out)
		switch {
		case strings.HasPrefix(prompt, "TOOL my_tool"):
			expected = append(expected, "requires_action", "action_required", "settled requires_action", "waiting", "settled waiting")
			ok = ok && d.answer(t, l, sent.Message.ID, out)
		case prompt == "ERR 400":
			expected = append(expected, "error", "settled error")
		default:
			expected = append(expected, "waiting", "settled waiting")
		}
		if !ok {
			return out
		}
	}
	d.compare(t, expected, out)
	return out
}

// hear notes events up to the settled one of a message; false: none came in time.
func (d *driver) hear(l *relay.Listener, message int64, out *tally) bool {
	for {
		e, err := l.Next(d.w.ctx)
		if err != nil {
			out.stuck++
			d.w.t.Errorf("chat %s stuck after message %d: %v; heard %v; status %s", d.chat.ID, message, err, d.log, l.Now().Status)
			return false
		}
		switch {
		case e.Message != nil:
			d.ids = append(d.ids, e.Message.ID)
			out.messages++
		case e.Status != nil && (e.Status.Status.Idle() || e.Status.Status == client.StatusRequiresAction):
			d.log = append(d.log, string(e.Status.Status))
			out.statuses++
		case e.Type == client.EventActionRequired:
			d.log = append(d.log, e.Type)
			out.actions++
		case e.Type == relay.EventSettled:
			d.log = append(d.log, "settled "+string(e.Outcome.Status))
			out.settled++
			if e.Outcome.LastID >= message {
				return true
			}
		}
	}
}

func (d *driver) answer(t *testing.T, l *relay.Listener, message int64, out *tally) bool {
	calls := l.Now().Pending
	if len(calls) == 0 {
		t.Errorf("requires_action without calls")
		return false
	}
	var results []client.ToolResult
	for _, c := range calls {
		results = append(results, client.ToolResult{ToolCallID: c.ToolCallID, Output: []byte(`"ok"`)})
	}
	if err := d.w.client.SubmitToolResults(d.w.ctx, d.chat.ID, results); err != nil {
		t.Errorf("submit: %v", err)
		return false
	}
	return d.hear(l, message+1, out)
}

func (d *driver) create(t *testing.T) *client.Chat {
	chat, err := d.w.client.CreateChat(d.w.ctx, client.CreateChatRequest{
		Content:      []client.InputPart{client.TextPart("hello")},
		DynamicTools: []client.DynamicTool{{Name: "my_tool", InputSchema: []byte(`{"type":"object"}`)}},
	})
	require.NoError(t, err)
	return chat
}

func (d *driver) follow(t *testing.T) *relay.Listener {
	for {
		l, err := d.relay.Follow(d.w.ctx, d.chat.ID)
		if err == nil {
			return l
		}
		require.NoError(t, d.w.ctx.Err(), "follow: %v", err)
	}
}

// compare counts what differs from what the server has and what should have been told.
func (d *driver) compare(t *testing.T, expected []string, out *tally) {
	stored := d.stored(t)
	if !slices.Equal(stored, d.ids) {
		t.Errorf("messages of %s: stored %v, told %v", d.chat.ID, stored, d.ids)
		out.lost += len(missing(stored, d.ids))
		out.doubled += len(d.ids) - len(stored) + len(missing(stored, d.ids))
	}
	if !slices.Equal(expected, d.log) {
		t.Errorf("events of %s: expected %v, told %v", d.chat.ID, expected, d.log)
		out.lost += max(0, len(expected)-len(d.log))
		out.doubled += max(0, len(d.log)-len(expected))
	}
}

func (d *driver) stored(t *testing.T) []int64 {
	var ids []int64
	var before int64
	for {
		page, err := d.w.client.ListMessages(d.w.ctx, d.chat.ID, client.ListMessagesRequest{BeforeID: before, Limit: 200})
		require.NoError(t, err)
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
			before = m.ID
		}
		if !page.HasMore {
			slices.Reverse(ids)
			return ids
		}
	}
}

func missing(want, got []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(want), func(id int64) bool { return slices.Contains(got, id) })
}
