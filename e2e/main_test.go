// Package e2e speaks MCP over standard input and output to the built binary, which speaks the Chats API over HTTP to a simulator of each generation,
// or to a real deployment when CODER_URL and CODER_SESSION_TOKEN are set. No test knows which, except where it says so.
package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/simulator"
)

var binary string

// calls are the tools that tests called.
type calls struct {
	mu    sync.Mutex
	names map[string]bool
}

var called = calls{names: map[string]bool{}}

func (c *calls) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[name] = true
}

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "coder-chats-mcp")
	arguments := []string{"build", "-o", binary, ".."}
	if out, err := exec.Command("go", arguments...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the binary does not build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && !testing.Short() {
		code = uncalled()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// uncalled fails the run when a tool has no end-to-end test.
func uncalled() int {
	out, err := exec.Command(binary, "tools", "--json").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var tools []struct{ Name string }
	if err := json.Unmarshal(out, &tools); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 0
	for _, tool := range tools {
		if !called.names[tool.Name] {
			fmt.Fprintf(os.Stderr, "no end-to-end test calls %s\n", tool.Name)
			code = 1
		}
	}
	return code
}

// backend is what the binary works with.
type backend struct {
	url, token string
	sim        *simulator.Instance // nil for a real deployment
}

func (b backend) environment() []string {
	return []string{"CODER_URL=" + b.url, "CODER_SESSION_TOKEN=" + b.token}
}

// onEveryBackend runs a test against each generation of the simulator, or against the real deployment if there is one.
func onEveryBackend(t *testing.T, test func(t *testing.T, b backend)) {
	if url, token := os.Getenv("CODER_URL"), os.Getenv("CODER_SESSION_TOKEN"); url != "" && token != "" {
		t.Run("real", func(t *testing.T) { test(t, backend{url: url, token: token}) })
		return
	}
	onEverySimulator(t, simulator.Options{}, test)
}

// onEverySimulator is for tests that need a scripted agent, or a server that fails as told: a real deployment can do neither.
func onEverySimulator(t *testing.T, o simulator.Options, test func(t *testing.T, b backend)) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026, simulator.V238} {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			o := o
			o.Generation = g
			o.TokenDelay = max(o.TokenDelay, 2*time.Millisecond)
			sim, err := simulator.Start(o)
			require.NoError(t, err)
			t.Cleanup(sim.Close)
			test(t, backend{url: sim.URL, token: sim.Users()[0].Token, sim: sim})
		})
	}
}
