package simulator_test

import (
	"fmt"
	"net/url"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestListsAreOrderedFilteredAndPaged(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		all := make([]string, 4)
		for i := range all {
			all[i], _ = w.newChat(fmt.Sprintf("chat number %d NOTITLE", i), object{"labels": object{"n": fmt.Sprint(i), "half": fmt.Sprint(i / 2)}})
			w.until(all[i], "waiting")
		}
		list := func(query string) (found []int) {
			a := w.call(0, "GET", query, nil)
			require.Equal(t, 200, a.status, "%s", a.body)
			for _, c := range a.list(t) {
				require.Contains(t, c["diff_status"], "additions")
				for i := range all {
					if c["id"] == all[i] {
						found = append(found, i)
					}
				}
			}
			return found
		}
		require.Equal(t, []int{3, 2, 1, 0}, list(""))
		require.Equal(t, []int{3, 2}, list("?limit=2"))
		require.Equal(t, []int{1, 0}, list("?limit=2&offset=2"))
		require.Equal(t, []int{1, 0}, list("?after_id="+all[2]))
		require.Empty(t, list("?after_id="+uuid.NewString()))
		require.Equal(t, []int{1, 0}, list("?label=half:0"))
		require.Equal(t, []int{1}, list("?label=half:0&label=n:1"))
		require.Equal(t, 204, w.call(0, "PATCH", "/"+all[0], object{"pin_order": 7}).status)
		require.Equal(t, 204, w.call(0, "PATCH", "/"+all[1], object{"pin_order": 1}).status)
		require.Equal(t, []int{0, 1, 3, 2}, list(""))
		require.Equal(t, 204, w.call(0, "PATCH", "/"+all[1], object{"pin_order": 1}).status)
		require.Equal(t, []int{1, 0, 3, 2}, list(""))
		require.Equal(t, 204, w.call(0, "PATCH", "/"+all[1], object{"archived": true}).status)
		require.Equal(t, []int{0, 3, 2}, list(""))
		require.Equal(t, 1., w.get("/" + all[0])["pin_order"])
		require.Equal(t, []int{1}, list("?q=ARCHIVED:true"))
		require.Empty(t, list("?q="+url.QueryEscape(`diff_url:"https://github.com/a/b/pull/1"`)))
		bad := map[string]string{
			"hello": `unsupported search term: "hello"`, "foo:bar": `"foo" is not a valid query param`, "archived:": "cannot start or end with ':'",
			"archived:maybe": "must be a valid boolean", "archived:true archived:false": "found 2 times", "a:b:c": "can only contain 1 ':'",
			`diff_url:"ftp://x/y"`: `got "ftp"`,
		}
		if g != simulator.May2026 {
			require.Equal(t, []int{3}, list("?q="+url.QueryEscape(`title:"NUMBER 3"`)))
			require.Equal(t, []int{2}, list("?q="+url.QueryEscape(`search:"number 2"`)))
			require.Equal(t, []int{0, 3, 2}, list("?q=has_unread:true"))
			require.Empty(t, list("?q="+url.QueryEscape("pr_status:open,merged")))
			require.Empty(t, list("?q=repo:a/b"))
			for q, want := range map[string]string{
				"source:bogus": `"bogus" is not a valid value`, "pr:0": "is not a valid positive integer", "pr_status:x": "is not a valid value", "search:x title:y": "cannot be combined",
			} {
				bad[q] = want
			}
		}
		for q, want := range bad {
			a := w.call(0, "GET", "?q="+url.QueryEscape(q), nil)
			require.Equal(t, 400, a.status, q)
			detail := a.object(t)["validations"].([]any)[0].(object)["detail"]
			require.Contains(t, detail, want)
		}
		for _, q := range []string{"limit=-1", "limit=abc", "offset=-1", "after_id=zzz", "label=nokey", "limit=2147483648"} {
			require.Equal(t, 400, w.call(0, "GET", "?"+q, nil).status, q)
		}
	})
}

