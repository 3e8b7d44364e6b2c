package relay_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

func TestWatchTellsTheCallersChatsOverOneSocket(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		var listeners []*relay.WatchListener
		for range 3 {
			l, err := w.relay.Watch(w.ctx)
			require.NoError(t, err)
			listeners = append(listeners, l)
		}
		require.Equal(t, 1, w.server.SocketsOf("watch"))
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
