package relay_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

func TestWatchTellsTheCallersChatsOverOneSocket(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		var listeners []*relay.WatchListener
		for range 3 {
			l, err := w.relay.Watch(w.ctx)
			require.NoError(t, err)
			listeners = append(listeners, l)
		}
		w.eventually(func() bool { return w.server.SocketsOf("watch") == 1 }, "they share one socket")
		chat := w.create("hello")
		for _, l := range listeners {
			w.event(l, client.KindCreated, chat.ID)
			for {
				if e := w.event(l, client.KindStatusChange, chat.ID); e.Chat.Status == client.StatusWaiting {
					require.NotEmpty(t, e.Raw)
					break
				}
			}
			l.Close()
			_, err := l.Next(w.ctx)
			require.ErrorIs(t, err, relay.ErrClosed)
		}
		w.eventually(func() bool { return w.server.Sockets() == 0 }, "the socket closes")
	})
}

// event reads up to the next event of a kind about a chat.
func (w *world) event(l *relay.WatchListener, kind string, chat uuid.UUID) client.WatchEvent {
	w.t.Helper()
	for {
		e, err := l.Next(w.ctx)
		require.NoError(w.t, err, "no %s of %s", kind, chat)
		if e.Kind == kind && e.Chat.ID == chat {
			return e
		}
	}
}

func TestWatchTellsWhatChangedWhileItWasDown(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		ran, renamed, archived := w.create("one"), w.create("two"), w.create("three")
		for _, c := range []*client.Chat{ran, renamed, archived} {
			w.turn(c.ID, relay.TurnOptions{})
		}
		w.eventually(func() bool {
			chats, err := w.client.ListChats(w.ctx, client.ListChatsRequest{})
			return err == nil && chats[0].LastTurnSummary != nil && chats[1].LastTurnSummary != nil && chats[2].LastTurnSummary != nil
		}, "all turns are summed up")
		l, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		defer l.Close()
		var down atomic.Bool
		down.Store(true)
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" && r.URL.Path[len(r.URL.Path)-5:] == "watch" && down.Load() {
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		})
		w.server.CloseSockets("watch", 1000)
		w.eventually(func() bool { return w.server.SocketsOf("watch") == 0 }, "the watch is down")
		sent := w.send(ran.ID, "again")
		w.turn(ran.ID, relay.TurnOptions{MessageID: sent.Message.ID})
		require.NoError(t, w.client.UpdateChat(w.ctx, renamed.ID, client.UpdateChatRequest{Title: new("another title")}))
		require.NoError(t, w.client.UpdateChat(w.ctx, archived.ID, client.UpdateChatRequest{Archived: new(true)}))
		created := w.create("four")
		w.turn(created.ID, relay.TurnOptions{})
		down.Store(false)
		got := map[string]bool{}
		for len(got) < 4 {
			e, err := l.Next(w.ctx)
			require.NoError(t, err, "%v", got)
			switch {
			case e.Kind == client.KindStatusChange && e.Chat.ID == ran.ID,
				e.Kind == client.KindTitleChange && e.Chat.ID == renamed.ID && e.Chat.Title == "another title",
				e.Kind == client.KindDeleted && e.Chat.ID == archived.ID,
				e.Kind == client.KindCreated && e.Chat.ID == created.ID:
				require.NotEmpty(t, e.Raw)
				got[e.Kind] = true
			}
		}
	})
}

