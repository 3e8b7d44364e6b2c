package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything may take before a test calls it lost.
const patience = 90 * time.Second

// peer is an MCP client: raw JSON-RPC over the standard streams of a built binary, so that nothing of ours helps to understand it.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	err *stderrText

	mu      sync.Mutex
	last    int
	waiting map[string]chan message
	notes   []message
	heard   []message     // notifications and answers, in the order in which they came
	arrived chan struct{} // closed and renewed with every notification
	ended   chan struct{}
}

// stderrText is what a process writes to standard error, which may be read while it writes.
type stderrText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *stderrText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *stderrText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// start runs the binary and says hello. It ends with the test, and must end well.
func start(t *testing.T, environment []string, arguments ...string) *peer {
	t.Helper()
	p := &peer{t: t, err: &stderrText{}, waiting: map[string]chan message{}, arrived: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(binary, arguments...)
	p.cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, environment...)
	p.cmd.Stderr = p.err
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go p.read(out)
	t.Cleanup(p.stop)
	hello := p.request("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "e2e", "version": "1"},
	})
	require.Nil(t, hello.Error)
	p.notify("notifications/initialized", nil)
	return p
}

func (p *peer) stop() {
	_ = p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		p.t.Errorf("the server did not end with its input; it logged: %s", p.err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the server ended with %v; it logged: %s", err, p.err)
	}
}

func (p *peer) read(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line, &m) != nil {
			p.t.Errorf("not a protocol message on standard output: %.200s", line)
			continue
		}
		p.mu.Lock()
		p.heard = append(p.heard, m)
		if m.Method != "" && m.ID == nil {
			p.notes = append(p.notes, m)
			close(p.arrived)
			p.arrived = make(chan struct{})
		} else if answer := p.waiting[string(m.ID)]; answer != nil {
			delete(p.waiting, string(m.ID))
			answer <- m
		}
		p.mu.Unlock()
	}
}

func (p *peer) write(m map[string]any) {
	m["jsonrpc"] = "2.0"
	line, err := json.Marshal(m)
	require.NoError(p.t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(p.t, err)
}

func (p *peer) notify(method string, params map[string]any) {
	m := map[string]any{"method": method}
	if params != nil {
		m["params"] = params
	}
	p.write(m)
}

// send starts a request; its answer comes on the channel.
func (p *peer) send(method string, params map[string]any) (id int, answer chan message) {
	answer = make(chan message, 1)
	p.mu.Lock()
	p.last++
	id = p.last
	p.waiting[fmt.Sprint(id)] = answer
	p.mu.Unlock()
	m := map[string]any{"id": id, "method": method}
	if params != nil {
		m["params"] = params
	}
	p.write(m)
	return id, answer
}

func (p *peer) request(method string, params map[string]any) message {
	p.t.Helper()
	_, answer := p.send(method, params)
	return p.wait(method, answer)
}

func (p *peer) wait(what string, answer chan message) message {
	p.t.Helper()
	select {
	case m := <-answer:
		return m
	case <-time.After(patience):
		require.FailNow(p.t, "no answer to "+what, "the server logged: %s", p.err)
	case <-p.ended:
		require.FailNow(p.t, "the server ended before it answered "+what, "it logged: %s", p.err)
	}
	return message{}
}

// notifications are those that came, of one method.
func (p *peer) notifications(method string) []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []message
	for _, n := range p.notes {
		if n.Method == method {
			found = append(found, n)
		}
	}
	return found
}

// awaitNotification waits until one of the method satisfies the condition.
func (p *peer) awaitNotification(method string, condition func(json.RawMessage) bool) json.RawMessage {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p.mu.Lock()
		arrived := p.arrived
		p.mu.Unlock()
		for _, n := range p.notifications(method) {
			if condition(n.Params) {
				return n.Params
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			require.FailNow(p.t, "no such "+method+" came")
		}
	}
}

// answer is the result of a tool.
type answer struct {
	t          *testing.T
	tool       string
	Text       string
	Structured json.RawMessage
	Content    []content
	IsError    bool
}

type content struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Data     string `json:"data"`
	MIMEType string `json:"mimeType"`
	URI      string `json:"uri"`
	Resource *struct {
		URI, Text, Blob, MIMEType string
	} `json:"resource"`
}

func (p *peer) tool(name string, arguments map[string]any) answer {
	p.t.Helper()
	_, wait := p.startTool(name, arguments)
	return p.result(name, wait)
}

// startTool calls a tool with a progress token that is its request's id.
func (p *peer) startTool(name string, arguments map[string]any) (id int, wait chan message) {
	called.add(name)
	if arguments == nil {
		arguments = map[string]any{}
	}
	p.mu.Lock()
	token := p.last + 1
	p.mu.Unlock()
	return p.send("tools/call", map[string]any{"name": name, "arguments": arguments, "_meta": map[string]any{"progressToken": token}})
}

func (p *peer) result(name string, wait chan message) answer {
	p.t.Helper()
	m := p.wait(name, wait)
	require.Nil(p.t, m.Error, "%s was answered with a protocol error", name)
	var result struct {
		Content           []content       `json:"content"`
		StructuredContent json.RawMessage `json:"structuredContent"`
		IsError           bool            `json:"isError"`
	}
	require.NoError(p.t, json.Unmarshal(m.Result, &result))
	a := answer{t: p.t, tool: name, Structured: result.StructuredContent, Content: result.Content, IsError: result.IsError}
	for _, c := range result.Content {
		if c.Type == "text" {
			a.Text += c.Text
		}
	}
	return a
}

// ok is the structured answer of a call that worked, both forms of which are there.
func (a answer) ok() map[string]any {
	a.t.Helper()
	require.False(a.t, a.IsError, "%s failed: %s", a.tool, a.Text)
	require.NotEmpty(a.t, a.Text, "%s has no text", a.tool)
	var structured map[string]any
	require.NoError(a.t, json.Unmarshal(a.Structured, &structured), "%s has no structured content", a.tool)
	return structured
}

// failed checks that the call failed as a kind of error, with advice.
func (a answer) failed(kind string) string {
	a.t.Helper()
	require.True(a.t, a.IsError, "%s did not fail: %s", a.tool, a.Text)
	require.True(a.t, strings.HasPrefix(a.Text, kind+": "), "%s should fail as %s: %s", a.tool, kind, a.Text)
	var structured struct {
		Error struct{ Type, Message string }
	}
	require.NoError(a.t, json.Unmarshal(a.Structured, &structured))
	require.Equal(a.t, kind, structured.Error.Type)
	require.NotEmpty(a.t, structured.Error.Message)
	return a.Text
}
