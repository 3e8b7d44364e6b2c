package tools_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// most allows results of so many bytes.
func most(bytes int) func(*tools.Config) {
	return func(c *tools.Config) { c.MaxOutputBytes = bytes }
}

// sized checks that both forms of an answer are of about so many bytes at most.
func sized(t *testing.T, text string, structured object, most int) {
	t.Helper()
	const frame = 300 // ids, cursors and advice around the items
	raw, err := json.Marshal(structured)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), most+frame, text)
	require.LessOrEqual(t, len(raw), most+frame)
}

// answers puts an answer of its own in the place of the simulator's, at addresses that end so.
func (b *bench) answers(address string, status int, body any) {
	raw, err := json.Marshal(body)
	require.NoError(b.t, err)
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, address) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(raw)
		return true
	})
}

// idle waits until no chat of the session works, so that a list stands still.
func (b *bench) idle() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		for offset := 0; ; offset += 100 {
			chats, err := b.session.Client.ListChats(b.t.Context(), client.ListChatsRequest{Limit: 100, Offset: offset})
			require.NoError(b.t, err)
			for _, c := range chats {
				if !c.Status.Idle() {
					return false
				}
			}
			if len(chats) < 100 {
				return true
			}
		}
	}, 20*time.Second, 20*time.Millisecond)
}

func TestAListRunsThroughEveryChatOnce(t *testing.T) {
	const chats, bytes = 120, 2000
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g), most(bytes))
		want := map[string]bool{}
		for i := range chats {
			c, err := b.session.Client.CreateChat(t.Context(), client.CreateChatRequest{Content: []client.InputPart{client.TextPart(fmt.Sprintf("NOTITLE chat %d", i))}})
			require.NoError(t, err)
			want[c.ID.String()] = true
		}
		b.idle()
		got := map[string]bool{}
		arguments, pages := object{"limit": 50}, 0
		for {
			pages++
			text, list := b.ok("list_chats", arguments)
			sized(t, text, list, bytes)
			for _, c := range list["chats"].([]any) {
				id := c.(object)["id"].(string)
				require.False(t, got[id], "%s came twice", id)
				require.Contains(t, text, id)
				got[id] = true
			}
			if list["next_cursor"] == nil {
				require.NotContains(t, text, "There are more")
				break
			}
			require.Contains(t, text, "There are more: cursor "+list["next_cursor"].(string))
			arguments["cursor"] = list["next_cursor"]
		}
		require.Equal(t, want, got)
		require.Greater(t, pages, chats/50, "the size ended pages before the limit did")
	})
}

func TestAListIsNarrowed(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	text, list := b.ok("list_chats", nil)
	require.Equal(t, "No chats match.", text)
	require.Equal(t, object{"chats": []any{}}, list)

	_, red := b.ok("create_chat", object{"prompt": "red one", "labels": object{"colour": "red"}, "request_id": "r-1"})
	b.ok("create_chat", object{"prompt": "blue one", "labels": object{"colour": "blue"}})
	b.idle()
	text, list = b.ok("list_chats", object{"labels": object{"colour": "red"}})
	require.Len(t, list["chats"], 1)
	only := list["chats"].([]any)[0].(object)
	require.Equal(t, red["id"], only["id"])
	require.Equal(t, object{"colour": "red"}, only["labels"], "the label of the request is no news")
	require.Contains(t, text, "[colour=red]")
	for _, key := range []string{"url", "unread", "last_error"} {
		require.NotContains(t, only, key)
	}

	b.ok("update_chat", object{"chat": red["id"], "archived": true})
	_, list = b.ok("list_chats", object{"archived": true})
	require.Equal(t, red["id"], list["chats"].([]any)[0].(object)["id"])
	_, list = b.ok("list_chats", object{"query": "title:blue"})
	require.Len(t, list["chats"], 1)
	require.Equal(t, "invalid_argument", b.fails("list_chats", object{"limit": 201}).Kind)
}

