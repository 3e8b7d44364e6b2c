package tools_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// recorder is an MCP client that notes all that it is told.
type recorder struct {
	listening
	events    []relay.Event
	changes   []client.WatchEvent
	concerned []uuid.UUID
}

func (r *recorder) Event(_ context.Context, _ uuid.UUID, e relay.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) Changed(_ context.Context, e client.WatchEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, e)
}

func (r *recorder) Concerns(chat uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.concerned = append(r.concerned, chat)
}

func (b *bench) record() *recorder {
	r := &recorder{}
	b.session.Peer = r
	return r
}

func (b *bench) creations() int { return b.sim.Requests()["POST /chats"] }

func TestATaskIsDelegatedAndAnswered(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		peer := b.record()
		text, chat := b.ok("create_chat", object{"prompt": "say hello to everybody", "wait_seconds": 15, "labels": object{"a": "b"}})
		id := chat["id"].(string)
		require.Equal(t, "settled", chat["reason"])
		require.Equal(t, "waiting", chat["status"])
		require.Equal(t, "echo: say hello to everybody", chat["text"])
		require.Equal(t, b.sim.URL+"/agents/"+id, chat["url"])
		require.NotZero(t, chat["after_id"])
		require.Contains(t, text, "Created chat "+id)
		require.Contains(t, text, "\n> echo: say hello to everybody")
		require.Contains(t, peer.concerned, uuid.MustParse(id))
		require.NotEmpty(t, peer.events)
		var kinds []string
		for _, e := range peer.events {
			kinds = append(kinds, string(e.Type))
		}
		require.Contains(t, kinds, "message")
		require.Contains(t, kinds, "message_part")
		require.Regexp(t, `running: writing its answer \(\d+ s\)`, strings.Join(peer.told(), "\n"))
	})
}

func TestAChatThatIsNotWaitedForReturnsAtOnce(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	text, chat := b.ok("create_chat", object{"content": []object{{"type": "text", "text": "SLOW 1000 20"}, {"type": "file-reference", "file_name": "a.go", "start_line": 1, "end_line": 3, "content": "package a"}}})
	require.NotContains(t, chat, "reason")
	require.Contains(t, []any{"pending", "running"}, chat["status"])
	require.Contains(t, text, "await_chats")

	_, late := b.ok("create_chat", object{"prompt": "SLOW 1000 20", "wait_seconds": 0.3})
	require.Equal(t, "timed_out", late["reason"])
	require.Equal(t, true, late["timed_out"])
	require.Equal(t, "running", late["status"])
}

func TestAWaitIsAsLongAsTheOperatorAllows(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238), func(c *tools.Config) { c.MaxWait = 300 * time.Millisecond })
	text, chat := b.ok("create_chat", object{"prompt": "SLOW 1000 20", "wait_seconds": 3600})
	require.Equal(t, "timed_out", chat["reason"])
	require.Contains(t, text, "stream_chat goes on waiting")
	_, streamed := b.ok("stream_chat", object{"chat": chat["id"]})
	require.Equal(t, true, streamed["timed_out"])
	_, awaited := b.ok("await_chats", object{"chats": []any{chat["id"]}, "wait_seconds": 3600})
	require.Equal(t, true, awaited["timed_out"])
	_, watched := b.ok("watch_chats", object{"wait_seconds": 3600, "kinds": []string{"deleted"}})
	require.Equal(t, true, watched["timed_out"])
}

func TestWhatACreationNeedsIsNamed(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	for message, arguments := range map[string]object{
		`missing argument "prompt"`:                          {},
		"prompt and content were both given":                 {"prompt": "x", "content": []object{{"type": "text", "text": "x"}}},
		`there is no model "gpt-9"; there are "Fake Model"`:  {"prompt": "x", "model": "gpt-9"},
		`you are in no organization "acme"; yours: "coder"`:  {"prompt": "x", "organization": "acme"},
		`"plan_mode" must be one of plan`:                    {"prompt": "x", "plan_mode": "off"},
		`"content[0].type" must be one of text, file, file-`: {"content": []object{{"type": "image"}}},
		`"mcp_server_ids[0]" must be a UUID`:                 {"prompt": "x", "mcp_server_ids": []string{"github"}},
	} {
		f := b.fails("create_chat", arguments)
		require.Equal(t, "invalid_argument", f.Kind)
		require.Contains(t, f.Message, message)
	}
	require.Zero(t, b.creations(), "nothing was created")
}

