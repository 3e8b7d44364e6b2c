package relay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
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

func (w *world) await(a relay.AwaitRequest) relay.AwaitResult {
	w.t.Helper()
	r, err := w.relay.Await(w.ctx, a)
	require.NoError(w.t, err)
	return r
}

func TestAwaitAnyReturnsTheFirstThatSettles(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		slow := w.create("SLOW 100 400")
		quick := w.create("SLOW 5 200")
		var seen []relay.AwaitEvent
		r := w.await(relay.AwaitRequest{
			Chats: []uuid.UUID{slow.ID, quick.ID}, Observe: func(e relay.AwaitEvent) { seen = append(seen, e) },
		})
		require.Len(t, r.Settled, 1)
		require.Equal(t, quick.ID, r.Settled[0].Chat.ID)
		require.Contains(t, r.Settled[0].Text(), "chunk-0005")
		require.Equal(t, relay.ReasonSettled, r.Settled[0].Reason)
		require.Len(t, r.Running, 1)
		require.Equal(t, slow.ID, r.Running[0].ID)
		require.True(t, r.Running[0].Status.Busy())
		require.False(t, r.TimedOut)
		require.NotEmpty(t, seen)
		require.NotNil(t, seen[len(seen)-1].Settlement)
		require.Equal(t, 2, seen[len(seen)-1].Total)
	})
}

func TestAwaitAllCollectsEveryEnd(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		tool, err := w.client.CreateChat(w.ctx, client.CreateChatRequest{
			Content:      []client.InputPart{client.TextPart("TOOL my_tool {}")},
			DynamicTools: []client.DynamicTool{{Name: "my_tool", InputSchema: []byte(`{"type":"object"}`)}},
		})
		require.NoError(t, err)
		chats := []uuid.UUID{tool.ID, w.create("ERR 400").ID, w.create("EMPTY").ID, w.create("hello").ID, w.create("SLOW 5 300").ID, uuid.New()}
		r := w.await(relay.AwaitRequest{Chats: append(chats, chats[0]), All: true})
		require.Empty(t, r.Running)
		require.Len(t, r.Missing, 1)
		require.Equal(t, client.KindNotFound, r.Missing[0].Err.Kind)
		byID := map[uuid.UUID]relay.Settlement{}
		for _, s := range r.Settled {
			byID[s.Chat.ID] = s
		}
		require.Len(t, byID, 5)
		require.Equal(t, relay.ReasonRequiresAction, byID[chats[0]].Reason)
		require.Equal(t, "my_tool", byID[chats[0]].Pending[0].ToolName)
		require.Equal(t, relay.ReasonError, byID[chats[1]].Reason)
		require.NotEmpty(t, byID[chats[1]].LastError.Message)
		require.True(t, byID[chats[2]].Unanswered)
		require.Equal(t, "echo: hello", byID[chats[3]].Text())
		require.False(t, byID[chats[4]].Unanswered)
	})
}

func TestAwaitCursorTellsASettlingOnce(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		one, two := w.create("one"), w.create("two")
		chats := []uuid.UUID{one.ID, two.ID}
		r := w.await(relay.AwaitRequest{Chats: chats, All: true})
		require.Len(t, r.Settled, 2)

		// another process, the same cursor
		other := relay.New(w.client, quick)
		defer other.Close()
		again, err := other.Await(w.ctx, relay.AwaitRequest{Chats: chats, Cursor: r.Cursor})
		require.NoError(t, err)
		require.Empty(t, again.Settled)
		require.Empty(t, again.Running)
		require.False(t, again.TimedOut)

		// touched, but not run: still the same settling
		labels := map[string]string{"a": "b"}
		require.NoError(t, w.client.UpdateChat(w.ctx, one.ID, client.UpdateChatRequest{Labels: labels}))
		again = w.await(relay.AwaitRequest{Chats: chats, Cursor: again.Cursor})
		require.Empty(t, again.Settled)

		w.send(two.ID, "SLOW 3 100")
		again = w.await(relay.AwaitRequest{Chats: chats, Cursor: again.Cursor})
		require.Len(t, again.Settled, 1)
		require.Equal(t, two.ID, again.Settled[0].Chat.ID)
		again = w.await(relay.AwaitRequest{Chats: chats, All: true, Cursor: again.Cursor})
		require.Empty(t, again.Settled)
	})
}

