package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"coder-chats-mcp/tools"
)

// The headers by which a request narrows what it is offered, as github-mcp-server made them usual. Values are lists with commas; several lines of a
// header are one list.
const (
	HeaderToolsets = "X-MCP-Toolsets"
	HeaderTools    = "X-MCP-Tools"
	HeaderExclude  = "X-MCP-Exclude-Tools"
	HeaderReadOnly = "X-MCP-Readonly"
)

type selectionKey struct{}

// selection is what a request's headers leave of what the operator allows.
type selection struct {
	tools    map[string]bool
	readOnly bool // without the arguments that write
}

func withSelection(ctx context.Context, wanted *selection) context.Context {
	if wanted == nil {
		return ctx
	}
	return context.WithValue(ctx, selectionKey{}, wanted)
}

func selectionFrom(ctx context.Context) *selection {
	wanted, _ := ctx.Value(selectionKey{}).(*selection)
	return wanted
}

// wants reports whether a request's headers let a tool be offered. Requests without such headers are offered all that the operator allows.
func wants(ctx context.Context, tool string) bool {
	wanted := selectionFrom(ctx)
	return wanted == nil || wanted.tools[tool]
}

// readsOnly reports that a request asked for nothing that writes.
func readsOnly(ctx context.Context) bool {
	wanted := selectionFrom(ctx)
	return wanted != nil && wanted.readOnly
}

// selectionOf is what the headers ask for; nil for no such headers.
func selectionOf(h http.Header) (*selection, error) {
	readOnly, err := anyTrue(h, HeaderReadOnly)
	if err != nil {
		return nil, err
	}
	s := tools.Selection{
		Toolsets: list(h, HeaderToolsets), Tools: list(h, HeaderTools), Exclude: list(h, HeaderExclude), ReadOnly: readOnly,
	}
	if s.Toolsets == nil && s.Tools == nil && s.Exclude == nil && !s.ReadOnly {
		return nil, nil
	}
	selected, err := tools.Select(s)
	if err != nil {
		return nil, err
	}
	wanted := &selection{tools: map[string]bool{}, readOnly: s.ReadOnly}
	for _, t := range selected {
		wanted.tools[t.Name] = true
	}
	return wanted, nil
}

// list is what all lines of a header name.
func list(h http.Header, name string) []string {
	var words []string
	for word := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// anyTrue reports whether any line of a header says yes. Whoever asks for less must not get all because of a typing error.
func anyTrue(h http.Header, name string) (yes bool, err error) {
	for value := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		switch value = strings.ToLower(strings.TrimSpace(value)); value {
		case "1", "t", "true", "y", "yes", "on":
			yes = true
		case "0", "f", "false", "n", "no", "off":
		default:
			if h.Values(name) != nil {
				return false, fmt.Errorf("the header %s takes true or false, not %q", name, value)
			}
		}
	}
	return yes, nil
}