func TestPatchesAreAppliedOneByOne(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.May2026})
	id, _ := w.newChat("patch me NOTITLE")
	w.until(id, "waiting")
	patch := func(body any) int { return w.call(0, "PATCH", "/"+id, body).status }
	require.Equal(t, 204, patch(object{}))
	require.Equal(t, 204, patch(object{"title": "  spaced  title "}))
	require.Equal(t, "spaced  title", w.get("/" + id)["title"])
	require.Equal(t, 400, patch(object{"title": " "}))
	require.Equal(t, 400, patch(object{"title": 5}))
	require.Equal(t, 400, patch(object{"title": "kept", "labels": object{"": "x"}}))
	require.Equal(t, "kept", w.get("/" + id)["title"])
	require.Equal(t, 400, patch(object{"title": "lost", "plan_mode": "bogus"}))
	require.Equal(t, "kept", w.get("/" + id)["title"])
	require.Equal(t, 204, patch(object{"labels": object{"a": "1"}, "plan_mode": "plan", "pin_order": 1}))
	chat := w.get("/" + id)
	require.Equal(t, []any{object{"a": "1"}, "plan", 1.}, []any{chat["labels"], chat["plan_mode"], chat["pin_order"]})
	require.Equal(t, 400, patch(object{"archived": false}))
	require.Equal(t, 204, patch(object{"archived": true}))
	require.Equal(t, 400, patch(object{"archived": true}))
	require.Equal(t, 400, patch(object{"pin_order": 1}))
	require.Equal(t, 400, w.call(0, "POST", "/"+id+"/messages", object{"content": text("x")}).status)
	require.Equal(t, 400, patch(object{"workspace_id": uuidOf(1)}))
	require.Equal(t, 204, patch(object{"workspace_id": uuidOf(0)}))
	require.Equal(t, 400, patch(object{"pin_order": -1}))
}

func TestArchivingAWorkingChat(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 200 20 NOTITLE")
		w.dial(0, "/"+id+"/stream").take(func(o object) bool { return o["type"] == "message_part" })
		a := w.call(0, "PATCH", "/"+id, object{"archived": true})
		if g != simulator.May2026 {
			require.Equal(t, 409, a.status)
			require.Contains(t, a.object(t)["detail"], "not allowed from state R0")
			return
		}
		require.Equal(t, 204, a.status)
		w.until(id, "waiting")
		eventually(t, "the partial answer", func() bool { return len(w.transcript(id)) == 2 })
	})
}

func TestTitles(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		watch := w.dial(0, "/watch")
		id, chat := w.newChat("SLOWTITLE 200 please fix the signup bug now")
		require.Equal(t, "SLOWTITLE 200 please fix the signup…", chat["title"])
		w.until(id, "waiting")
		require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"title": "my own title"}).status)
		watch.take(func(o object) bool {
			c := o["chat"].(object)
			return o["kind"] == "title_change" && c["title"] == "Fake title: SLOWTITLE 200 please fix" && c["status"] == "running"
		})
		first := make(chan answer, 1)
		go func() { first <- w.call(0, "POST", "/"+id+"/title/regenerate", nil) }()
		eventually(t, "the other to begin", func() bool { return w.Requests()["POST /chats/{chat}/title/regenerate"] == 1 })
		if g == simulator.May2026 {
			eventually(t, "409", func() bool { return w.call(0, "PATCH", "/"+id, object{"title": "x"}).status == 409 })
			require.Equal(t, 409, w.call(0, "POST", "/"+id+"/title/regenerate", nil).status)
		}
		a := <-first
		require.Equal(t, 200, a.status)
		require.Contains(t, a.object(t)["title"], "regen")
		require.Contains(t, w.call(0, "POST", "/"+id+"/title/propose", nil).object(t)["title"], "regen")
		id, _ = w.newChat("NOTITLE fails")
		w.until(id, "waiting")
		a = w.call(0, "POST", "/"+id+"/title/regenerate", nil)
		require.Equal(t, 500, a.status)
		require.Equal(t, "Failed to regenerate chat title.", a.object(t)["message"])
	})
}

func TestCompactOnDemand(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("one NOTITLE")
	w.until(id, "waiting")
	compact := func() answer { return w.call(0, "POST", "/"+id+"/compact", nil) }
	require.Equal(t, "running", compact().object(t)["status"])
	require.Equal(t, 409, compact().status)
	w.until(id, "waiting")
	require.Len(t, w.transcript(id), 4)
	require.Equal(t, "Nothing to compact.", compact().object(t)["message"])
	require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"archived": true}).status)
	require.Equal(t, 400, compact().status)
}
