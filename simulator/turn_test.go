package simulator_test

import (
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

func TestAPromptIsEchoedAndTitled(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, chat := w.newChat("hello world")
		require.Equal(t, map[bool]string{true: "pending", false: "running"}[g == simulator.May2026], chat["status"])
		w.until(id, "waiting")
		require.Equal(t, []string{"user: hello world", "assistant: echo: hello world"}, w.transcript(id))
		eventually(t, "title and label", func() bool {
			chat = w.get("/" + id)
			return chat["title"] == "Fake title: hello world" && chat["last_turn_summary"] == "Fake status label"
		})
		m := w.get("/" + id + "/messages")["messages"].([]any)
		require.Equal(t, object{"input_tokens": 10., "output_tokens": 3., "total_tokens": 13., "context_limit": 200000.}, m[0].(object)["usage"])
		require.NotContains(t, m[1], "usage")
	})
}

func TestALiveTurnOfAugust(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.August2026})
	id, _ := w.newChat("one NOTITLE")
	w.until(id, "waiting")
	s := w.dial(0, "/"+id+"/stream")
	require.Equal(t, []string{
		"message user: one NOTITLE", "message assistant: echo: one NOTITLE", "status waiting", "preview_reset",
	}, s.take(func(o object) bool { return o["type"] == "preview_reset" }))
	w.send(id, "TEXTTOOL list_templates {}")
	require.Equal(t, []string{
		"message user: TEXTTOOL list_templates {}", "status running", "preview_reset",
		"preview_reset", "part text I will call", "part text a tool.", "part tool-call", "part tool-call", "part tool-call",
		"message assistant: I will call a tool. <tool-call>", "preview_reset",
		"preview_reset", "part tool-result",
		`message tool: {"next_step":"No templates are available to this chat. Inform the user.","page":1,"templates":[]}`, "preview_reset",
		"preview_reset",
	}, s.n(16))
}
