package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

const (
	waitLimit = 15 * time.Second
	waitStep  = 5 * time.Millisecond
)

func TestAWaitThatRanOutGoesOnWhereItStopped(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, chat := b.ok("create_chat", object{"prompt": "SLOW 40 50"})
		text, first := b.ok("stream_chat", object{"chat": chat["id"], "wait_seconds": 0.6})
		require.Equal(t, "timed_out", first["reason"])
		require.Equal(t, true, first["timed_out"])
		require.NotEmpty(t, first["status"])
		require.Contains(t, text, "the wait is over (timed_out); stream_chat goes on waiting")
		text, second := b.ok("stream_chat", object{"chat": chat["id"], "after_id": first["after_id"], "wait_seconds": 15})
		require.Equal(t, "settled", second["reason"])
		require.Equal(t, "waiting", second["status"])
		require.True(t, strings.HasPrefix(second["text"].(string), "chunk-0001 "))
		require.Contains(t, text, fmt.Sprintf("Done (waiting, after_id %v). It says:\n> chunk-0001", second["after_id"]))
		_, known := b.ok("stream_chat", object{"chat": chat["id"], "after_id": second["after_id"]})
		require.Equal(t, "settled", known["reason"])
		require.NotContains(t, known, "text", "what is known is not told again")
	})
}

func TestAWaitOfNoTimeTellsTheState(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	done := b.chat("hello", uuid.Nil)
	_, busy := b.ok("create_chat", object{"prompt": "SLOW 1000 20"})
	for _, id := range []any{done, busy["id"]} {
		text, streamed := b.ok("stream_chat", object{"chat": id, "wait_seconds": 0})
		require.NotEmpty(t, streamed["status"], text)
		_, awaited := b.ok("await_chats", object{"chats": []any{id}, "wait_seconds": 0})
		require.Len(t, append(awaited["settled"].([]any), awaited["running"].([]any)...), 1, "%v", awaited)
	}
}

func TestTheFirstEventEndsAWaitThatAsksForIt(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	_, chat := b.ok("create_chat", object{"prompt": "SLOW 1000 20"})
	_, streamed := b.ok("stream_chat", object{"chat": chat["id"], "until": "first_event"})
	require.NotContains(t, streamed, "timed_out")
	require.NotEqual(t, "settled", streamed["reason"])
	require.Equal(t, "not_found", b.fails("stream_chat", object{"chat": uuid.New()}).Kind)
}

func TestATurnWithoutAnAnswerIsTold(t *testing.T) {
	b := newBench(t, unlimited(simulator.May2026))
	id := b.chat("hello", uuid.Nil)
	text, sent := b.ok("send_chat_message", object{"chat": id, "text": "EMPTY", "wait_seconds": 15})
	require.Equal(t, "settled", sent["reason"])
	require.Equal(t, true, sent["unanswered"], text)
	require.Contains(t, text, "Send the message again, or edit_chat_message it.")
	_, awaited := b.ok("await_chats", object{"chats": []string{id}})
	require.Equal(t, true, awaited["settled"].([]any)[0].(object)["unanswered"])
}

func TestAFailedTurnIsToldWithWhatToDo(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		text, chat := b.ok("create_chat", object{"prompt": "ERR 400", "wait_seconds": 15})
		require.Equal(t, "error", chat["reason"])
		require.Equal(t, "error", chat["status"])
		require.Equal(t, "openai-compat", chat["error"].(object)["provider"])
		require.NotContains(t, chat, "last_error", "it is told once")
		require.Contains(t, text, "The turn failed: generic from openai-compat (status 400): ")
		require.Contains(t, text, "send_chat_message tries again.")
		text, _ = b.ok("create_chat", object{"prompt": "ERR 401", "wait_seconds": 15})
		require.Contains(t, text, "Sending again will not help")
		text, whole := b.ok("get_chat", object{"chat": chat["id"]})
		require.Contains(t, text, "last error: generic from openai-compat")

		_, busy := b.ok("create_chat", object{"prompt": "HANG 1\nthen nothing"})
		id := busy["id"]
		b.ok("edit_chat_message", object{"chat": id, "message_id": firstMessage(b, id), "text": "SLOW 30 20\nthen more"})
		b.ok("send_chat_message", object{"chat": id, "text": "ERR 400"})
		b.ok("send_chat_message", object{"chat": id, "text": "waits behind the failure"})
		require.Eventually(t, func() bool { _, c := b.ok("get_chat", object{"chat": id}); return c["status"] == "error" }, waitLimit, waitStep)
		text, streamed := b.ok("stream_chat", object{"chat": id})
		require.Equal(t, 1.0, streamed["queue_length"])
		require.Contains(t, text, "(1 message in its queue: they stay there after a failure; manage_chat_queue promotes one, which runs it)")
		require.NotNil(t, whole["last_error"])
	})
}

