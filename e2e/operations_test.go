package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// newChat creates a chat that is archived when the test ends, and waits for its first answer.
func newChat(t *testing.T, p *peer, prompt string) (id string, created map[string]any) {
	t.Helper()
	created = p.tool("create_chat", map[string]any{"prompt": prompt, "wait_seconds": 60, "labels": map[string]any{"suite": "e2e"}}).ok()
	id = created["id"].(string)
	t.Cleanup(func() {
		p.tool("interrupt_chat", map[string]any{"chat": id})
		p.tool("stream_chat", map[string]any{"chat": id, "wait_seconds": 20})
		p.tool("update_chat", map[string]any{"chat": id, "archived": true})
	})
	return id, created
}

const smallTask = "Reply with the single word pong. Use no tools."

func TestEndToEndCreateAndReadAChat(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, created := newChat(t, p, smallTask)
		require.Equal(t, "settled", created["reason"])
		require.Equal(t, "waiting", created["status"])
		require.Contains(t, strings.ToLower(created["text"].(string)), "pong")
		require.Contains(t, created["url"], id)

		chat := p.tool("get_chat", map[string]any{"chat": created["url"]}).ok()
		require.Equal(t, id, chat["id"])
		require.Equal(t, "waiting", chat["status"])

		listed := p.tool("list_chats", map[string]any{"labels": map[string]any{"suite": "e2e"}, "limit": 100}).ok()
		require.Contains(t, ids(listed["chats"]), id)

		messages := p.tool("list_chat_messages", map[string]any{"chat": id}).ok()
		said := messages["messages"].([]any)
		require.GreaterOrEqual(t, len(said), 2)
		require.Equal(t, smallTask, firstOf(said, "user")["text"])
		require.NotZero(t, messages["next_after_id"])

		full := p.tool("list_chat_messages", map[string]any{"chat": id, "detail": "full", "limit": 1})
		require.NotEmpty(t, full.ok()["messages"].([]any)[0].(map[string]any)["parts"])
		require.NotZero(t, full.ok()["next_before_id"])

		prompts := p.tool("list_chat_prompts", map[string]any{"chat": id}).ok()["prompts"].([]any)
		require.Equal(t, smallTask, prompts[0].(map[string]any)["text"])
	})
}

func ids(chats any) []string {
	var out []string
	for _, c := range chats.([]any) {
		out = append(out, c.(map[string]any)["id"].(string))
	}
	return out
}

func firstOf(messages []any, role string) map[string]any {
	for _, m := range messages {
		if message := m.(map[string]any); message["role"] == role {
			return message
		}
	}
	return nil
}

func TestEndToEndSendEditAndStream(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, _ := newChat(t, p, smallTask)

		sent := p.tool("send_chat_message", map[string]any{"chat": id, "text": "Now reply with the single word ping.", "wait_seconds": 60}).ok()
		require.Equal(t, false, sent["queued"])
		require.NotZero(t, sent["message_id"])
		require.Contains(t, strings.ToLower(sent["text"].(string)), "ping")

		edited := p.tool("edit_chat_message", map[string]any{"chat": id, "message_id": sent["message_id"], "text": "Now reply with the single word pang.", "wait_seconds": 60}).ok()
		require.NotEqual(t, sent["message_id"], edited["message_id"])
		require.Contains(t, strings.ToLower(edited["text"].(string)), "pang")

		known := p.tool("send_chat_message", map[string]any{"chat": id, "text": "Reply with the single word pung."}).ok()
		streamed := p.tool("stream_chat", map[string]any{"chat": id, "after_id": known["message_id"], "wait_seconds": 60}).ok()
		require.Equal(t, id, streamed["id"])
		require.Equal(t, "waiting", streamed["status"])
		require.Equal(t, "settled", streamed["reason"])
		require.Contains(t, strings.ToLower(streamed["text"].(string)), "pung")
		require.Greater(t, streamed["after_id"], known["message_id"])
	})
}

func TestEndToEndUpdateAndTitle(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, _ := newChat(t, p, smallTask)
		updated := p.tool("update_chat", map[string]any{"chat": id, "title": "A title of the suite", "labels": map[string]any{"suite": "e2e", "stage": "two"}, "pin_order": 1}).ok()
		require.Equal(t, "A title of the suite", updated["title"])
		require.Equal(t, map[string]any{"suite": "e2e", "stage": "two"}, updated["labels"])
		require.NotEmpty(t, p.tool("regenerate_chat_title", map[string]any{"chat": id}).ok()["title"])
		require.Equal(t, true, p.tool("update_chat", map[string]any{"chat": id, "archived": true}).ok()["archived"])
		require.Equal(t, true, p.tool("update_chat", map[string]any{"chat": id, "archived": true}).ok()["archived"], "archiving twice is archiving once")
		p.tool("send_chat_message", map[string]any{"chat": id, "text": "hello"}).failed("invalid_argument")
		require.Nil(t, p.tool("update_chat", map[string]any{"chat": id, "archived": false}).ok()["archived"])
	})
}

