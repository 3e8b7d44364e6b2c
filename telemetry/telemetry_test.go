package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// collector is an OTLP endpoint that keeps what it is sent, by path.
func collector(t *testing.T) (url string, received func(path string) []byte) {
	var mu sync.Mutex
	got := map[string][]byte{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		content, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] = append(got[r.URL.Path], content...)
	}))
	t.Cleanup(s.Close)
	return s.URL, func(path string) []byte {
		mu.Lock()
		defer mu.Unlock()
		return got[path]
	}
}

func TestTracesGoFromTheClientThroughUsToCoder(t *testing.T) {
	url, received := collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	require.True(t, telemetry.Exporting())
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "coder-chats-mcp", Version: "1"})
	require.NoError(t, err)
	coder := newCoder(t)

	ctx, end := tele.Observe(t.Context(), telemetry.Call{
		Method: "tools/call", Tool: "create_chat", Session: "the-session", ID: "the-id", OverHTTP: true, TraceParent: parent, TraceState: "a=b",
	})
	upstream := coder.ask(ctx, tele)
	end(telemetry.Result{Failed: true, Kind: "conflict", Protocol: "2025-11-25"})
	_, end = tele.Observe(t.Context(), telemetry.Call{Method: "resources/read", Resource: "coder://chats/the-chat"})
	end(telemetry.Result{Code: -32002})
	tele.Session(t.Context(), true)("2025-11-25")
	require.NoError(t, tele.Shutdown(context.Background()))

	require.Contains(t, upstream, "0af7651916cd43dd8448eb211c80319c", "one trace, from the client on")
	require.NotContains(t, upstream, "b7ad6b7169203331", "with a span of ours between")
	spans, numbers := received("/v1/traces"), received("/v1/metrics")
	for _, word := range []string{
		"tools/call create_chat", "gen_ai.tool.name", "gen_ai.operation.name", "execute_tool", "mcp.method.name", "mcp.session.id", "the-session",
		"jsonrpc.request.id", "the-id", "error.type", "tool_error", "coder_chats_mcp.error.kind", "conflict", "network.transport", "tcp", "pipe",
		"mcp.protocol.version", "mcp.resource.uri", "coder://chats/the-chat", "rpc.response.status_code", "-32002", "service.instance.id",
	} {
		require.True(t, bytes.Contains(spans, []byte(word)), word)
	}
	for _, word := range []string{"mcp.server.operation.duration", "mcp.server.session.duration", "mcp.server.sessions", "tool_error"} {
		require.True(t, bytes.Contains(numbers, []byte(word)), word)
	}
	for _, word := range []string{"the-session", "the-id", "the-chat"} {
		require.False(t, bytes.Contains(numbers, []byte(word)), "a series for each: %s", word)
	}
}

// coder notes the trace that it is asked in.
type coder struct {
	t      *testing.T
	url    string
	traces chan string
}

func newCoder(t *testing.T) *coder {
	c := &coder{t: t, traces: make(chan string, 1)}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { c.traces <- r.Header.Get("Traceparent") }))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *coder) ask(ctx context.Context, tele *telemetry.Telemetry) (traceparent string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	require.NoError(c.t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := tele.Transport(transport).RoundTrip(request)
	require.NoError(c.t, err)
	require.NoError(c.t, response.Body.Close())
	require.Empty(c.t, request.Header.Get("Traceparent"), "the caller's request stays as it is")
	return <-c.traces
}

func TestEachSignalGoesOnlyWhereAnEndpointIsSet(t *testing.T) {
	for signal, wanted := range map[string]string{"TRACES": "/traces", "METRICS": "/metrics"} {
		t.Run(signal, func(t *testing.T) {
			url, received := collector(t)
			t.Setenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", url+wanted)
			require.True(t, telemetry.Exporting())
			tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "s"})
			require.NoError(t, err)
			ctx, end := tele.Observe(t.Context(), telemetry.Call{Method: "tools/list", TraceParent: parent})
			require.Contains(t, newCoder(t).ask(ctx, tele), "0af7651916cd43dd8448eb211c80319c", "the trace goes on, whoever keeps it")
			end(telemetry.Result{})
			require.NoError(t, tele.Shutdown(context.Background()))
			require.Equal(t, signal == "TRACES", len(received("/traces")) > 0)
			require.Equal(t, signal == "METRICS", len(received("/metrics")) > 0)
			require.Empty(t, received("/v1/traces"))
			require.Empty(t, received("/v1/metrics"))
		})
	}
}

func TestTheOperatorSaysWhoExports(t *testing.T) {
	url, received := collector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	t.Setenv("OTEL_SERVICE_NAME", "chats-of-the-team")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=of-the-team,deployment.environment=staging,service.instance.id=pod-7")
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "ours", Version: "our-version"})
	require.NoError(t, err)
	_, end := tele.Observe(t.Context(), telemetry.Call{Method: "ping"})
	end(telemetry.Result{})
	require.NoError(t, tele.Shutdown(context.Background()))
	for _, path := range []string{"/v1/traces", "/v1/metrics"} {
		for _, word := range []string{"chats-of-the-team", "of-the-team", "staging", "pod-7"} {
			require.True(t, bytes.Contains(received(path), []byte(word)), word)
		}
		require.False(t, bytes.Contains(received(path), []byte("our-version")))
	}
}

