package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// witness takes down every request and what became of it.
type witness struct {
	mu   sync.Mutex
	seen []string
}

type seenKey struct{}

func (w *witness) observe(ctx context.Context, r transport.Request) (context.Context, func(transport.Outcome)) {
	return context.WithValue(ctx, seenKey{}, r.TraceParent), func(o transport.Outcome) {
		became := "open"
		if result, is := o.Result.(*mcp.CallToolResult); is {
			became = fmt.Sprint("tool, failed: ", result.IsError)
		} else if o.Result != nil {
			became = "result"
		}
		if o.Err != nil {
			became = fmt.Sprint("error ", o.Err.Code)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, strings.TrimSpace(r.Method+" "+r.Name+r.URI)+": "+became)
	}
}

// of is the nth that was seen; it may take a moment.
func (w *witness) of(t *testing.T, n int) (seen string) {
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.seen) == n {
			seen = w.seen[n-1]
		}
		return len(w.seen) >= n
	}, 10*time.Second, time.Millisecond)
	return seen
}

func TestEveryRequestIsObservedOnceWithItsOutcome(t *testing.T) {
	var w witness
	m := newServer()
	m.AddTool(mcp.NewTool("trace"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(fmt.Sprint(ctx.Value(seenKey{}))), nil
	})
	p := serve(t, m, transport.Options{Observe: w.observe})
	s := p.hello(`{}`)
	require.Equal(t, "initialize: result", w.of(t, 1))
	require.False(t, s.OverHTTP())
	require.Empty(t, s.SharedID())
	n := 1
	for request, want := range map[string]string{
		ping:                   "ping: result",
		call(1, "echo", ""):    "tools/call echo: tool, failed: false",
		call(1, "fail", ""):    "tools/call fail: tool, failed: true",
		call(1, "panic", ""):   "tools/call panic: tool, failed: true",
		call(1, "unknown", ""): "tools/call unknown: error -32602",
		`{"jsonrpc":"2.0","id":1,"method":"made/up"}`:                                                      "made/up: error -32601",
		`{"jsonrpc":"2.0","id":1,"method":"resources/list"}`:                                               "resources/list: result",
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://gone"}}`:                "resources/read test://gone: error -32002",
		modern(`"open"`, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`): "subscriptions/listen: open",
		modern(1, "subscriptions/listen", `"notifications":7`):                                             "subscriptions/listen: error -32602",
	} {
		p.write(request)
		p.next()
		n++
		require.Equal(t, want, w.of(t, n))
	}
	p.write(strings.Replace(call(3, "trace", ""), `"params":{`, `"params":{"_meta":{"traceparent":"00-ab"},`, 1))
	require.Equal(t, "00-ab", p.next().text(), "the handler has the context of whoever observes")
	require.Equal(t, "tools/call trace: tool, failed: false", w.of(t, n+1))
}

func TestOnlyClientsOfASessionKnowItsID(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("a", "2025-06-18", `{}`)
	s := <-x.opened
	require.True(t, s.OverHTTP())
	require.Equal(t, c.session, s.SharedID())
	readAll(t, x.send(t.Context(), http.MethodPost, modern(1, "tools/call", `"name":"echo"`), x.modernHeaders("tools/call", "echo")))
	s = <-x.opened
	require.True(t, s.OverHTTP())
	require.Empty(t, s.SharedID())
	<-s.Done()
}
