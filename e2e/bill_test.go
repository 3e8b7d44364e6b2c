package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// spent is what one job costs a model: the bytes of text and of structured content that enter its context. A client shows one or the other, so each
// is held to a limit of its own.
type spent struct {
	job                   string
	calls                 int
	text, structured      int
	mostText, mostJSON    int
	coders, codersInCalls int // of Coder's own MCP server, for the same job
}

func (s *spent) add(a answer) map[string]any {
	a.t.Helper()
	s.calls++
	s.text += len(a.Text)
	s.structured += len(a.Structured)
	return a.ok()
}

func (s *spent) row() string {
	return fmt.Sprintf("%-34s %6d of %5d %10d of %5d %6d %14d %6d", s.job, s.text, s.mostText, s.structured, s.mostJSON, s.calls, s.coders, s.codersInCalls)
}

// tasks are prompts as people write them.
var tasks = []string{
	"The cart's total is off by a cent when several discounts apply. Find out why and fix it.",
	"Requests to the warehouse sometimes hang for minutes; give the HTTP client a sensible limit.",
	"Describe in the README how somebody new starts the shop and runs its tests.",
	"Checkout accepts an empty cart and makes an order of nothing. Refuse that with an error.",
	"Add a test for the rounding of prices with three discounts and a quantity of seven.",
}

// TestEndToEndBill holds what the common jobs cost to what was promised, with an agent that echoes and with one that tells stories.
func TestEndToEndBill(t *testing.T) {
	for name, story := range map[string]bool{"echo": false, "story": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, err := simulator.Start(simulator.Options{TokenDelay: time.Millisecond, Story: story})
			require.NoError(t, err)
			t.Cleanup(sim.Close)
			p := start(t, backend{url: sim.URL, token: sim.Users()[0].Token, sim: sim}.environment())
			bill := []spent{listBill(p), taskBill(p), transcriptBill(p), parallelBill(p)}
			table := fmt.Sprintf("%-34s %15s %19s %6s %14s %6s", name, "text", "structured", "calls", "Coder's text", "calls")
			for _, s := range bill {
				table += "\n" + s.row()
			}
			fmt.Println(table)
			for _, s := range bill {
				require.LessOrEqual(t, s.text, s.mostText, "text of %s", s.job)
				require.LessOrEqual(t, s.structured, s.mostJSON, "structured content of %s", s.job)
			}
		})
	}
}

func listBill(p *peer) spent {
	var chats []string
	for i := range 20 {
		chats = append(chats, p.tool("create_chat", map[string]any{"prompt": tasks[i%len(tasks)]}).ok()["id"].(string))
	}
	require.Empty(p.t, p.tool("await_chats", map[string]any{"chats": chats, "until": "all", "wait_seconds": 60}).ok()["running"])
	s := spent{job: "20 chats, listed", mostText: 2500, mostJSON: 3600, coders: 5842, codersInCalls: 1}
	require.Len(p.t, s.add(p.tool("list_chats", map[string]any{"limit": 20}))["chats"], 20)
	return s
}

func taskBill(p *peer) spent {
	s := spent{job: "a task, delegated", mostText: 700, mostJSON: 900, coders: 1162, codersInCalls: 3}
	done := s.add(p.tool("create_chat", map[string]any{"prompt": tasks[0], "wait_seconds": 60}))
	require.Equal(p.t, "settled", done["reason"])
	require.NotEmpty(p.t, done["text"])
	return s
}

func transcriptBill(p *peer) spent {
	id := p.tool("create_chat", map[string]any{"prompt": tasks[1], "wait_seconds": 60}).ok()["id"].(string)
	for i := range 21 {
		text := tasks[i%len(tasks)]
		if i%3 == 0 {
			text = "TEXTTOOL list_templates {}\n" + text
		}
		require.Equal(p.t, "settled", p.tool("send_chat_message", map[string]any{"chat": id, "text": text, "wait_seconds": 60}).ok()["reason"])
	}
	s := spent{job: "50 messages with tool calls, read", mostText: 8000, mostJSON: 9000, coders: 10976, codersInCalls: 1}
	read := p.tool("list_chat_messages", map[string]any{"chat": id, "limit": 50})
	require.NotZero(p.t, s.add(read)["next_before_id"], "the chat has more than 50 messages")
	for form, body := range map[string]string{"text": read.Text, "structured content": string(read.Structured)} {
		require.Contains(p.t, body, "list_templates", "%s names the tool calls", form)
		require.Greater(p.t, strings.Count(body, "assistant"), 15, form)
	}
	return s
}

func parallelBill(p *peer) spent {
	s := spent{job: "3 tasks in parallel", mostText: 2200, mostJSON: 2800, coders: 3744, codersInCalls: 9}
	var chats []string
	for _, task := range tasks[:3] {
		chats = append(chats, s.add(p.tool("create_chat", map[string]any{"prompt": task}))["id"].(string))
	}
	done := s.add(p.tool("await_chats", map[string]any{"chats": chats, "until": "all", "wait_seconds": 60}))
	require.Len(p.t, done["settled"], 3)
	require.Empty(p.t, done["running"])
	return s
}
