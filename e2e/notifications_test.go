package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

const (
	progressed = "notifications/progress"
	updated    = "notifications/resources/updated"
	logged     = "notifications/message"
	changed    = "notifications/resources/list_changed"
)

type progress struct {
	ProgressToken int
	Progress      float64
	Message       string
}

// progressOf is what came for a request, which must have come before its answer.
func (p *peer) progressOf(id int) []progress {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []progress
	answered := false
	for _, m := range p.heard {
		answered = answered || string(m.ID) == fmt.Sprint(id)
		var q progress
		if m.Method == progressed && json.Unmarshal(m.Params, &q) == nil && q.ProgressToken == id {
			require.False(p.t, answered, "progress after the answer: %+v", q)
			all = append(all, q)
		}
	}
	return all
}

// event is a notifications/message of a chat.
type event struct {
	Level  string
	Logger string
	Data   struct {
		Type    string
		Message struct {
			ID   int64
			Role string
		}
	}
}

func (p *peer) eventsOf(chat string) []event {
	p.t.Helper()
	var all []event
	for _, n := range p.notifications(logged) {
		var e event
		require.NoError(p.t, json.Unmarshal(n.Params, &e))
		if e.Logger == "chat/"+chat {
			all = append(all, e)
		}
	}
	return all
}

// said are the ids of the durable messages among the events.
func said(events []event) []int64 {
	var ids []int64
	for _, e := range events {
		if e.Data.Type == "message" {
			ids = append(ids, e.Data.Message.ID)
		}
	}
	return ids
}

func levels(events []event) map[string][]string {
	of := map[string][]string{}
	for _, e := range events {
		if !slices.Contains(of[e.Data.Type], e.Level) {
			of[e.Data.Type] = append(of[e.Data.Type], e.Level)
		}
	}
	return of
}

// messageIDs are the ids of a chat's messages above one, as the API lists them.
func (p *peer) messageIDs(chat string, above float64) []int64 {
	p.t.Helper()
	var all []int64
	arguments := map[string]any{"chat": chat, "detail": "full"}
	for {
		page := p.tool("list_chat_messages", arguments).ok()
		for _, m := range page["messages"].([]any) {
			if id := m.(map[string]any)["id"].(float64); id > above {
				all = append(all, int64(id))
			}
		}
		next, more := page["next_before_id"].(float64)
		if !more || next <= above {
			slices.Sort(all)
			return slices.Compact(all)
		}
		arguments["before_id"] = next
	}
}

// rested is a chat that has answered, and the id of its last message.
func rested(p *peer, prompt string) (id string, last float64) {
	p.t.Helper()
	done := p.tool("create_chat", map[string]any{"prompt": prompt, "wait_seconds": 60}).ok()
	return done["id"].(string), done["after_id"].(float64)
}

func (p *peer) eventually(what string, condition func() bool) {
	p.t.Helper()
	require.Eventually(p.t, condition, patience, 5*time.Millisecond, what)
}

// workspace is one that chats of ada can be bound to.
var workspace = uuid.MustParse("5a3e2b52-8f4d-4a0e-9a55-0d7c1f2f3b11")

func withWorkspace(o simulator.Options) simulator.Options {
	ada := uuid.MustParse("c0ffee00-0000-4000-8000-000000000001")
	o.Users = []simulator.User{{ID: ada, Username: "ada", Token: "simulator-user-1", AgentsAccess: true}}
	o.Workspaces = []simulator.Workspace{{ID: workspace, OwnerID: ada, Files: map[string]string{"a.txt": "one\ntwo\n"}}}
	return o
}

