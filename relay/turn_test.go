package relay_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

func TestTurnReturnsTheAnswerToTheMessageJustSent(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		require.Equal(t, "echo: one", w.turn(chat.ID, relay.TurnOptions{}).Text())
		for _, prompt := range []string{"two", "LONG 3", "TOOL list_templates {}", "four"} { // the stream is lingering
			sent := w.send(chat.ID, prompt)
			out := w.turn(chat.ID, relay.TurnOptions{MessageID: sent.Message.ID})
			require.Equal(t, relay.ReasonSettled, out.Reason)
			require.Equal(t, client.StatusWaiting, out.Status)
			require.False(t, out.Unanswered)
			require.NotNil(t, out.Message, prompt)
			require.Greater(t, out.Message.ID, sent.Message.ID)
			require.Equal(t, out.Message.ID, out.LastID)
		}
	})
}

func TestTurnOfAnIdleChatReturnsAtOnceWithWhatIsNewer(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		first := w.turn(chat.ID, relay.TurnOptions{})
		again := w.turn(chat.ID, relay.TurnOptions{})
		require.Equal(t, first.Message.ID, again.Message.ID)
		known := w.turn(chat.ID, relay.TurnOptions{AfterID: first.LastID})
		require.Equal(t, relay.ReasonSettled, known.Reason)
		require.Nil(t, known.Message)
		require.Equal(t, first.LastID, known.LastID)
	})
}

func TestTurnSeesThatALingeringPictureIsBehind(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		w.send(chat.ID, "SLOW 3 200")
		out := w.turn(chat.ID, relay.TurnOptions{})
		require.True(t, strings.HasPrefix(out.Text(), "chunk-0001"), out.Text())
	})
}

func TestTurnOfAQueuedMessageWaitsForItsOwnAnswer(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 5 300")
		w.follow(chat.ID)
		first, second := w.send(chat.ID, "first queued"), w.send(chat.ID, "SLOW 5 300\nsecond queued")
		require.NotNil(t, first.QueuedMessage)
		out := w.turn(chat.ID, relay.TurnOptions{Queued: first.QueuedMessage})
		require.Equal(t, "echo: first queued", out.Text())
		require.Equal(t, relay.ReasonSettled, out.Reason)
		out = w.turn(chat.ID, relay.TurnOptions{Queued: second.QueuedMessage})
		require.True(t, strings.HasPrefix(out.Text(), "chunk-0001"))
		require.Equal(t, client.StatusWaiting, out.Status)
	})
}

func TestTurnTellsWhyAChatFailed(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("ERR 400")
		out := w.turn(chat.ID, relay.TurnOptions{})
		require.Equal(t, relay.ReasonError, out.Reason)
		require.NotNil(t, out.LastError)
		require.NotEmpty(t, out.LastError.Message)
		late := relay.New(w.client, quick)
		defer late.Close()
		again, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
		require.NoError(t, err)
		require.Equal(t, out.LastError.Message, again.LastError.Message)
		sent := w.send(chat.ID, "better")
		out = w.turn(chat.ID, relay.TurnOptions{MessageID: sent.Message.ID})
		require.Equal(t, "echo: better", out.Text())
		require.Nil(t, out.LastError)
	})
}

func TestTurnStopsAtRequiredActionAndGoesOnAfterIt(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat, err := w.client.CreateChat(w.ctx, client.CreateChatRequest{
			Content:      []client.InputPart{client.TextPart(`TOOL my_tool {"x":1}`)},
			DynamicTools: []client.DynamicTool{{Name: "my_tool", InputSchema: []byte(`{"type":"object"}`)}},
		})
		require.NoError(t, err)
		out := w.turn(chat.ID, relay.TurnOptions{})
		require.Equal(t, relay.ReasonRequiresAction, out.Reason)
		require.Len(t, out.Pending, 1)
		require.Equal(t, "my_tool", out.Pending[0].ToolName)

		late := relay.New(w.client, quick)
		defer late.Close()
		again, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
		require.NoError(t, err)
		require.Equal(t, out.Pending[0].ToolCallID, again.Pending[0].ToolCallID, "May replays no action_required")

		l := w.follow(chat.ID)
		require.NoError(t, w.client.SubmitToolResults(w.ctx, chat.ID, []client.ToolResult{
			{ToolCallID: out.Pending[0].ToolCallID, Output: []byte(`"forty-two"`)},
		}))
		events := w.until(l, relay.EventSettled)
		require.Contains(t, types(events), "message:tool", "May's stream does not bring it")
		done := w.turn(chat.ID, relay.TurnOptions{AfterID: out.LastID})
		require.Equal(t, relay.ReasonSettled, done.Reason)
		require.Contains(t, done.Text(), "forty-two")
		require.Empty(t, done.Pending)
	})
}

func TestTurnRecognisesAnUnansweredMessage(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("EMPTY")
		out := w.turn(chat.ID, relay.TurnOptions{})
		require.True(t, out.Unanswered)
		require.Nil(t, out.Message)
		sent := w.send(chat.ID, "EMPTY")
		require.True(t, w.turn(chat.ID, relay.TurnOptions{MessageID: sent.Message.ID}).Unanswered)
	})
}

func TestTurnReturnsAfterAnInterruptWithThePartialAnswer(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 400")
		l := w.follow(chat.ID)
		w.until(l, client.EventMessagePart)
		_, err := w.client.InterruptChat(w.ctx, chat.ID)
		require.NoError(t, err)
		events := w.until(l, relay.EventSettled)
		require.Equal(t, []string{"message:assistant", "status:waiting", "settled"}, types(events)[len(events)-3:])
		require.Contains(t, events[len(events)-1].Outcome.Text(), "chunk-0001")
	})
}

