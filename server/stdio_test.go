package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const patience = 30 * time.Second

// peer is an MCP client of a Server over a pair of pipes.
type peer struct {
	t    *testing.T
	sim  *simulator.Instance
	in   *io.PipeWriter
	over chan error

	mu      sync.Mutex
	last    int
	waiting map[int]chan rpc
	notes   []rpc
	roots   []string
}

type rpc struct {
	ID     *int            `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Code    int
		Message string
	} `json:"error,omitempty"`
}

// connect serves a client of a simulator; change may change how.
func connect(t *testing.T, sim *simulator.Instance, change func(*server.Options)) *peer {
	t.Helper()
	o := server.Options{Version: "test", Tools: tools.All(), Config: tools.Config{
		MaxWait: time.Minute, MaxOutputBytes: tools.DefaultMaxOutputBytes, Local: true,
	}, Relay: relay.Options{Linger: 20 * time.Millisecond, MinBackoff: 10 * time.Millisecond}}
	if sim != nil {
		c, err := client.New(sim.URL, sim.Users()[0].Token, client.Options{RetryBase: time.Millisecond, MaxRetryWait: 5 * time.Millisecond})
		require.NoError(t, err)
		t.Cleanup(c.Host().Close)
		o.Client = c
	}
	if change != nil {
		change(&o)
	}
	s := server.New(o)
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	p := &peer{t: t, sim: sim, in: inWrite, over: make(chan error, 1), waiting: map[int]chan rpc{}}
	go func() {
		p.over <- s.ServeStdio(context.Background(), inRead, outWrite)
		_ = outWrite.Close()
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(outRead)
	}()
	t.Cleanup(func() {
		_ = inWrite.Close()
		require.NoError(t, <-p.over)
		<-read
		s.Close()
	})
	capabilities := map[string]any{"roots": map[string]any{}}
	require.Nil(t, p.request("initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": map[string]any{"name": "t", "version": "1"}}).Error)
	p.write(rpc{Method: "notifications/initialized"})
	return p
}

func simulated(t *testing.T, o simulator.Options) *simulator.Instance {
	t.Helper()
	o.TokenDelay, o.RateLimit = time.Millisecond, -1
	sim, err := simulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	return sim
}

func (p *peer) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m rpc
		if json.Unmarshal(line, &m) != nil {
			p.t.Errorf("no message: %s", line)
			continue
		}
		p.mu.Lock()
		switch {
		case m.Method == "roots/list":
			go p.answerRoots(*m.ID)
		case m.ID == nil:
			p.notes = append(p.notes, m)
		case p.waiting[*m.ID] != nil:
			p.waiting[*m.ID] <- m
		}
		p.mu.Unlock()
	}
}

func (p *peer) answerRoots(id int) {
	var roots []any
	for _, uri := range p.roots {
		roots = append(roots, map[string]any{"uri": uri})
	}
	result, _ := json.Marshal(map[string]any{"roots": roots})
	p.write(rpc{ID: &id, Result: result})
}

func (p *peer) write(m rpc) {
	line, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		rpc
	}{"2.0", m})
	require.NoError(p.t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(p.t, err)
}

func (p *peer) send(method string, params any) chan rpc {
	p.t.Helper()
	raw, err := json.Marshal(params)
	require.NoError(p.t, err)
	answer := make(chan rpc, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	p.waiting[id] = answer
	p.mu.Unlock()
	p.write(rpc{ID: &id, Method: method, Params: raw})
	return answer
}

func (p *peer) wait(answer chan rpc) rpc {
	p.t.Helper()
	select {
	case m := <-answer:
		return m
	case <-time.After(patience):
		require.Fail(p.t, "no answer")
	}
	return rpc{}
}

func (p *peer) request(method string, params any) rpc {
	p.t.Helper()
	return p.wait(p.send(method, params))
}

type object = map[string]any

func (p *peer) call(name string, arguments object) chan rpc {
	p.t.Helper()
	return p.send("tools/call", object{"name": name, "arguments": arguments, "_meta": object{"progressToken": name}})
}

func (p *peer) result(answer chan rpc) object {
	p.t.Helper()
	m := p.wait(answer)
	require.Nil(p.t, m.Error)
	var result struct {
		StructuredContent object
		IsError           bool
	}
	require.NoError(p.t, json.Unmarshal(m.Result, &result))
	require.False(p.t, result.IsError, "%s", m.Result)
	return result.StructuredContent
}

func (p *peer) tool(name string, arguments object) object {
	p.t.Helper()
	return p.result(p.call(name, arguments))
}

func (p *peer) notifications(method, about string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, n := range p.notes {
		if n.Method == method && strings.Contains(string(n.Params), about) {
			found = append(found, string(n.Params))
		}
	}
	return found
}

func (p *peer) eventually(what string, condition func() bool) {
	p.t.Helper()
	require.Eventually(p.t, condition, patience, 2*time.Millisecond, what)
}

func (p *peer) chat(prompt string) string {
	p.t.Helper()
	return p.tool("create_chat", object{"prompt": prompt, "wait_seconds": 30})["id"].(string)
}

func TestEventsOfAChatComeOnceHoweverManyHearIt(t *testing.T) {
	p := connect(t, simulated(t, simulator.Options{}), nil)
	chat := p.chat("hello")
	for range 2 {
		require.Nil(t, p.request("logging/setLevel", object{"level": "debug"}).Error)
	}
	subscribe := func(method, uri string) { require.Nil(t, p.request("resources/"+method, object{"uri": uri}).Error) }
	subscribe("subscribe", "coder://chats")
	subscribe("subscribe", "coder://chats/"+chat)
	require.Nil(t, p.request("logging/setLevel", object{"level": "debug"}).Error)
	subscribe("subscribe", "coder://chats/"+chat+"/messages")
	following := p.call("send_chat_message", object{"chat": chat, "text": "SLOW 10 2\nwork", "wait_seconds": 30})
	p.tool("stream_chat", object{"chat": chat, "wait_seconds": 30})
	p.result(following)
	p.eventually("the answer", func() bool { return len(p.notifications("notifications/message", `"chunk-0001 chunk-0002`)) > 0 })
	var seen []int64
	for _, e := range p.notifications("notifications/message", `"type":"message"`) {
		var event struct {
			Data struct{ Message struct{ ID int64 } }
		}
		require.NoError(t, json.Unmarshal([]byte(e), &event))
		seen = append(seen, event.Data.Message.ID)
	}
	require.Len(t, slices.Compact(slices.Clone(seen)), 2, "the prompt and the answer")
	require.Len(t, seen, 2, "each once")

	subscribe("unsubscribe", "coder://chats/"+chat)
	subscribe("unsubscribe", "coder://chats/"+chat+"/messages")
	p.eventually("the stream is given back", func() bool { return p.sim.SocketsOf("stream") == 0 })
	before := len(p.notifications("notifications/message", chat))
	p.tool("send_chat_message", object{"chat": chat, "text": "more"})
	p.tool("await_chats", object{"chats": []string{chat}, "wait_seconds": 30})
	require.Len(t, p.notifications("notifications/message", chat), before)
}

