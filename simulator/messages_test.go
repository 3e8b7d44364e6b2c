package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

func ids(t *testing.T, page object) (out []float64) {
	t.Helper()
	for _, m := range page["messages"].([]any) {
		out = append(out, m.(object)["id"].(float64))
	}
	return out
}

func TestMessagesComeInPages(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("m0")
	for i := 1; i < 4; i++ {
		w.until(id, "waiting")
		w.send(id, fmt.Sprint("m", i))
	}
	w.until(id, "waiting")
	page := w.get("/" + id + "/messages?limit=3")
	all := ids(t, w.get("/"+id+"/messages"))
	require.Len(t, all, 8)
	require.Equal(t, all[:3], ids(t, page))
	require.Equal(t, true, page["has_more"])
	next := w.get(fmt.Sprintf("/%s/messages?limit=3&before_id=%v", id, all[2]))
	require.Equal(t, all[3:6], ids(t, next))
	newer := w.get(fmt.Sprintf("/%s/messages?after_id=%v", id, all[3]))
	require.Equal(t, []float64{all[2], all[1], all[0]}, ids(t, newer), "oldest first")
	between := w.get(fmt.Sprintf("/%s/messages?after_id=%v&before_id=%v", id, all[4], all[1]))
	require.Equal(t, all[2:4], ids(t, between))
	prompts := w.get("/" + id + "/prompts?limit=2")["prompts"].([]any)
	require.Equal(t, "m3", prompts[0].(object)["text"])
	require.Len(t, prompts, 2)
	for query, message := range map[string]string{
		"/messages?limit=0": "Invalid limit parameter (1-200).", "/messages?limit=201": "Invalid limit parameter (1-200).",
		"/messages?limit=-1": "Query parameters have invalid values.", "/messages?after_id=abc": "Query parameters have invalid values.",
		"/messages?after_id=5&before_id=5": "after_id must be less than before_id.", "/prompts?limit=2001": "Invalid limit parameter (0-2000).",
		"/prompts?limit=x": "Query parameters have invalid values.",
	} {
		a := w.call(0, "GET", "/"+id+query, nil)
		require.Equal(t, 400, a.status, query)
		require.Equal(t, message, a.object(t)["message"], query)
	}
}

func TestAnEditRewritesTheRest(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("one NOTITLE")
		w.until(id, "waiting")
		w.send(id, "two")
		w.until(id, "waiting")
		s := w.dial(0, "/"+id+"/stream")
		s.n(4)
		all := ids(t, w.get("/"+id+"/messages"))
		edit := func(mid any, body any) answer {
			return w.call(0, "PATCH", fmt.Sprintf("/%s/messages/%v", id, mid), body)
		}
		a := edit(all[1], object{"content": text("two EDITED")})
		require.Equal(t, 200, a.status)
		m := a.object(t)["message"].(object)
		require.Greater(t, m["id"], all[0])
		if g != simulator.May2026 {
			require.Equal(t, []any{all[1], all[0]}, a.object(t)["deleted_message_ids"])
			seen := s.take(isStatus("waiting"))
			if seen[0] == "status waiting" { // the snapshot's
				seen = s.take(isStatus("waiting"))
			}
			require.Contains(t, strings.Join(seen, ","), "history_reset,message user: one NOTITLE,message assistant: echo: one NOTITLE,message user: two EDITED,status running,preview_reset")
		}
		w.until(id, "waiting")
		require.Equal(t, []string{"user: one NOTITLE", "assistant: echo: one NOTITLE", "user: two EDITED", "assistant: echo: two EDITED"}, w.transcript(id))
		require.Equal(t, 404, edit(all[1], object{"content": text("x")}).status, "old id")
		require.Equal(t, 404, edit(999999, object{"content": text("x")}).status)
		require.Equal(t, 400, edit(all[2], object{"content": text("x")}).status, "assistant")
		require.Equal(t, 400, edit(all[3]-1, object{"content": text("x")}).status, "system")
		require.Equal(t, 400, edit("abc", object{"content": text("x")}).status)
		require.Equal(t, 400, edit(0, object{"content": text("x")}).status)
		require.Equal(t, 400, edit(all[3], object{}).status)
	})
}

func TestAnEditAbortsARunAndItsQueue(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 200 20 NOTITLE")
		w.send(id, "queued, will be lost")
		mid := ids(t, w.get("/"+id+"/messages"))[0]
		a := w.call(0, "PATCH", fmt.Sprintf("/%s/messages/%v", id, mid), object{"content": text("edited")})
		require.Equal(t, 200, a.status)
		w.until(id, "waiting")
		require.Equal(t, []string{"user: edited", "assistant: echo: edited"}, w.transcript(id))
	})
}

