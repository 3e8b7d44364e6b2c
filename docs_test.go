package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/resources"
	"coder-chats-mcp/tools"
)

var update = flag.Bool("update", false, "write the README's tables anew")

// TestReadmeTables keeps the README's tables what the declarations say.
func TestReadmeTables(t *testing.T) {
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	want := replaceBetween(t, string(content), "tools", toolTable())
	want = replaceBetween(t, want, "resources", resourceTable())
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(content), "the README's tables are old: go test . -update")
}

func replaceBetween(t *testing.T, text, name, table string) string {
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->"
	before, rest, found := strings.Cut(text, begin)
	require.True(t, found, begin)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found, end)
	return before + begin + table + end + after
}

func toolTable() string {
	var b strings.Builder
	b.WriteString("| tool | what it does | toolset | effect |\n|---|---|---|---|\n")
	for _, tool := range tools.All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", tool.Name, tool.Description, tool.Toolset, tool.Effect)
	}
	return b.String()
}

func resourceTable() string {
	var b strings.Builder
	b.WriteString("| address | what | MIME |\n|---|---|---|\n")
	row := func(uri, what, mime string) {
		if mime == "" {
			mime = "its own"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", uri, what, mime)
	}
	for _, r := range resources.Static() {
		row(r.URI, r.Description, r.MIMEType)
	}
	for _, r := range resources.Templates() {
		row(r.URITemplate.Raw(), r.Description, r.MIMEType)
	}
	return b.String()
}