func TestEndToEndInterruptAndAwait(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		slow := p.tool("create_chat", map[string]any{"prompt": "SLOW 500 20\nnever ends by itself"}).ok()["id"].(string)
		quick := p.tool("create_chat", map[string]any{"prompt": "quick"}).ok()["id"].(string)

		first := p.tool("await_chats", map[string]any{"chats": []string{slow, quick}, "wait_seconds": 30}).ok()
		require.Equal(t, []string{quick}, ids(first["settled"]))
		require.Equal(t, []string{slow}, ids(first["running"]))

		again := p.tool("await_chats", map[string]any{"chats": []string{slow, quick}, "wait_seconds": 0.3, "cursor": first["cursor"]}).ok()
		require.Empty(t, again["settled"])
		require.Equal(t, true, again["timed_out"])

		require.Contains(t, []any{"interrupting", "waiting"}, p.tool("interrupt_chat", map[string]any{"chat": slow}).ok()["status"])
		all := p.tool("await_chats", map[string]any{"chats": []string{slow, quick}, "until": "all", "wait_seconds": 30, "cursor": again["cursor"]}).ok()
		require.Equal(t, []string{slow}, ids(all["settled"]))
		require.Empty(t, all["running"])
		require.Contains(t, p.tool("interrupt_chat", map[string]any{"chat": slow}).Text, slow, "interrupting an idle chat is no failure")
	})
}

func TestEndToEndTimeOutIsAState(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		created := p.tool("create_chat", map[string]any{"prompt": "SLOW 40 50\ntakes two seconds", "wait_seconds": 0.5}).ok()
		require.Equal(t, "timed_out", created["reason"])
		require.Equal(t, true, created["timed_out"])
		streamed := p.tool("stream_chat", map[string]any{"chat": created["id"], "wait_seconds": 30}).ok()
		require.Equal(t, "settled", streamed["reason"])
		require.NotEmpty(t, streamed["text"])
	})
}

func TestEndToEndToolsOfTheCaller(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		created := p.tool("create_chat", map[string]any{
			"prompt": `TOOL lookup {"key": "a"}`, "wait_seconds": 30,
			"dynamic_tools": []any{map[string]any{"name": "lookup", "description": "looks a key up", "input_schema": map[string]any{"type": "object"}}},
		}).ok()
		require.Equal(t, "requires_action", created["reason"])
		calls := created["pending_calls"].([]any)
		require.Len(t, calls, 1)
		call := calls[0].(map[string]any)
		require.Equal(t, "lookup", call["tool_name"])
		id := created["id"].(string)

		awaited := p.tool("await_chats", map[string]any{"chats": []string{id}}).ok()["settled"].([]any)[0].(map[string]any)
		require.Equal(t, "requires_action", awaited["reason"])
		require.Len(t, awaited["pending_calls"], 1)

		p.tool("submit_tool_results", map[string]any{"chat": id, "results": []any{map[string]any{"tool_call_id": "wrong", "output": "x"}}}).failed("invalid_argument")
		answered := p.tool("submit_tool_results", map[string]any{"chat": id, "wait_seconds": 30, "results": []any{map[string]any{"tool_call_id": call["tool_call_id"], "output": map[string]any{"value": 42}}}}).ok()
		require.Equal(t, "settled", answered["reason"])
		require.Contains(t, answered["text"], "42")
		p.tool("submit_tool_results", map[string]any{"chat": id, "results": []any{map[string]any{"tool_call_id": call["tool_call_id"], "output": 1}}}).failed("conflict")
	})
}

