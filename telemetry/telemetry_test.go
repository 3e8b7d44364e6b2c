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
	var upstream string
	coder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { upstream = r.Header.Get("Traceparent") }))
	defer coder.Close()

	ctx, end := tele.Observe(t.Context(), telemetry.Call{
		Method: "tools/call", Target: "create_chat", Session: "s", Protocol: "2026-07-28", Meta: map[string]any{"traceparent": parent},
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, coder.URL, nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := tele.Transport(transport).RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Empty(t, request.Header.Get("Traceparent"), "the caller's request stays as it is")
	end("conflict", "")
	require.NoError(t, tele.Shutdown(context.Background()))

	require.Contains(t, upstream, "0af7651916cd43dd8448eb211c80319c", "one trace, from the client on")
	require.NotContains(t, upstream, "b7ad6b7169203331", "with a span of ours between")
	spans := received("/v1/traces")
	for _, word := range []string{"tools/call create_chat", "gen_ai.tool.name", "mcp.method.name", "mcp.session.id", "error.type", "conflict"} {
		require.True(t, bytes.Contains(spans, []byte(word)), word)
	}
	require.True(t, bytes.Contains(received("/v1/metrics"), []byte("mcp.server.operation.duration")))
}

func TestMetricsOfPrometheus(t *testing.T) {
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "coder-chats-mcp"})
	require.NoError(t, err)
	defer func() { require.NoError(t, tele.Shutdown(context.Background())) }()
	require.NoError(t, tele.Counter("mcp.server.messages.joined", "joined", func() int64 { return 7 }))
	leave := tele.Session(t.Context())
	tele.Session(t.Context())()
	_, end := tele.Observe(t.Context(), telemetry.Call{Method: "resources/read"})
	end("", "")
	scrape := func() string {
		w := httptest.NewRecorder()
		tele.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	require.Contains(t, scrape(), "mcp_server_messages_joined_total 7")
	require.Contains(t, scrape(), "mcp_server_sessions 1")
	require.Contains(t, scrape(), `mcp_server_operation_duration_seconds_count{mcp_method_name="resources/read"} 1`)
	leave()
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
	observe := func(c telemetry.Call, failure, created string) {
		_, end := tele.Observe(t.Context(), c)
		end(failure, created)
	}
	observe(telemetry.Call{Method: "tools/call", Target: "create_chat", Writes: true, Caller: "abc"}, "", "new-chat")
	require.Contains(t, audit.String(), "caller=abc tool=create_chat chat=new-chat result=ok")
	require.Contains(t, slow.String(), `msg="slow call"`)
	audit.Reset()
	observe(telemetry.Call{Method: "tools/call", Target: "interrupt_chat", Writes: true, Caller: "abc", Chat: "old"}, "not_found", "")
	require.Contains(t, audit.String(), "chat=old result=not_found")
	audit.Reset()
	slow.Reset()
	observe(telemetry.Call{Method: "tools/call", Target: "stream_chat", Waits: time.Hour}, "", "")
	require.Empty(t, audit.String(), "reading is not audited")
	require.Empty(t, slow.String(), "waiting is not slowness")
}

func TestNothingObservesNothing(t *testing.T) {
	var tele *telemetry.Telemetry
	ctx, end := tele.Observe(t.Context(), telemetry.Call{})
	end("", "")
	require.Equal(t, t.Context(), ctx)
	tele.Session(ctx)()
	require.NoError(t, tele.Counter("x", "", nil))
	require.Equal(t, http.DefaultTransport, tele.Transport(http.DefaultTransport))
	require.NoError(t, tele.Shutdown(ctx))
}