func TestAChatIsKnownByIDAndByPageButNotOfAnotherDeployment(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	text, chat := b.ok("get_chat", object{"chat": b.sim.URL + "/agents/" + id + "/?tab=git"})
	require.Equal(t, id, chat["id"])
	require.Equal(t, "waiting", chat["status"])
	require.Equal(t, b.sim.URL+"/agents/"+id, chat["url"])
	require.True(t, strings.HasPrefix(text, "Chat "+id+" "), text)
	require.NotContains(t, text, "submit_tool_results")

	before := b.sim.Requests()
	f := b.fails("get_chat", object{"chat": "https://elsewhere.example/agents/" + id})
	require.Equal(t, "invalid_argument", f.Kind)
	require.Contains(t, f.Message, "that chat is on elsewhere.example, and this server works with 127.0.0.1")
	require.Equal(t, "invalid_argument", b.fails("await_chats", object{"chats": []string{id, "https://elsewhere.example/agents/" + id}}).Kind)
	require.Equal(t, before, b.sim.Requests(), "nothing was sent")

	f = b.fails("get_chat", object{"chat": uuid.NewString()})
	require.Equal(t, "not_found", f.Kind)
	require.Contains(t, f.Text(), "The API said: ")
}

func TestAnUpdateChangesAllThatIsGiven(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, withWorkspace(unlimited(g), ""))
		id := b.chat("hello", uuid.Nil)
		text, chat := b.ok("update_chat", object{"chat": id, "title": "New", "labels": object{"a": "b"}, "pin_order": 1, "plan_mode": "plan", "workspace_id": workshop})
		require.True(t, strings.HasPrefix(text, "Updated plan_mode, title, labels, workspace_id, pin_order. Chat "+id), text)
		require.Equal(t, "New", chat["title"])
		require.Equal(t, object{"a": "b"}, chat["labels"])
		require.Equal(t, 1.0, chat["pin_order"])
		require.Equal(t, "plan", chat["plan_mode"])
		require.Equal(t, workshop.String(), chat["workspace_id"])

		_, chat = b.ok("update_chat", object{"chat": id, "labels": object{}, "pin_order": 0, "plan_mode": "", "workspace_id": uuid.Nil})
		for _, gone := range []string{"labels", "pin_order", "plan_mode", "workspace_id"} {
			require.NotContains(t, chat, gone)
		}
		for _, archived := range []bool{false, true, true, false, false} {
			_, chat = b.ok("update_chat", object{"chat": id, "archived": archived})
			require.Equal(t, archived, chat["archived"] == true, "as it was already, or not")
		}
		f := b.fails("update_chat", object{"chat": id})
		require.Contains(t, f.Message, "nothing to change")
	})
}

func TestAnUpdateThatFailsHalfwayTellsWhatWasDone(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	f := b.fails("update_chat", object{"chat": id, "title": "Kept", "labels": object{"not a label!": "x"}, "pin_order": 1, "archived": true})
	require.Equal(t, "invalid_argument", f.Kind)
	require.True(t, strings.HasPrefix(f.Message, "labels was not changed: "), f.Message)
	require.Contains(t, f.Message, "; already changed: title; not tried: pin_order, archived")
	_, chat := b.ok("get_chat", object{"chat": id})
	require.Equal(t, "Kept", chat["title"])
	require.NotContains(t, chat, "archived")

	f = b.fails("update_chat", object{"chat": uuid.NewString(), "title": "x"})
	require.Equal(t, "not_found", f.Kind)
	require.NotContains(t, f.Message, "already changed")
}

func TestInterruptingStopsATurnAndIsNoFailureWithoutOne(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		_, chat := b.ok("create_chat", object{"prompt": "SLOW 1000 20"})
		b.ok("stream_chat", object{"chat": chat["id"], "until": "first_event"})
		text, stopped := b.ok("interrupt_chat", object{"chat": chat["id"]})
		require.Contains(t, text, map[bool]string{true: "Stopped", false: "Interrupted"}[g == simulator.May2026])
		require.Contains(t, []any{"waiting", "interrupting"}, stopped["status"])
		_, settled := b.ok("await_chats", object{"chats": []any{chat["id"]}})
		require.Len(t, settled["settled"], 1)
		text, again := b.ok("interrupt_chat", object{"chat": chat["id"]})
		require.Equal(t, "waiting", again["status"])
		require.Contains(t, text, chat["id"])
		require.Equal(t, b.sim.URL+"/agents/"+chat["id"].(string), again["url"])
	})
}

