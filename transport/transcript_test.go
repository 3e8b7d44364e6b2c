package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// hooksOf refuses and breaks the subscriptions that the transcripts name so, and notes the others.
func hooksOf(notes *notes) transport.Hooks {
	return transport.Hooks{
		Subscribed: func(_ *transport.Session, uri string) error {
			switch uri {
			case "test://refused":
				return errors.New("no such chat")
			case "test://gone":
				return fmt.Errorf("%w: %s", server.ErrResourceNotFound, uri)
			case "test://own":
				return &transport.Error{Code: -32001, Message: "own"}
			case "test://panic":
				panic("on purpose")
			}
			notes.add("+" + uri)
			return nil
		},
		Unsubscribed:  func(_ *transport.Session, uri string) { notes.add("-" + uri) },
		SessionClosed: func(*transport.Session) { notes.add("closed") },
	}
}

type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(s string) { n.mu.Lock(); n.list = append(n.list, s); n.mu.Unlock() }

func (n *notes) all() []string { n.mu.Lock(); defer n.mu.Unlock(); return slices.Clone(n.list) }

// TestTranscripts replays testdata/*.txt: lines after > go to the server, lines after < are what it must say, byte for
// byte; a lone . ends the input. It says the same whether mcp-go calls its tools or Options.CallTool.
func TestTranscripts(t *testing.T) {
	t.Run("mcp-go", func(t *testing.T) { replayTranscripts(t, newServer(), transport.Options{}) })
	m := newServer()
	var called atomic.Int32
	t.Run("CallTool", func(t *testing.T) {
		replayTranscripts(t, m, transport.Options{CallTool: func(ctx context.Context, name string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
			tool := m.GetTool(name)
			if tool == nil || name == "ask" { // its questions are mcp-go's to bridge
				return nil, nil
			}
			called.Add(1)
			q := mcp.CallToolRequest{Params: mcp.CallToolParams{Name: name}}
			if arguments != nil {
				if err := json.Unmarshal(arguments, &q.Params.Arguments); err != nil {
					return nil, err
				}
			}
			return tool.Handler(ctx, q)
		}})
	})
	require.Greater(t, called.Load(), int32(10))
}

func replayTranscripts(t *testing.T, m *server.MCPServer, o transport.Options) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			o.Hooks = hooksOf(&notes{})
			p := serve(t, m, o)
			var rest []string
			for line := range strings.Lines(string(script)) {
				line = strings.TrimSuffix(line, "\n")
				switch {
				case strings.HasPrefix(line, "> "):
					p.write(line[2:])
				case line == ".":
					rest = p.rest()
				case strings.HasPrefix(line, "< ") && rest != nil:
					require.Equal(t, line[2:], rest[0])
					rest = rest[1:]
				case strings.HasPrefix(line, "< "):
					require.Equal(t, line[2:], p.line())
				}
			}
			require.Empty(t, rest)
			require.Empty(t, p.rest())
		})
	}
}
