package resources_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/resources"
	"coder-chats-mcp/simulator"
)

// subscription hears of one address.
type subscription struct {
	updates chan string
	count   atomic.Int64
	cancel  func()
}

func (w *world) subscribe(t *testing.T, uri string) *subscription {
	t.Helper()
	s := &subscription{updates: make(chan string, 1000)}
	// What set it up is over long before it is.
	ctx, over := context.WithTimeout(t.Context(), patience)
	defer over()
	var err error
	s.cancel, err = resources.Subscribe(ctx, w.src, uri, func(uri string) {
		s.count.Add(1)
		s.updates <- uri
	})
	require.NoError(t, err)
	t.Cleanup(s.cancel)
	return s
}

// until waits for updates until one after which done holds: whoever reads only then must see the end.
func (s *subscription) until(t *testing.T, uri string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-s.updates:
			require.Equal(t, uri, got)
			if done() {
				return
			}
		case <-deadline:
			require.Fail(t, "no update after the last change", uri)
		}
	}
}

// watching keeps the caller's watch socket open and waits until it tells what happens: a server that answers the handshake first and listens
// for events then loses those between.
func (w *world) watching(t *testing.T) {
	t.Helper()
	listener, err := w.src.Relay.Watch(bounded(t))
	require.NoError(t, err)
	t.Cleanup(listener.Close)
	probe := w.chat(t, "probe NOTITLE")
	archived := false
	eventually(t, func() bool {
		archived = !archived
		require.NoError(t, w.src.Client.UpdateChat(t.Context(), probe.ID, client.UpdateChatRequest{Archived: &archived}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for {
			e, err := listener.Next(ctx)
			if err != nil || e.Kind == client.KindDeleted {
				return err == nil && archived
			}
		}
	})
}

func TestASubscriberOfAChatSeesItsEnd(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.chat(t, "hello NOTITLE")
		for _, c := range []struct{ below, want string }{
			{"", `"status":"waiting"`}, {"messages", "> echo: again NOTITLE\n"}, {"prompts", "again NOTITLE"},
		} {
			uri := strings.TrimSuffix(address(chat.ID, c.below), "/")
			s := w.subscribe(t, uri)
			w.say(t, chat.ID, "again NOTITLE")
			s.until(t, uri, func() bool { return strings.Contains(read(t, w.src, uri).Text, c.want) })
			w.rest(t, chat.ID)
			s.cancel()
		}
	})
}

func TestALongAnswerIsAFewUpdates(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.chat(t, "hello NOTITLE")
		uri := address(chat.ID, "messages")
		s := w.subscribe(t, uri)
		begin := time.Now()
		w.say(t, chat.ID, "LONG 3000")
		s.until(t, uri, func() bool { return strings.Contains(read(t, w.src, uri).Text, "tok03000") })
		require.LessOrEqual(t, s.count.Load(), 2+int64(time.Since(begin)/(250*time.Millisecond)))
	})
}

func TestAChatsOwnChangesAreUpdates(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.watching(t)
		chat := w.chat(t, "hello NOTITLE")
		uri := address(chat.ID)
		s := w.subscribe(t, uri)
		title := "Another title"
		require.NoError(t, w.src.Client.UpdateChat(t.Context(), chat.ID, client.UpdateChatRequest{Title: &title}))
		s.until(t, uri, func() bool { return object(t, w.src, uri)["title"] == title })
		archived := true
		require.NoError(t, w.src.Client.UpdateChat(t.Context(), chat.ID, client.UpdateChatRequest{Archived: &archived}))
		s.until(t, uri, func() bool { return object(t, w.src, uri)["archived"] == true })
	})
}

func TestADiffIsUpdatedWhenItIsPushed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.watching(t)
		chat := w.written(t)
		uri := address(chat.ID, "diff")
		s := w.subscribe(t, uri)
		w.say(t, chat.ID, `TOOL execute {"command":"git push"}`)
		s.until(t, uri, func() bool { return strings.Contains(read(t, w.src, uri).Text, "+package a") })
	})
}

func TestGitIsUpdatedWhileTheAgentWrites(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.written(t)
		uri := address(chat.ID, "git")
		s := w.subscribe(t, uri)
		w.say(t, chat.ID, `TOOL write_file {"path":"late.go","content":"package late\n"}`)
		s.until(t, uri, func() bool { return strings.Contains(read(t, w.src, uri).Text, "package late") })
	})
}

func TestTheChatsAreUpdatedByEveryOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.watching(t)
		s := w.subscribe(t, "coder://chats")
		chat := w.chat(t, "hello NOTITLE")
		s.until(t, "coder://chats", func() bool {
			chats := object(t, w.src, "coder://chats")["chats"].([]any)
			return len(chats) == 1 && chats[0].(map[string]any)["id"] == chat.ID.String()
		})
	})
}

func TestSubscriptionsToOneChatShareItsStream(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.written(t)
		var all []*subscription
		for _, uri := range []string{
			"coder://chats", address(chat.ID), address(chat.ID, "messages"), address(chat.ID, "prompts"), address(chat.ID, "diff"), address(chat.ID, "git"),
		} {
			all = append(all, w.subscribe(t, uri), w.subscribe(t, uri))
		}
		for _, kind := range []string{"watch", "stream", "git"} {
			eventually(t, func() bool { return w.SocketsOf(kind) > 0 })
			require.Equal(t, 1, w.SocketsOf(kind), kind)
		}
		for _, s := range all {
			s.cancel()
			s.cancel() // does no harm
		}
		eventually(t, func() bool { return w.Sockets() == 0 })
	})
}