func TestModelsAndOrganizationsAreFoundByName(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		models := []simulator.Model{
			{ID: uuid.MustParse("00000000-0000-4000-8000-000000000001"), Name: "one", DisplayName: "First", Default: true},
			{ID: uuid.MustParse("00000000-0000-4000-8000-000000000002"), Name: "two", DisplayName: "Second"},
			{ID: uuid.MustParse("00000000-0000-4000-8000-000000000003"), Name: "twin", DisplayName: "Left"},
			{ID: uuid.MustParse("00000000-0000-4000-8000-000000000004"), Name: "twin", DisplayName: "Right"},
		}
		home := uuid.MustParse("00000000-0000-4000-8000-0000000000aa")
		o := unlimited(g)
		o.Models = models
		o.Organizations = []simulator.Organization{{ID: home, Name: "home", DisplayName: "Our Home", Default: true}}
		b := newBench(t, o)
		for name, want := range map[string]int{"": 0, "first": 0, "SECOND": 1, "two": 1, "openai-compat:two": 1, "left": 2, models[3].ID.String(): 3} {
			arguments := object{"prompt": "x", "wait_seconds": 10}
			if name != "" {
				arguments["model"] = name
			}
			_, chat := b.ok("create_chat", arguments)
			_, whole := b.ok("get_chat", object{"chat": chat["id"]})
			require.Equal(t, models[want].ID.String(), whole["model_config_id"], name)
		}
		f := b.fails("create_chat", object{"prompt": "x", "model": "twin"})
		require.Contains(t, f.Text(), `2 models are called "twin"`)
		require.Contains(t, f.Next, "list_chat_models")
		for _, name := range []string{"home", "our home", home.String()} {
			_, chat := b.ok("create_chat", object{"prompt": "x", "organization": name, "wait_seconds": 10})
			_, whole := b.ok("get_chat", object{"chat": chat["id"]})
			require.Equal(t, home.String(), whole["organization_id"], name)
		}
		text, list := b.ok("list_chat_models", nil)
		require.Len(t, list["models"], 4)
		require.Contains(t, text, models[1].ID.String()+` "Second" (openai-compat:two)`)

		id := b.chat("y", uuid.Nil)
		_, sent := b.ok("send_chat_message", object{"chat": id, "text": "again", "model": "Second", "wait_seconds": 10})
		_, whole := b.ok("get_chat", object{"chat": id})
		require.Equal(t, models[1].ID.String(), whole["model_config_id"])
		_, _ = b.ok("edit_chat_message", object{"chat": id, "message_id": sent["message_id"], "text": "once more", "model": "left", "wait_seconds": 10})
		_, whole = b.ok("get_chat", object{"chat": id})
		require.Equal(t, models[2].ID.String(), whole["model_config_id"])
		require.Contains(t, b.fails("send_chat_message", object{"chat": id, "text": "x", "model": "nope"}).Message, "there is no model")
		require.Contains(t, b.fails("edit_chat_message", object{"chat": id, "message_id": 1, "text": "x", "model": "nope"}).Message, "there is no model")
	})
}

func TestASessionCreatesSoManyChats(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238), func(c *tools.Config) { c.MaxChats = 2 })
	b.fails("create_chat", object{"prompt": "x", "workspace_id": uuid.New()})
	_, first := b.ok("create_chat", object{"prompt": "x", "request_id": "same"})
	b.ok("create_chat", object{"prompt": "y"})
	f := b.fails("create_chat", object{"prompt": "z"})
	require.Equal(t, "forbidden", f.Kind)
	require.Contains(t, f.Text(), "--max-chats")
	_, again := b.ok("create_chat", object{"prompt": "x", "request_id": "same"})
	require.Equal(t, first["id"], again["id"], "a chat that is there is none more")
}

