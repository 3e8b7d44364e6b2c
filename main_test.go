package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the command line and gives what it printed.
func run(t *testing.T, in string, arguments ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	cmd := command()
	cmd.SetArgs(arguments)
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&log)
	err = cmd.ExecuteContext(context.Background())
	return out.String(), log.String(), err
}

// isolated keeps a login of whoever runs the tests out of them.
func isolated(t *testing.T) (configDir string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("CODER_CONFIG_DIR", dir)
	t.Setenv("CODER_URL", "")
	t.Setenv("CODER_SESSION_TOKEN", "")
	return dir
}

func TestDemoTellsTheWholeStory(t *testing.T) {
	for _, generation := range []simulator.Generation{simulator.May2026, simulator.August2026, simulator.V238} {
		t.Run(string(generation), func(t *testing.T) {
			out, _, err := run(t, "", "demo", "--json", "--simulate="+string(generation))
			require.NoError(t, err, out)
			seen := map[string]int{}
			for line := range strings.Lines(out) {
				var event struct{ Event, Text string }
				require.NoError(t, json.Unmarshal([]byte(line), &event), line)
				seen[event.Event]++
			}
			require.Equal(t, 9, seen["call"])
			require.Equal(t, 9, seen["answer"])
			require.NotZero(t, seen["progress"])
		})
	}
}

func TestHelpOfEveryCommandReadsLikeAManual(t *testing.T) {
	for _, name := range []string{"", "stdio", "demo", "tools", "doctor", "version"} {
		out, _, err := run(t, "", strings.Fields(name+" --help")...)
		require.NoError(t, err)
		require.Greater(t, len(out), 500, name)
		require.Contains(t, out, "Usage:", name)
		require.Contains(t, out, "--simulate", name)
	}
}

func TestToolsPrintsWhatASelectionOffers(t *testing.T) {
	out, _, err := run(t, "", "tools", "--toolsets", "models")
	require.NoError(t, err)
	require.Contains(t, out, "list_chat_models")
	require.NotContains(t, out, "send_chat_message")
	out, _, err = run(t, "", "tools", "--json", "--read-only")
	require.NoError(t, err)
	var listed []struct{ Name string }
	require.NoError(t, json.Unmarshal([]byte(out), &listed))
	require.NotEmpty(t, listed)
	_, _, err = run(t, "", "tools", "--toolsets", "chatz")
	require.ErrorContains(t, err, `unknown toolset "chatz"`)
}

func TestFlagsHaveEnvironmentVariablesAndWin(t *testing.T) {
	t.Setenv("CODER_CHATS_MCP_TOOLSETS", "models,files")
	out, _, err := run(t, "", "tools")
	require.NoError(t, err)
	require.Contains(t, out, "list_chat_models")
	require.Contains(t, out, "get_chat_file")
	out, _, err = run(t, "", "tools", "--toolsets", "models")
	require.NoError(t, err)
	require.NotContains(t, out, "get_chat_file")
	out, _, err = run(t, "", "tools", "--toolsets", "models, files")
	require.NoError(t, err)
	require.Contains(t, out, "get_chat_file")
	t.Setenv("CODER_CHATS_MCP_SIMULATE", "true")
	out, _, err = run(t, "", "doctor")
	require.NoError(t, err, out)
	t.Setenv("CODER_CHATS_MCP_MAX_WAIT", "soon")
	_, _, err = run(t, "", "tools")
	require.ErrorContains(t, err, "CODER_CHATS_MCP_MAX_WAIT")
}