func TestEndToEndProgressOfEveryWait(t *testing.T) {
	onEverySimulator(t, withWorkspace(simulator.Options{}), func(t *testing.T, b backend) {
		p := start(t, b.environment())
		const slow = "SLOW 60 20\ntakes more than a second"
		sending, _ := rested(p, "hello")
		editing, _ := rested(p, "hello")
		first := p.messageIDs(editing, 0)[0]
		for _, m := range p.tool("list_chat_messages", map[string]any{"chat": editing}).ok()["messages"].([]any) {
			if m := m.(map[string]any); m["role"] == "user" {
				first = int64(m["id"].(float64))
			}
		}
		streaming := p.tool("create_chat", map[string]any{"prompt": slow}).ok()["id"]
		awaiting := p.tool("create_chat", map[string]any{"prompt": slow}).ok()["id"]
		bound := p.tool("create_chat", map[string]any{"prompt": "hello", "workspace_id": workspace, "wait_seconds": 60}).ok()["id"]

		began := time.Now()
		waits := map[string]chan message{}
		ids := map[string]int{}
		call := func(tool string, arguments map[string]any) { ids[tool], waits[tool] = p.startTool(tool, arguments) }
		call("create_chat", map[string]any{"prompt": slow, "wait_seconds": 60})
		call("send_chat_message", map[string]any{"chat": sending, "text": slow, "wait_seconds": 60})
		call("edit_chat_message", map[string]any{"chat": editing, "message_id": first, "text": slow, "wait_seconds": 60})
		call("stream_chat", map[string]any{"chat": streaming, "wait_seconds": 60})
		call("await_chats", map[string]any{"chats": []any{awaiting}, "wait_seconds": 60})
		call("watch_chats", map[string]any{"wait_seconds": 1.5, "max_events": 1000})
		call("watch_chat_git", map[string]any{"chat": bound, "wait_seconds": 1})
		for tool, wait := range waits {
			p.result(tool, wait).ok()
		}
		most := int(time.Since(began)/(250*time.Millisecond)) + 2
		require.Nil(t, p.request("ping", nil).Error)
		for tool, id := range ids {
			all := p.progressOf(id)
			require.NotEmpty(t, all, tool)
			require.LessOrEqual(t, len(all), most, tool)
			last := 0.0
			for _, q := range all {
				require.Greater(t, q.Progress, last, tool)
				require.Regexp(t, `^\w.* \(\d+ s\)$`, strings.ReplaceAll(q.Message, "\n", " "), tool)
				last = q.Progress
			}
			if tool == "create_chat" || tool == "stream_chat" {
				require.True(t, slices.ContainsFunc(all, func(q progress) bool { return strings.HasPrefix(q.Message, "running: writing its answer (") }), "%s: %v", tool, all)
			}
		}
	})
}

func TestEndToEndUpdatesOfSubscriptions(t *testing.T) {
	onEverySimulator(t, withWorkspace(simulator.Options{}), func(t *testing.T, b backend) {
		p := start(t, b.environment())
		created := p.tool("create_chat", map[string]any{"prompt": "hello", "workspace_id": workspace, "wait_seconds": 60}).ok()
		chat := created["id"].(string)
		address := "coder://chats/" + chat
		all := []string{"coder://chats", address, address + "/messages", address + "/diff", address + "/prompts"}
		for _, uri := range all {
			require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": uri}).Error, uri)
		}
		p.eventually("one socket", func() bool { return b.sim.SocketsOf("watch") == 1 })
		p.eventually("one socket", func() bool { return b.sim.SocketsOf("stream") == 1 })
		p.tool("send_chat_message", map[string]any{"chat": chat, "text": "SLOW 20 20\nwork", "wait_seconds": 60}).ok()
		for _, uri := range all {
			p.updatedAfter(uri, func(text string) bool {
				switch uri {
				case address, "coder://chats":
					return !strings.Contains(text, `"running"`)
				case address + "/messages":
					return strings.Contains(text, "chunk-0020")
				}
				return true
			})
		}
		for _, uri := range all {
			require.Nil(t, p.request("resources/unsubscribe", map[string]any{"uri": uri}).Error, uri)
		}
		before := len(p.notifications(updated))
		p.tool("send_chat_message", map[string]any{"chat": chat, "text": "more", "wait_seconds": 60}).ok()
		require.Nil(t, p.request("ping", nil).Error)
		require.Len(t, p.notifications(updated), before, "nothing after unsubscribe")
	})
}

// updatedAfter waits for an update after which reading the address gives what is final: the last state is always told.
func (p *peer) updatedAfter(uri string, final func(text string) bool) {
	p.t.Helper()
	seen := 0
	p.eventually("an update of "+uri+" with the final state", func() bool {
		came := 0
		for _, n := range p.notifications(updated) {
			if strings.Contains(string(n.Params), `"`+uri+`"`) {
				came++
			}
		}
		if came == seen {
			return false
		}
		seen = came
		read := p.request("resources/read", map[string]any{"uri": uri})
		require.Nil(p.t, read.Error, uri)
		var result struct{ Contents []struct{ Text string } }
		require.NoError(p.t, json.Unmarshal(read.Result, &result))
		return final(result.Contents[0].Text)
	})
}

