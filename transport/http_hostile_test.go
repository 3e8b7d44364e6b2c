package transport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

func TestHostileRequestsAreRefusedAndTheServerLives(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{
		MaxBody: 4 << 20, AllowedHosts: []string{"mcp.example"}, AllowedOrigins: []string{"https://app.example"},
	})
	c := x.hello("victim", "2025-06-18", `{}`)
	session := func(pairs ...string) map[string]string {
		h := map[string]string{"Mcp-Session-Id": c.session, "Caller": "victim"}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	mod := func(pairs ...string) map[string]string {
		h := x.modernHeaders("tools/call", "echo")
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	echo := modern(1, "tools/call", `"name":"echo"`)
	for _, tc := range []struct {
		name, method, body string
		headers            map[string]string
		status             int
		says               string
	}{
		{"no JSON", "POST", `{"jsonrpc":`, session(), 400, "-32700"},
		{"no message", "POST", `"hello"`, session(), 400, "-32600"},
		{"a batch", "POST", `[` + ping + `]`, session(), 400, "batches"},
		{"an empty body", "POST", ``, session(), 400, "-32700"},
		{"a null id", "POST", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, session(), 400, "id of a message"},
		{"deep nesting", "POST", `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, session(), 400, "-32700"},
		{"text", "POST", ping, session("Content-Type", "text/plain"), 415, "application/json"},
		{"a form", "POST", ping, session("Content-Type", "application/x-www-form-urlencoded"), 415, "application/json"},
		{"no content type", "POST", ping, session("Content-Type", ""), 415, "application/json"},
		{"broken content type", "POST", ping, session("Content-Type", "application/json; ;"), 415, "application/json"},
		{"JSON only", "POST", ping, session("Accept", "application/json"), 406, "text/event-stream"},
		{"events only", "POST", ping, session("Accept", "text/event-stream"), 406, "application/json"},
		{"GET of JSON", "GET", "", session("Accept", "application/json"), 406, "text/event-stream"},
		{"5 MiB", "POST", `"` + strings.Repeat("x", 5<<20) + `"`, session(), 413, "4194304"},
		{"no session", "POST", ping, map[string]string{"Caller": "victim"}, 400, "initialize first"},
		{"GET without session", "GET", "", nil, 400, "initialize first"},
		{"unknown session", "POST", ping, session("Mcp-Session-Id", "made-up"), 404, "initialize again"},
		{"stolen session", "POST", ping, session("Caller", "thief"), 404, "initialize again"},
		{"stolen stream", "GET", "", session("Caller", "thief"), 404, "initialize again"},
		{"stolen events", "GET", "", session("Caller", "thief", "Last-Event-ID", "0_1"), 404, "initialize again"},
		{"stolen end", "DELETE", "", session("Caller", "thief"), 404, "initialize again"},
		{"nobody", "POST", ping, session("Caller", "nobody"), 401, "say who you are"},
		{"unknown version", "POST", ping, session("Mcp-Protocol-Version", "1999-01-01"), 400, "unsupported protocol version"},
		{"foreign host", "POST", ping, session("Host", "evil.example"), 403, "evil.example"},
		{"foreign host with port", "POST", ping, session("Host", "evil.example:80"), 403, "evil.example"},
		{"foreign page", "POST", ping, session("Origin", "https://evil.example"), 403, "evil.example"},
		{"no page", "POST", ping, session("Origin", "null"), 403, "null"},
		{"broken page", "POST", ping, session("Origin", "http://[::1"), 403, "may not use"},
		{"a page on loopback for a public name", "POST", ping, session("Host", "mcp.example", "Origin", "http://localhost:1"), 403, "localhost"},
		{"a foreign preflight", "OPTIONS", "", session("Origin", "https://evil.example"), 403, "evil.example"},
		{"a preflight of no page", "OPTIONS", "", session(), 405, "cross-origin"},
		{"PUT", "PUT", ping, session(), 405, "use POST"},
		{"modern GET", "GET", "", session("Mcp-Protocol-Version", "2026-07-28"), 405, "subscriptions/listen"},
		{"modern DELETE", "DELETE", "", session("Mcp-Protocol-Version", "2026-07-28"), 405, "subscriptions/listen"},
		{"modern without the header", "POST", echo, mod("Mcp-Protocol-Version", ""), 400, "-32020"},
		{"modern header alone", "POST", call(1, "echo", ""), mod(), 400, "-32602"},
		{"two versions", "POST", echo, mod("Mcp-Protocol-Version", "2025-11-25"), 400, "different protocol versions"},
		{"a version of the future", "POST", strings.ReplaceAll(echo, "2026-07-28", "2099-01-01"), mod("Mcp-Protocol-Version", "2099-01-01"), 400, "-32022"},
		{"another method", "POST", echo, mod("Mcp-Method", "tools/list"), 400, "-32020"},
		{"another tool", "POST", echo, mod("Mcp-Name", "fail"), 400, "-32020"},
		{"no name", "POST", echo, mod("Mcp-Name", ""), 400, "-32020"},
		{"modern resume", "POST", echo, mod("Last-Event-ID", "0_1"), 400, "repeat the request"},
		{"modern answer", "POST", `{"jsonrpc":"2.0","id":1,"result":{}}`, mod(), 400, "nothing was asked"},
		{"modern without capabilities", "POST", strings.Replace(echo, "clientCapabilities", "x", 1), mod(), 400, "clientCapabilities"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := *x
			x.t = t
			r := x.send(t.Context(), tc.method, tc.body, tc.headers)
			answer := readAll(t, r)
			require.Equal(t, tc.status, r.StatusCode, answer)
			require.Contains(t, answer, tc.says)
			require.Empty(t, r.Header.Get("Access-Control-Allow-Origin"))
		})
	}
	require.Nil(t, c.ask(ping).Error)
}

func TestKnownNamesAndPagesAreServed(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{AllowedHosts: []string{"mcp.example"}, AllowedOrigins: []string{"https://app.example"}})
	c := x.hello("a", "2025-06-18", `{}`)
	for _, pairs := range [][2]string{
		{"mcp.example", ""}, {"MCP.example:8137", ""}, {"localhost:1", ""}, {"[::1]:80", ""},
		{"mcp.example", "https://mcp.example"}, {"localhost", "http://127.0.0.1:6274"}, {"mcp.example", "https://app.example"},
	} {
		headers := map[string]string{"Mcp-Session-Id": c.session, "Caller": "a", "Host": pairs[0], "Origin": pairs[1]}
		r := x.send(t.Context(), http.MethodPost, ping, headers)
		require.Equal(t, http.StatusOK, r.StatusCode, "%v: %s", pairs, readAll(t, r))
	}
	r := x.send(t.Context(), http.MethodOptions, "", map[string]string{"Origin": "https://app.example"})
	require.Equal(t, http.StatusNoContent, r.StatusCode, readAll(t, r))
	require.Equal(t, "https://app.example", r.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, r.Header.Get("Access-Control-Allow-Headers"), "Mcp-Session-Id")

	everywhere := openSite(t, transport.Options{}, transport.HTTPOptions{AllowedHosts: []string{"*"}})
	r = everywhere.send(t.Context(), http.MethodPost, fmt.Sprintf(initialize, `{}`), map[string]string{"Host": "any.example", "Accept": "*/*"})
	require.Equal(t, http.StatusOK, r.StatusCode, readAll(t, r))
}

func TestIdentifySaysHowItRefuses(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{Identify: func(*http.Request) (string, context.Context, error) {
		return "", nil, fmt.Errorf("wrapped: %w", &transport.HTTPError{Status: 403, Header: http.Header{"Retry-After": {"9"}}, Message: "not you"})
	}})
	r := x.send(t.Context(), http.MethodPost, ping, nil)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
	require.Equal(t, "9", r.Header.Get("Retry-After"))
	require.Contains(t, readAll(t, r), "not you")
}

func TestATornBodyIsRefused(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(x.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(bufio.NewReader(conn))
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
}

func TestInitializeThatFailsOpensNoSession(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{MaxSessions: 1})
	for range 3 {
		r := x.send(t.Context(), http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":[]}`, nil)
		require.Contains(t, readAll(t, r), "malformed initialize")
		require.Empty(t, r.Header.Get("Mcp-Session-Id"))
	}
}

func TestRequestsOverTheBoundOfASessionAre429(t *testing.T) {
	x := openSite(t, transport.Options{MaxConcurrent: 1}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-06-18", `{}`)
	e := c.stream(t.Context(), call(1, "wait", ""))
	r := c.post(call(2, "echo", ""))
	require.Equal(t, http.StatusTooManyRequests, r.StatusCode, readAll(t, r))
	require.Equal(t, "1", r.Header.Get("Retry-After"))
	r = c.post(call(1, "echo", ""))
	require.Equal(t, http.StatusBadRequest, r.StatusCode, readAll(t, r))
	readAll(t, c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
	e.ends()
}

func TestToolParametersThatTravelInHeadersMustAgree(t *testing.T) {
	m := newServer()
	m.AddTool(mcp.NewToolWithRawSchema("sharded", "", json.RawMessage(`{"type":"object","properties":{"shard":{"type":"string","x-mcp-header":"Shard"}}}`)),
		func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("ok"), nil
		})
	x := openSiteOf(t, m, transport.Options{}, transport.HTTPOptions{})
	body := modern(1, "tools/call", `"name":"sharded","arguments":{"shard":"one"}`)
	for shard, status := range map[string]int{"one": 200, "two": 400, "": 400} {
		headers := x.modernHeaders("tools/call", "sharded")
		headers["Mcp-Param-Shard"] = shard
		r := x.send(t.Context(), http.MethodPost, body, headers)
		require.Equal(t, status, r.StatusCode, readAll(t, r))
	}
}

func TestPanickingHooksEndNothing(t *testing.T) {
	boom := func(*transport.Session) { panic("on purpose") }
	x := openSite(t, transport.Options{Hooks: transport.Hooks{
		SessionOpened: boom, SessionClosed: boom, Unsubscribed: func(*transport.Session, string) { panic("on purpose") },
	}}, transport.HTTPOptions{})
	c := x.hello("a", "2025-11-25", `{}`)
	for i, what := range []string{"subscribe", "unsubscribe", "subscribe"} {
		require.Nil(t, c.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"test://a"}}`, i, what)).Error)
	}
	e := c.stream(t.Context(), "")
	readAll(t, c.send(t.Context(), http.MethodDelete, "", c.headers))
	e.ends()
	require.NotEmpty(t, e.last, "a GET of 2025-11-25 is primed, too")
}
