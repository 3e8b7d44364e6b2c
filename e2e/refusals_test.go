package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// declaration is a tool as the binary lists it.
type declaration struct {
	Name        string `json:"name"`
	InputSchema struct {
		Properties map[string]struct {
			Type string   `json:"type"`
			Enum []string `json:"enum"`
		} `json:"properties"`
		Required []string `json:"required"`
	} `json:"inputSchema"`
}

func declarations(t *testing.T) []declaration {
	out, err := exec.Command(binary, "tools", "--json").Output()
	require.NoError(t, err)
	var all []declaration
	require.NoError(t, json.Unmarshal(out, &all))
	require.NotEmpty(t, all)
	return all
}

const nobody = "11111111-1111-4111-8111-111111111111"

// harmless are arguments that every tool takes, about a chat that does not exist.
func harmless(d declaration) map[string]any {
	known := map[string]any{
		"chat": nobody, "chats": []string{nobody}, "message_id": 1, "action": "delete", "file_id": nobody,
		"results": []any{map[string]any{"tool_call_id": "x", "output": 1}}, "actions": []any{map[string]any{"action": "move", "x": 1, "y": 1}},
	}
	arguments := map[string]any{}
	for _, name := range d.InputSchema.Required {
		arguments[name] = known[name]
	}
	for name, value := range map[string]any{"wait_seconds": 1, "text": "hello", "prompt": "hello", "title": "hello", "name": "a.txt"} {
		if _, takes := d.InputSchema.Properties[name]; takes {
			arguments[name] = value
		}
	}
	return arguments
}

func with(arguments map[string]any, name string, value any) map[string]any {
	changed := maps.Clone(arguments)
	changed[name] = value
	return changed
}

func TestEndToEndBadArguments(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		for _, d := range declarations(t) {
			t.Run(d.Name, func(t *testing.T) {
				arguments := harmless(d)
				unknown := p.tool(d.Name, with(arguments, "nonsense", 1)).failed("invalid_argument")
				require.Contains(t, unknown, `unknown argument "nonsense"`)
				if len(d.InputSchema.Properties) > 0 {
					require.Contains(t, unknown, "known: ")
				}
				for _, name := range d.InputSchema.Required {
					less := maps.Clone(arguments)
					delete(less, name)
					require.Contains(t, p.tool(d.Name, less).failed("invalid_argument"), fmt.Sprintf("missing argument %q", name))
				}
				for name, property := range d.InputSchema.Properties {
					var wrong any = map[string]any{"of": "another type"}
					if property.Type == "object" {
						wrong = 7
					}
					require.Contains(t, p.tool(d.Name, with(arguments, name, wrong)).failed("invalid_argument"), fmt.Sprintf("%q must be ", name))
					if len(property.Enum) > 0 {
						require.Contains(t, p.tool(d.Name, with(arguments, name, "neither")).failed("invalid_argument"), property.Enum[0])
					}
				}
				if _, takes := d.InputSchema.Properties["chat"]; takes {
					require.Contains(t, p.tool(d.Name, with(arguments, "chat", "42")).failed("invalid_argument"), "UUID")
					require.Contains(t, p.tool(d.Name, with(arguments, "chat", "https://elsewhere.example/agents/"+nobody)).failed("invalid_argument"), "elsewhere.example")
				}
			})
		}
		require.Nil(t, p.request("ping", nil).Error, "the process lives")
	})
}

func TestEndToEndUnknownChatsAndFiles(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		for _, d := range declarations(t) {
			arguments := harmless(d)
			_, ofChat := arguments["chat"]
			_, ofChats := arguments["chats"]
			_, ofFile := arguments["file_id"]
			if ofChat || ofChats || ofFile {
				require.Contains(t, p.tool(d.Name, arguments).failed("not_found"), "The API said", d.Name)
			}
		}
	})
}

// everyTool calls all tools at once, each of which must fail as one of the kinds.
func everyTool(t *testing.T, p *peer, kinds ...string) {
	t.Helper()
	calls := map[string]chan message{}
	for _, d := range declarations(t) {
		_, calls[d.Name] = p.startTool(d.Name, harmless(d))
	}
	for _, d := range declarations(t) {
		a := p.result(d.Name, calls[d.Name])
		require.True(t, a.IsError, "%s did not fail: %s", d.Name, a.Text)
		kind, rest, _ := strings.Cut(a.Text, ": ")
		require.Contains(t, kinds, kind, "%s: %s", d.Name, a.Text)
		require.Contains(t, rest, "Next: ", d.Name)
		a.failed(kind)
		require.NotContains(t, a.Text, "<html", d.Name)
	}
	require.Nil(t, p.request("ping", nil).Error, "the process lives")
}

func TestEndToEndExpiredToken(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, b backend) {
		secret := "AAAAAAAAAA-BBBBBBBBBBBBBBBBBBBBBB"
		p := start(t, []string{"CODER_URL=" + b.url, "CODER_SESSION_TOKEN=" + secret})
		everyTool(t, p, "unauthorized")
		require.NotContains(t, p.err.String(), secret)
	})
}

func TestEndToEndDeadServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	// A wait may spend its time on the search for the server that another call began, and can say no more than that then.
	everyTool(t, start(t, []string{"CODER_URL=http://" + address, "CODER_SESSION_TOKEN=x-y"}), "unavailable", "timeout")
}

func TestEndToEndRateLimit(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		p.tool("list_chats", nil).ok()
		b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Retry-After", "60")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"message":"You've been rate limited for sending more than 512 requests in 1m0s."}`)
			return true
		})
		for _, d := range declarations(t) {
			switch d.Name {
			case "upload_chat_file", "get_chat_file": // wait for their own limit once, which their tests show
				continue
			case "watch_chats": // listens on a socket that is up already
				continue
			}
			text := p.tool(d.Name, harmless(d)).failed("rate_limited")
			require.Contains(t, text, "Try again in 60 s", d.Name)
		}
	})
}

func TestEndToEndBrokenServer(t *testing.T) {
	onEverySimulator(t, simulator.Options{}, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		p.tool("list_chats", nil).ok()
		b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "<html><head><title>500</title></head><body><h1>Internal Server Error</h1></body></html>")
			return true
		})
		for _, d := range declarations(t) {
			if d.Name == "watch_chats" {
				continue // listens on a socket that is up already
			}
			text := p.tool(d.Name, harmless(d)).failed("unavailable")
			require.NotContains(t, text, "<html", d.Name)
		}
		require.Nil(t, p.request("ping", nil).Error, "the process lives")
	})
}

func TestEndToEndWithoutCredentials(t *testing.T) {
	p := start(t, nil)
	require.NotEmpty(t, p.request("tools/list", nil).Result)
	for _, d := range declarations(t) {
		text := p.tool(d.Name, harmless(d)).failed("unauthorized")
		require.Contains(t, text, "CODER_URL and CODER_SESSION_TOKEN", d.Name)
		require.Contains(t, text, "--simulate", d.Name)
	}
	require.NotNil(t, p.request("resources/read", map[string]any{"uri": "coder://chats"}).Error)
	require.Contains(t, string(p.request("resources/list", nil).Result), "coder://chats/models")
}
