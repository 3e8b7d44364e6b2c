package relay_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

// 10,000 events a second, fifty listeners, one of which reads a line a second: the others see the end right after it was
// sent, the slow one gets every final state, and memory does not grow with its delay.
func TestASlowListenerSlowsOnlyItself(t *testing.T) {
	w := newWorld(t, simulator.Options{Generation: simulator.August2026, RateLimit: -1, Speed: 20, TokenDelay: 100 * time.Microsecond})
	const listeners, events = 50, 10_000
	chat := w.create("hello")
	w.turn(chat.ID, relay.TurnOptions{})
	slow := w.follow(chat.ID)
	heap := heapInUse()
	var peak uint64
	var all sync.WaitGroup
	ends := make([]time.Time, listeners-1)
	texts := make([]string, listeners-1)
	for i := range listeners - 1 {
		l := w.follow(chat.ID)
		all.Go(func() {
			var text strings.Builder
			for {
				e, err := l.Next(w.ctx)
				if err != nil {
					t.Error(err)
					return
				}
				switch e.Type {
				case client.EventMessagePart:
					text.WriteString(e.MessagePart.Part.Text)
				case client.EventPreviewReset:
					text.Reset()
				case relay.EventSettled:
					ends[i], texts[i] = time.Now(), text.String()
					return
				}
			}
		})
	}
	began := time.Now()
	w.send(chat.ID, fmt.Sprintf("LONG %d", events))
	first, err := slow.Next(w.ctx)
	require.NoError(t, err)
	all.Wait()
	peak = max(peak, heapInUse())
	elapsed := time.Since(began)
	slices.SortFunc(ends, time.Time.Compare)
	heard := []relay.Event{first}
	heard = append(heard, w.until(slow, relay.EventSettled)...)
	var finals []string
	for _, name := range types(heard) {
		if name != client.EventMessagePart && name != client.EventPreviewReset {
			finals = append(finals, name)
		}
	}
	require.Equal(t, []string{"message:user", "status:running", "message:assistant", "status:waiting", "settled"}, finals)
	require.Less(t, len(heard), 100, "deltas collapse")
	for _, text := range texts {
		require.Equal(t, heard[len(heard)-1].Outcome.Text(), text, "every delta arrives, alone, joined or in the preview")
	}
	grown := int64(peak) - int64(heap)
	t.Logf("%d events to %d listeners in %s (%.0f a second), ends apart %s, heap grown by %.1f MiB, the slow one read %d",
		events, listeners, elapsed, events/elapsed.Seconds(), ends[len(ends)-1].Sub(ends[0]), float64(grown)/(1<<20), len(heard))
	require.Less(t, grown, int64(20<<20))
}

func heapInUse() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// A listener that reads nothing while the preview outgrows its bound gets the preview as it is then, and goes on from there.
func TestABacklogOverItsBoundCollapsesIntoThePreview(t *testing.T) {
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			server, err := simulator.Start(simulator.Options{Generation: g, RateLimit: -1, Speed: 20, TokenDelay: time.Microsecond})
			require.NoError(t, err)
			t.Cleanup(server.Close)
			o := quick
			o.Backlog = 20_000
			w := newCaller(t, server, server.URL, o)
			chat := w.create("hello")
			w.turn(chat.ID, relay.TurnOptions{})
			idle, keen := w.follow(chat.ID), w.follow(chat.ID)
			w.eventually(func() bool { return keen.Now().Connected }, "the stream is up")
			w.send(chat.ID, "TEXTTOOL list_templates {}")
			w.until(keen, relay.EventSettled)
			w.send(chat.ID, "SLOW 400 20")
			for n := 0; n < 300; {
				e, err := keen.Next(w.ctx)
				require.NoError(t, err)
				n += e.Parts
			}
			var text strings.Builder
			parts := 0
			for _, e := range w.until(idle, relay.EventSettled) {
				if e.Message != nil || e.Type == client.EventPreviewReset {
					text.Reset()
				}
			}
			for {
				e, err := idle.Next(w.ctx)
				require.NoError(t, err)
				switch {
				case e.MessagePart != nil:
					parts++
					text.WriteString(e.MessagePart.Part.Text)
				case e.Type == client.EventPreviewReset:
					text.Reset()
				case e.Message != nil && e.Message.Role == client.RoleAssistant:
					require.Equal(t, e.Message.Text(), text.String(), "%d parts", parts)
					return
				}
			}
		})
	}
}

func TestJoinedDeltasHaveTheShapeOfAnEvent(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("hello")
		w.turn(chat.ID, relay.TurnOptions{})
		l, keen := w.follow(chat.ID), w.follow(chat.ID)
		w.eventually(func() bool { return keen.Now().Connected }, "the stream is up")
		w.send(chat.ID, `TEXTTOOL list_templates {"query":"abc"}`)
		w.until(keen, relay.EventSettled)
		joined := 0
		var args string
		for _, e := range w.until(l, relay.EventSettled) {
			if e.MessagePart == nil {
				continue
			}
			require.JSONEq(t, fmt.Sprintf(`"%s"`, chat.ID), string(field(t, e.Raw, "chat_id")))
			require.NotEmpty(t, field(t, field(t, e.Raw, "message_part"), "part"))
			if e.Parts > 1 {
				joined++
			}
			args += e.MessagePart.Part.ArgsDelta
		}
		require.NotZero(t, joined)
		require.JSONEq(t, `{"query":"abc"}`, args)
	})
}
