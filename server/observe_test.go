package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/telemetry"
)

// observed is a gateway that is watched.
type observed struct {
	*gateway
	audit bytes.Buffer
}

func newObserved(t *testing.T) *observed {
	t.Helper()
	o := &observed{}
	tele, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Audit: slog.New(slog.NewTextHandler(&o.audit, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tele.Shutdown(context.Background())) })
	sim, err := simulator.Start(simulator.Options{RateLimit: -1})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	host, err := client.NewHost(sim.URL, client.Options{Wrap: tele.Transport})
	require.NoError(t, err)
	o.gateway = newGatewayOf(t, sim, tele, server.HTTPOptions{Host: host})
	return o
}

// count is how often a request was observed, by the labels that its series must have.
func (o *observed) count(labels ...string) string {
	o.t.Helper()
	_, metrics := o.get("/metrics")
	for line := range strings.Lines(metrics) {
		if found := duration.FindStringSubmatch(line); found != nil {
			all := true
			for _, label := range labels {
				all = all && strings.Contains(found[1], label)
			}
			if all {
				return found[2]
			}
		}
	}
	return ""
}

var duration = regexp.MustCompile(`^mcp_server_operation_duration_seconds_count\{(.*)\} (\d+)`)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

func TestEveryRequestIsObservedOnce(t *testing.T) {
	o := newObserved(t)
	ada := o.session(o.token(0))
	chat := "00000000-0000-0000-0000-000000000001"
	for _, q := range []struct {
		method string
		params map[string]any
		labels []string
	}{
		{"ping", nil, nil},
		{"logging/setLevel", map[string]any{"level": "error"}, nil},
		{"tools/list", nil, nil},
		{"tools/call", map[string]any{"name": "list_chats"}, []string{`gen_ai_tool_name="list_chats"`, `gen_ai_operation_name="execute_tool"`}},
		{"tools/call", map[string]any{"name": "get_chat", "arguments": map[string]any{"chat": chat}},
			[]string{`gen_ai_tool_name="get_chat"`, `error_type="tool_error"`, `coder_chats_mcp_error_kind="not_found"`}},
		{"tools/call", map[string]any{"name": "no such tool"}, []string{`error_type="-32602"`, `rpc_response_status_code="-32602"`}},
		{"prompts/list", nil, nil},
		{"prompts/get", map[string]any{"name": "delegate", "arguments": map[string]any{"task": "x"}}, []string{`gen_ai_prompt_name="delegate"`}},
		{"resources/list", nil, nil},
		{"resources/templates/list", nil, nil},
		{"resources/read", map[string]any{"uri": "coder://chats"}, []string{`error_type=""`}},
		{"resources/read", map[string]any{"uri": "coder://chats/" + chat}, []string{`error_type="-32002"`}},
		{"resources/subscribe", map[string]any{"uri": "coder://chats"}, nil},
		{"resources/unsubscribe", map[string]any{"uri": "coder://chats"}, nil},
		{"completion/complete", map[string]any{
			"ref": map[string]any{"type": "ref/resource", "uri": "coder://chats/{chat}"}, "argument": map[string]any{"name": "chat", "value": ""},
		}, nil},
	} {
		o.post(ada, q.method, q.params)
		labels := []string{`mcp_method_name="` + q.method + `"`, `mcp_protocol_version="2025-11-25"`, `network_transport="tcp"`}
		for _, label := range q.labels {
			if label != `error_type=""` {
				labels = append(labels, label)
			}
		}
		require.Equal(t, "1", o.count(labels...), "%s %v", q.method, q.params)
	}
	require.Equal(t, "1", o.count(`mcp_method_name="initialize"`))
	o.post(ada, "made/up", nil)
	require.Equal(t, "1", o.count(`mcp_method_name="_OTHER"`))
	_, metrics := o.get("/metrics")
	require.NotContains(t, metrics, "no such tool")
	require.NotContains(t, metrics, "made/up")
	require.Contains(t, metrics, "mcp_server_sessions 1")
	_, _ = o.ask(t.Context(), http.MethodDelete, server.Path, "Mcp-Session-Id", ada.Get("Mcp-Session-Id"), "Authorization", ada.Get("Authorization"))
	_, metrics = o.get("/metrics")
	require.Contains(t, metrics, "mcp_server_sessions 0")
	require.Contains(t, metrics, `mcp_server_session_duration_seconds_count{mcp_protocol_version="2025-11-25",network_protocol_name="http",network_transport="tcp"} 1`)
}

func TestATraceGoesOnToCoderFromWhateverAsksIt(t *testing.T) {
	o := newObserved(t)
	ada := o.session(o.token(0))
	var traced atomic.Int32 // others ask, too: whoever watches the list of chats
	o.sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.Header.Get("Traceparent"), traceID) {
			traced.Add(1)
		}
		return false
	})
	for method, params := range map[string]map[string]any{
		"tools/call":     {"name": "list_chats"},
		"resources/list": {}, "resources/read": {"uri": "coder://chats"},
		"completion/complete": {
			"ref": map[string]any{"type": "ref/resource", "uri": "coder://chats/{chat}"}, "argument": map[string]any{"name": "chat", "value": ""},
		},
	} {
		traced.Store(0)
		o.post(ada, method, params)
		require.Zero(t, traced.Load(), method)
		params["_meta"] = map[string]any{"traceparent": traceparent}
		o.post(ada, method, params)
		require.NotZero(t, traced.Load(), method)
	}
}

func TestTheAuditNamesChatsAndSaysNothing(t *testing.T) {
	o := newObserved(t)
	ada := o.session(o.token(0))
	chat, _ := o.tool(ada, "create_chat", map[string]any{"prompt": "secret words"})
	id := chat["id"].(string)
	require.Contains(t, o.audit.String(), "tool=create_chat chat="+id+" result=ok")
	for argument, logged := range map[string]string{
		id: id, " {" + strings.ToUpper(id) + "}": id, o.sim.URL + "/agents/" + id + "?token=secret": id,
		"secret words": "invalid", "https://elsewhere.example/secret": "invalid",
	} {
		o.audit.Reset()
		o.tool(ada, "interrupt_chat", map[string]any{"chat": argument})
		require.Contains(t, o.audit.String(), "tool=interrupt_chat chat="+logged+" ", argument)
		require.NotContains(t, o.audit.String(), "secret")
	}
	o.audit.Reset()
	o.tool(ada, "interrupt_chat", map[string]any{"chat": []string{"secret"}})
	require.Contains(t, o.audit.String(), "chat=invalid result=invalid_argument")
	o.audit.Reset()
	o.tool(ada, "list_chats", nil)
	require.Empty(t, o.audit.String())
}