func TestWhatOpenTelemetryComplainsOfIsLogged(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
	var log bytes.Buffer
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "s", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	_, end := tele.Observe(t.Context(), telemetry.Call{Method: "ping"})
	end(telemetry.Result{})
	_ = tele.Shutdown(context.Background())
	require.Contains(t, log.String(), "127.0.0.1:1")
}

func TestACollectorThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	goOn := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-goOn }))
	defer hanging.Close()
	defer close(goOn)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.URL)
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "s"})
	require.NoError(t, err)
	_, end := tele.Observe(t.Context(), telemetry.Call{Method: "ping"})
	end(telemetry.Result{})
	began := time.Now()
	require.Error(t, tele.Shutdown(context.Background()))
	require.Less(t, time.Since(began), 6*time.Second)
}

func TestMetricsOfPrometheus(t *testing.T) {
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "coder-chats-mcp"})
	require.NoError(t, err)
	defer func() { require.NoError(t, tele.Shutdown(context.Background())) }()
	scrape := func() string {
		w := httptest.NewRecorder()
		tele.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	require.Contains(t, scrape(), "mcp_server_sessions 0", "before the first one")
	require.NoError(t, tele.Counter("mcp.server.messages.joined", "joined", func() int64 { return 7 }))
	leave := tele.Session(t.Context(), false)
	tele.Session(t.Context(), true)("2025-11-25")
	for _, method := range []string{"resources/read", "made up", "made up, too"} {
		_, end := tele.Observe(t.Context(), telemetry.Call{Method: method})
		end(telemetry.Result{})
	}
	for _, line := range []string{
		"mcp_server_messages_joined_total 7", "mcp_server_sessions 1",
		`mcp_server_operation_duration_seconds_count{mcp_method_name="resources/read",network_transport="pipe"} 1`,
		`mcp_server_operation_duration_seconds_count{mcp_method_name="_OTHER",network_transport="pipe"} 2`,
		`mcp_server_session_duration_seconds_count{mcp_protocol_version="2025-11-25",network_protocol_name="http",network_transport="tcp"} 1`,
		`mcp_server_operation_duration_seconds_bucket{mcp_method_name="resources/read",network_transport="pipe",le="0.02"} 1`,
	} {
		require.Contains(t, scrape(), line)
	}
	leave("")
	require.Contains(t, scrape(), "mcp_server_sessions 0")
}

func TestSlowCallsAndWritesAreLoggedWithoutContent(t *testing.T) {
	var slow, audit bytes.Buffer
	tele, err := telemetry.New(t.Context(), telemetry.Options{
		Service: "coder-chats-mcp", Slow: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(&slow, nil)), Audit: slog.New(slog.NewTextHandler(&audit, nil)),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, tele.Shutdown(context.Background())) }()
	observe := func(c telemetry.Call, r telemetry.Result) {
		c.Method = "tools/call"
		_, end := tele.Observe(t.Context(), c)
		end(r)
	}
	observe(telemetry.Call{Tool: "create_chat", Writes: true, Caller: "abc"}, telemetry.Result{Created: "new-chat"})
	require.Contains(t, audit.String(), "caller=abc tool=create_chat chat=new-chat result=ok")
	require.Contains(t, slow.String(), `msg="slow call"`)
	audit.Reset()
	observe(telemetry.Call{Tool: "interrupt_chat", Writes: true, Caller: "abc", Chat: "old"}, telemetry.Result{Failed: true, Kind: "not_found"})
	require.Contains(t, audit.String(), "chat=old result=not_found")
	audit.Reset()
	observe(telemetry.Call{Tool: "interrupt_chat", Writes: true, Caller: "abc", Chat: "old"}, telemetry.Result{Code: -32602})
	require.Contains(t, audit.String(), "chat=old result=-32602")
	audit.Reset()
	slow.Reset()
	observe(telemetry.Call{Tool: "stream_chat", Waits: time.Hour}, telemetry.Result{})
	require.Empty(t, audit.String(), "reading is not audited")
	require.Empty(t, slow.String(), "waiting is not slowness")
}

func TestNothingObservesNothing(t *testing.T) {
	var tele *telemetry.Telemetry
	ctx, end := tele.Observe(t.Context(), telemetry.Call{})
	end(telemetry.Result{})
	require.Equal(t, t.Context(), ctx)
	tele.Session(ctx, true)("")
	require.NoError(t, tele.Counter("x", "", nil))
	require.Equal(t, http.DefaultTransport, tele.Transport(http.DefaultTransport))
	require.NoError(t, tele.Shutdown(ctx))
}