// Servers of May send events in another order than things happened: what was is not taken for what is, and so not told as
// changed back after a reconnect.
func TestWatchRemembersNoEventThatWasOvertaken(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("hello")
		w.turnDirect(chat.ID)
		w.eventually(func() bool {
			c, err := w.client.GetChat(w.ctx, chat.ID)
			return err == nil && c.LastTurnSummary != nil
		}, "the turn is summed up")
		events := stage(make(chan string))
		w.server.Intercept(events.answer)
		l, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		defer l.Close()
		events <- w.told(client.KindStatusChange, chat.ID, client.StatusRunning, time.Second)
		events <- w.told(client.KindDeleted, chat.ID, "", time.Second)
		w.event(l, client.KindDeleted, chat.ID)
		events <- "" // the socket ends
		last := w.told(client.KindDiffStatusChange, chat.ID, "", 0)
		events <- last // on the next one
		for {
			e, err := l.Next(w.ctx)
			require.NoError(t, err)
			if string(e.Raw) == last {
				return
			}
			require.NotEqual(t, chat.ID, e.Chat.ID, "%s: it rested all the time", e.Kind)
		}
	})
}

// Pages of the list are counted off: a chat that moves while they are read can be on none of them.
func TestAChatThatNoPageHasIsNotTakenForDeleted(t *testing.T) {
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			w := newWorld(t, simulator.Options{Generation: g, Speed: 20, RateLimit: -1})
			var all []*client.Chat
			for range 203 {
				all = append(all, w.create("hello"))
			}
			for _, c := range all {
				w.turnDirect(c.ID)
			}
			l, err := w.relay.Watch(w.ctx)
			require.NoError(t, err)
			defer l.Close()
			var down atomic.Bool
			down.Store(true)
			w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.HasSuffix(r.URL.Path, "/chats/watch") && down.Load():
					rw.WriteHeader(http.StatusBadGateway)
				case r.URL.Query().Get("offset") == "200":
					_, _ = rw.Write([]byte("[]"))
				default:
					return false
				}
				return true
			})
			w.server.CloseSockets("watch", 1000)
			w.eventually(func() bool { return w.server.SocketsOf("watch") == 0 }, "the watch is down")
			archived := all[1] // those that were touched first come last
			require.NoError(t, w.client.UpdateChat(w.ctx, archived.ID, client.UpdateChatRequest{Archived: new(true)}))
			down.Store(false)
			var last uuid.UUID
			for {
				e, err := l.Next(w.ctx)
				require.NoError(t, err)
				if e.Kind == client.KindDeleted {
					require.Equal(t, archived.ID, e.Chat.ID)
					last = w.create("the last event").ID
				}
				if e.Chat.ID == last {
					return
				}
			}
		})
	}
}

func TestNextHandsOutWhatIsThereWhenTheTimeRunsOut(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		l, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		defer l.Close()
		keen, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		defer keen.Close()
		chat := w.create("hello")
		w.event(keen, client.KindCreated, chat.ID)
		late, cancel := context.WithTimeout(w.ctx, 0)
		defer cancel()
		e, err := l.Next(late)
		require.NoError(t, err)
		require.Equal(t, client.KindCreated, e.Kind)
		for err == nil {
			_, err = l.Next(late)
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		over, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err = l.Next(over)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// stage answers the watch with a socket of the test's own: what it writes is what the relay hears.
type stage chan string

func (s stage) answer(rw http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/chats/watch") {
		return false
	}
	c, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return true
	}
	ctx := c.CloseRead(r.Context())
	for {
		select {
		case e := <-s:
			if e == "" {
				_ = c.Close(websocket.StatusNormalClosure, "")
				return true
			}
			_ = c.Write(ctx, websocket.MessageText, []byte(e+"\n"))
		case <-ctx.Done():
			return true
		}
	}
}

// told is an event of the watch about a chat as it is now, or, overtaken by others, was once.
func (w *world) told(kind string, chat uuid.UUID, status client.Status, age time.Duration) string {
	w.t.Helper()
	c, err := w.client.GetChat(w.ctx, chat)
	require.NoError(w.t, err)
	c.UpdatedAt = c.UpdatedAt.Add(-age)
	if status != "" {
		c.Status = status
	}
	event, err := json.Marshal(client.WatchEvent{Kind: kind, Chat: *c})
	require.NoError(w.t, err)
	return string(event)
}