func TestARequestMakesOneChatHoweverOftenItComes(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b := newBench(t, unlimited(g))
		const calls = 20
		var mu sync.Mutex
		found, existing := map[string]int{}, 0
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				r := b.call("create_chat", object{"prompt": "the one", "request_id": "task/7 äöü"})
				mu.Lock()
				defer mu.Unlock()
				if r.IsError {
					found[textOf(t, r)]++
					return
				}
				raw, err := json.Marshal(r.StructuredContent)
				if err != nil {
					found[err.Error()]++
				}
				var chat struct {
					ID       string
					Existing bool
				}
				_ = json.Unmarshal(raw, &chat)
				if found[chat.ID]++; chat.Existing {
					existing++
				}
			})
		}
		all.Wait()
		require.Len(t, found, 1, "%v", found)
		require.Equal(t, calls-1, existing)
		require.Equal(t, 1, b.creations())

		var id string
		for id = range found {
			b.idle()
			b.ok("update_chat", object{"chat": id, "archived": true})
		}
		text, again := b.ok("create_chat", object{"prompt": "the one", "request_id": "task/7 äöü"})
		require.Equal(t, id, again["id"], "archived or not")
		require.Equal(t, true, again["existing"])
		require.Contains(t, text, "Found the one of that request_id")
		_, other := b.ok("create_chat", object{"prompt": "the one", "request_id": "task/8"})
		require.NotEqual(t, id, other["id"])
	})
}

func TestACancelledWaitInterruptsWhenAskedTo(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	status := func(id any) any {
		_, chat := b.ok("get_chat", object{"chat": id})
		return chat["status"]
	}
	run := func(cause error, name string, arguments object) (result *mcp.CallToolResult) {
		peer := b.record()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			result = b.callWith(ctx, name, arguments)
		}()
		require.Eventually(t, func() bool { return len(peer.told()) > 1 }, 10*time.Second, 5*time.Millisecond)
		cancel(cause)
		<-done
		if cause == errTakenBack {
			require.Equal(t, "timeout", failure(t, result).Kind)
			require.Equal(t, "the call was cancelled", failure(t, result).Message)
		}
		return result
	}
	_, kept := b.ok("create_chat", object{"prompt": "SLOW 2000 20"})
	require.Eventually(t, func() bool { return status(kept["id"]) == "running" }, 10*time.Second, 10*time.Millisecond)
	run(errTakenBack, "stream_chat", object{"chat": kept["id"]})
	require.Equal(t, "running", status(kept["id"]), "a wait that is given up leaves the chat alone")
	for _, cause := range []error{errStopped, context.Canceled} {
		text, cut := okay(t, run(cause, "stream_chat", object{"chat": kept["id"], "interrupt_on_cancel": true}))
		require.Equal(t, true, cut["timed_out"])
		require.Equal(t, "running", cut["status"])
		require.Contains(t, text, "stream_chat goes on waiting")
		require.Equal(t, "running", status(kept["id"]), "nobody took the call back")
	}
	run(errTakenBack, "stream_chat", object{"chat": kept["id"], "interrupt_on_cancel": true})
	require.Eventually(t, func() bool { return status(kept["id"]) == "waiting" }, 10*time.Second, 10*time.Millisecond)

	b.ok("send_chat_message", object{"chat": kept["id"], "text": "SLOW 2000 20"})
	require.Eventually(t, func() bool { return status(kept["id"]) == "running" }, 10*time.Second, 10*time.Millisecond)
	run(errTakenBack, "await_chats", object{"chats": []any{kept["id"]}, "interrupt_on_cancel": true})
	require.Eventually(t, func() bool { return status(kept["id"]) == "waiting" }, 10*time.Second, 10*time.Millisecond)
}

func TestAWaitThatFailsSaysThatTheChatIsThere(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	quiet, err := b.session.Client.CreateChat(t.Context(), client.CreateChatRequest{Content: []client.InputPart{client.TextPart("hello")}})
	require.NoError(t, err)
	b.idle()
	b.sim.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/chats/") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"message":"Forbidden."}`))
		return true
	})
	f := b.fails("create_chat", object{"prompt": "x", "wait_seconds": 10})
	require.Equal(t, "forbidden", f.Kind)
	require.Regexp(t, `^the chat [0-9a-f-]{36} was created, but waiting for it failed: `, f.Message)
	require.Contains(t, f.Next, "do not send it again")
	f = b.fails("send_chat_message", object{"chat": quiet.ID, "text": "x", "wait_seconds": 10})
	require.Contains(t, f.Message, "the message was sent, but waiting for it failed: ")
}

