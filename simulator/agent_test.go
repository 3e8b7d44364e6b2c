package simulator_test

import (
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

func TestOrders(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g, Speed: 200})
		for prompt, want := range map[string]string{
			"REASON deep thought":  "assistant: Let me think about it. answer: deep thought",
			"BURST 3":              "assistant: tok00001 tok00002 tok00003 ",
			"RETRYAFTER 3 1":       "assistant: recovered",
			"ERR 529 2":            "assistant: recovered after 2",
			"MIDERR 3 1":           "assistant: recovered after mid-stream error",
			"HANG 1":               "assistant: done after hanging",
			"USAGE 5 6":            "assistant: usage set",
			"hello\nSLOW 1 second": "assistant: echo: hello\nSLOW 1 second",
		} {
			id, _ := w.newChat(prompt)
			w.until(id, "waiting")
			require.Equal(t, want, w.transcript(id)[1], prompt)
		}
		id, _ := w.newChat("EMPTY")
		w.until(id, "waiting")
		require.Len(t, w.transcript(id), 1)
	})
}

func TestRetriesAreToldWithTheRecordedDelays(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g, Speed: 200})
		id, _ := w.newChat("warm up NOTITLE")
		w.until(id, "waiting")
		s := w.dial(0, "/"+id+"/stream")
		s.take(isStatus("waiting"))
		w.send(id, "ERR 429 2")
		var delays []any
		for o := s.next(); brief(o) != "status waiting" || delays == nil; o = s.next() {
			if o["type"] == "retry" {
				r := o["retry"].(object)
				require.Equal(t, "rate_limit", r["kind"])
				delays = append(delays, r["delay_ms"])
			}
		}
		if g == simulator.May2026 {
			require.Equal(t, []any{1000., 2000.}, delays)
		} else {
			require.Equal(t, []any{60000., 60000.}, delays)
		}
	})
}

func TestErrorsEndTheTurn(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("ERR 401")
		e := w.until(id, "error")["last_error"].(object)
		require.Equal(t, "auth", e["kind"])
		require.Equal(t, false, e["retryable"])
		require.Equal(t, map[bool]float64{true: 401, false: 502}[g == simulator.May2026], e["status_code"])
		s := w.dial(0, "/"+id+"/stream")
		seen := strings.Join(s.n(2), ",")
		if g != simulator.May2026 {
			seen += "," + brief(s.next())
			require.Contains(t, seen, "error")
		}
		w.send(id, "again")
		require.NotContains(t, w.until(id, "waiting"), "last_error")
	})
}

func TestAFullContextIsCompacted(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("USAGE 150000 10 NOTITLE")
		w.until(id, "waiting")
		w.send(id, "go on")
		w.until(id, "waiting")
		require.Contains(t, strings.Join(w.transcript(id), "\n"), "The following is a summary of the earlier conversation.")
		require.Len(t, w.get("/" + id + "/prompts")["prompts"], 2)
	})
}

func TestCapacityMakesChatsWait(t *testing.T) {
	w := start(t, simulator.Options{Capacity: 1})
	first, _ := w.newChat("HANG 60")
	second, _ := w.newChat("hello")
	eventually(t, "to wait", func() bool {
		return w.get("/" + second)["queued_for_capacity"] == true || w.get("/" + first)["queued_for_capacity"] == true
	})
	for _, id := range []string{first, second} {
		if w.get("/" + id)["queued_for_capacity"] == true {
			require.Equal(t, "running", w.get("/" + id)["status"])
		}
	}
	require.Equal(t, 200, w.call(0, "POST", "/"+first+"/interrupt", nil).status)
	w.until(second, "waiting")
}