func TestNothingIsToldAfterCancel(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.chat(t, "hello NOTITLE")
	s := w.subscribe(t, address(chat.ID))
	s.cancel()
	before := s.count.Load()
	w.say(t, chat.ID, "again NOTITLE")
	w.rest(t, chat.ID)
	require.Equal(t, before, s.count.Load())
}

func TestASubscriptionOutlivesACutConnection(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.chat(t, "hello NOTITLE")
		uri := address(chat.ID, "messages")
		s := w.subscribe(t, uri)
		w.CloseSockets("stream", 0)
		w.say(t, chat.ID, "again NOTITLE")
		s.until(t, uri, func() bool { return strings.Contains(read(t, w.src, uri).Text, "> echo: again") })
	})
}

// refuse makes the simulator refuse what fits.
func (w *world) refuse(suffix string, status int) {
	w.answer(suffix, status, nil, `{"message":"refused"}`)
}

func TestTheLastUpdateOfALostChatMakesItsReaderLook(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.chat(t, "hello NOTITLE")
	uri := address(chat.ID, "messages")
	s := w.subscribe(t, uri)
	w.refuse(chat.ID.String()+"/stream", http.StatusUnauthorized)
	w.CloseSockets("stream", 1000)
	s.until(t, uri, func() bool { return true })
}

func TestAClosedRelayTellsNothing(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	s := w.subscribe(t, address(w.chat(t, "hello NOTITLE").ID, "prompts"))
	w.src.Relay.Close()
	s.cancel()
	require.Zero(t, s.count.Load())
}

func TestWhatCannotBeFollowedIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.chat(t, "mine NOTITLE")
		stranger := w.as(t, 1)
		for _, id := range []uuid.UUID{chat.ID, uuid.New()} {
			for _, below := range []string{"/messages", "/prompts", "/diff", "/git", ""} {
				uri := address(id) + below
				_, err := resources.Subscribe(bounded(t), stranger, uri, func(string) {})
				requireNotFound(t, err, uri)
			}
		}
		expired := w.with(t, "expired-token")
		for _, uri := range []string{"coder://chats", "coder://chats/models", address(chat.ID)} {
			_, err := resources.Subscribe(bounded(t), expired, uri, func(string) {})
			require.True(t, client.IsUnauthorized(err), uri)
		}
		_, err := resources.WatchList(bounded(t), expired, func() {})
		require.True(t, client.IsUnauthorized(err))
		_, err = resources.Subscribe(t.Context(), w.src, "coder://chats/files/"+uuid.NewString(), func(string) {})
		require.ErrorContains(t, err, "never changes, so there is nothing to subscribe to")
	})
}

func TestAStreamIsLeftWhenTheWatchIsRefused(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.chat(t, "hello NOTITLE")
	w.refuse("/watch", http.StatusForbidden)
	_, err := resources.Subscribe(bounded(t), w.src, address(chat.ID), func(string) {})
	require.Equal(t, client.KindForbidden, client.KindOf(err))
	eventually(t, func() bool { return w.Sockets() == 0 })
}

func TestModelsAreAskedForNowAndThen(t *testing.T) {
	w := newWorld(t, simulator.Options{Generation: simulator.May2026})
	var state atomic.Pointer[string]
	set := func(s string) { state.Store(&s) }
	set("one")
	w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		model := *state.Load()
		switch {
		case model == "expired":
			rw.WriteHeader(http.StatusUnauthorized)
		case model == "away":
			rw.WriteHeader(http.StatusBadGateway)
		case strings.HasSuffix(r.URL.Path, "/model-configs"):
			_ = json.NewEncoder(rw).Encode([]map[string]any{{"id": uuid.NameSpaceURL, "model": model, "enabled": true}})
		case strings.HasSuffix(r.URL.Path, "/models"):
			_, _ = rw.Write([]byte(`{"providers":[]}`))
		default:
			return false
		}
		return true
	})
	w.src.ModelsInterval = 5 * time.Millisecond
	s := w.subscribe(t, "coder://chats/models")
	asked := func() int { return w.Requests()["GET /chats/models"] }
	at := asked()
	eventually(t, func() bool { return asked() > at+3 })
	require.Zero(t, s.count.Load(), "nothing has changed")
	set("away")
	configs := func() int { return w.Requests()["GET /chats/model-configs"] }
	at = configs()
	eventually(t, func() bool { return configs() > at+3 })
	require.Zero(t, s.count.Load(), "a failing server is no change")
	set("two")
	s.until(t, "coder://chats/models", func() bool { return strings.Contains(read(t, w.src, "coder://chats/models").Text, `"two"`) })
	set("expired")
	s.until(t, "coder://chats/models", func() bool { return true })
}

func TestTheListChangesWithCreatedAndArchivedChats(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.watching(t)
		changed := make(chan string, 100)
		cancel, err := resources.WatchList(t.Context(), w.src, func() { changed <- "list" })
		require.NoError(t, err)
		defer cancel()
		s := &subscription{updates: changed}

		chat := w.chat(t, `TOOL spawn_agent {"prompt":"Look","title":"Look"}`)
		listed := func() bool { page, _ := list(t, w.src, ""); return len(page) == 3 }
		s.until(t, "list", listed)
		archive := func(archived bool) {
			require.NoError(t, w.src.Client.UpdateChat(t.Context(), chat.ID, client.UpdateChatRequest{Archived: &archived}))
		}
		archive(true)
		s.until(t, "list", func() bool { return !listed() })
		archive(false)
		s.until(t, "list", listed)
	})
}