func TestDoctor(t *testing.T) {
	dir := isolated(t)
	for _, generation := range []string{"2026-05", "2026-08", "2.38"} {
		out, _, err := run(t, "", "doctor", "--simulate="+generation)
		require.NoError(t, err, out)
		require.NotContains(t, out, "FAIL")
		require.Contains(t, out, "/chats")
	}
	out, _, err := run(t, "", "doctor")
	require.Error(t, err)
	require.Contains(t, out, "CODER_SESSION_TOKEN")

	sim, err := simulator.Start(simulator.Options{})
	require.NoError(t, err)
	defer sim.Close()
	const secret = "QQQQQQQQQQ-RRRRRRRRRRRRRRRRRRRRRR"
	out, _, err = run(t, "", "doctor", "--url", sim.URL, "--token", secret)
	require.Error(t, err)
	require.Contains(t, out, "FAIL token")
	require.NotContains(t, out, secret)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "url"), []byte(sim.URL+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "session"), []byte(sim.Users()[0].Token+"\n"), 0o600))
	out, _, err = run(t, "", "doctor")
	require.NoError(t, err, "what `coder login` left is used: %s", out)
	_, _, err = run(t, "", "doctor", "--url", "http://127.0.0.1:1")
	require.Error(t, err)
}

func TestAStoredSessionGoesToItsDeploymentAlone(t *testing.T) {
	dir := isolated(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "url"), []byte("https://one.example"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "session"), []byte("token-of-one"), 0o600))
	c, err := findCredentials("", "")
	require.NoError(t, err)
	require.Equal(t, credentials{"https://one.example", "token-of-one"}, c)
	c, err = findCredentials("https://one.example/", "")
	require.NoError(t, err)
	require.Equal(t, "token-of-one", c.token)
	c, err = findCredentials("https://ONE.example:443", "")
	require.NoError(t, err, "the same, spelled otherwise")
	require.Equal(t, "token-of-one", c.token)
	_, err = findCredentials("https://two.example", "")
	require.ErrorContains(t, err, "no token for https://two.example")
	require.NotContains(t, err.Error(), "token-of-one")
	c, err = findCredentials("https://two.example", "other")
	require.NoError(t, err)
	require.Equal(t, "other", c.token)
}

func TestStdioServesWithoutCredentials(t *testing.T) {
	isolated(t)
	in := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_chats","arguments":{}}}
`
	out, log, err := run(t, in)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2, out)
	require.Contains(t, out, "set CODER_URL and CODER_SESSION_TOKEN")
	require.Contains(t, log, "no tool can work")
	require.Contains(t, lines[0], "create_chat", "the instructions say how to begin")
	out, _, err = run(t, in, "--read-only")
	require.NoError(t, err)
	require.NotContains(t, out, "create_chat", "and name only what is offered")
}

func TestAnAllowedFolderThatIsNoneStopsTheStart(t *testing.T) {
	isolated(t)
	missing := filepath.Join(t.TempDir(), "typo")
	_, _, err := run(t, "", "stdio", "--allow-dir", missing)
	require.ErrorContains(t, err, `--allow-dir "`+missing+`" cannot be used`)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, err = run(t, "", "stdio", "--allow-dir", t.TempDir()+","+file)
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "no folder")
}

func TestStdioEndsThoughTheCollectorOfTracesHangs(t *testing.T) {
	isolated(t)
	goOn := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-goOn }))
	defer hanging.Close()
	defer close(goOn)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.URL)
	began := time.Now()
	_, _, err := run(t, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n", "stdio", "--simulate")
	require.NoError(t, err)
	require.Less(t, time.Since(began), 8*time.Second)
}

func TestLogsGoToTheLogFile(t *testing.T) {
	isolated(t)
	file := filepath.Join(t.TempDir(), "log")
	_, stderr, err := run(t, "", "stdio", "--log-file", file)
	require.NoError(t, err)
	require.Empty(t, stderr)
	logged, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(logged), "no tool can work")
	_, _, err = run(t, "", "stdio", "--log-level", "loud")
	require.ErrorContains(t, err, "debug, info, warn or error")
}

func TestVersion(t *testing.T) {
	out, _, err := run(t, "", "version")
	require.NoError(t, err)
	require.NotEmpty(t, strings.TrimSpace(out))
}