// messagesOf are the ids of the messages of a chat that were told as events, in order.
func (p *peer) messagesOf(chat string) (ids []int64) {
	p.t.Helper()
	for _, e := range p.notifications("notifications/message", `"type":"message"`) {
		var event struct {
			Logger string
			Data   struct{ Message struct{ ID int64 } }
		}
		require.NoError(p.t, json.Unmarshal([]byte(e), &event))
		if event.Logger == "chat/"+chat {
			ids = append(ids, event.Data.Message.ID)
		}
	}
	return ids
}

func TestOlderMessagesAreToldAfterNewerOnesAndOnce(t *testing.T) {
	p := connect(t, simulated(t, simulator.Options{}), nil)
	chat := p.chat("hello")
	for _, text := range []string{"second", "third"} {
		p.tool("send_chat_message", object{"chat": chat, "text": text, "wait_seconds": 30})
	}
	var ids []int64
	for _, m := range p.tool("list_chat_messages", object{"chat": chat})["messages"].([]any) {
		ids = append(ids, int64(m.(object)["id"].(float64)))
	}
	require.Len(t, ids, 6)
	require.Nil(t, p.request("logging/setLevel", object{"level": "debug"}).Error)
	for _, known := range []int64{ids[3], ids[0], ids[0], ids[4]} {
		p.tool("stream_chat", object{"chat": chat, "after_id": known, "wait_seconds": 30})
	}
	require.Equal(t, []int64{ids[4], ids[5], ids[1], ids[2], ids[3]}, p.messagesOf(chat))
}