func TestAwaitRefusesWhatItCannotUse(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		for name, a := range map[string]relay.AwaitRequest{
			"no chats":       {},
			"too many chats": {Chats: make([]uuid.UUID, 101)},
			"no cursor":      {Chats: []uuid.UUID{uuid.New()}, Cursor: "hello"},
			"a cut cursor":   {Chats: []uuid.UUID{uuid.New()}, Cursor: "AQID"},
		} {
			_, err := w.relay.Await(w.ctx, a)
			require.Equal(t, client.KindInvalidArgument, client.KindOf(err), name)
		}
	})
}

func TestAwaitThatTimesOutTellsWhoIsStillRunning(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 400")
		ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
		defer cancel()
		r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: []uuid.UUID{chat.ID}})
		require.NoError(t, err)
		require.True(t, r.TimedOut)
		require.Len(t, r.Running, 1)
		require.NotEmpty(t, r.Running[0].Title)
	})
}

// One watch socket, one list, one read for each settled chat.
func TestAwaitOver100ChatsCostsOneReadForEachThatSettles(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		var chats []uuid.UUID
		for range 99 {
			chats = append(chats, w.create("HANG 600").ID)
		}
		chats = append(chats, w.create("SLOW 10 400").ID)
		for _, id := range chats[:99] {
			t.Cleanup(func() { _, _ = w.client.InterruptChat(context.WithoutCancel(w.ctx), id) })
		}
		before := w.server.Requests()
		r := w.await(relay.AwaitRequest{Chats: chats})
		require.Len(t, r.Settled, 1)
		require.Len(t, r.Running, 99)
		after := w.server.Requests()
		spent := func(pattern string) int { return after[pattern] - before[pattern] }
		require.Equal(t, 1, spent("GET /chats/watch"))
		require.LessOrEqual(t, spent("GET /chats"), 2)
		require.Equal(t, 1, spent("GET /chats/{chat}/messages"))
		require.Zero(t, spent("GET /chats/{chat}"))
		require.Zero(t, spent("GET /chats/{chat}/stream"))
		require.Less(t, len(r.Cursor), 1500)
	})
}

func TestAwaitOutlivesACutWatch(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 20 300")
		archived := w.create("bye")
		w.turn(archived.ID, relay.TurnOptions{})
		require.NoError(t, w.client.UpdateChat(w.ctx, archived.ID, client.UpdateChatRequest{Archived: new(true)}))
		var down atomic.Bool
		var watching sync.WaitGroup
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Upgrade") != "" && down.Load() {
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		})
		r := w.await(relay.AwaitRequest{
			Chats: []uuid.UUID{chat.ID, archived.ID}, All: true,
			Observe: func(e relay.AwaitEvent) {
				if e.Settlement == nil && !down.Swap(true) {
					w.server.CloseSockets("watch", 1000)
					watching.Go(func() {
						w.turnDirect(chat.ID)
						down.Store(false)
					})
				}
			},
		})
		watching.Wait() // the wait may have seen the end first
		require.Len(t, r.Settled, 2)
	})
}

// turnDirect waits by polling until a chat is idle.
func (w *world) turnDirect(chat uuid.UUID) {
	w.eventually(func() bool {
		c, err := w.client.GetChat(w.ctx, chat)
		return err == nil && c.Status.Idle()
	}, "the chat is idle")
}