func TestEndToEndQueue(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id := p.tool("create_chat", map[string]any{"prompt": "SLOW 300 10\nbusy"}).ok()["id"].(string)
		var queued []any
		for i := range 3 {
			sent := p.tool("send_chat_message", map[string]any{"chat": id, "text": fmt.Sprintf("queued %d", i)}).ok()
			require.Equal(t, true, sent["queued"])
			queued = append(queued, sent["queued_message_id"])
		}
		listed := p.tool("list_chat_messages", map[string]any{"chat": id}).ok()["queued"].([]any)
		require.Len(t, listed, 3)
		p.tool("manage_chat_queue", map[string]any{"chat": id, "message_id": queued[0], "action": "delete"}).ok()
		p.tool("manage_chat_queue", map[string]any{"chat": id, "message_id": queued[2], "action": "promote"}).ok()
		settled := p.tool("await_chats", map[string]any{"chats": []string{id}, "wait_seconds": 60}).ok()
		require.Len(t, settled["settled"], 1)
		var said []string
		for _, prompt := range p.tool("list_chat_prompts", map[string]any{"chat": id}).ok()["prompts"].([]any) {
			said = append(said, prompt.(map[string]any)["text"].(string))
		}
		require.NotContains(t, said, "queued 0")
		require.Contains(t, said, "queued 2")
	})
}

func TestEndToEndErrorsOfAgents(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		failed := p.tool("create_chat", map[string]any{"prompt": "ERR 400", "wait_seconds": 30})
		structured := failed.ok()
		require.Equal(t, "error", structured["reason"])
		require.Equal(t, "error", structured["status"])
		require.NotEmpty(t, structured["error"])
		require.Contains(t, failed.Text, "The turn failed")
		again := p.tool("send_chat_message", map[string]any{"chat": structured["id"], "text": "hello", "wait_seconds": 30}).ok()
		require.Equal(t, "settled", again["reason"])
	})
}

func TestEndToEndWatch(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, _ := newChat(t, p, smallTask)
		_, wait := p.startTool("watch_chats", map[string]any{"chats": []string{id}, "kinds": []string{"status_change"}, "max_events": 1, "wait_seconds": 60})
		// The watch begins some time after the call: turns are started until it has seen one.
		for {
			p.tool("send_chat_message", map[string]any{"chat": id, "text": smallTask, "wait_seconds": 60}).ok()
			select {
			case m := <-wait:
				done := make(chan message, 1)
				done <- m
				events := p.result("watch_chats", done).ok()["events"].([]any)
				require.Len(t, events, 1)
				require.Equal(t, id, events[0].(map[string]any)["id"])
				return
			default:
			}
		}
	})
}

func TestEndToEndModels(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		models := p.tool("list_chat_models", nil).ok()["models"].([]any)
		require.NotEmpty(t, models)
		name := models[0].(map[string]any)["name"]
		created := p.tool("create_chat", map[string]any{"prompt": smallTask, "model": name, "wait_seconds": 60}).ok()
		require.Equal(t, "settled", created["reason"])
		p.tool("update_chat", map[string]any{"chat": created["id"], "archived": true}).ok()
		text := p.tool("create_chat", map[string]any{"prompt": "x", "model": "no such model"}).failed("invalid_argument")
		require.Contains(t, text, name)
	})
}

func TestEndToEndFiles(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		dir := t.TempDir()
		p := start(t, b.environment(), "stdio", "--allow-dir", dir)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.md"), []byte("# notes\n\nremember the milk\n"), 0o600))
		uploaded := p.tool("upload_chat_file", map[string]any{"path": filepath.Join(dir, "notes.md")}).ok()
		id := uploaded["file_id"].(string)
		require.Contains(t, p.tool("get_chat_file", map[string]any{"file_id": id}).Text, "remember the milk")
		saved := filepath.Join(dir, "copy.md")
		p.tool("get_chat_file", map[string]any{"file_id": id, "save_to": saved}).ok()
		content, err := os.ReadFile(saved)
		require.NoError(t, err)
		require.Equal(t, "# notes\n\nremember the milk\n", string(content))

		pixel := "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
		picture := p.tool("upload_chat_file", map[string]any{"data": pixel, "name": "pixel.png"}).ok()["file_id"]
		shown := p.tool("get_chat_file", map[string]any{"file_id": picture})
		shown.ok()
		require.Equal(t, "image", shown.Content[len(shown.Content)-1].Type)
		require.Equal(t, pixel, shown.Content[len(shown.Content)-1].Data)

		p.tool("upload_chat_file", map[string]any{"data": base64.StdEncoding.EncodeToString([]byte("PK\x03\x04zip")), "name": "a.zip"}).failed("invalid_argument")
		p.tool("upload_chat_file", map[string]any{"path": "/etc/hostname"}).failed("forbidden")
	})
}

