package relay_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
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

func (w *world) delete(chat uuid.UUID, queued int64) {
	w.t.Helper()
	require.NoError(w.t, w.client.DeleteQueuedMessage(w.ctx, chat, queued))
}

// get reads what the API says at an address of the chat, wherever this generation has it.
func (w *world) get(chat uuid.UUID, rest string) string {
	w.t.Helper()
	for _, prefix := range []string{"/api/experimental", "/api/v2"} {
		r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, w.server.URL+prefix+"/chats/"+chat.String()+rest, nil)
		require.NoError(w.t, err)
		r.Header.Set("Coder-Session-Token", w.server.Users()[0].Token)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(w.t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(w.t, err)
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return string(body)
		}
	}
	require.Fail(w.t, "the API does not say", rest)
	return ""
}

// turns waits for several queued messages at once and returns their outcomes in this order.
func (w *world) turns(chat uuid.UUID, queued ...*client.QueuedMessage) []relay.Outcome {
	w.t.Helper()
	outcomes := make([]relay.Outcome, len(queued))
	var waits sync.WaitGroup
	for i, q := range queued {
		waits.Go(func() {
			out, err := w.relay.Turn(w.ctx, chat, relay.TurnOptions{Queued: q}, nil)
			assert.NoError(w.t, err)
			outcomes[i] = out
		})
	}
	waits.Wait()
	return outcomes
}

func TestTurnsOfQueuedMessagesGetTheirOwnAnswers(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		for _, cut := range []bool{false, true} {
			chat := w.create("SLOW 5 300")
			l := w.follow(chat.ID)
			w.until(l, client.EventMessagePart)
			one, two, three := w.send(chat.ID, "one"), w.send(chat.ID, "two"), w.send(chat.ID, "three")
			if cut { // both left the queue when the stream is back
				w.server.CloseSockets("stream", 1001)
			}
			out := w.turns(chat.ID, three.QueuedMessage, one.QueuedMessage, two.QueuedMessage)
			require.Equal(t, []string{"echo: three", "echo: one", "echo: two"}, []string{out[0].Text(), out[1].Text(), out[2].Text()})
			require.False(t, out[0].Next)
		}
	})
}

func TestTurnsOfQueuedMessagesOfTheSameWordsGetTheirOwnAnswers(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 5 300")
		w.until(w.follow(chat.ID), client.EventMessagePart)
		one, two := w.send(chat.ID, "go on"), w.send(chat.ID, "go on")
		out := w.turns(chat.ID, one.QueuedMessage, two.QueuedMessage)
		require.Equal(t, "echo: go on", out[0].Text())
		require.Equal(t, "echo: go on", out[1].Text())
		require.Less(t, out[0].Message.ID, out[1].Message.ID)
	})
}

func TestTurnOfAQueuedMessageThatIsWithdrawn(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 1000")
		l := w.follow(chat.ID)
		w.until(l, client.EventMessagePart)
		first := l.Picture().Messages[0].ID
		for name, withdraw := range map[string]func(q int64){
			"deleted": func(q int64) { w.delete(chat.ID, q) },
			"edited": func(int64) {
				_, err := w.client.EditMessage(w.ctx, chat.ID, first, client.EditMessageRequest{Content: []client.InputPart{client.TextPart("SLOW 100 1000")}})
				require.NoError(t, err)
				first = l.Now().LastID
			},
		} {
			queued := w.send(chat.ID, "never").QueuedMessage
			require.NotNil(t, queued, name)
			w.eventually(func() bool { return len(l.Now().Queue) == 1 }, "it is in the queue")
			done := make(chan relay.Outcome, 1)
			go func() {
				out, err := w.relay.Turn(w.ctx, chat.ID, relay.TurnOptions{Queued: queued}, nil)
				assert.NoError(t, err)
				done <- out
			}()
			w.eventually(func() bool { return w.relay.Listeners(chat.ID) == 2 }, "somebody waits for it")
			withdraw(queued.ID)
			out := <-done
			require.True(t, out.Withdrawn, name)
			require.Empty(t, out.Text(), "what the chat says is no answer to it")
			require.True(t, w.turn(chat.ID, relay.TurnOptions{Queued: queued}).Withdrawn, "also afterwards")
			first = l.Now().Messages[0].ID
		}
	})
}

