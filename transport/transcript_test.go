package transport_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

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
// byte; a lone . ends the input.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			p := connect(t, transport.Options{Hooks: hooksOf(&notes{})})
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