func TestManyAwaitsShareTheirReads(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 30 400")
		before := w.server.Requests()
		results := make(chan relay.AwaitResult)
		const waits = 200
		for range waits {
			go func() { results <- w.await(relay.AwaitRequest{Chats: []uuid.UUID{chat.ID}}) }()
		}
		for range waits {
			require.Len(t, (<-results).Settled, 1)
		}
		after := w.server.Requests()
		require.Equal(t, 1, after["GET /chats/watch"]-before["GET /chats/watch"])
		require.Less(t, after["GET /chats"]-before["GET /chats"], waits/4)
		require.Less(t, after["GET /chats/{chat}/messages"]-before["GET /chats/{chat}/messages"], waits/4)
	})
}

// The watch says nothing of other people's chats; an owner of the site may wait for them all the same.
func TestAwaitFollowsSomebodyElsesChat(t *testing.T) {
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			w := newWorld(t, simulator.Options{Generation: g, Speed: 20, RateLimit: -1, Users: []simulator.User{
				{Username: "root", Token: "root-token", Owner: true, AgentsAccess: true},
				{Username: "bob", Token: "bob-token", AgentsAccess: true},
			}})
			bob := *w
			bob.client = w.client.Host().Client("bob-token")
			chat := bob.create("SLOW 10 400")
			r := w.await(relay.AwaitRequest{Chats: []uuid.UUID{chat.ID}})
			require.Len(t, r.Settled, 1)
			require.Contains(t, r.Settled[0].Text(), "chunk-0010")
			require.Equal(t, client.StatusWaiting, r.Settled[0].Chat.Status)
			again := w.await(relay.AwaitRequest{Chats: []uuid.UUID{chat.ID}, Cursor: r.Cursor})
			require.Empty(t, again.Settled)

			bob.send(chat.ID, "SLOW 100 400")
			ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
			defer cancel()
			r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: []uuid.UUID{chat.ID}, Cursor: again.Cursor})
			require.NoError(t, err)
			require.True(t, r.TimedOut)
			require.Len(t, r.Running, 1)
		})
	}
}

// chats asks for several chats.
func chats(cs ...*client.Chat) []uuid.UUID {
	var ids []uuid.UUID
	for _, c := range cs {
		ids = append(ids, c.ID)
	}
	return ids
}

func (w *world) label(chat *client.Chat) {
	w.t.Helper()
	labels := map[string]string{"at": time.Now().String()}
	require.NoError(w.t, w.client.UpdateChat(w.ctx, chat.ID, client.UpdateChatRequest{Labels: labels}))
}

func TestTheCursorKeepsWhatACallDidNotAskFor(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		one, two := w.create("one"), w.create("two")
		first := w.await(relay.AwaitRequest{Chats: chats(one), All: true})
		second := w.await(relay.AwaitRequest{Chats: chats(two), All: true, Cursor: first.Cursor})
		require.Len(t, second.Settled, 1)
		third := w.await(relay.AwaitRequest{Chats: chats(one, two), Cursor: second.Cursor})
		require.Empty(t, third.Settled, "both are told")
	})
}

// A wait that ends before a chat was judged, because the server fails or the chat runs again, has not told anything new of it.
func TestTheCursorKeepsWhatACallDidNotFindOut(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		one, two := w.create("one"), w.create("two")
		before := w.await(relay.AwaitRequest{Chats: chats(one, two), All: true})
		w.label(one)
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		left := w.failing("/messages", 1<<30, status(http.StatusBadGateway))
		go func() {
			w.eventually(func() bool { return left.Load() < 1<<30 }, "the chat is judged")
			cancel()
		}()
		cut, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: chats(one, two), Cursor: before.Cursor})
		require.NoError(t, err)
		require.True(t, cut.TimedOut)
		w.server.Intercept(nil)
		after := w.await(relay.AwaitRequest{Chats: chats(one, two), Cursor: cut.Cursor})
		require.Empty(t, after.Settled, "both are told")
	})
}