func TestLevelsOfEvents(t *testing.T) {
	p := connect(t, simulated(t, simulator.Options{Speed: 5}), nil)
	require.Nil(t, p.request("logging/setLevel", object{"level": "debug"}).Error)
	chat := p.chat("hello")
	watched := p.call("watch_chats", object{"wait_seconds": 30, "max_events": 1, "kinds": []string{"status_change"}})
	p.tool("send_chat_message", object{"chat": chat, "text": "ERR 500 1", "wait_seconds": 30}) // tried again
	p.result(watched)
	p.tool("send_chat_message", object{"chat": chat, "text": "ERR 400", "wait_seconds": 30})
	asking := p.tool("create_chat", object{"prompt": "hello", "wait_seconds": 30, "dynamic_tools": []any{object{"name": "lookup", "description": "d", "input_schema": object{"type": "object"}}}})["id"]
	p.tool("send_chat_message", object{"chat": asking, "text": "TOOL lookup {}", "wait_seconds": 30})
	for kind, level := range map[string]string{"message_part": "debug", "message": "info", "retry": "warning", "error": "error", "action_required": "notice"} {
		events := p.notifications("notifications/message", `"type":"`+kind+`"`)
		require.NotEmpty(t, events, kind)
		for _, e := range events {
			require.Contains(t, e, `"level":"`+level+`"`, kind)
		}
	}
	require.NotEmpty(t, p.notifications("notifications/message", `"kind":"status_change"`), "what watch_chats saw")
}

func TestTheChannelTellsEachSettlingOnce(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	p := connect(t, sim, func(o *server.Options) { o.ClaudeChannel = true })
	settled := func(chat string) []string { return p.notifications("notifications/claude/channel", chat) }
	var chats []string
	for range 5 {
		chats = append(chats, p.tool("create_chat", object{"prompt": "hello"})["id"].(string))
	}
	for _, chat := range chats {
		p.eventually("the first settling", func() bool { return len(settled(chat)) == 1 })
	}
	for text, expected := range map[string]string{"more": "is done", "ERR 400": "failed: "} {
		before := len(settled(chats[0]))
		p.tool("send_chat_message", object{"chat": chats[0], "text": text})
		p.eventually("the next settling", func() bool { return len(settled(chats[0])) == before+1 })
		require.Contains(t, settled(chats[0])[before], expected)
	}
	asking := p.tool("create_chat", object{"prompt": "TOOL lookup {}", "dynamic_tools": []any{object{"name": "lookup", "description": "d", "input_schema": object{"type": "object"}}}})["id"].(string)
	p.eventually("it asks", func() bool { return len(settled(asking)) == 1 })
	require.Contains(t, settled(asking)[0], "requires_action")
	require.Len(t, settled(chats[1]), 1)
}

func TestTheChannelSurvivesAnOutage(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	p := connect(t, sim, func(o *server.Options) { o.ClaudeChannel = true })
	chat := p.chat("hello")
	p.eventually("the first settling", func() bool { return len(p.notifications("notifications/claude/channel", chat)) == 1 })
	var refused atomic.Int32
	sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			return false
		}
		refused.Add(1)
		http.Error(w, "down", http.StatusBadGateway)
		return true
	})
	p.tool("send_chat_message", object{"chat": chat, "text": "more"})
	p.eventually("it was asked in vain", func() bool { return refused.Load() > 2 })
	sim.Intercept(nil)
	p.eventually("the second settling", func() bool { return len(p.notifications("notifications/claude/channel", chat)) == 2 })
}

// Each chat that joins cuts the wait for the others short, here before it has even seen the list.
func TestTheChannelTellsEachSettlingOnceWhileChatsJoin(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	p := connect(t, sim, func(o *server.Options) { o.ClaudeChannel = true })
	told := func(chat string) int { return len(p.notifications("notifications/claude/channel", chat)) }
	chats := []string{p.chat("hello")}
	p.eventually("the first settling", func() bool { return told(chats[0]) == 1 })
	listed, release := make(chan struct{}, 10), make(chan struct{})
	sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/chats") {
			listed <- struct{}{}
			<-release
		}
		return false
	})
	join := func() { chats = append(chats, p.tool("create_chat", object{"prompt": "hello"})["id"].(string)) }
	join()
	<-listed
	join()
	time.Sleep(200 * time.Millisecond) // the wait ends when no more chats join for a while, and nobody hears of that
	close(release)
	for _, chat := range chats {
		p.eventually("each settling", func() bool { return told(chat) > 0 })
	}
	join()
	p.eventually("the last settling", func() bool { return told(chats[3]) == 1 })
	for _, chat := range chats {
		require.Equal(t, 1, told(chat))
	}
}

