// Command http measures MCP over HTTP at 1, 16 and 64 callers: one trivial tool on this project's transport and on mcp-go's own HTTP server, and
// get_chat through the whole server before a simulator, all in one run. The lines of one run compare; those of two machines do not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/bench/rig"
	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// lasting is how long each line is measured.
const lasting = 2 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// contestant is a server and the call that it is asked.
type contestant struct {
	name    string
	handler http.Handler
	path    string
	token   string
	tool    string
	args    string
}

func run() error {
	sim, err := simulator.Start(simulator.Options{RateLimit: -1})
	if err != nil {
		return err
	}
	defer sim.Close()
	whole, chat, end, err := wholeServer(sim)
	if err != nil {
		return err
	}
	defer end()
	quiet := transport.Options{Logger: slog.New(slog.DiscardHandler), CallTool: echo}
	own := transport.New(trivial(), quiet).HTTPHandler(transport.HTTPOptions{})
	fmt.Printf("%-28s %8s %10s %10s %10s %10s\n", "", "callers", "p50", "p95", "p99", "calls/s")
	for _, callers := range []int{1, 16, 64} {
		for _, c := range []contestant{
			{name: "own transport, trivial tool", handler: transport.Deadlines{}.Around(own), path: "/", tool: "echo", args: `{"text":"x"}`},
			{name: "mcp-go, trivial tool", handler: mcpserver.NewStreamableHTTPServer(trivial(), mcpserver.WithEndpointPath("/")), path: "/", tool: "echo", args: `{"text":"x"}`},
			{name: "whole server, get_chat", handler: transport.Deadlines{}.Around(whole), path: server.Path, token: sim.Users()[0].Token, tool: "get_chat", args: fmt.Sprintf(`{"chat":%q}`, chat)},
		} {
			if err := c.measure(callers); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// trivial is a registry with one tool that does nothing.
func trivial() *mcpserver.MCPServer {
	s := mcpserver.NewMCPServer("trivial", "1")
	s.AddTool(mcp.NewTool("echo", mcp.WithString("text")), func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(q.GetString("text", "")), nil
	})
	return s
}

// echo is the same tool, called as the whole server calls its own.
func echo(_ context.Context, _ string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	var a struct{ Text string }
	err := json.Unmarshal(arguments, &a)
	return mcp.NewToolResultText(a.Text), err
}

func wholeServer(sim *simulator.Instance) (handler http.Handler, chat string, end func(), err error) {
	host, err := client.NewHost(sim.URL, client.Options{})
	if err != nil {
		return nil, "", nil, err
	}
	created, err := host.Client(sim.Users()[0].Token).CreateChat(context.Background(), client.CreateChatRequest{Content: []client.InputPart{client.TextPart("hello")}})
	if err != nil {
		return nil, "", nil, err
	}
	s := server.New(server.Options{Tools: tools.All(), Config: tools.Config{MaxWait: time.Minute, MaxOutputBytes: tools.DefaultMaxOutputBytes}})
	gateway := s.Gateway(server.HTTPOptions{Host: host})
	return gateway, created.ID.String(), func() {
		_ = gateway.Shutdown(context.Background())
		s.Close()
		host.Close()
	}, nil
}

func (c contestant) measure(callers int) error {
	web := httptest.NewServer(c.handler)
	defer web.Close()
	pool := &http.Transport{MaxIdleConnsPerHost: callers}
	defer pool.CloseIdleConnections()
	caller := &caller{contestant: c, url: web.URL + c.path, client: &http.Client{Transport: pool}}
	var mu sync.Mutex
	var all rig.Delays
	var problems []error
	var working sync.WaitGroup
	began := time.Now()
	for range callers {
		working.Go(func() {
			delays, err := caller.call(began.Add(lasting))
			mu.Lock()
			defer mu.Unlock()
			all, problems = append(all, delays...), append(problems, err)
		})
	}
	working.Wait()
	took := time.Since(began)
	fmt.Printf("%-28s %8d %10s %10s %10s %10.0f\n", c.name, callers, micro(all.Quantile(50)), micro(all.Quantile(95)), micro(all.Quantile(99)), float64(len(all))/took.Seconds())
	return errors.Join(problems...)
}

func micro(d time.Duration) string { return d.Round(time.Microsecond).String() }

// caller opens a session and calls the tool again and again.
type caller struct {
	contestant
	url    string
	client *http.Client
}

func (c *caller) call(until time.Time) (rig.Delays, error) {
	session, err := c.post("", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`)
	if err != nil {
		return nil, err
	}
	var delays rig.Delays
	for i := 1; time.Now().Before(until); i++ {
		began := time.Now()
		if _, err := c.post(session, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, i, c.tool, c.args)); err != nil {
			return delays, err
		}
		delays = append(delays, time.Since(began))
	}
	return delays, nil
}

func (c *caller) post(session, body string) (newSession string, err error) {
	request, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Session-Id": session, "Coder-Session-Token": c.token,
	} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || !json.Valid(content) && !strings.Contains(string(content), "data: ") {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, content)
	}
	return response.Header.Get("Mcp-Session-Id"), nil
}