func TestATitleIsWrittenAnew(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("paint the shed", uuid.Nil)
	text, chat := b.ok("regenerate_chat_title", object{"chat": id})
	require.Contains(t, chat["title"], "regen")
	require.Contains(t, text, fmt.Sprintf("is now titled %q", chat["title"]))
	untitled := b.chat("NOTITLE please", uuid.Nil)
	require.Contains(t, b.fails("regenerate_chat_title", object{"chat": untitled}).Text(), "no title for you")
}

// answering makes the API answer requests to chats in a way of its own.
func (b *bench) answering(status int, contentType, body string, header ...string) {
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/chats/"+uuid.Max.String()) && r.Method != http.MethodPost {
			return false
		}
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	})
}

func TestEveryFailureOfTheAPIHasAKindAndAdvice(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	b.ok("list_chats", nil)
	for name, c := range map[string]struct {
		status         int
		body           string
		header         []string
		kind           string
		reading, write string // of the advice
	}{
		"expired":   {401, `{"message":"You must be logged in."}`, nil, "unauthorized", "coder login", "coder login"},
		"forbidden": {403, `{"message":"Forbidden.","detail":"no \u001b[31mrole"}`, nil, "forbidden", "agents-access", "agents-access"},
		"unknown":   {404, `{"message":"Resource not found or you do not have access to this resource"}`, nil, "not_found", "list_chats", "list_chats"},
		"conflict":  {409, `{"message":"busy"}`, nil, "conflict", "await_chats", "await_chats"},
		"too large": {413, `{"message":"Request body too large."}`, nil, "too_large", "send less", "send less"},
		"limited":   {429, `{"message":"You've been rate limited for sending more than 512 requests in 1m0s."}`, []string{"Retry-After", "7"}, "rate_limited", "without polling", "without polling"},
		"refused":   {400, `{"message":"Bad.","validations":[{"field":"limit","detail":"too big"}]}`, nil, "invalid_argument", "correct what it names", "correct what it names"},
		"broken":    {500, `<html><b>boom</b></html>`, nil, "unavailable", "try again in a moment", "it may have taken effect: look with list_chats"},
		"strange":   {418, `{"message":"short and stout"}`, nil, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			contentType := "application/json"
			if strings.HasPrefix(c.body, "<") {
				contentType = "text/html"
			}
			b.answering(c.status, contentType, c.body, c.header...)
			defer b.sim.Intercept(nil)
			read := b.fails("get_chat", object{"chat": uuid.Max})
			wrote := b.fails("create_chat", object{"prompt": "x"})
			for _, f := range []*tools.Failure{read, wrote} {
				if c.kind != "" {
					require.Equal(t, c.kind, f.Kind)
				}
				require.NotContains(t, f.Text(), "\x1b")
				require.NotContains(t, f.Text(), "<html>")
				require.Contains(t, f.API, fmt.Sprintf("(status %d)", c.status))
			}
			require.Contains(t, read.Next, c.reading)
			require.Contains(t, wrote.Next, c.write)
			if c.status == 429 {
				require.Contains(t, wrote.Text(), "Try again in 7 s.")
			}
			if c.status == 400 {
				require.Contains(t, read.API, "limit: too big")
			}
		})
	}
}

func TestADeadServerIsTold(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	id := b.chat("hello", uuid.Nil)
	b.sim.Close()
	for name, arguments := range map[string]object{
		"list_chats": {}, "get_chat": {"chat": id}, "create_chat": {"prompt": "x"}, "send_chat_message": {"chat": id, "text": "x"}, "list_chat_messages": {"chat": id},
		"list_chat_models": {}, "get_chat_diff": {"chat": id}, "list_chat_prompts": {"chat": id},
	} {
		f := b.fails(name, arguments)
		require.Equal(t, "unavailable", f.Kind, name)
		require.Contains(t, f.Message, "127.0.0.1", name)
	}
}