func TestTheCursorOfAWaitThatSawNothingIsTheOldOne(t *testing.T) {
	w := newWorld(t, simulator.Options{RateLimit: -1})
	one := w.create("one")
	before := w.await(relay.AwaitRequest{Chats: chats(one), All: true})
	w.relay.Close()
	asked := make(chan struct{})
	w.server.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		close(asked)
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(w.ctx)
	go func() {
		<-asked
		cancel()
	}()
	other := relay.New(w.client, quick)
	defer other.Close()
	cut, err := other.Await(ctx, relay.AwaitRequest{Chats: chats(one), Cursor: before.Cursor})
	require.NoError(t, err)
	require.True(t, cut.TimedOut)
	require.Equal(t, before.Cursor, cut.Cursor)
}

// Whoever has room for some of the answer only gets the rest with the next call.
func TestTheCursorAfterAFewTellsTheOthersNext(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		r := w.await(relay.AwaitRequest{Chats: chats(w.create("one"), w.create("two"), w.create("three")), All: true})
		require.Len(t, r.Settled, 3)
		require.Equal(t, r.Cursor, r.CursorAfter(3))
		ids := chats(&r.Settled[0].Chat, &r.Settled[1].Chat, &r.Settled[2].Chat)
		rest := w.await(relay.AwaitRequest{Chats: ids, All: true, Cursor: r.CursorAfter(1)})
		require.Len(t, rest.Settled, 2)
		require.NotContains(t, chats(&rest.Settled[0].Chat, &rest.Settled[1].Chat), r.Settled[0].Chat.ID)
	})
}

// A wait of no time at all still tells how every chat stands.
func TestAwaitWithoutTimeLooksOnce(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		done, empty, archived, busy := w.create("hello"), w.create("EMPTY"), w.create("bye"), w.create("HANG 600")
		defer func() { _, _ = w.client.InterruptChat(context.WithoutCancel(w.ctx), busy.ID) }()
		for _, c := range []*client.Chat{done, empty, archived} {
			w.turnDirect(c.ID)
		}
		require.NoError(t, w.client.UpdateChat(w.ctx, archived.ID, client.UpdateChatRequest{Archived: new(true)}))
		ctx, cancel := context.WithTimeout(w.ctx, 0)
		defer cancel()
		r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: chats(done, empty, archived, busy), All: true})
		require.NoError(t, err)
		require.True(t, r.TimedOut)
		require.Len(t, r.Settled, 3)
		require.Len(t, r.Running, 1)
		require.True(t, r.Running[0].Status.Busy(), "%v", r.Running)
		require.NotEmpty(t, r.Running[0].Title)
	})
}

// What was there when the time ran out counts, even if the caller had no time to look at it.
func TestAwaitTakesInWhatCameBeforeTheDeadline(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		keen, err := w.relay.Watch(w.ctx)
		require.NoError(t, err)
		defer keen.Close()
		chat := w.create("SLOW 10 400")
		ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
		defer cancel()
		var once sync.Once
		r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: chats(chat), Observe: func(relay.AwaitEvent) {
			once.Do(func() {
				for w.event(keen, client.KindStatusChange, chat.ID).Chat.Status != client.StatusWaiting {
				}
				<-ctx.Done()
			})
		}})
		require.NoError(t, err)
		require.Len(t, r.Settled, 1)
		require.False(t, r.TimedOut)
	})
}

func TestAwaitTellsWhoWaitsForCapacity(t *testing.T) {
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			w := newWorld(t, simulator.Options{Generation: g, Speed: 20, RateLimit: -1, Capacity: 1})
			ids := chats(w.create("HANG 600"), w.create("HANG 600"), w.create("HANG 600"))
			for _, id := range ids {
				t.Cleanup(func() { _, _ = w.client.InterruptChat(context.WithoutCancel(w.ctx), id) })
			}
			before := w.server.Requests()["GET /chats/{chat}"]
			ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
			defer cancel()
			r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: ids})
			require.NoError(t, err)
			require.Len(t, r.Running, 3)
			waiting := 0
			for _, c := range r.Running {
				if c.WaitsForCapacity {
					waiting++
				}
			}
			if g == simulator.May2026 {
				require.Zero(t, waiting)
				require.Equal(t, before, w.server.Requests()["GET /chats/{chat}"], "which knows nothing of it is not asked")
				return
			}
			require.Equal(t, 2, waiting)
		})
	}
}

