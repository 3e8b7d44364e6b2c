package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/telemetry"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// gateway is a Server over HTTP before a simulator.
type gateway struct {
	*server.Gateway
	t   *testing.T
	url string
	sim *simulator.Instance
}

func newGateway(t *testing.T, o server.HTTPOptions) *gateway {
	t.Helper()
	return newGatewayTo(t, simulator.Options{RateLimit: -1}, o)
}

func newGatewayTo(t *testing.T, upstream simulator.Options, o server.HTTPOptions) *gateway {
	t.Helper()
	sim, err := simulator.Start(upstream)
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	if o.Host == nil {
		o.Host, err = client.NewHost(sim.URL, client.Options{})
		require.NoError(t, err)
	}
	return newGatewayOf(t, sim, nil, o)
}

func newGatewayOf(t *testing.T, sim *simulator.Instance, tele *telemetry.Telemetry, o server.HTTPOptions) *gateway {
	t.Helper()
	offered := tools.All()
	for i, tool := range offered {
		offered[i] = tool.Remote()
	}
	srv := server.New(server.Options{Version: "test", Tools: offered, Telemetry: tele, Config: tools.Config{
		MaxWait: tools.DefaultMaxWait, MaxOutputBytes: tools.DefaultMaxOutputBytes,
	}})
	g := srv.Gateway(o)
	web := httptest.NewServer(transport.Deadlines{}.Around(g))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, g.Shutdown(ctx))
		web.Close()
		srv.Close()
		o.Host.Close()
	})
	return &gateway{Gateway: g, t: t, url: web.URL, sim: sim}
}

func (g *gateway) token(user int) http.Header {
	return http.Header{"Authorization": {"Bearer " + g.sim.Users()[user].Token}}
}

// post sends one message and gives the answer, also where it comes as the last event of a stream.
func (g *gateway) post(header http.Header, method string, params any) (status int, answered http.Header, answer map[string]any) {
	g.t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	require.NoError(g.t, err)
	request, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url+server.Path, bytes.NewReader(body))
	require.NoError(g.t, err)
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	response, err := http.DefaultClient.Do(request)
	require.NoError(g.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(g.t, err)
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		lines := bufio.NewScanner(bytes.NewReader(content))
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found && data != "" {
				content = []byte(data)
			}
		}
	}
	require.NoError(g.t, json.Unmarshal(content, &answer), "%s", content)
	return response.StatusCode, response.Header, answer
}

// session opens one and gives the headers that belong to it.
func (g *gateway) session(header http.Header) http.Header {
	g.t.Helper()
	status, answered, _ := g.post(header, "initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "t", "version": "1"},
	})
	require.Equal(g.t, http.StatusOK, status)
	header = header.Clone()
	header.Set("Mcp-Session-Id", answered.Get("Mcp-Session-Id"))
	return header
}

func (g *gateway) tool(header http.Header, name string, arguments map[string]any) (structured map[string]any, isError bool) {
	g.t.Helper()
	status, _, answer := g.post(header, "tools/call", map[string]any{"name": name, "arguments": arguments})
	require.Equal(g.t, http.StatusOK, status)
	result, ok := answer["result"].(map[string]any)
	require.True(g.t, ok, "%v", answer)
	structured, _ = result["structuredContent"].(map[string]any)
	isError, _ = result["isError"].(bool)
	return structured, isError
}