func firstMessage(b *bench, chat any) any {
	b.t.Helper()
	_, messages := b.ok("list_chat_messages", object{"chat": chat})
	return list(messages, "messages")[0]["id"]
}

func TestProgressTellsWhatTheAgentDoes(t *testing.T) {
	o := unlimited(simulator.V238)
	o.Story = true
	b := newBench(t, o)
	peer := b.record()
	_, chat := b.ok("create_chat", object{"prompt": "Refuse empty carts at checkout, please.", "wait_seconds": 15})
	require.Equal(t, "settled", chat["reason"])
	told := strings.Join(peer.told(), "\n")
	for _, pattern := range []string{`running: thinking \(\d+ s\)`, `running: read_file \S+\.\w+ \(\d+ s\)`, `running: edit_file \S+`, `running: execute "go .*"`, `running: writing its answer`} {
		require.Regexp(t, pattern, told)
	}
	require.NotContains(t, told, "\n\n")
}

func TestAwaitGivesEachSettlingOnce(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, slow := b.ok("create_chat", object{"prompt": "SLOW 2000 20"})
		_, quick := b.ok("create_chat", object{"prompt": "be quick"})
		peer := b.record()
		text, first := b.ok("await_chats", object{"chats": []any{slow["id"], quick["id"]}, "wait_seconds": 15})
		settled, running := list(first, "settled"), list(first, "running")
		require.Len(t, settled, 1)
		require.Equal(t, quick["id"], settled[0]["id"])
		require.Equal(t, "echo: be quick", settled[0]["text"])
		require.Equal(t, slow["id"], running[0]["id"])
		require.NotEmpty(t, first["cursor"])
		require.Contains(t, text, fmt.Sprintf("Go on with cursor %s", first["cursor"]))
		require.Contains(t, text, "Still running:\n"+slow["id"].(string))
		require.Contains(t, strings.Join(peer.told(), "\n"), "1 of 2 settled")
		require.Len(t, peer.concerned, 2)

		text, second := b.ok("await_chats", object{"chats": []any{slow["id"], quick["id"]}, "cursor": first["cursor"], "wait_seconds": 0.3})
		require.Equal(t, true, second["timed_out"])
		require.Empty(t, second["settled"])
		require.Contains(t, text, "(timed_out)")
		b.ok("interrupt_chat", object{"chat": slow["id"]})
		_, third := b.ok("await_chats", object{"chats": []any{slow["id"], quick["id"]}, "cursor": second["cursor"], "until": "all", "wait_seconds": 15})
		require.Len(t, third["settled"], 1)
		require.Equal(t, slow["id"], list(third, "settled")[0]["id"])
		require.Empty(t, third["running"])

		text, missing := b.ok("await_chats", object{"chats": []any{quick["id"], uuid.Max}, "until": "all", "wait_seconds": 15})
		require.Equal(t, uuid.Max.String(), list(missing, "missing")[0]["id"])
		require.Contains(t, text, uuid.Max.String()+" cannot be waited for: not_found: ")
		require.Equal(t, "not_found", b.fails("await_chats", object{"chats": []any{uuid.Max}}).Kind)
		require.Equal(t, "invalid_argument", b.fails("await_chats", object{"chats": []any{}}).Kind)
		require.Equal(t, "invalid_argument", b.fails("await_chats", object{"chats": []any{quick["id"]}, "cursor": "made up"}).Kind)
	})
}

