package tools_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/tools"
)

var update = flag.Bool("update", false, "write the snapshots anew")

// TestSnapshots keeps what clients see of each tool from changing unseen. A tool without a snapshot fails, and so does a snapshot without a tool.
func TestSnapshots(t *testing.T) {
	const dir = "testdata/snapshots"
	left, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	without := map[string]bool{}
	for _, file := range left {
		without[filepath.Base(file)] = true
	}
	for _, tool := range tools.All() {
		var got bytes.Buffer
		encoder := json.NewEncoder(&got)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		require.NoError(t, encoder.Encode(tool.MCP()))
		file := filepath.Join(dir, tool.Name+".json")
		delete(without, tool.Name+".json")
		if *update {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			continue
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err, "%s has no snapshot: go test ./tools -update", tool.Name)
		require.Equal(t, string(want), got.String(), "%s has changed: if that is meant, go test ./tools -update", tool.Name)
	}
	require.Empty(t, without, "snapshots of tools that are gone")
}

// bytesSeen is what a model pays for a tool in every session: name, description, input schema.
func bytesSeen(t *testing.T, tool *tools.Tool) int {
	t.Helper()
	seen, err := json.Marshal(map[string]any{"name": tool.Name, "description": tool.Description, "input_schema": json.RawMessage(tool.Schema())})
	require.NoError(t, err)
	return len(seen)
}

// TestBudget holds the list of tools to what it may cost.
func TestBudget(t *testing.T) {
	const list, one = 14_000, 1_100
	total := 0
	for _, tool := range tools.All() {
		size := bytesSeen(t, tool)
		total += size
		t.Logf("%-24s %5d bytes", tool.Name, size)
		require.LessOrEqual(t, size, one, tool.Name)
	}
	t.Logf("%-24s %5d bytes of %d", "all", total, list)
	require.LessOrEqual(t, total, list)
}

// contract is the design's table: the tools, their toolsets and effects, and the arguments that each takes at least.
const contract = `
list_chats            chats         reads        query labels archived limit cursor
create_chat           chats         writes       prompt content model organization labels workspace_id plan_mode system_prompt mcp_server_ids dynamic_tools request_id wait_seconds
get_chat              chats         reads        chat
update_chat           chats         writes       chat title archived labels pin_order plan_mode workspace_id
interrupt_chat        chats         writes       chat
regenerate_chat_title chats         writes       chat
watch_chats           chats         reads        wait_seconds kinds max_events chats
list_chat_messages    messages      reads        chat before_id after_id limit detail
send_chat_message     messages      writes       chat text content busy_behavior model plan_mode mcp_server_ids wait_seconds
edit_chat_message     messages      destructive  chat message_id text content model wait_seconds
list_chat_prompts     messages      reads        chat limit
stream_chat           messages      reads        chat after_id wait_seconds until
upload_chat_file      files         writes       path data text name media_type organization
get_chat_file         files         reads        file_id save_to
list_chat_models      models        reads
get_chat_diff         workspace     reads        chat files format offset max_bytes
watch_chat_git        workspace     reads        chat wait_seconds refresh
view_chat_desktop     workspace     reads        chat max_width
control_chat_desktop  workspace     writes       chat actions
await_chats           orchestration reads        chats until wait_seconds cursor
submit_tool_results   orchestration writes       chat results
manage_chat_queue     orchestration writes       chat message_id action
`

func TestCatalogueKeepsTheContract(t *testing.T) {
	declared := map[string]*tools.Tool{}
	for _, tool := range tools.All() {
		declared[tool.Name] = tool
	}
	rows := strings.Split(strings.TrimSpace(contract), "\n")
	require.Len(t, declared, len(rows))
	operations := map[string]bool{}
	for _, row := range rows {
		words := strings.Fields(row)
		tool := declared[words[0]]
		require.NotNil(t, tool, words[0])
		require.Equal(t, words[1], string(tool.Toolset), tool.Name)
		require.Equal(t, words[2], tool.Effect.String(), tool.Name)
		require.Subset(t, tool.Arguments(), words[3:], tool.Name)
		if tool.Operation != "" {
			operations[tool.Operation] = true
		}
		mcp := tool.MCP()
		require.NotEmpty(t, mcp.Title, tool.Name)
		for _, hint := range []*bool{mcp.Annotations.ReadOnlyHint, mcp.Annotations.DestructiveHint, mcp.Annotations.IdempotentHint, mcp.Annotations.OpenWorldHint} {
			require.NotNil(t, hint, tool.Name)
		}
		require.Contains(t, string(tool.Schema()), `"additionalProperties":false`, tool.Name)
	}
	require.Len(t, operations, 18, "operations of the reference")
}

func TestSelect(t *testing.T) {
	names := func(selected []*tools.Tool) []string {
		var out []string
		for _, tool := range selected {
			out = append(out, tool.Name)
		}
		return out
	}
	for name, c := range map[string]struct {
		selections []tools.Selection
		want       []string
	}{
		"a toolset":                  {[]tools.Selection{{Toolsets: []string{"models"}}}, []string{"list_chat_models"}},
		"a toolset and a tool":       {[]tools.Selection{{Toolsets: []string{"models"}, Tools: []string{"get_chat"}}}, []string{"get_chat", "list_chat_models"}},
		"tools alone":                {[]tools.Selection{{Tools: []string{"get_chat"}}}, []string{"get_chat"}},
		"a toolset less a tool":      {[]tools.Selection{{Toolsets: []string{"files"}, Exclude: []string{"upload_chat_file"}}}, []string{"get_chat_file"}},
		"exclusion beats naming":     {[]tools.Selection{{Tools: []string{"get_chat"}, Exclude: []string{"get_chat"}}}, nil},
		"read only":                  {[]tools.Selection{{Toolsets: []string{"files"}, ReadOnly: true}}, []string{"get_chat_file"}},
		"read only beats naming":     {[]tools.Selection{{Tools: []string{"create_chat"}, ReadOnly: true}}, nil},
		"a later one narrows":        {[]tools.Selection{{Toolsets: []string{"files"}}, {ReadOnly: true}}, []string{"get_chat_file"}},
		"a later one does not widen": {[]tools.Selection{{Toolsets: []string{"files"}}, {Tools: []string{"get_chat"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			selected, err := tools.Select(c.selections...)
			require.NoError(t, err)
			require.Equal(t, c.want, names(selected))
		})
	}
	everything, err := tools.Select(tools.Selection{Toolsets: []string{"all"}})
	require.NoError(t, err)
	require.Len(t, everything, len(tools.All()))

	_, err = tools.Select(tools.Selection{Toolsets: []string{"chat"}})
	require.ErrorContains(t, err, `unknown toolset "chat"; there are chats, messages`)
	_, err = tools.Select(tools.Selection{Exclude: []string{"delete_chat"}})
	require.ErrorContains(t, err, `unknown tool "delete_chat"; there are`)
}
