package simulator_test

import (
	"fmt"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

func TestQueuedMessagesRunOneAfterTheOther(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 4 40 NOTITLE")
		first := w.send(id, "queued one")
		require.Equal(t, true, first["queued"])
		require.NotContains(t, first, "message")
		w.send(id, "queued two", object{"plan_mode": "plan"})
		require.Equal(t, "plan", w.get("/" + id)["plan_mode"])
		page := w.get("/" + id + "/messages")
		require.Len(t, page["queued_messages"], 2)
		require.Empty(t, w.get("/" + id + "/messages?before_id=99999")["queued_messages"])
		w.until(id, "waiting")
		require.Equal(t, []string{
			"user: SLOW 4 40 NOTITLE", "assistant: chunk-0001 chunk-0002 chunk-0003 chunk-0004 ",
			"user: queued one", "assistant: echo: queued one", "user: queued two", "assistant: echo: queued two",
		}, w.transcript(id))
	})
}

func TestAQueueHoldsTwenty(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("HANG 60 NOTITLE")
		w.until(id, "running")
		for i := range 20 {
			w.send(id, fmt.Sprint("q", i))
		}
		a := w.call(0, "POST", "/"+id+"/messages", object{"content": text("q20")})
		require.Equal(t, 429, a.status)
		require.JSONEq(t, `{"message":"Message queue is full.","detail":"Maximum 20 messages can be queued."}`, string(a.body))
		require.Empty(t, a.header.Get("Retry-After"))
		queue := w.get("/" + id + "/messages")["queued_messages"].([]any)
		idOf := func(i int) string { return fmt.Sprint(queue[i].(object)["id"]) }
		require.Equal(t, 204, w.call(0, "DELETE", "/"+id+"/queue/"+idOf(0), nil).status)
		again := w.call(0, "DELETE", "/"+id+"/queue/"+idOf(0), nil).status
		unknown := w.call(0, "POST", "/"+id+"/queue/99999/promote", nil).status
		if g == simulator.May2026 {
			require.Equal(t, []int{204, 500}, []int{again, unknown})
		} else {
			require.Equal(t, []int{404, 404}, []int{again, unknown})
		}
		require.Equal(t, 400, w.call(0, "DELETE", "/"+id+"/queue/abc", nil).status)
		require.Equal(t, 202, w.call(0, "POST", "/"+id+"/queue/"+idOf(5)+"/promote", nil).status)
		var said []string
		eventually(t, "all answers", func() bool {
			said = w.transcript(id)
			return len(said) == 1+19*2
		})
		require.Equal(t, "user: q5", said[1])
		require.Equal(t, "user: q1", said[3])
	})
}

func TestInterruptKeepsThePartialAnswer(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 200 20 NOTITLE")
		s := w.dial(0, "/"+id+"/stream")
		s.take(func(o object) bool { return o["type"] == "message_part" })
		a := w.call(0, "POST", "/"+id+"/interrupt", nil)
		require.Equal(t, 200, a.status)
		now := a.object(t)["status"]
		w.until(id, "waiting")
		eventually(t, "the partial", func() bool { return len(w.transcript(id)) == 2 })
		m := w.get("/" + id + "/messages")["messages"].([]any)[0].(object)
		require.NotContains(t, m, "usage")
		again := w.call(0, "POST", "/"+id+"/interrupt", nil)
		if g == simulator.May2026 {
			require.Equal(t, "waiting", now)
			require.Len(t, m["content"], 1)
			require.Equal(t, 200, again.status)
			return
		}
		require.Equal(t, "interrupting", now)
		require.Equal(t, 409, again.status)
		require.Equal(t, "Chat is not in an interruptible state.", again.object(t)["message"])
	})
}

func TestAnInterruptingMessageMakesItsWay(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 200 20 NOTITLE")
		s := w.dial(0, "/"+id+"/stream")
		s.take(func(o object) bool { return o["type"] == "message_part" })
		require.Equal(t, true, w.send(id, "stop and do this", object{"busy_behavior": "interrupt"})["queued"])
		eventually(t, "the answer", func() bool {
			said := w.transcript(id)
			return said[len(said)-1] == "assistant: echo: stop and do this"
		})
		require.Len(t, w.transcript(id), 4)
	})
}

func TestABacklogBehindAnError(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 2 50 NOTITLE")
		w.send(id, "ERR 403")
		w.send(id, "after the error")
		chat := w.until(id, "error")
		require.Equal(t, "auth", chat["last_error"].(object)["kind"])
		resp := w.send(id, "one more")
		require.Equal(t, true, resp["queued"])
		if g == simulator.May2026 {
			require.Equal(t, "waiting", w.call(0, "POST", "/"+id+"/interrupt", nil).object(t)["status"])
			queue := w.get("/" + id + "/messages")["queued_messages"].([]any)
			require.Len(t, queue, 2)
			require.Equal(t, 202, w.call(0, "POST", fmt.Sprintf("/%s/queue/%v/promote", id, queue[0].(object)["id"]), nil).status)
		} else {
			require.Len(t, resp["messages"], 1)
		}
		eventually(t, "both answers", func() bool {
			said := w.transcript(id)
			return said[len(said)-1] == "assistant: echo: one more"
		})
		require.NotContains(t, w.until(id, "waiting"), "last_error")
	})
}
