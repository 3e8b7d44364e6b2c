package view_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

// talk is a message with a part of every kind.
var talk = client.Message{
	ID: 7, Role: client.RoleAssistant, CreatedAt: nine, Usage: &client.Usage{InputTokens: 10, OutputTokens: 3, ContextLimit: 100},
	Content: []client.Part{
		{Type: client.PartReasoning, Text: "Hm.\nChat X is done"},
		{Type: client.PartText, Text: "Look"},
		{Type: client.PartText, Text: " here: "},
		{Type: client.PartFileReference, FileName: "a.go", StartLine: 1, EndLine: 9, Content: "package a"},
		{Type: client.PartFile, FileID: &other, FileName: "p q.png", MediaType: "image/png"},
		{Type: client.PartToolCall, ToolCallID: "call_1", ToolName: "read_file", Args: json.RawMessage(`{"path":"a"}`)},
		{Type: client.PartToolCall, ToolCallID: "call\n2", ToolName: "read_file", Args: json.RawMessage(`{"path":"b"}`)},
		{Type: client.PartToolCall, ToolCallID: "call_3", ToolName: "rm -rf"},
		{Type: client.PartToolResult, ToolCallID: "call_1", ToolName: "read_file", Result: json.RawMessage(`"no\nfile"`), IsError: true},
		{Type: client.PartSource, Title: "a page", URL: "https://x.example/ y"},
		{Type: client.PartContextFile, ContextFilePath: "AGENTS.md"},
		{Type: client.PartSkill, SkillName: "deploy"},
		{Type: "hologram", Extra: map[string]json.RawMessage{"depth": json.RawMessage(`3`)}},
	},
}

func TestSaidIsTheTextAndTheNamesOfTheTools(t *testing.T) {
	v, ok := view.Said(talk)
	require.True(t, ok)
	require.JSONEq(t, `{"id":7,"role":"assistant","text":"Look here: [a.go:1-9]","tools":["read_file x2","\"rm -rf\""],
		"files":[{"file_id":"`+other.String()+`","name":"p q.png","media_type":"image/png"}]}`, encoded(t, v))
	require.Equal(t, `[7] assistant, calls read_file x2, "rm -rf", file `+other.String()+"\n> Look here: [a.go:1-9]", v.WholeText())
}

func TestWhatNobodySaidIsLeftOut(t *testing.T) {
	for _, m := range []client.Message{
		{Role: client.RoleTool, Content: []client.Part{{Type: client.PartToolResult}}},
		{Role: client.RoleUser, Content: []client.Part{{Type: client.PartContextFile}, {Type: client.PartSkill}}},
	} {
		_, ok := view.Said(m)
		require.False(t, ok)
	}
	_, ok := view.Said(client.Message{Role: client.RoleAssistant})
	require.True(t, ok, "an empty answer is an answer")
}

func TestFullShowsEveryPartQuoted(t *testing.T) {
	v := view.Full(talk)
	require.Equal(t, `[7] assistant 2026-11-22 08:30 (10 tokens in, 3 out)
- reasoning
> Hm.
> Chat X is done
> Look here: 
- file-reference a.go 1-9
> package a
- file `+other.String()+` "p q.png" image/png
- tool-call read_file call_1
> {"path":"a"}
- tool-call read_file "call\n2"
> {"path":"b"}
- tool-call "rm -rf" call_3
- tool-result read_file call_1 (failed)
> "no\nfile"
- source "a page" "https://x.example/ y"
- context-file AGENTS.md
- skill deploy
- hologram`, v.WholeText())
	body := encoded(t, v)
	require.Contains(t, body, `{"type":"tool-call","tool_call_id":"call_1","tool":"read_file","args":{"path":"a"}}`)
	require.Contains(t, body, `{"type":"tool-result","tool_call_id":"call_1","tool":"read_file","result":"no\nfile","is_error":true}`)
	require.Contains(t, body, `{"type":"hologram","extra":{"depth":3}}`)
	require.Contains(t, body, `"usage":{"input_tokens":10,"output_tokens":3,"context_limit":100}`)
	require.Contains(t, body, `"at":"2026-11-22T08:30:15Z"`)
}

func TestATextOverItsShareIsCutAndSaysSo(t *testing.T) {
	m := view.Message{ID: 1, Role: client.RoleUser, Text: strings.Repeat("ü", 100)}
	require.Equal(t, m, m.Within(200))
	cut := m.Within(99)
	require.Equal(t, strings.Repeat("ü", 49), cut.Text)
	require.Equal(t, 102, cut.Cut)
	require.True(t, strings.HasSuffix(cut.WholeText(), "\n(102 bytes of this message left out)"))
}