func TestTurnOfAQueuedMessageThatCannotRun(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 5 300")
		w.until(w.follow(chat.ID), client.EventMessagePart)
		w.send(chat.ID, "ERR 400")
		stuck := w.send(chat.ID, "stuck").QueuedMessage
		for range 2 { // while it is noticed, and when it was so before
			out := w.turn(chat.ID, relay.TurnOptions{Queued: stuck})
			require.Equal(t, relay.ReasonError, out.Reason)
			require.NotNil(t, out.LastError)
			require.Equal(t, 1, out.Queued)
			require.Empty(t, out.Text())
		}
		require.NoError(t, w.client.PromoteQueuedMessage(w.ctx, chat.ID, stuck.ID))
		require.Equal(t, "echo: stuck", w.turn(chat.ID, relay.TurnOptions{Queued: stuck}).Text())
	})
}

func TestAWaitForAQueuedMessageTellsNothingOfTheTurnBefore(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 100 2000")
		w.until(w.follow(chat.ID), client.EventMessagePart)
		queued := w.send(chat.ID, "later").QueuedMessage
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		defer cancel()
		out, err := w.relay.Turn(ctx, chat.ID, relay.TurnOptions{Queued: queued}, nil)
		require.NoError(t, err)
		require.Equal(t, relay.ReasonTimedOut, out.Reason)
		require.Equal(t, client.StatusRunning, out.Status)
		require.Empty(t, out.Text())
	})
}

func TestTurnFollowsOneTurnOfAChatThatWorksOffItsQueue(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 5 300")
		w.until(w.follow(chat.ID), client.EventMessagePart)
		w.send(chat.ID, "two")
		w.send(chat.ID, "three")
		first := w.turn(chat.ID, relay.TurnOptions{})
		require.True(t, strings.HasPrefix(first.Text(), "chunk-0001"), first.Text())
		require.Equal(t, relay.ReasonSettled, first.Reason)
		require.True(t, first.Next)
		for range 2 { // live, and when all is over
			second := w.turn(chat.ID, relay.TurnOptions{AfterID: first.LastID})
			require.Equal(t, "echo: two", second.Text())
			require.True(t, second.Next)
			third := w.turn(chat.ID, relay.TurnOptions{AfterID: second.LastID})
			require.Equal(t, "echo: three", third.Text())
			require.False(t, third.Next)
			require.Nil(t, w.turn(chat.ID, relay.TurnOptions{AfterID: third.LastID}).Message)
		}
		require.Equal(t, "echo: three", w.turn(chat.ID, relay.TurnOptions{}).Text())
		late := relay.New(w.client, quick)
		defer late.Close()
		last, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
		require.NoError(t, err)
		require.Equal(t, "echo: three", last.Text())
		require.False(t, last.Next)
	})
}

func TestTurnUntilRest(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 5 300")
		w.until(w.follow(chat.ID), client.EventMessagePart)
		w.send(chat.ID, "two")
		out := w.turn(chat.ID, relay.TurnOptions{UntilRest: true})
		require.Equal(t, "echo: two", out.Text())
		require.False(t, out.Next)
	})
}

// What happened before the deadline counts, though it was not read yet.
func TestTurnReadsWhatIsThereBeforeItTimesOut(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 3 300")
		other := w.follow(chat.ID)
		ctx, cancel := context.WithDeadline(w.ctx, time.Now().Add(time.Second))
		defer cancel()
		out, err := w.relay.Turn(ctx, chat.ID, relay.TurnOptions{}, func(relay.Event) {
			if ctx.Err() == nil { // a slow observer
				w.until(other, relay.EventSettled)
				<-ctx.Done()
			}
		})
		require.NoError(t, err)
		require.Equal(t, relay.ReasonSettled, out.Reason)
		require.NotNil(t, out.Message)
	})
}

// Also the very next one, when that is the one that ends the turn.
func TestTurnDropsNoEventAtItsDeadline(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("SLOW 3 300")
		other := w.follow(chat.ID)
		ctx, cancel := context.WithDeadline(w.ctx, time.Now().Add(time.Second))
		defer cancel()
		var told, heard []relay.Event
		_, err := w.relay.Turn(ctx, chat.ID, relay.TurnOptions{}, func(e relay.Event) {
			if told = append(told, e); len(told) == 1 {
				heard = w.until(other, relay.EventSettled)
				<-ctx.Done()
			}
		})
		require.NoError(t, err)
		after := func(events []relay.Event) (said string) {
			for _, e := range events {
				switch {
				case e.Serial <= told[0].Serial:
				case e.MessagePart != nil:
					said += e.MessagePart.Part.Text
				default:
					said += "\n" + types([]relay.Event{e})[0] + "\n"
				}
			}
			return said
		}
		require.Contains(t, after(told), "settled")
		require.Equal(t, after(heard), after(told))
	})
}