func TestWithoutCredentialsEveryToolSaysWhatToSet(t *testing.T) {
	s := &tools.Session{Unusable: fmt.Errorf("set CODER_URL and CODER_SESSION_TOKEN, or start with --simulate"), Peer: &listening{}}
	for _, tool := range tools.All() {
		r := tool.Call(t.Context(), s, json.RawMessage(`{"nonsense":1}`))
		require.True(t, r.IsError)
		require.Equal(t, "unauthorized: set CODER_URL and CODER_SESSION_TOKEN, or start with --simulate.", textOf(t, r))
	}
}

func TestAPageOfChatsFollowsOneThatLeftTheList(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	var all []any
	for i := range 5 {
		_, chat := b.ok("create_chat", object{"prompt": fmt.Sprintf("chat %d", i), "wait_seconds": 15})
		all = append(all, chat["id"])
	}
	_, page := b.ok("list_chats", object{"limit": 2})
	for _, chat := range page["chats"].([]any)[1:] { // the one behind the cursor
		b.ok("update_chat", object{"chat": chat.(object)["id"], "archived": true})
	}
	var rest []any
	for cursor := page["next_cursor"]; cursor != nil; {
		_, next := b.ok("list_chats", object{"limit": 2, "cursor": cursor})
		for _, chat := range next["chats"].([]any) {
			rest = append(rest, chat.(object)["id"])
		}
		cursor = next["next_cursor"]
	}
	require.Equal(t, []any{all[2], all[1], all[0]}, rest)
	require.Equal(t, "invalid_argument", b.fails("list_chats", object{"cursor": "nonsense"}).Kind)
}

func TestNewLabelsKeepWhatMakesACreationIdempotent(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	_, first := b.ok("create_chat", object{"prompt": "one", "request_id": "R", "labels": object{"a": "b"}})
	_, changed := b.ok("update_chat", object{"chat": first["id"], "labels": object{"a": "c"}})
	require.Equal(t, object{"a": "c"}, changed["labels"], "and is no news")
	_, again := b.ok("create_chat", object{"prompt": "two", "request_id": "R"})
	require.Equal(t, first["id"], again["id"])
	_, cleared := b.ok("update_chat", object{"chat": first["id"], "labels": object{}})
	require.NotContains(t, cleared, "labels")
	_, again = b.ok("create_chat", object{"prompt": "three", "request_id": "R"})
	require.Equal(t, first["id"], again["id"])
	const own = "coder-chats-mcp.request-id"
	require.Contains(t, b.fails("create_chat", object{"prompt": "x", "labels": object{own: "R"}}).Message, own)
	require.Contains(t, b.fails("update_chat", object{"chat": first["id"], "labels": object{own: "other"}}).Message, own)
	require.Contains(t, b.fails("create_chat", object{"prompt": "x", "request_id": strings.Repeat("é", 150)}).Message, "300 bytes")
}

func TestAChatWithMuchInItStaysWithinTheSize(t *testing.T) {
	const bytes = 4000
	b := newBench(t, unlimited(simulator.V238), most(bytes))
	id := b.chat("hello", uuid.Nil)
	child := func(n int) object {
		return object{"id": uuid.NewString(), "title": fmt.Sprintf("subchat %d %s", n, strings.Repeat("x", 50)), "status": "waiting"}
	}
	var children []object
	for n := range 100 {
		children = append(children, child(n))
	}
	b.answers("/chats/"+id, 200, object{
		"id": id, "title": "hello", "status": "error", "children": children, "summary": strings.Repeat("s", 9000),
		"last_error": object{"message": strings.Repeat("m", 9000), "detail": strings.Repeat("\n", 9000), "kind": "generic"},
	})
	text, chat := b.ok("get_chat", object{"chat": id})
	sized(t, text, chat, bytes)
	shown := len(chat["children"].([]any))
	require.Positive(t, shown)
	require.EqualValues(t, 100-shown, chat["more_children"])
	require.Contains(t, text, "left out for size: resource coder://chats/"+id)
}

func TestOneThatMayOnlyReadHasNoArgumentsThatWrite(t *testing.T) {
	selected, err := tools.Select(tools.Selection{ReadOnly: true})
	require.NoError(t, err)
	for _, tool := range selected {
		for _, argument := range []string{"interrupt_on_cancel", "save_to", "overwrite"} {
			require.NotContains(t, tool.Arguments(), argument, tool.Name)
		}
		require.Same(t, tool, tool.ReadOnly())
	}
}
