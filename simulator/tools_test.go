package simulator_test

import (
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

var myTools = object{"unsafe_dynamic_tools": []object{
	{"name": "my_tool", "description": "does it", "input_schema": object{"type": "object"}}, {"name": "other_tool", "input_schema": object{}},
}}

// callID is the id of the first pending call.
func (w *world) callID(id string) string {
	m := w.get("/" + id + "/messages")["messages"].([]any)
	for _, one := range m {
		for _, p := range one.(object)["content"].([]any) {
			if p.(object)["type"] == "tool-call" && p.(object)["tool_name"] != "list_templates" {
				return p.(object)["tool_call_id"].(string)
			}
		}
	}
	require.Fail(w.t, "no call")
	return ""
}

func TestADynamicToolIsAnsweredByTheClient(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		watch := w.dial(0, "/watch")
		id, _ := w.newChat(`TOOLS list_templates my_tool {"x": 42} NOTITLE`, myTools)
		w.until(id, "requires_action")
		s := w.dial(0, "/"+id+"/stream")
		required := watch.take(func(o object) bool { return o["kind"] == "action_required" })
		require.Contains(t, required, "action_required requires_action")
		seen := strings.Join(s.n(map[bool]int{true: 4, false: 5}[g == simulator.May2026]), ",")
		require.Equal(t, g != simulator.May2026, strings.Contains(seen, "action_required"), "replayed to a late stream: %s", seen)
		submit := func(results ...object) answer {
			return w.call(0, "POST", "/"+id+"/tool-results", object{"results": results})
		}
		call := w.callID(id)
		for want, results := range map[string][]object{
			"At least one tool result is required.":  nil,
			"Missing tool result.":                   {{"tool_call_id": "nope", "output": 1}},
			"Duplicate tool_call_id in results.":     {{"tool_call_id": call, "output": 1}, {"tool_call_id": call, "output": 1}},
			"Unexpected tool result.":                {{"tool_call_id": call, "output": 1}, {"tool_call_id": "extra", "output": 1}},
			"Tool result output must be valid JSON.": {{"tool_call_id": call}},
		} {
			a := submit(results...)
			require.Equal(t, 400, a.status)
			require.Equal(t, want, a.object(t)["message"])
		}
		require.Equal(t, true, w.send(id, "while it waits")["queued"])
		require.Equal(t, 204, submit(object{"tool_call_id": call, "output": object{"answer": "forty-two"}}).status)
		a := submit(object{"tool_call_id": call, "output": 1})
		require.Equal(t, 409, a.status)
		eventually(t, "the end", func() bool { return strings.HasSuffix(strings.Join(w.transcript(id), "\n"), "echo: while it waits") })
		require.Contains(t, w.transcript(id), `assistant: tool result was: {"answer": "forty-two"}`)
	})
}

func TestInterruptingRequiresAction(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat(`TOOL my_tool {"x": 1} NOTITLE`, myTools)
		w.until(id, "requires_action")
		a := w.call(0, "POST", "/"+id+"/interrupt", nil)
		require.Equal(t, 200, a.status)
		w.until(id, "waiting")
		said := w.transcript(id)
		require.Equal(t, `tool: "Tool execution interrupted by user"`, said[2])
		if g == simulator.May2026 {
			require.Len(t, said, 3)
		} else {
			require.Equal(t, "assistant: tool result was: \"Tool execution interrupted by user\"", said[3])
		}
		w.send(id, `TOOL my_tool {"x": 2}`)
		w.until(id, "requires_action")
		resp := w.send(id, "instead", object{"busy_behavior": "interrupt"})
		require.Equal(t, true, resp["queued"])
		if g == simulator.May2026 { // stuck behind itself
			w.until(id, "waiting")
			require.Len(t, w.get("/" + id + "/messages")["queued_messages"], 1)
			require.Equal(t, true, w.send(id, "also stuck")["queued"])
			return
		}
		require.Len(t, resp["messages"], 1)
		w.until(id, "waiting")
		require.Equal(t, "assistant: echo: instead", w.transcript(id)[len(w.transcript(id))-1])
	})
}

func TestAClientThatNeverAnswers(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g, Speed: 2000})
		id, _ := w.newChat(`TOOL my_tool {} NOTITLE`, myTools)
		w.until(id, "requires_action")
		if g == simulator.May2026 {
			require.Equal(t, "Dynamic tool execution timed out", w.until(id, "error")["last_error"].(object)["message"])
			return
		}
		w.until(id, "waiting")
		require.Contains(t, w.transcript(id), `tool: "Tool execution timed out"`)
	})
}

func TestToolsThatFailAndToolsThatWin(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.May2026, RawToolArgs: true})
	for prompt, want := range map[string]string{
		`TOOL execute {"command": "ls"}`:       "no workspace is associated with this chat. Use the create_workspace tool to create one",
		`TOOL no_such_tool {}`:                 "Tool not active in this turn: no_such_tool",
		`TOOL list_templates {} NOTITLE`:       "invalid parameters: invalid character 'N' after top-level value",
		`TOOLS list_templates read_template`:   "template_id is required",
		`TOOL read_template {"template_id":1}`: "template_id is required",
		`TOOL spawn_agent {}`:                  "prompt is required",
		`TOOL list_templates {}`:               `{"count":0,"page":1,"templates":[],"total_count":0,"total_pages":1}`,
	} {
		id, _ := w.newChat(prompt, object{"unsafe_dynamic_tools": []object{{"name": "list_templates"}}})
		w.until(id, "waiting")
		said := w.transcript(id)
		require.Equal(t, "assistant: tool result was: "+want, said[len(said)-1])
	}
}

func TestAQuestionEndsTheTurn(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("ASK Shall I?")
	w.until(id, "waiting")
	said := w.transcript(id)
	require.Len(t, said, 3)
	require.Contains(t, said[2], "Shall I?")
}

func TestASubAgentIsAChildChat(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		watch := w.dial(0, "/watch")
		id, _ := w.newChat(`TOOL spawn_agent {"type":"general","title":"child","prompt":"SLOW 2 10 do it"} NOTITLE`)
		w.until(id, "waiting")
		children := w.get("/" + id)["children"].([]any)
		require.Len(t, children, 1)
		child := children[0].(object)["id"].(string)
		require.Equal(t, "child", children[0].(object)["title"])
		chat := w.until(child, "waiting")
		require.Equal(t, id, chat["parent_chat_id"])
		require.Equal(t, id, chat["root_chat_id"])
		require.Len(t, w.call(0, "GET", "", nil).list(t), 1, "lists show roots")
		require.Equal(t, 400, w.call(0, "PATCH", "/"+child, object{"pin_order": 1}).status)
		alone := w.call(0, "PATCH", "/"+child, object{"archived": true}).status
		if g == simulator.May2026 {
			require.Equal(t, 204, alone)
			require.Empty(t, w.get("/" + id)["children"])
		} else {
			require.Equal(t, 400, alone)
			watch.take(func(o object) bool { return o["kind"] == "chat_summary_change" })
		}
		require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"archived": true}).status)
		require.Equal(t, true, w.get("/" + child)["archived"])
		require.Equal(t, 400, w.call(0, "PATCH", "/"+child, object{"archived": false}).status)
		require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"archived": false}).status)
		require.Equal(t, false, w.get("/" + child)["archived"])
	})
}