func TestACallThatIsCutShortSaysWhyAndWhatToDo(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	for name, c := range map[string]struct {
		tool      string
		arguments object
		next      string
	}{
		"a read":  {"get_chat", object{}, "call it again: another replica"},
		"a write": {"create_chat", object{"prompt": "x"}, "it may have taken effect: look with list_chats or list_chat_messages before you call it again"},
		"a wait":  {"stream_chat", object{}, "call it again: another replica"},
	} {
		for _, cause := range []error{errStopped, errTakenBack, context.Canceled} {
			if c.tool != "create_chat" {
				c.arguments["chat"] = uuid.New()
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			b.sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if c.tool == "create_chat" && r.Method == http.MethodGet {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body) // or nobody notices that the caller hangs up
				cancel(cause)
				<-r.Context().Done()
				return true
			})
			f := failure(t, b.callWith(ctx, c.tool, c.arguments))
			if cause == errStopped {
				require.Equal(t, "unavailable", f.Kind, name)
				require.Equal(t, "this MCP server is stopping and cut the call short", f.Message, name)
				require.Contains(t, f.Next, c.next, name)
				continue
			}
			require.Equal(t, "timeout", f.Kind, name)
			require.Equal(t, "the call was cancelled", f.Message, name)
		}
	}
}

func TestAWaitForCapacityIsToldByEveryWait(t *testing.T) {
	o := unlimited(simulator.August2026)
	o.Capacity = 1
	b := newBench(t, o)
	asks, other := b.chat("hello", uuid.Nil), b.chat("other", uuid.Nil)
	_, asking := b.ok("send_chat_message", object{"chat": asks, "text": "hello", "wait_seconds": 15})
	b.ok("create_chat", object{"prompt": "SLOW 2000 20"})
	var ids []any
	for name, arguments := range map[string]object{
		"create_chat":       {"prompt": "waits"},
		"send_chat_message": {"chat": other, "text": "waits"},
		"edit_chat_message": {"chat": asks, "message_id": asking["message_id"], "text": "waits"},
	} {
		arguments["wait_seconds"] = 2.5
		text, waiting := b.ok(name, arguments)
		require.Equal(t, true, waiting["waits_for_capacity"], "%s: %s", name, text)
		require.Equal(t, "timed_out", waiting["reason"], name)
		require.Contains(t, text, "It waits for capacity: the deployment generates for others first. The wait is over (timed_out);", name)
		require.NotContains(t, text, "Still running", name)
		ids = append(ids, waiting["id"])
	}
	for _, id := range ids {
		text, streamed := b.ok("stream_chat", object{"chat": id, "wait_seconds": 0.5})
		require.Equal(t, true, streamed["waits_for_capacity"], text)
	}
}

func TestAWaitThatCannotSeeTheChatSaysSo(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	b.sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/chats/") {
			return false
		}
		<-r.Context().Done()
		return true
	})
	f := b.fails("create_chat", object{"prompt": "x", "wait_seconds": 0.1})
	require.Equal(t, "timeout", f.Kind)
	require.Regexp(t, `^the chat [0-9a-f-]{36} was created, but waiting for it failed: 127.0.0.1:\d+ did not say in time how the chat stands$`, f.Message)
	require.Contains(t, f.Next, "do not send it again")
	f = b.fails("stream_chat", object{"chat": uuid.New(), "wait_seconds": 0.1})
	require.Equal(t, "timeout", f.Kind)
	require.Contains(t, f.Next, "call stream_chat again")
	twice := uuid.New()
	f = b.fails("await_chats", object{"chats": []uuid.UUID{twice, twice}, "wait_seconds": 0.1})
	require.Equal(t, "timeout", f.Kind)
	require.Contains(t, f.Next, "call await_chats again")
}

// rude is an MCP client whose code breaks.
type rude struct{ listening }

func (*rude) Concerns(uuid.UUID) { panic("rude") }

func TestAPanicIsAResult(t *testing.T) {
	b := newBench(t, unlimited(simulator.V238))
	b.session.Peer = &rude{}
	f := b.fails("create_chat", object{"prompt": "x"})
	require.Equal(t, "internal", f.Kind)
	require.NotContains(t, f.Text(), "rude")
	b.session.Peer = b.heard
	b.ok("create_chat", object{"prompt": "x"})
}