func TestTurnHasTimeForAFirstLook(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("HANG 20")
		w.server.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				time.Sleep(50 * time.Millisecond)
			}
			return false
		})
		ctx, cancel := context.WithTimeout(w.ctx, time.Millisecond)
		defer cancel()
		out, err := w.relay.Turn(ctx, chat.ID, relay.TurnOptions{}, nil)
		require.NoError(t, err)
		require.Equal(t, relay.ReasonTimedOut, out.Reason)
		require.True(t, out.Status.Busy(), out.Status)
		require.NotZero(t, out.LastID)
	})
}

func TestTurnReachesBackToWhatTheCallerKnows(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("message 0")
		first := w.turn(chat.ID, relay.TurnOptions{})
		const more = 40
		var ids []int64
		for i := range more {
			sent := w.send(chat.ID, fmt.Sprint("message ", i+1))
			ids = append(ids, sent.Message.ID, w.turn(chat.ID, relay.TurnOptions{MessageID: sent.Message.ID}).LastID)
		}
		late := relay.New(w.client, quick)
		defer late.Close()
		var told []int64
		out, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{AfterID: first.LastID}, func(e relay.Event) {
			if e.Message != nil {
				told = append(told, e.Message.ID)
			}
		})
		require.NoError(t, err)
		require.Equal(t, ids, told)
		require.Equal(t, "echo: message 1", out.Text())
		require.True(t, out.Next)
		out, err = late.Turn(w.ctx, chat.ID, relay.TurnOptions{MessageID: ids[0]}, nil)
		require.NoError(t, err)
		require.Equal(t, "echo: message 1", out.Text(), "its answer is older than the picture")
	})
}

// A listener that comes while the first read is on its way must not take that for the state after its question.
func TestTurnDoesNotTrustAReadThatBeganBefore(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		w.turn(chat.ID, relay.TurnOptions{})
		stale := map[string]string{}
		path := func(r *http.Request) string {
			_, rest, _ := strings.Cut(r.URL.Path, chat.ID.String())
			return rest
		}
		for _, rest := range []string{"", "/messages"} {
			stale[rest] = w.get(chat.ID, rest)
		}
		reading, joined := make(chan struct{}), make(chan struct{})
		var reads atomic.Int64
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			body, ok := stale[path(r)]
			if r.Method != http.MethodGet || !ok || r.Header.Get("Upgrade") != "" || reads.Add(1) > 2 {
				return false
			}
			if path(r) == "" {
				close(reading)
				<-joined
			}
			rw.Header().Set("Content-Type", "application/json")
			_, err := rw.Write([]byte(body))
			assert.NoError(t, err)
			return true
		})
		late := relay.New(w.client, quick)
		defer late.Close()
		before := make(chan error, 1)
		go func() {
			_, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
			before <- err
		}()
		<-reading
		w.send(chat.ID, "two")
		answer := make(chan string, 1)
		go func() {
			out, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
			assert.NoError(t, err)
			answer <- out.Text()
		}()
		w.eventually(func() bool { return late.Listeners(chat.ID) == 2 }, "the second asks")
		close(joined)
		require.Equal(t, "echo: two", <-answer)
		require.NoError(t, <-before)
	})
}

func TestFollowNoticesThatAChatWaitsForCapacityNoLongerThoughItIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Generation: simulator.August2026, Capacity: 1, Speed: 20, RateLimit: -1})
	first := w.create("SLOW 100 1000")
	second := w.create("HANG 600")
	l := w.follow(second.ID)
	require.True(t, l.Picture().WaitsForCapacity)
	_, err := w.client.InterruptChat(w.ctx, first.ID)
	require.NoError(t, err)
	events := w.until(l, relay.EventCapacity)
	require.False(t, events[len(events)-1].WaitsForCapacity)
}

// A chat is read before its messages: these may be of a turn that began and ended in between.
func TestFollowBelievesNoStatusOfBeforeTheMessages(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("ERR 400")
		require.Equal(t, relay.ReasonError, w.turn(chat.ID, relay.TurnOptions{}).Reason)
		stale := w.get(chat.ID, "")
		sent := w.send(chat.ID, "better")
		w.turn(chat.ID, relay.TurnOptions{MessageID: sent.Message.ID})
		var once sync.Once
		w.server.Intercept(func(rw http.ResponseWriter, r *http.Request) (answered bool) {
			if strings.HasSuffix(r.URL.Path, chat.ID.String()) {
				once.Do(func() {
					rw.Header().Set("Content-Type", "application/json")
					_, err := io.WriteString(rw, stale)
					assert.NoError(t, err)
					answered = true
				})
			}
			return answered
		})
		late := relay.New(w.client, quick)
		defer late.Close()
		out, err := late.Turn(w.ctx, chat.ID, relay.TurnOptions{}, nil)
		require.NoError(t, err)
		require.Equal(t, relay.ReasonSettled, out.Reason)
		require.Equal(t, "echo: better", out.Text())
	})
}