func TestEndToEndUpdatesOfGit(t *testing.T) {
	onEverySimulator(t, withWorkspace(simulator.Options{}), func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := p.tool("create_chat", map[string]any{"prompt": "hello", "workspace_id": workspace, "wait_seconds": 60}).ok()["id"].(string)
		uri := "coder://chats/" + chat + "/git"
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": uri}).Error)
		p.eventually("one socket", func() bool { return b.sim.SocketsOf("git") == 1 })
		p.tool("send_chat_message", map[string]any{"chat": chat, "text": `TOOL write_file {"path": "/home/coder/repo/a.txt", "content": "three\n"}`, "wait_seconds": 60}).ok()
		p.updatedAfter(uri, func(text string) bool { return strings.Contains(text, "a.txt") })
		require.Nil(t, p.request("resources/unsubscribe", map[string]any{"uri": uri}).Error)
		p.eventually("the socket is given back", func() bool { return b.sim.SocketsOf("git") == 0 })
	})
}

func TestEndToEndListChanged(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		p.eventually("the watch is up", func() bool { return b.sim.SocketsOf("watch") == 1 })
		id, _ := rested(p, "hello")
		p.eventually("told of the new chat", func() bool { return len(p.notifications(changed)) == 1 })
		p.tool("update_chat", map[string]any{"chat": id, "archived": true}).ok()
		p.eventually("told of the archived chat", func() bool { return len(p.notifications(changed)) == 2 })
	})
}

// modern are params of protocol 2026-07-28.
func modern(params map[string]any, more map[string]any) map[string]any {
	meta := map[string]any{
		"io.modelcontextprotocol/protocolVersion":    "2026-07-28",
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "e2e", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}
	for k, v := range more {
		meta[k] = v
	}
	params["_meta"] = meta
	return params
}

const subscriptionID = "io.modelcontextprotocol/subscriptionId"

func TestEndToEndListen(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment()) // says initialize: both eras share the connection
		chat, _ := rested(p, "hello")
		messages := "coder://chats/" + chat + "/messages"
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": messages}).Error)
		id, over := p.send("subscriptions/listen", modern(map[string]any{"notifications": map[string]any{
			"resourcesListChanged": true, "resourceSubscriptions": []string{messages, "coder://chats/" + chat},
		}}, nil))
		tagged := func(method string) (own []message, others int) {
			for _, n := range p.notifications(method) {
				var params struct {
					Meta map[string]json.RawMessage `json:"_meta"`
				}
				_ = json.Unmarshal(n.Params, &params) // a list_changed of old has none
				if string(params.Meta[subscriptionID]) == fmt.Sprint(id) {
					own = append(own, n)
				} else {
					others++
				}
			}
			return own, others
		}
		p.eventually("the acknowledgement", func() bool {
			own, _ := tagged("notifications/subscriptions/acknowledged")
			return len(own) == 1
		})
		p.mu.Lock()
		for _, m := range p.heard {
			if strings.Contains(string(m.Params), subscriptionID) {
				require.Equal(t, "notifications/subscriptions/acknowledged", m.Method, "it comes first")
				break
			}
		}
		p.mu.Unlock()

		p.tool("send_chat_message", map[string]any{"chat": chat, "text": "more", "wait_seconds": 60}).ok()
		rested(p, "another")
		p.eventually("updates for both subscribers", func() bool {
			own, others := tagged(updated)
			lists, legacy := tagged(changed)
			return len(own) >= 2 && others >= 1 && len(lists) >= 1 && legacy >= 1
		})
		p.notify("notifications/cancelled", map[string]any{"requestId": id})
		p.eventually("the cancelled listen gives its addresses back, the subscription stays", func() bool {
			before, _ := tagged(updated)
			_, legacy := tagged(updated)
			p.tool("send_chat_message", map[string]any{"chat": chat, "text": "even more", "wait_seconds": 60}).ok()
			p.eventually("the legacy update", func() bool { _, now := tagged(updated); return now > legacy })
			after, _ := tagged(updated)
			return len(after) == len(before)
		})
		require.Empty(t, over, "a cancelled listen is not answered")
	})
}

