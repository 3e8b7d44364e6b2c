package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// bench is a session at a simulator of its own, whose tools are called as a client calls them.
type bench struct {
	t       *testing.T
	sim     *simulator.Instance
	session *tools.Session
	heard   *listening
}

func newBench(t *testing.T, o simulator.Options, change ...func(*tools.Config)) *bench {
	t.Helper()
	if o.TokenDelay == 0 {
		o.TokenDelay = time.Millisecond
	}
	sim, err := simulator.Start(o)
	require.NoError(t, err)
	transport := &http.Transport{}
	c, err := client.New(sim.URL, sim.Users()[0].Token, client.Options{HTTPClient: &http.Client{Transport: transport}, RetryBase: time.Millisecond, MaxRetryWait: 10 * time.Millisecond})
	require.NoError(t, err)
	r := relay.New(c, relay.Options{Linger: 50 * time.Millisecond, Silence: 100 * time.Millisecond, MinBackoff: 10 * time.Millisecond})
	config := tools.Config{MaxWait: 20 * time.Second, MaxOutputBytes: tools.DefaultMaxOutputBytes, Local: true}
	for _, f := range change {
		f(&config)
	}
	heard := &listening{}
	caller := tools.NewCaller(c, r)
	t.Cleanup(func() {
		caller.Close()
		r.Close()
		transport.CloseIdleConnections()
		sim.Close()
	})
	return &bench{t: t, sim: sim, heard: heard, session: &tools.Session{Caller: caller, Config: config, Peer: heard}}
}

// in is the same session for a subtest.
func (b *bench) in(t *testing.T) *bench {
	sub := *b
	sub.t = t
	return &sub
}

// listening is an MCP client that notes what it is told.
type listening struct {
	roots  []string
	silent bool // it never answers what it is asked

	mu       sync.Mutex
	progress []string
	asked    int // for its roots
}

func (l *listening) Progress(_ context.Context, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = append(l.progress, message)
}

func (l *listening) told() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.progress...)
}

func (l *listening) Event(context.Context, uuid.UUID, relay.Event) {}
func (l *listening) Changed(context.Context, client.WatchEvent)    {}
func (l *listening) Concerns(uuid.UUID)                            {}
func (l *listening) Cancelled(ctx context.Context) bool            { return context.Cause(ctx) == errTakenBack }

// errTakenBack is the cause of the end of a call that its client cancelled; errStopped of one that its server cut short.
var (
	errTakenBack = errors.New("the client took it back")
	errStopped   = errors.New("the server stops")
)

func (l *listening) Roots(ctx context.Context) []string {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	if l.silent {
		<-ctx.Done()
		return nil
	}
	return l.roots
}

func (b *bench) call(name string, arguments any) *mcp.CallToolResult {
	return b.callWith(b.t.Context(), name, arguments)
}

func (b *bench) callWith(ctx context.Context, name string, arguments any) *mcp.CallToolResult {
	b.t.Helper()
	raw, err := json.Marshal(arguments)
	require.NoError(b.t, err)
	for _, tool := range tools.All() {
		if tool.Name == name {
			return tool.Call(ctx, b.session, raw)
		}
	}
	require.Fail(b.t, "no tool "+name)
	return nil
}

type object = map[string]any

// ok is the text and the structure of a call that works.
func (b *bench) ok(name string, arguments object) (text string, structured object) {
	b.t.Helper()
	return okay(b.t, b.call(name, arguments))
}

func okay(t *testing.T, r *mcp.CallToolResult) (text string, structured object) {
	t.Helper()
	text = textOf(t, r)
	require.False(t, r.IsError, text)
	raw, err := json.Marshal(r.StructuredContent)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &structured))
	return text, structured
}

func textOf(t *testing.T, r *mcp.CallToolResult) string {
	t.Helper()
	require.NotEmpty(t, r.Content)
	text, ok := r.Content[0].(mcp.TextContent)
	require.True(t, ok)
	require.NotRegexp(t, `\.\.( |$)`, text.Text, "a sentence ends once")
	return text.Text
}

// fails is the failure of a call that does not work.
func (b *bench) fails(name string, arguments object) *tools.Failure {
	b.t.Helper()
	return failure(b.t, b.call(name, arguments))
}

func failure(t *testing.T, r *mcp.CallToolResult) *tools.Failure {
	t.Helper()
	require.True(t, r.IsError, "%v", r.Content)
	f, ok := r.StructuredContent.(map[string]any)["error"].(*tools.Failure)
	require.True(t, ok)
	require.Equal(t, f.Text(), textOf(t, r))
	require.NotEmpty(t, f.Next, f.Message)
	return f
}

// chat makes a chat, in a workspace when one is given, and waits for its first turn.
func (b *bench) chat(prompt string, workspace uuid.UUID) string {
	b.t.Helper()
	arguments := object{"prompt": prompt, "wait_seconds": 15}
	if workspace != uuid.Nil {
		arguments["workspace_id"] = workspace
	}
	_, chat := b.ok("create_chat", arguments)
	require.Equal(b.t, "settled", chat["reason"], "%v", chat)
	return chat["id"].(string)
}

// generations runs a test against a server of May and one of today.
func generations(t *testing.T, f func(t *testing.T, g simulator.Generation)) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.V238} {
		t.Run(string(g), func(t *testing.T) { f(t, g) })
	}
}