// Whose chat it is decides whether the watch tells its end: that must not be guessed because the server stumbled.
func TestAwaitFindsOutWhoseChatItIs(t *testing.T) {
	for _, g := range generations {
		t.Run(string(g), func(t *testing.T) {
			w := newWorld(t, simulator.Options{Generation: g, Speed: 20, RateLimit: -1, Users: []simulator.User{
				{Username: "root", Token: "root-token", Owner: true, AgentsAccess: true},
				{Username: "bob", Token: "bob-token", AgentsAccess: true},
			}})
			bob := *w
			bob.client = w.client.Host().Client("bob-token")
			chat := bob.create("SLOW 10 400")
			left := w.failing("/users/me", 8, status(http.StatusInternalServerError))
			r := w.await(relay.AwaitRequest{Chats: chats(chat)})
			require.Len(t, r.Settled, 1)
			require.Negative(t, left.Load())
		})
	}
}

// Servers of May send events in another order than things happened.
func TestAwaitIgnoresAnEventThatWasOvertaken(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		events := stage(make(chan string))
		w.server.Intercept(events.answer)
		rests, works := w.create("hello"), w.create("SLOW 10 200")
		w.turnDirect(rests.ID)
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		var once sync.Once
		settled := make(chan struct{})
		var telling sync.WaitGroup
		telling.Go(func() {
			<-settled
			events <- w.told(client.KindStatusChange, rests.ID, client.StatusRunning, time.Second)
			w.turnDirect(works.ID)
			events <- w.told(client.KindStatusChange, works.ID, "", 0)
		})
		r, err := w.relay.Await(ctx, relay.AwaitRequest{Chats: chats(rests, works), All: true, Observe: func(e relay.AwaitEvent) {
			if e.Settlement != nil {
				once.Do(func() { close(settled) })
			}
		}})
		telling.Wait()
		require.NoError(t, err)
		require.Len(t, r.Settled, 2, "%v", r.Running)
	})
}

// A list that was read before a chat went on says nothing to whoever asks afterwards.
func TestAwaitTakesNoListThatWasReadBeforeItAsked(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("hello")
		before := w.await(relay.AwaitRequest{Chats: chats(chat)})
		w.relay.Close()
		w.relay = relay.New(w.client, quick)
		t.Cleanup(w.relay.Close)
		var lists atomic.Int64
		events := stage(make(chan string))
		listed, release := make(chan struct{}), make(chan struct{})
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/chats") || lists.Add(1) != 1 {
				return events.answer(rw, r)
			}
			old := httptest.NewRecorder()
			w.server.ServeHTTP(old, r)
			close(listed)
			<-release
			_, _ = rw.Write(old.Body.Bytes())
			return true
		})
		var waits sync.WaitGroup
		waits.Go(func() {
			l, err := w.relay.Watch(w.ctx)
			if err == nil {
				l.Close()
			}
		})
		<-listed
		w.send(chat.ID, "SLOW 10 400")
		asked := make(chan relay.AwaitResult)
		waits.Go(func() { asked <- w.await(relay.AwaitRequest{Chats: chats(chat), Cursor: before.Cursor}) })
		w.eventually(func() bool { return w.relay.Listening() == 2 }, "it waits for the watch")
		close(release)
		w.turnDirect(chat.ID)
		var r relay.AwaitResult
		select {
		case events <- w.told(client.KindStatusChange, chat.ID, "", 0):
			r = <-asked
		case r = <-asked:
		}
		require.Len(t, r.Settled, 1)
		waits.Wait()
	})
}