func TestEndToEndEventsOfASubscribedChat(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat, last := rested(p, "hello")
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": "coder://chats/" + chat}).Error)
		require.Nil(t, p.request("logging/setLevel", map[string]any{"level": "debug"}).Error)
		require.Nil(t, p.request("logging/setLevel", map[string]any{"level": "debug"}).Error, "twice is once")
		require.Nil(t, p.request("resources/subscribe", map[string]any{"uri": "coder://chats/" + chat + "/messages"}).Error)

		// Followed by calls at the same time, it still tells everything once.
		_, streaming := p.startTool("stream_chat", map[string]any{"chat": chat, "after_id": last, "wait_seconds": 60})
		for range 3 {
			p.tool("send_chat_message", map[string]any{"chat": chat, "text": "SLOW 10 3\nwork", "wait_seconds": 60}).ok()
		}
		p.result("stream_chat", streaming).ok()
		expected := p.messageIDs(chat, last)
		require.GreaterOrEqual(t, len(expected), 6)
		p.eventually("every message", func() bool { return len(said(p.eventsOf(chat))) >= len(expected) })
		require.Equal(t, expected, said(p.eventsOf(chat)), "once, and in order")
		of := levels(p.eventsOf(chat))
		require.Equal(t, []string{"debug"}, of["message_part"])
		require.Equal(t, []string{"info"}, of["message"])
		require.Equal(t, []string{"info"}, of["status"])

		for _, uri := range []string{"coder://chats/" + chat, "coder://chats/" + chat + "/messages"} {
			require.Nil(t, p.request("resources/unsubscribe", map[string]any{"uri": uri}).Error)
		}
		count := len(p.eventsOf(chat))
		p.tool("send_chat_message", map[string]any{"chat": chat, "text": "more"}).ok()
		p.tool("await_chats", map[string]any{"chats": []string{chat}, "wait_seconds": 60}).ok()
		require.Len(t, p.eventsOf(chat), count, "nobody follows it any more")
	})
}

func TestEndToEndEventsOfAFollowedChat(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		require.Nil(t, p.request("logging/setLevel", map[string]any{"level": "info"}).Error)
		chat, last := rested(p, "hello")
		_, one := p.startTool("send_chat_message", map[string]any{"chat": chat, "text": "SLOW 20 10\nwork", "wait_seconds": 60})
		_, two := p.startTool("stream_chat", map[string]any{"chat": chat, "after_id": last, "wait_seconds": 60})
		_, three := p.startTool("stream_chat", map[string]any{"chat": chat, "after_id": last, "wait_seconds": 60})
		p.result("send_chat_message", one).ok()
		p.result("stream_chat", two)
		p.result("stream_chat", three)
		events := p.eventsOf(chat)
		ids := slices.DeleteFunc(said(events), func(id int64) bool { return id <= int64(last) })
		require.NotEmpty(t, ids)
		require.True(t, slices.IsSorted(ids), "%v", ids)
		require.Equal(t, slices.Compact(slices.Clone(ids)), ids, "none twice")
		require.Equal(t, p.messageIDs(chat, last), ids, "all of them")
		require.Equal(t, p.messageIDs(chat, 0), said(p.eventsOf(chat)), "and those of the first turn, however fast it was")
		require.NotContains(t, levels(events), "message_part", "deltas are below info")

		asking := p.tool("create_chat", map[string]any{
			"prompt": "hello", "wait_seconds": 60, "dynamic_tools": []any{map[string]any{"name": "lookup", "description": "looks up", "input_schema": map[string]any{"type": "object"}}},
		}).ok()["id"].(string)
		p.tool("send_chat_message", map[string]any{"chat": asking, "text": `TOOL lookup {"key": "a"}`, "wait_seconds": 60}).ok()
		require.Equal(t, []string{"notice"}, levels(p.eventsOf(asking))["action_required"])
		p.tool("send_chat_message", map[string]any{"chat": chat, "text": "ERR 400", "wait_seconds": 60}).ok()
		require.Equal(t, []string{"error"}, levels(p.eventsOf(chat))["error"])
	})
}

func TestEndToEndEventsOfAModernRequest(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		send := func(chat, level string) map[string][]string {
			before := len(p.eventsOf(chat))
			meta := map[string]any{}
			if level != "" {
				meta["io.modelcontextprotocol/logLevel"] = level
			}
			called.add("send_chat_message")
			m := p.request("tools/call", modern(map[string]any{
				"name": "send_chat_message", "arguments": map[string]any{"chat": chat, "text": "SLOW 10 20\nwork", "wait_seconds": 60},
			}, meta))
			require.Nil(t, m.Error)
			require.NotContains(t, string(m.Result), `"isError":true`)
			return levels(p.eventsOf(chat)[before:])
		}
		chat, _ := rested(p, "hello")
		require.Empty(t, send(chat, ""), "no level, no events")
		require.Equal(t, []string{"debug"}, send(chat, "debug")["message_part"])
		info := send(chat, "info")
		require.Contains(t, info, "message")
		require.NotContains(t, info, "message_part")
		require.Empty(t, send(chat, "error"))
	})
}