func TestTurnThatTimesOutTellsTheStateSoFar(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 400")
		var heard []relay.Event
		ctx, cancel := context.WithCancel(w.ctx)
		out, err := w.relay.Turn(ctx, chat.ID, relay.TurnOptions{}, func(e relay.Event) {
			if heard = append(heard, e); e.MessagePart != nil {
				cancel()
			}
		})
		require.NoError(t, err)
		require.Equal(t, relay.ReasonTimedOut, out.Reason)
		require.Equal(t, client.StatusRunning, out.Status)
		require.Contains(t, out.Text(), "chunk-0001")
		require.NotZero(t, out.LastID)
		now, err := w.client.GetChat(w.ctx, chat.ID)
		require.NoError(t, err)
		require.Equal(t, client.StatusRunning, now.Status, "the wait ends, never the chat")

		out, err = w.relay.Turn(ctx, uuid.New(), relay.TurnOptions{AfterID: 7}, nil)
		require.NoError(t, err)
		require.Equal(t, relay.Outcome{Reason: relay.ReasonTimedOut, LastID: 7}, out)
	})
}

func TestTurnUntilTheFirstEvent(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 50 400")
		out := w.turn(chat.ID, relay.TurnOptions{UntilFirstEvent: true})
		require.Equal(t, relay.ReasonFirstEvent, out.Reason)
		require.NotZero(t, out.LastID)
		out = w.turn(chat.ID, relay.TurnOptions{UntilFirstEvent: true, AfterID: out.LastID})
		require.Equal(t, relay.ReasonFirstEvent, out.Reason)
	})
}

func TestTurnNoticesAnEditBySomebodyElse(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		two := w.send(chat.ID, "two")
		w.turn(chat.ID, relay.TurnOptions{MessageID: two.Message.ID})
		l := w.follow(chat.ID)
		first := l.Picture().Messages[0].ID
		edit := func(id int64, text string) []relay.Event {
			_, err := w.client.EditMessage(w.ctx, chat.ID, id, client.EditMessageRequest{Content: []client.InputPart{client.TextPart(text)}})
			require.NoError(t, err)
			return w.until(l, relay.EventSettled)
		}
		events := edit(two.Message.ID, "two edited")
		require.Equal(t, "echo: two edited", events[len(events)-1].Outcome.Text())
		require.Contains(t, types(events), client.EventHistoryReset)
		for _, e := range events {
			if e.Type == client.EventHistoryReset {
				require.Less(t, e.GoneAfter, two.Message.ID)
			}
		}
		require.Len(t, l.Now().Messages, 4)
		events = edit(first, "one edited") // May sends only the new message
		require.Equal(t, "echo: one edited", events[len(events)-1].Outcome.Text())
		w.eventually(func() bool { return len(l.Now().Messages) == 2 }, "the old messages are gone")
	})
}

func TestTurnTellsAChatThatWaitsForCapacity(t *testing.T) {
	w := newWorld(t, simulator.Options{Generation: simulator.August2026, Capacity: 1, Speed: 20, RateLimit: -1})
	first := w.create("SLOW 100 1000")
	second := w.create("hello")
	l := w.follow(second.ID)
	require.True(t, l.Picture().WaitsForCapacity)
	_, err := w.client.InterruptChat(w.ctx, first.ID)
	require.NoError(t, err)
	events := w.until(l, relay.EventSettled)
	require.Contains(t, types(events), relay.EventCapacity)
	require.False(t, l.Now().WaitsForCapacity)

	// a chat that comes to wait while it is followed
	third := w.create("SLOW 100 1000")
	w.eventually(func() bool { return w.follow(third.ID).Now().Preview != nil }, "the third runs")
	sent := w.send(second.ID, "again")
	for _, e := range w.until(l, relay.EventCapacity) {
		if e.Type == relay.EventCapacity {
			require.True(t, e.WaitsForCapacity)
		}
	}
	_, err = w.client.InterruptChat(w.ctx, third.ID)
	require.NoError(t, err)
	require.Equal(t, "echo: again", w.turn(second.ID, relay.TurnOptions{MessageID: sent.Message.ID}).Text())
}

// A turn whose answer the stream tells needs no REST read after the picture.
func TestASettledTurnCostsNoRead(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		l := w.follow(chat.ID)
		w.eventually(func() bool { return l.Now().Connected }, "the stream is up")
		var reads atomic.Int64
		w.server.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				reads.Add(1)
			}
			return false
		})
		for range 3 {
			w.send(chat.ID, "two")
			w.until(l, relay.EventSettled)
		}
		require.Zero(t, reads.Load())
	})
}

func TestFollowFailsWithTheTypedError(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		_, err := w.relay.Follow(w.ctx, uuid.New())
		require.True(t, client.IsNotFound(err), "%v", err)
		_, err = w.relay.Turn(w.ctx, uuid.New(), relay.TurnOptions{}, nil)
		require.True(t, client.IsNotFound(err), "%v", err)
		c := w.client.Host().Client("no such token")
		r := relay.New(c, quick)
		defer r.Close()
		_, err = r.Follow(w.ctx, uuid.New())
		require.Equal(t, client.KindUnauthorized, client.KindOf(err))
		_, err = r.Watch(w.ctx)
		require.Equal(t, client.KindUnauthorized, client.KindOf(err))
	})
}
