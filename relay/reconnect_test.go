package relay_test

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

func TestListenersShareOneStreamThatLingersAndCloses(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		var listeners []*relay.Listener
		for range 20 {
			l, err := w.relay.Follow(w.ctx, chat.ID)
			require.NoError(t, err)
			listeners = append(listeners, l)
		}
		w.until(listeners[0], relay.EventSettled)
		w.eventually(func() bool { return w.server.SocketsOf("stream") == 1 }, "one stream")
		before := runtime.NumGoroutine()
		w.send(chat.ID, "two")
		for _, l := range listeners {
			w.until(l, relay.EventSettled)
			l.Close()
			_, err := l.Next(w.ctx)
			require.ErrorIs(t, err, relay.ErrClosed)
			l.Close()
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), before+200, "a listener has no goroutine of its own")
		w.eventually(func() bool { return w.server.Sockets() == 0 }, "the stream closes after the last one left")
		l := w.follow(chat.ID)
		require.Len(t, l.Picture().Messages, 4)
	})
}

func TestAStreamThatIsCutGoesOnWhereItWas(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		for _, code := range []int{1000, 1001, 1011, 0} {
			w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
			require.NoError(t, l.Trouble())
			sent := w.send(chat.ID, "SLOW 10 200")
			w.until(l, client.EventMessagePart)
			w.server.CloseSockets("stream", code)
			events := w.until(l, relay.EventSettled)
			require.Equal(t, []string{"message:assistant", "status:waiting", "settled"}, types(events)[len(events)-3:], "code %d", code)
			require.Greater(t, events[len(events)-1].Outcome.LastID, sent.Message.ID)
		}
	})
}

func TestWhatHappensWhileTheStreamIsDownIsToldOnce(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		var down atomic.Bool
		down.Store(true)
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" && down.Load() {
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		})
		w.server.CloseSockets("stream", 1001)
		w.eventually(func() bool { return !l.Now().Connected }, "the stream is down")
		w.send(chat.ID, "SLOW 20 100")
		queued := w.send(chat.ID, "queued").QueuedMessage
		require.NotNil(t, queued)
		w.eventually(func() bool {
			chat, err := w.client.GetChat(w.ctx, chat.ID)
			return err == nil && chat.Status == client.StatusWaiting
		}, "both are answered")
		down.Store(false)
		var told []string
		for _, e := range w.until(l, relay.EventSettled) {
			if e.Message != nil {
				told = append(told, e.Message.Text())
			}
		}
		require.Len(t, told, 4)
		require.Equal(t, []string{"queued", "echo: queued"}, told[2:])
		w.eventually(func() bool { return l.Now().Connected && len(l.Now().Queue) == 0 }, "the queue is empty")
		require.Len(t, l.Now().Messages, 6)
	})
}

func TestARefusedReconnectEndsTheListenersWithItsError(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"message":"You are signed out or your session has expired. Please sign in again to continue."}`))
			return true
		})
		w.server.CloseSockets("stream", 1001)
		_, err := l.Next(w.ctx)
		require.Equal(t, client.KindUnauthorized, client.KindOf(err), "%v", err)
		w.server.Intercept(nil)
		w.follow(chat.ID)
	})
}

func TestARateLimitedHandshakeWaitsAsLongAsItIsTold(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		var refused atomic.Int64
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") == "" || refused.Load() > 0 {
				return false
			}
			refused.Add(1)
			rw.Header().Set("Retry-After", strconv.Itoa(1))
			rw.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		began := time.Now()
		w.server.CloseSockets("stream", 1001)
		w.eventually(func() bool { return refused.Load() == 1 }, "the handshake was refused")
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up again")
		require.GreaterOrEqual(t, time.Since(began), time.Second)
	})
}

func TestCloseEndsEverything(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 400")
		l := w.follow(chat.ID)
		watch, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		w.relay.Close()
		for err == nil {
			_, err = l.Next(w.ctx)
		}
		require.ErrorIs(t, err, relay.ErrClosed)
		for err = nil; err == nil; {
			_, err = watch.Next(w.ctx)
		}
		require.ErrorIs(t, err, relay.ErrClosed)
		_, err = w.relay.Follow(w.ctx, chat.ID)
		require.ErrorIs(t, err, relay.ErrClosed)
		_, err = w.relay.Watch(w.ctx)
		require.ErrorIs(t, err, relay.ErrClosed)
		_, err = w.relay.FollowGit(w.ctx, chat.ID)
		require.ErrorIs(t, err, relay.ErrClosed)
		w.eventually(func() bool { return w.server.Sockets() == 0 }, "no socket is left")
	})
}

func TestThePreviewGoesOnAfterACut(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		w.send(chat.ID, "SLOW 60 200")
		var text strings.Builder
		cuts := 0
		for {
			e, err := l.Next(w.ctx)
			require.NoError(t, err)
			switch {
			case e.Type == client.EventPreviewReset:
				text.Reset()
			case e.MessagePart != nil:
				text.WriteString(e.MessagePart.Part.Text)
				if cuts < 3 && strings.Count(text.String(), "chunk") > 10*cuts {
					cuts++
					w.server.CloseSockets("stream", 1001)
				}
			case e.Message != nil && e.Message.Role == client.RoleAssistant:
				require.Equal(t, 3, cuts)
				require.Equal(t, e.Message.Text(), text.String(), "no part twice, none missing")
				return
			}
		}
	})
}

// The stream of a new connection shows of an edit only the message that replaced another.
func TestAnEditBetweenTheReadAndTheStreamIsNoticed(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		two := w.send(chat.ID, "two")
		w.turn(chat.ID, relay.TurnOptions{MessageID: two.Message.ID})
		late := relay.New(w.client, quick)
		defer late.Close()
		var once sync.Once
		w.server.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" {
				once.Do(func() {
					_, err := w.client.EditMessage(w.ctx, chat.ID, two.Message.ID, client.EditMessageRequest{
						Content: []client.InputPart{client.TextPart("two edited")},
					})
					assert.NoError(t, err)
				})
			}
			return false
		})
		l, err := late.Follow(w.ctx, chat.ID)
		require.NoError(t, err)
		defer l.Close()
		require.Len(t, l.Picture().Messages, 4)
		events := w.until(l, relay.EventSettled)
		require.Contains(t, types(events), client.EventHistoryReset)
		require.Equal(t, "echo: two edited", events[len(events)-1].Outcome.Text())
		require.Len(t, l.Now().Messages, 4)
	})
}

func TestAnEditWhileTheStreamIsDownIsNoticed(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		two := w.send(chat.ID, "two")
		w.turn(chat.ID, relay.TurnOptions{MessageID: two.Message.ID})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		var down atomic.Bool
		down.Store(true)
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" && down.Load() {
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		})
		w.server.CloseSockets("stream", 1001)
		w.eventually(func() bool { return l.Trouble() != nil }, "the stream is down")
		_, err := w.client.EditMessage(w.ctx, chat.ID, two.Message.ID, client.EditMessageRequest{
			Content: []client.InputPart{client.TextPart("two edited")},
		})
		require.NoError(t, err)
		w.turnDirect(chat.ID)
		down.Store(false)
		events := w.until(l, relay.EventSettled)
		require.Contains(t, types(events), client.EventHistoryReset)
		require.Equal(t, "echo: two edited", events[len(events)-1].Outcome.Text())
		require.Len(t, l.Now().Messages, 4)
	})
}