func TestCallersBringTheirTokens(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{OAuth: true, PublicURL: "https://mcp.example"})
	status, header, _ := g.post(nil, "tools/list", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, `Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"`, header.Get("WWW-Authenticate"))
	secret := "QQQQQQQQQQ-RRRRRRRRRRRRRRRRRRRRRR"
	status, _, answer := g.post(http.Header{"Coder-Session-Token": {secret}}, "tools/list", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, answer["error"].(map[string]any)["message"], secret)
	g.session(http.Header{"Coder-Session-Token": {g.sim.Users()[0].Token}})

	response, err := http.Get(g.url + "/.well-known/oauth-protected-resource/mcp")
	require.NoError(t, err)
	defer response.Body.Close()
	var metadata struct {
		Resource             string
		AuthorizationServers []string `json:"authorization_servers"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&metadata))
	require.Equal(t, "https://mcp.example/mcp", metadata.Resource)
	require.Equal(t, []string{g.sim.URL}, metadata.AuthorizationServers)
}

func TestNobodySeesAnybodyElse(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	ada, bob := g.session(g.token(0)), g.session(g.token(1))
	chat, _ := g.tool(ada, "create_chat", map[string]any{"prompt": "ada's secret", "wait_seconds": 20})
	listed, _ := g.tool(bob, "list_chats", nil)
	require.Empty(t, listed["chats"])
	failure, isError := g.tool(bob, "get_chat", map[string]any{"chat": chat["id"]})
	require.True(t, isError)
	require.Equal(t, "not_found", failure["error"].(map[string]any)["type"])

	stolen := ada.Clone()
	stolen.Set("Authorization", bob.Get("Authorization"))
	status, _, _ := g.post(stolen, "tools/list", nil)
	require.Equal(t, http.StatusNotFound, status, "a session belongs to the token that opened it")
	_, _, subscribed := g.post(bob, "resources/subscribe", map[string]any{"uri": "coder://chats/" + chat["id"].(string)})
	require.NotNil(t, subscribed["error"])
}

func TestHeadersNarrowWhatIsOffered(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	ada := g.session(g.token(0))
	narrowed := ada.Clone()
	narrowed.Set(server.HeaderToolsets, "chats, models")
	narrowed.Set(server.HeaderReadOnly, "true")
	_, _, answer := g.post(narrowed, "tools/list", nil)
	var names []string
	for _, tool := range answer["result"].(map[string]any)["tools"].([]any) {
		names = append(names, tool.(map[string]any)["name"].(string))
	}
	require.ElementsMatch(t, []string{"get_chat", "list_chats", "watch_chats", "list_chat_models"}, names)
	_, _, answer = g.post(narrowed, "tools/call", map[string]any{"name": "create_chat", "arguments": map[string]any{"prompt": "x"}})
	require.NotNil(t, answer["error"], "what is not offered cannot be called")
	_, _, answer = g.post(narrowed, "prompts/list", nil)
	require.NotContains(t, answer["result"].(map[string]any)["prompts"], "delegate")
	narrowed.Set(server.HeaderToolsets, "orchestration")
	_, _, answer = g.post(narrowed, "tools/list", nil)
	waits, err := json.Marshal(answer["result"])
	require.NoError(t, err)
	require.Contains(t, string(waits), "await_chats")
	require.NotContains(t, string(waits), "interrupt_on_cancel", "which would write")
	failure, _ := g.tool(narrowed, "await_chats", map[string]any{"chats": []string{"x"}, "interrupt_on_cancel": true})
	require.Contains(t, failure["error"].(map[string]any)["message"], `unknown argument "interrupt_on_cancel"`)
	narrowed.Set(server.HeaderTools, "no_such_tool")
	status, _, answer := g.post(narrowed, "tools/list", nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer["error"].(map[string]any)["message"], "no_such_tool")
}

func TestEveryLineOfANarrowingHeaderCounts(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	ada := g.session(g.token(0))
	offered := func(name string, lines ...string) (status int, names string) {
		header := ada.Clone()
		header[http.CanonicalHeaderKey(name)] = lines
		status, _, answer := g.post(header, "tools/list", nil)
		if result, ok := answer["result"].(map[string]any); ok {
			for _, tool := range result["tools"].([]any) {
				names += tool.(map[string]any)["name"].(string) + " "
			}
		}
		return status, names
	}
	_, names := offered(server.HeaderExclude, "create_chat", "send_chat_message, get_chat_diff")
	for _, excluded := range []string{"create_chat", "send_chat_message", "get_chat_diff"} {
		require.NotContains(t, names, excluded)
	}
	_, names = offered(server.HeaderToolsets, "models", "files")
	require.Contains(t, names, "list_chat_models")
	require.Contains(t, names, "get_chat_file")
	for _, lines := range [][]string{{"true"}, {"T"}, {"yes"}, {"false", "true"}, {"false, 1"}} {
		status, names := offered(server.HeaderReadOnly, lines...)
		require.Equal(t, http.StatusOK, status, "%v", lines)
		require.NotContains(t, names, "create_chat", "%v", lines)
	}
	_, names = offered(server.HeaderReadOnly, "false", "off")
	require.Contains(t, names, "create_chat")
	for _, lines := range [][]string{{"readonly"}, {""}, {"true", "maybe"}, {"false,"}} {
		status, _ := offered(server.HeaderReadOnly, lines...)
		require.Equal(t, http.StatusBadRequest, status, "%v", lines)
	}
}

func TestFileToolsTakeNoPathsOverHTTP(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	failure, isError := g.tool(g.session(g.token(0)), "upload_chat_file", map[string]any{"path": "/etc/passwd"})
	require.True(t, isError)
	require.Contains(t, failure["error"].(map[string]any)["message"], `unknown argument "path"`)
}

func TestRateOfACaller(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Rate: 3})
	for range 3 {
		status, _, _ := g.post(g.token(0), "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "t", "version": "1"}})
		require.Equal(t, http.StatusOK, status)
	}
	status, header, _ := g.post(g.token(0), "tools/list", nil)
	require.Equal(t, http.StatusTooManyRequests, status)
	wait, err := strconv.Atoi(header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 20, wait, 5, "three a minute")
	g.session(g.token(1))
}

func TestSharedToken(t *testing.T) {
	sim, err := simulator.Start(simulator.Options{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	host, err := client.NewHost(sim.URL, client.Options{})
	require.NoError(t, err)
	g := newGateway(t, server.HTTPOptions{Host: host, SharedToken: sim.Users()[1].Token})
	models, isError := g.tool(g.session(http.Header{}), "list_chat_models", nil)
	require.False(t, isError)
	require.NotEmpty(t, models["models"])
}

func (g *gateway) get(path string, headers ...string) (*http.Response, string) {
	g.t.Helper()
	return g.ask(g.t.Context(), http.MethodGet, path, headers...)
}

func (g *gateway) ask(ctx context.Context, method, path string, headers ...string) (*http.Response, string) {
	g.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, g.url+path, nil)
	require.NoError(g.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(g.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(g.t, err)
	return response, string(content)
}

func (g *gateway) status(path string, headers ...string) int {
	response, _ := g.get(path, headers...)
	return response.StatusCode
}

func TestProbes(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	g.sim.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	require.Equal(t, http.StatusOK, g.status("/healthz"))
	require.Equal(t, http.StatusServiceUnavailable, g.status("/readyz"))
	require.Equal(t, http.StatusNotFound, g.status("/elsewhere"))

	other := newGateway(t, server.HTTPOptions{})
	require.Equal(t, http.StatusOK, other.status("/readyz"))
	require.Equal(t, http.StatusForbidden, other.status("/readyz", "Host", "evil.example"))
	require.Equal(t, http.StatusOK, other.status("/healthz", "Host", "evil.example"), "which tells nothing")
	require.NoError(t, other.Shutdown(t.Context()))
	response, said := other.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Contains(t, said, "stopping")
	require.Equal(t, http.StatusOK, other.status("/healthz"))
}

func TestAProbeThatGivesUpSpoilsNoOther(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	g.sim.Intercept(func(http.ResponseWriter, *http.Request) bool {
		began <- struct{}{}
		<-goOn
		return false
	})
	ctx, giveUp := context.WithCancel(t.Context())
	over := make(chan error)
	go func() {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/readyz", nil)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		over <- err
	}()
	<-began
	giveUp()
	require.Error(t, <-over)
	close(goOn)
	require.Equal(t, http.StatusOK, g.status("/readyz"))
	require.Empty(t, began, "asked for once")
}

func TestMetadataIsWhereRFC9728LooksForIt(t *testing.T) {
	const path = "/.well-known/oauth-protected-resource/sub/mcp"
	g := newGateway(t, server.HTTPOptions{OAuth: true, PublicURL: "https://mcp.example/sub/", Transport: transport.HTTPOptions{
		AllowedHosts: []string{"mcp.example"}, AllowedOrigins: []string{"https://app.example"},
	}})
	_, header, _ := g.post(nil, "tools/list", nil)
	require.Equal(t, `Bearer resource_metadata="https://mcp.example`+path+`"`, header.Get("WWW-Authenticate"))
	response, said := g.get(path, "Host", "mcp.example", "Origin", "https://app.example")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, said, `"resource":"https://mcp.example/sub/mcp"`)
	require.Equal(t, "https://app.example", response.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.StatusForbidden, g.status(path, "Host", "evil.example"))
	require.Equal(t, http.StatusForbidden, g.status(path, "Origin", "https://evil.example"))
	response, _ = g.ask(t.Context(), http.MethodOptions, path, "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Equal(t, "GET", response.Header.Get("Access-Control-Allow-Methods"))
	response, _ = g.ask(t.Context(), http.MethodOptions, server.Path, "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	for _, name := range []string{"Mcp-Session-Id", server.HeaderToken, server.HeaderReadOnly, server.HeaderToolsets, server.HeaderTools, server.HeaderExclude} {
		require.Contains(t, response.Header.Get("Access-Control-Allow-Headers"), name)
	}
}

func TestSessionsPerCaller(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Transport: transport.HTTPOptions{MaxSessionsPerCaller: 2}})
	g.session(g.token(0))
	g.session(g.token(0))
	status, _, _ := g.post(g.token(0), "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "t", "version": "1"}})
	require.Equal(t, http.StatusTooManyRequests, status)
	g.session(g.token(1))
}

func TestWhereItMayListen(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "localhost:1", "[::1]:1"} {
		require.NoError(t, server.CheckListen(address, false, false), address)
		require.NoError(t, server.CheckSharedToken(address, false, false), address)
	}
	for _, address := range []string{":1", "0.0.0.0:1", "10.0.0.1:1", "example.org:1"} {
		require.ErrorContains(t, server.CheckListen(address, false, false), "--behind-proxy", address)
		require.NoError(t, server.CheckListen(address, true, false), address)
		require.NoError(t, server.CheckListen(address, false, true), address)
		require.ErrorContains(t, server.CheckSharedToken(address, false, false), "--allow-shared-token", address)
		require.NoError(t, server.CheckSharedToken(address, true, true), address)
	}
	require.ErrorContains(t, server.CheckSharedToken("127.0.0.1:1", true, false), "--allow-shared-token")
	require.ErrorContains(t, server.CheckListen("nonsense", false, false), "HOST:PORT")
}