func TestManyAnswersShareTheSize(t *testing.T) {
	const bytes, chats = 3000, 5
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	var ids []string
	for range chats {
		ids = append(ids, b.chat("word "+strings.Repeat("word ", 300), uuid.Nil))
	}
	text, awaited := b.ok("await_chats", object{"chats": ids, "until": "all"})
	sized(t, text, awaited, bytes)
	for _, c := range list(awaited, "settled") {
		require.NotEmpty(t, c["text"])
		require.NotEmpty(t, c["cut_bytes"])
		require.Contains(t, text, fmt.Sprintf("(%v bytes more: resource coder://chats/%s/messages)", c["cut_bytes"], c["id"]))
	}
	b.session.Config.MaxOutputBytes = 100
	text, _ = b.ok("await_chats", object{"chats": ids, "until": "all"})
	require.NotContains(t, text, "without a text", "it has one, there is no room for it")
}

func TestWatchReportsWhatHappens(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		id, other := b.chat("hello", uuid.Nil), b.chat("other", uuid.Nil)
		watch := func(arguments object, until func() bool) (text string, events []object, answer object) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				text, answer = okay(t, b.call("watch_chats", arguments))
			}()
			for !until() {
				select {
				case <-done:
					events = list(answer, "events")
					return text, events, answer
				case <-time.After(20 * time.Millisecond):
				}
			}
			<-done
			return text, list(answer, "events"), answer
		}
		n := 0
		rename := func() bool { // the watch begins some time after the call
			n++
			for _, chat := range []string{id, other} {
				b.ok("update_chat", object{"chat": chat, "title": fmt.Sprintf("Title %d", n)})
			}
			return false
		}
		peer := b.record()
		text, events, answer := watch(object{"chats": []string{id}, "kinds": []string{"title_change"}, "max_events": 2, "wait_seconds": 15}, rename)
		require.Len(t, events, 2)
		require.NotContains(t, answer, "timed_out")
		for _, e := range events {
			require.Equal(t, id, e["id"])
			require.Equal(t, "title_change", e["kind"])
			require.Contains(t, text, fmt.Sprintf("title_change %s waiting %q", id, e["title"]))
			require.Contains(t, strings.Join(peer.told(), "\n"), fmt.Sprintf("title_change %s waiting %q", id, e["title"]))
		}
		require.Len(t, peer.changes, 2, "what is filtered out is not passed on")

		text, answer = b.ok("watch_chats", object{"wait_seconds": 0.2, "kinds": []string{"deleted"}})
		require.Equal(t, "Nothing happened in that time (timed_out).", text)
		require.Equal(t, object{"events": []any{}, "timed_out": true}, answer)

		b.session.Config.MaxOutputBytes = 400
		text, events, answer = watch(object{"kinds": []string{"title_change"}, "max_events": 10, "wait_seconds": 15}, rename)
		sized(t, text, answer, 400)
		require.Less(t, len(events), 10)
		require.Contains(t, text, "more left out for size")
	})
}

// strictly is sized without room for a frame.
func strictly(t *testing.T, text string, structured object, most int) {
	t.Helper()
	raw, err := json.Marshal(structured)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), most, text)
	require.LessOrEqual(t, len(raw), most)
}