func TestInvalidContentIsNamed(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("hello")
	for _, c := range []struct {
		body            any
		message, detail string
	}{
		{object{}, "Content is required.", "Content cannot be empty."},
		{object{"content": text("  ")}, "Invalid input part.", "content[0].text cannot be empty."},
		{object{"content": []object{{"type": "nope"}}}, "Invalid input part.", `content[0].type "nope" is not supported.`},
		{object{"content": []object{{"type": "file"}}}, "Invalid input part.", "content[0].file_id is required for file parts."},
		{object{"content": []object{{"type": "file", "file_id": uuidOf(9)}}}, "Invalid input part.", "content[0].file_id references a file that does not exist."},
		{object{"content": []object{{"type": "file-reference"}}}, "Invalid input part.", "content[0].file_name cannot be empty for file-reference."},
		{object{"content": text("x"), "busy_behavior": "drop"}, "Invalid busy_behavior value.", `Must be "queue" or "interrupt".`},
		{object{"content": text("x"), "plan_mode": "x"}, "Invalid plan_mode value.", ""},
		{object{"content": text("x"), "model_config_id": uuidOf(9)}, "Invalid model_config_id: model config not found or disabled.", ""},
		{"{", "Request body must be valid JSON.", "unexpected EOF"},
		{"", "Request body must be valid JSON.", "EOF"},
		{`{"content":[{"type":"file","file_id":"zzz"}]}`, "Request body must be valid JSON.", "invalid UUID length: 3"},
	} {
		a := w.call(0, "POST", "/"+id+"/messages", c.body)
		require.Equal(t, 400, a.status, "%v", c.body)
		detail, _ := a.object(t)["detail"].(string)
		require.Equal(t, []string{c.message, c.detail}, []string{a.object(t)["message"].(string), detail})
	}
	a := w.call(0, "POST", "/"+id+"/messages", object{"content": text(strings.Repeat("x", 4<<20))})
	require.Equal(t, 413, a.status)
	may := start(t, simulator.Options{Generation: simulator.May2026})
	id, _ = may.newChat("hello")
	may.until(id, "waiting")
	may.send(id, "EMPTY "+strings.Repeat("x", 5<<20))
}

func TestCreateIsValidated(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.August2026})
	org := w.Users()[0].OrganizationID
	for _, c := range []struct {
		body   any
		status int
		want   string
	}{
		{object{"content": text("x")}, 400, "organization_id is required."},
		{object{"organization_id": uuidOf(3), "content": text("x")}, 403, "You are not a member of the specified organization."},
		{object{"organization_id": "zzz"}, 400, "invalid UUID length: 3"},
		{object{"organization_id": org, "content": "just a string"}, 400, "json: cannot unmarshal string into Go struct field CreateChatRequest.content of type []codersdk.ChatInputPart"},
		{object{"organization_id": org, "content": text("x"), "labels": object{"k": 5}}, 400, "json: cannot unmarshal number into Go struct field CreateChatRequest.labels of type string"},
		{[]int{}, 400, "json: cannot unmarshal array into Go value of type codersdk.CreateChatRequest"},
		{object{"organization_id": org, "content": text("x"), "client_type": "nope"}, 400, "got \\\"nope\\\", want one of [ui api]"},
		{object{"organization_id": org, "content": text("x"), "labels": object{"bad key": "v", "k": ""}}, 400, "contains invalid characters"},
		{object{"organization_id": org, "content": text("x"), "labels": object{"": "v"}}, 400, "label key must not be empty"},
		{object{"organization_id": org, "content": text("x"), "mcp_server_ids": []any{uuidOf(1)}}, 400, "One or more MCP server IDs are invalid or disabled."},
		{object{"organization_id": org, "content": text("x"), "workspace_id": uuidOf(1)}, 400, "Workspace not found"},
		{object{"organization_id": org, "content": text("x"), "reasoning_effort": "bogus"}, 400, "Invalid reasoning_effort value."},
		{object{"organization_id": org, "content": text("x"), "model_config_id": uuidOf(0)}, 400, "Invalid model config ID."},
		{object{"organization_id": org, "content": text("x"), "unsafe_dynamic_tools": []object{{"name": ""}}}, 400, "Dynamic tool name must not be empty."},
		{object{"organization_id": org, "content": text("x"), "unsafe_dynamic_tools": []object{{"name": "a"}, {"name": "a"}}}, 400, "appears more than once"},
		{object{"organization_id": org, "content": text(strings.Repeat("x", 256<<10))}, 413, "Request body too large."},
	} {
		a := w.call(0, "POST", "", c.body)
		require.Equal(t, c.status, a.status, "%s", c.want)
		require.Contains(t, string(a.body), c.want)
	}
	may := start(t, simulator.Options{Generation: simulator.May2026})
	a := may.call(0, "POST", "", object{"organization_id": org, "content": text("x"), "system_prompt": strings.Repeat("x", 10001)})
	require.Contains(t, string(a.body), "must be at most 10000 characters, got 10001.")
	a = may.call(0, "POST", "", object{"organization_id": org, "content": text(strings.Repeat("x", 256<<10))})
	require.JSONEq(t, `{"message":"Request body must be valid JSON.","detail":"http: request body too large"}`, string(a.body))
	none := start(t, simulator.Options{NoModels: true})
	require.Contains(t, string(none.call(0, "POST", "", object{"organization_id": org, "content": text("x")}).body), "No default chat model config is configured.")
	spent := start(t, simulator.Options{UsageLimit: &simulator.UsageLimit{SpentMicros: 2, LimitMicros: 1}})
	a = spent.call(0, "POST", "", object{"organization_id": org, "content": text("x")})
	require.Equal(t, 409, a.status)
	require.Equal(t, 2., a.object(t)["spent_micros"])
}