// What moves while the channel's own watch is not up yet is in no event of that.
func TestTheChannelTellsWhatSettledBeforeItsWatchWasUp(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	var refused atomic.Int64
	var down atomic.Bool
	down.Store(true)
	sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !down.Load() || !strings.HasSuffix(r.URL.Path, "/chats/watch") {
			return false
		}
		refused.Add(1)
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	p := connect(t, sim, func(o *server.Options) { o.ClaudeChannel = true })
	told := func(chat string) int { return len(p.notifications("notifications/claude/channel", chat)) }
	p.eventually("the watch was refused", func() bool { return refused.Load() > 0 })
	chat := p.tool("create_chat", object{"prompt": "hello"})["id"].(string)
	down.Store(false)
	p.eventually("the first settling", func() bool { return told(chat) == 1 })
	c, err := client.New(sim.URL, sim.Users()[0].Token, client.Options{})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	_, err = c.SendMessage(t.Context(), uuid.MustParse(chat), client.SendMessageRequest{Content: []client.InputPart{client.TextPart("more")}})
	require.NoError(t, err)
	p.eventually("the second settling", func() bool { return told(chat) == 2 })
}

func TestTheListIsWatchedOnceTheDeploymentIsBack(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	var refused atomic.Int32
	sim.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		refused.Add(1)
		http.Error(w, "down", http.StatusBadGateway)
		return true
	})
	p := connect(t, sim, nil)
	p.eventually("it was asked in vain", func() bool { return refused.Load() > 0 })
	sim.Intercept(nil)
	told := func(times int) func() bool {
		return func() bool { return len(p.notifications("notifications/resources/list_changed", "")) == times }
	}
	p.eventually("told that the list may have changed unseen", told(1))
	p.chat("hello")
	p.eventually("told of the new chat", told(2))
}

func TestATokenThatIsRefusedIsNotTriedAgain(t *testing.T) {
	sim := simulated(t, simulator.Options{})
	p := connect(t, sim, func(o *server.Options) {
		c, err := client.New(sim.URL, "nobodys-token", client.Options{})
		require.NoError(t, err)
		t.Cleanup(c.Host().Close)
		o.Client = c
	})
	p.eventually("it was asked", func() bool { return len(sim.Requests()) > 0 })
	refused := p.request("resources/subscribe", object{"uri": "coder://chats"})
	require.NotNil(t, refused.Error)
	require.Zero(t, sim.Sockets())
}

func TestResourcesAndPromptsAreWired(t *testing.T) {
	p := connect(t, simulated(t, simulator.Options{}), nil)
	chat := p.chat("hello")
	require.Contains(t, string(p.request("resources/list", object{}).Result), chat)
	require.Equal(t, -32602, p.request("resources/list", object{"cursor": "nonsense"}).Error.Code)
	require.Contains(t, string(p.request("resources/read", object{"uri": "coder://chats/" + chat}).Result), "hello")
	nobody := "coder://chats/11111111-1111-4111-8111-111111111111"
	require.Equal(t, -32002, p.request("resources/read", object{"uri": nobody}).Error.Code)
	require.Equal(t, -32002, p.request("resources/subscribe", object{"uri": nobody}).Error.Code)
	complete := func(ref object, name, value string) string {
		return string(p.request("completion/complete", object{"ref": ref, "argument": object{"name": name, "value": value}}).Result)
	}
	require.Contains(t, complete(object{"type": "ref/resource", "uri": "coder://chats/{chat}"}, "chat", chat[:8]), chat)
	require.Contains(t, string(p.request("prompts/list", object{}).Result), `"delegate"`)
	require.Contains(t, string(p.request("prompts/get", object{"name": "delegate", "arguments": object{"task": "mend the fence"}}).Result), "mend the fence")
	require.Equal(t, -32602, p.request("prompts/get", object{"name": "delegate", "arguments": object{}}).Error.Code)
}

func TestRootsAreFoldersThatToolsMayUse(t *testing.T) {
	p := connect(t, simulated(t, simulator.Options{}), nil)
	dir := t.TempDir()
	p.roots = []string{"https://example.test/elsewhere", "file://" + dir}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.md"), []byte("# notes\n"), 0o600))
	require.NotEmpty(t, p.tool("upload_chat_file", object{"path": filepath.Join(dir, "notes.md")})["file_id"])
}

func TestWithoutACallerItStillAnswers(t *testing.T) {
	p := connect(t, nil, func(o *server.Options) { o.Unusable = errors.New("set CODER_URL") })
	require.Contains(t, string(p.request("tools/list", object{}).Result), "create_chat")
	require.Contains(t, string(p.request("resources/list", object{}).Result), "coder://chats")
	for _, m := range []rpc{p.request("resources/read", object{"uri": "coder://chats"}), p.request("resources/subscribe", object{"uri": "coder://chats"})} {
		require.NotNil(t, m.Error)
		require.Contains(t, m.Error.Message, "set CODER_URL")
	}
	require.NotNil(t, p.request("completion/complete", object{"ref": object{"type": "ref/resource", "uri": "coder://chats/{chat}"}, "argument": object{"name": "chat", "value": ""}}).Result)
}