func TestEndToEndCancelStopsTheWaitAlone(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat, _ := rested(p, "hello")
		id, wait := p.startTool("send_chat_message", map[string]any{"chat": chat, "text": "SLOW 40 20\nwork", "wait_seconds": 60})
		p.awaitNotification(progressed, func(params json.RawMessage) bool { return strings.Contains(string(params), "running") })
		p.notify("notifications/cancelled", map[string]any{"requestId": id})
		require.Nil(t, p.request("ping", nil).Error)
		told := len(p.progressOf(id))
		done := p.tool("stream_chat", map[string]any{"chat": chat, "wait_seconds": 60}).ok()
		require.Contains(t, done["text"], "chunk-0040", "the chat went on to its end")
		require.Empty(t, wait, "a cancelled call is not answered")
		require.Len(t, p.progressOf(id), told, "and silent")
	})
}

func TestEndToEndAwaitCursorOutlivesTheProcess(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		var chats []any
		var cursor any
		t.Run("before", func(t *testing.T) {
			p := start(t, b.environment())
			for range 3 {
				chats = append(chats, p.tool("create_chat", map[string]any{"prompt": "quick"}).ok()["id"])
			}
			all := p.tool("await_chats", map[string]any{"chats": chats, "until": "all", "wait_seconds": 60}).ok()
			require.Len(t, all["settled"], 3)
			cursor = all["cursor"]
		})
		p := start(t, b.environment())
		again := p.tool("await_chats", map[string]any{"chats": chats, "cursor": cursor, "wait_seconds": 0.2}).ok()
		require.Empty(t, again["settled"], "all were told by the process before")
		p.tool("send_chat_message", map[string]any{"chat": chats[1], "text": "more"}).ok()
		more := p.tool("await_chats", map[string]any{"chats": chats, "cursor": cursor, "wait_seconds": 60}).ok()
		require.Equal(t, []string{chats[1].(string)}, ids(more["settled"]))
	})
}

// TestEndToEndAClientThatStopsReading fills its pipe with the events of a long answer, while another session goes on.
func TestEndToEndAClientThatStopsReading(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		cmd := exec.Command(binary)
		cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, b.environment()...)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewReaderSize(out, 1<<20)
		read := func() message {
			var m message
			line, err := lines.ReadBytes('\n')
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(line, &m))
			return m
		}
		write := func(format string, a ...any) {
			_, err := fmt.Fprintf(in, format+"\n", a...)
			require.NoError(t, err)
		}
		write(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"slow","version":"1"}}}`)
		require.Equal(t, "1", string(read().ID))

		other := start(t, b.environment())
		chat, last := rested(other, "hello")
		write(`{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"debug"}}`)
		write(`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"coder://chats/%s/messages"}}`, chat)
		for string(read().ID) != "3" {
		}
		// From here on nothing is read, until all is over.
		for range 5 {
			other.tool("send_chat_message", map[string]any{"chat": chat, "text": "LONG 8000", "wait_seconds": 60}).ok()
		}
		expected := other.messageIDs(chat, last)
		require.Len(t, expected, 10)
		require.Less(t, residentMemory(t, cmd.Process.Pid), int64(120<<20), "bytes")

		var ids []int64
		updates, deltas := 0, 0
		for len(ids) < len(expected) || updates == 0 {
			m := read()
			var e event
			require.NoError(t, json.Unmarshal(m.Params, &e))
			switch {
			case m.Method == updated:
				updates++
			case m.Method == logged && e.Data.Type == "message":
				ids = append(ids, e.Data.Message.ID)
			case m.Method == logged && e.Data.Type == "message_part":
				deltas++
			}
		}
		require.Equal(t, expected, ids, "every message, once and in order")
		require.Less(t, deltas, 40_000, "deltas were joined")
		write(`{"jsonrpc":"2.0","id":4,"method":"resources/read","params":{"uri":"coder://chats/%s/messages"}}`, chat)
		for string(read().ID) != "4" {
		}
		require.NoError(t, in.Close())
		_, err = io.Copy(io.Discard, lines)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
	})
}

// residentMemory of a process, in bytes, as Linux tells it.
func residentMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	var size, resident int64
	_, err = fmt.Sscan(string(status), &size, &resident)
	require.NoError(t, err)
	return resident * int64(os.Getpagesize())
}