func TestEndToEndDiffAndGitOfAChatWithoutWorkspace(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, _ := newChat(t, p, smallTask)
		require.NotEmpty(t, p.tool("get_chat_diff", map[string]any{"chat": id}).ok()["empty"])
		require.True(t, p.tool("watch_chat_git", map[string]any{"chat": id, "wait_seconds": 1}).IsError)
		require.True(t, p.tool("view_chat_desktop", map[string]any{"chat": id}).IsError)
		require.True(t, p.tool("control_chat_desktop", map[string]any{"chat": id, "actions": []any{map[string]any{"action": "move", "x": 1, "y": 1}}}).IsError)
	})
}

func TestEndToEndIdempotentCreation(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		request := "e2e-" + t.Name() + "-" + filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid())
		first := p.tool("create_chat", map[string]any{"prompt": smallTask, "request_id": request, "wait_seconds": 60}).ok()
		second := p.tool("create_chat", map[string]any{"prompt": smallTask, "request_id": request}).ok()
		require.Equal(t, first["id"], second["id"])
		require.Equal(t, true, second["existing"])
		other := start(t, b.environment())
		require.Equal(t, first["id"], other.tool("create_chat", map[string]any{"prompt": smallTask, "request_id": request}).ok()["id"], "also from another process")
		p.tool("update_chat", map[string]any{"chat": first["id"], "archived": true}).ok()
		require.Equal(t, first["id"], p.tool("create_chat", map[string]any{"prompt": smallTask, "request_id": request}).ok()["id"], "also when it is archived")
	})
}

func TestEndToEndProgressAndCancel(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, wait := p.startTool("create_chat", map[string]any{"prompt": "SLOW 500 20\nlong", "wait_seconds": 60, "interrupt_on_cancel": true})
		p.awaitNotification("notifications/progress", func(params json.RawMessage) bool { return strings.Contains(string(params), "running") })
		var last float64
		for _, n := range p.notifications("notifications/progress") {
			var progress struct {
				ProgressToken int
				Progress      float64
			}
			require.NoError(t, json.Unmarshal(n.Params, &progress))
			require.Equal(t, id, progress.ProgressToken)
			require.Greater(t, progress.Progress, last)
			last = progress.Progress
		}
		p.notify("notifications/cancelled", map[string]any{"requestId": id})
		chat := ids(p.tool("list_chats", nil).ok()["chats"])[0]
		settled := p.tool("stream_chat", map[string]any{"chat": chat, "wait_seconds": 30}).ok()
		require.Equal(t, "waiting", settled["status"], "interrupt_on_cancel stops the chat")
		require.Empty(t, wait, "a cancelled call is not answered")
	})
}

func TestEndToEndResources(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		id, _ := newChat(t, p, smallTask)
		address := "coder://chats/" + id
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": address}).Error)
		p.tool("send_chat_message", map[string]any{"chat": id, "text": smallTask, "wait_seconds": 60}).ok()
		p.awaitNotification("notifications/resources/updated", func(params json.RawMessage) bool { return strings.Contains(string(params), address) })
		require.Nil(t, p.request("resources/unsubscribe", map[string]any{"uri": address}).Error)

		list := p.request("resources/list", nil)
		require.Nil(t, list.Error)
		require.Contains(t, string(list.Result), address)
		require.Contains(t, string(p.request("resources/templates/list", nil).Result), "coder://chats/{chat}/diff")
		for uri, expected := range map[string]string{
			"coder://chats": id, address: id, address + "/messages": "pong", address + "/prompts": "pong", "coder://chats/models": "models", address + "/diff": "",
		} {
			read := p.request("resources/read", map[string]any{"uri": uri})
			require.Nil(t, read.Error, uri)
			require.Contains(t, string(read.Result), expected, uri)
		}
		missing := p.request("resources/read", map[string]any{"uri": "coder://chats/11111111-1111-4111-8111-111111111111"})
		require.NotNil(t, missing.Error)
		require.Equal(t, -32002, missing.Error.Code)
		completed := p.request("completion/complete", map[string]any{
			"ref": map[string]any{"type": "ref/resource", "uri": "coder://chats/{chat}"}, "argument": map[string]any{"name": "chat", "value": id[:8]},
		})
		require.Contains(t, string(completed.Result), id)
	})
}

func TestEndToEndPrompts(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		listed := string(p.request("prompts/list", nil).Result)
		for _, name := range []string{"delegate", "check", "review_diff", "fan_out"} {
			require.Contains(t, listed, `"`+name+`"`)
		}
		require.Contains(t, string(p.request("prompts/get", map[string]any{"name": "delegate", "arguments": map[string]any{"task": "mend the fence"}}).Result), "mend the fence")
		reading := start(t, b.environment(), "stdio", "--read-only")
		require.NotContains(t, string(reading.request("prompts/list", nil).Result), `"delegate"`)
	})
}