func TestPartsOverTheirShareAreCutAndStayJSON(t *testing.T) {
	long, _ := json.Marshal(strings.Repeat("x", 5000))
	m := view.Full(client.Message{Content: []client.Part{
		{Type: client.PartText, Text: strings.Repeat("y", 3000)}, {Type: client.PartToolCall, ToolName: "t", Args: long}, {Type: client.PartToolResult, Result: long}, {Type: client.PartText, Text: "short"},
	}})
	cut := m.Within(4000)
	require.Len(t, cut.Parts[0].Text, 1000)
	require.Equal(t, "short", cut.Parts[3].Text)
	require.Equal(t, 2000+2*(len(long)-1000), cut.Cut)
	var beginning string
	require.NoError(t, json.Unmarshal(cut.Parts[1].Args, &beginning))
	require.Equal(t, string(long[:1000])+"…", beginning)
	require.Len(t, m.Parts[0].Text, 3000, "the message itself is as it was")
	require.Equal(t, m, m.Within(20_000))
}

func TestTooManyPartsAreLeftOutFromTheLastOn(t *testing.T) {
	var m client.Message
	for range 200 {
		m.Content = append(m.Content, client.Part{Type: client.PartToolCall, ToolCallID: "call", ToolName: "list_templates", Args: json.RawMessage(`{}`)})
	}
	cut := view.Full(m).Within(1000)
	require.NotEmpty(t, cut.Parts)
	require.Less(t, len(encoded(t, cut)), 1300)
	require.Less(t, len(cut.WholeText()), 1300)
	require.NotZero(t, cut.Cut)
	require.Equal(t, []string{"list_templates x200"}, said1(t, m).Tools)
}

func said1(t *testing.T, m client.Message) view.Message {
	t.Helper()
	v, ok := view.Said(m)
	require.True(t, ok)
	return v
}

func TestPendingCallsAndTheQueueAreTold(t *testing.T) {
	require.Nil(t, view.Calls(nil))
	require.Equal(t, []view.PendingCall{{ID: "c", Name: "n", Args: "{broken"}}, view.Calls([]client.PendingCall{{ToolCallID: "c", ToolName: "n", Args: "{broken"}}))
	require.Nil(t, view.Queued(nil))
	require.Equal(t, []view.QueuedMessage{{ID: 2, Text: "ab"}}, view.Queued([]client.QueuedMessage{{ID: 2, Content: []client.Part{{Type: client.PartText, Text: "a"}, {Type: client.PartText, Text: "b"}}}}))
}

func TestChatLinks(t *testing.T) {
	require.Equal(t, "coder://chats/"+root.String(), view.ChatLink(root, ""))
	require.Equal(t, "coder://chats/"+root.String()+"/diff", view.ChatLink(root, "diff"))
}

func TestArgumentsAndResultsAreShownWithoutTheEscapesOfWebPages(t *testing.T) {
	m := view.Full(client.Message{ID: 1, Role: client.RoleAssistant, Content: []client.Part{
		{Type: client.PartToolCall, ToolName: "execute", Args: json.RawMessage(`{"command":"a \u0026\u0026 b \u003E c \\u0026 \u00e9 \\"}`)},
		{Type: client.PartToolResult, ToolName: "execute", Result: json.RawMessage(`"\u003ctag\u003e\u00"`)},
	}})
	require.Equal(t, `{"command":"a && b > c \\u0026 \u00e9 \\"}`, string(m.Parts[0].Args))
	require.Equal(t, `"<tag>\u00"`, string(m.Parts[1].Result), "what is no JSON is left as it is")
	require.Contains(t, m.WholeText(), "a && b > c")
}

func TestCallsShareTheRoomForTheirArguments(t *testing.T) {
	calls := []view.PendingCall{{ID: "a", Args: "12"}, {ID: "b", Args: strings.Repeat("x", 100)}, {ID: "c", Args: strings.Repeat("y", 100)}}
	require.Equal(t, 62, view.CutCalls(calls, 62))
	require.Equal(t, view.PendingCall{ID: "a", Args: "12"}, calls[0])
	require.Equal(t, 70, calls[1].Cut)
	require.Equal(t, 70, calls[2].Cut)
	require.Equal(t, "- a \"\"\n> 12", calls[0].WholeText())
	require.Equal(t, "- b \"\"\n> "+strings.Repeat("x", 30)+"\n(70 bytes of these arguments left out)", calls[1].WholeText())
	require.Zero(t, view.CutCalls(calls, 0))
	require.Equal(t, view.PendingCall{ID: "c", Cut: 100}, calls[2], "ids stay")
}
