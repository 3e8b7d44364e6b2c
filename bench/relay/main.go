// Command relay measures the relay end to end: from the upstream's frame to the line that an MCP client reads, beside a bare WebSocket reader of the
// same stream in the same run; the most events that go through in a second; the start of the process and its memory.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"coder-chats-mcp/bench/rig"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := rig.Build(dir)
	if err != nil {
		return err
	}
	if err := starting(binary); err != nil {
		return err
	}
	fmt.Printf("\n%-12s %8s %12s %12s %12s %12s %10s %10s\n", "asked", "events", "bare p50", "bare p99", "MCP p50", "MCP p99", "events/s", "resident")
	for _, rate := range []int{50, 500, 2000, 0} {
		if err := relaying(binary, rate); err != nil {
			return err
		}
	}
	return nil
}

// starting measures the time from the start of the process to its answer to initialize.
func starting(binary string) error {
	const times = 20
	var delays rig.Delays
	var resident int64
	u := rig.NewUpstream()
	defer u.Close()
	for range times {
		began := time.Now()
		c, err := rig.Start(binary, environment(u), nil)
		if err != nil {
			return err
		}
		delays = append(delays, time.Since(began))
		if resident, err = c.Resident(); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	fmt.Printf("start to initialize: p50 %s, p90 %s; resident then: %s\n", round(delays.Quantile(50)), round(delays.Quantile(90)), mebibytes(resident))
	return nil
}

func environment(u *rig.Upstream) []string {
	return []string{"CODER_URL=" + u.URL, "CODER_SESSION_TOKEN=simulator-user-1"}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// arrivals takes the times that deltas carry, as nanoseconds between @ and ;. A listener that falls far behind gets the whole text once more: what
// came before is not counted again.
type arrivals struct {
	mu     sync.Mutex
	seen   map[int64]bool
	delays rig.Delays
	done   chan struct{}
}

func newArrivals() *arrivals { return &arrivals{seen: map[int64]bool{}, done: make(chan struct{})} }

func (a *arrivals) take(raw []byte, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		_, rest, found := bytes.Cut(raw, []byte("@"))
		if !found {
			break
		}
		stamp, after, _ := bytes.Cut(rest, []byte(";"))
		if n, err := strconv.ParseInt(string(stamp), 10, 64); err == nil && !a.seen[n] {
			a.seen[n] = true
			a.delays = append(a.delays, at.Sub(time.Unix(0, n)))
		}
		raw = after
	}
}

func (a *arrivals) end() {
	select {
	case <-a.done:
	default:
		close(a.done)
	}
}

func (a *arrivals) wait() error {
	select {
	case <-a.done:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("the end of the answer did not arrive within a minute")
	}
}

// relaying sends two seconds of deltas at a rate, or, with 0, many as fast as they go.
func relaying(binary string, rate int) error {
	u := rig.NewUpstream()
	defer u.Close()
	mcp, bare := newArrivals(), newArrivals()
	c, err := rig.Start(binary, environment(u), func(l rig.Line) {
		if l.Method != "notifications/message" {
			return
		}
		var params struct {
			Data struct{ Type string }
		}
		if json.Unmarshal(l.Params, &params) != nil {
			return
		}
		mcp.take(l.Params, l.At)
		if params.Data.Type == "message" && bytes.Contains(l.Params, []byte("done")) {
			mcp.end()
		}
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for method, params := range map[string]string{"logging/setLevel": `{"level":"debug"}`, "resources/subscribe": `{"uri":"coder://chats/` + u.Chat.String() + `/messages"}`} {
		if _, err := c.Request(method, params); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := listen(ctx, u.StreamURL(), bare); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // both streams are up

	u.Begin()
	began, events := time.Now(), send(u, rate)
	u.End("stream")
	for _, a := range []*arrivals{bare, mcp} {
		if err := a.wait(); err != nil {
			return err
		}
	}
	took := time.Since(began)
	resident, err := c.Resident()
	if err != nil {
		return err
	}
	asked := "unlimited"
	if rate > 0 {
		asked = fmt.Sprintf("%d/s", rate)
	}
	fmt.Printf("%-12s %8d %12s %12s %12s %12s %10.0f %10s\n", asked, events, round(bare.delays.Quantile(50)), round(bare.delays.Quantile(99)),
		round(mcp.delays.Quantile(50)), round(mcp.delays.Quantile(99)), float64(events)/took.Seconds(), mebibytes(resident))
	if len(mcp.delays) != events {
		fmt.Printf("%-12s %d of %d deltas were told before the message that has them all\n", "", len(mcp.delays), events)
	}
	return nil
}

func send(u *rig.Upstream, rate int) (events int) {
	stamp := func(seq int) { u.Delta(seq, fmt.Sprintf("@%d;", time.Now().UnixNano())) }
	if rate == 0 {
		const flood = 50_000
		for seq := range flood {
			stamp(seq + 1)
		}
		return flood
	}
	began := time.Now()
	for seq := range 2 * rate {
		time.Sleep(time.Until(began.Add(time.Duration(seq) * time.Second / time.Duration(rate))))
		stamp(seq + 1)
	}
	return 2 * rate
}

// listen reads the stream as plainly as can be.
func listen(ctx context.Context, url string, a *arrivals) error {
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	ws.SetReadLimit(-1)
	go func() {
		defer ws.CloseNow()
		for {
			_, frame, err := ws.Read(ctx)
			if err != nil {
				return
			}
			a.take(frame, time.Now())
			if bytes.Contains(frame, []byte(`"done"`)) {
				a.end()
			}
		}
	}()
	return nil
}
