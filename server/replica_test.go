package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/transport"
)

// TestWhatIsSaidOfACallWhoseReplicaDied: only of one that writes is it said that it may have been done.
func TestWhatIsSaidOfACallWhoseReplicaDied(t *testing.T) {
	sim, err := simulator.Start(simulator.Options{RateLimit: -1})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	sessions, events := transport.NewMemorySessions(), transport.NewMemoryEvents(0)
	replica := func() *gateway {
		host, err := client.NewHost(sim.URL, client.Options{})
		require.NoError(t, err)
		return newGatewayOf(t, sim, nil, server.HTTPOptions{Host: host, Key: []byte("shared"), Transport: transport.HTTPOptions{
			Sessions: sessions, Events: events, FirstByte: time.Millisecond,
		}})
	}
	a, b := replica(), replica()
	for name, tc := range map[string]struct {
		arguments map[string]any
		says, not string
	}{
		"watch_chats": {map[string]any{"wait_seconds": 60}, "events may be missing", "may have been done"},
		"list_chats":  {map[string]any{"query": strings.Repeat("x", 70<<10)}, "call it again", "may have been done"},
		"create_chat": {map[string]any{"prompt": "x"}, "may have been done: look before you repeat it", "call it again"},
	} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			defer close(goOn)
			ada := a.session(a.token(0))
			sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("limit") != "1" { // the question whether the token is good
					select {
					case <-goOn:
					case <-r.Context().Done():
					}
				}
				return false
			})
			defer sim.Intercept(nil)
			body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": name, "arguments": tc.arguments}})
			require.NoError(t, err)
			running := a.open(ada, http.MethodPost, body)
			lines := bufio.NewScanner(running)
			id := ""
			for id == "" && lines.Scan() {
				id, _ = strings.CutPrefix(lines.Text(), "id: ")
				if !strings.HasPrefix(lines.Text(), "id: ") {
					id = ""
				}
			}
			require.NotEmpty(t, id)

			ada.Set("Last-Event-ID", id)
			content, err := io.ReadAll(b.open(ada, http.MethodGet, nil)) // as if a were gone
			require.NoError(t, err)
			require.Contains(t, string(content), `"isError":true`)
			require.Contains(t, string(content), `"structuredContent":{"error":{"type":"unavailable"`)
			require.Contains(t, string(content), tc.says)
			require.NotContains(t, string(content), tc.not)
			ada.Del("Last-Event-ID")
			a.open(ada, http.MethodPost, []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
		})
	}
}

// open sends a request and gives the answer's body as it comes.
func (g *gateway) open(header http.Header, method string, body []byte) io.Reader {
	g.t.Helper()
	request, err := http.NewRequestWithContext(g.t.Context(), method, g.url+server.Path, bytes.NewReader(body))
	require.NoError(g.t, err)
	request.Header = header.Clone()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	request.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	response, err := http.DefaultClient.Do(request)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = response.Body.Close() })
	require.Less(g.t, response.StatusCode, 300)
	return response.Body
}