func TestAwaitedStaysWithinItsSize(t *testing.T) {
	const bytes, chats = 4000, 20
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	title := strings.Repeat("<title> ", 24)
	var done, busy, gone []any
	for n := range chats {
		_, chat := b.ok("create_chat", object{"prompt": "word " + strings.Repeat("word ", 100), "wait_seconds": 15})
		done = append(done, chat["id"])
		_, chat = b.ok("create_chat", object{"prompt": "HANG 600"})
		busy = append(busy, chat["id"])
		if n%2 == 0 {
			gone = append(gone, uuid.New().String())
		}
		b.ok("update_chat", object{"chat": chat["id"], "title": title})
	}
	t.Cleanup(func() {
		for _, id := range busy {
			_ = b.callWith(context.WithoutCancel(t.Context()), "interrupt_chat", object{"chat": id})
		}
	})
	all := slices.Concat(done, busy, gone)
	told := map[any]bool{}
	cursor := ""
	for len(told) < chats {
		text, awaited := b.ok("await_chats", object{"chats": all, "wait_seconds": 0, "cursor": cursor})
		strictly(t, text, awaited, bytes)
		require.NotEmpty(t, awaited["running"])
		require.NotEmpty(t, awaited["missing"])
		require.Contains(t, text, fmt.Sprintf("(%v more run: left out for size", awaited["more_running"]))
		require.Contains(t, text, fmt.Sprintf("(%v more cannot be waited for", awaited["more_missing"]))
		require.Contains(t, text, "Go on with cursor ")
		settled := list(awaited, "settled")
		require.NotEmpty(t, settled, text)
		for _, c := range settled {
			require.False(t, told[c["id"]], "told once")
			told[c["id"]] = true
		}
		if len(told) < chats {
			require.EqualValues(t, chats-len(told), awaited["more_settled"])
		}
		cursor = awaited["cursor"].(string)
	}
}

func TestAwaitedCallsWithLargeArgumentsStayWithinTheSize(t *testing.T) {
	const bytes = 5000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	_, asking := b.ok("create_chat", object{
		"prompt": `TOOL lookup {"key": "` + strings.Repeat("k", 2*bytes) + `"}`, "wait_seconds": 15,
		"dynamic_tools": []object{{"name": "lookup", "description": "d", "input_schema": object{"type": "object"}}},
	})
	text, awaited := b.ok("await_chats", object{"chats": []any{asking["id"]}})
	strictly(t, text, awaited, bytes)
	settled := list(awaited, "settled")[0]
	require.Equal(t, "lookup", list(settled, "pending_calls")[0]["tool_name"])
	call := list(settled, "pending_calls")[0]
	require.Contains(t, text, fmt.Sprintf("(%.0f bytes of these arguments left out)", call["cut_bytes"]))
}

// changed is how many events the peer was told.
func (r *recorder) changed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.changes)
}

func TestWatchTellsWhatItSawBeforeItFailed(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		id := b.chat("hello", uuid.Nil)
		peer := b.record()
		var text string
		var answer object
		done := make(chan struct{})
		go func() {
			defer close(done)
			text, answer = okay(t, b.call("watch_chats", object{"chats": []string{id}, "kinds": []string{"title_change"}, "wait_seconds": 15}))
		}()
		n := 0
		require.Eventually(t, func() bool {
			n++
			b.ok("update_chat", object{"chat": id, "title": fmt.Sprintf("Title %d", n)})
			return peer.changed() > 0
		}, waitLimit, waitStep)
		b.sim.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		})
		b.sim.CloseSockets("watch", 1001)
		<-done
		require.NotEmpty(t, answer["events"])
		require.NotContains(t, answer, "timed_out")
		require.Equal(t, "unauthorized", answer["error"].(object)["type"])
		require.Contains(t, text, "The watch ended early. unauthorized: ")
		require.Equal(t, "unauthorized", b.fails("watch_chats", object{"wait_seconds": 0}).Kind, "nothing was seen")
	})
}

// Connecting is no part of the wait.
func TestWatchConnectsHoweverShortTheWait(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	var refused atomic.Int64
	b.sim.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/chats/watch") || refused.Add(1) > 3 {
			return false
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	text, answer := b.ok("watch_chats", object{"wait_seconds": 0})
	require.Equal(t, "Nothing happened in that time (timed_out).", text)
	require.Equal(t, true, answer["timed_out"])
	require.Equal(t, int64(4), refused.Load())
}
