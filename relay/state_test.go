package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
)

// talk plays frames of a small language into a state and says what comes out: "u1" and "a2" are messages with their id,
// "c3" calls a tool, "r4" is its result, "." a part, "RESET", "HISTORY", "queue" an empty queue_update, anything else a
// status.
func talk(s *state, frames ...string) string {
	for _, f := range frames {
		var frame []client.StreamEvent
		for word := range strings.FieldsSeq(f) {
			frame = append(frame, word2event(word))
		}
		s.apply(frame)
		s.snapshot = false
	}
	return said(s)
}

func said(s *state) string {
	var words []string
	for _, e := range s.take() {
		words = append(words, describe(e))
	}
	return strings.Join(words, " ")
}

func word2event(word string) client.StreamEvent {
	var id int64
	e := client.StreamEvent{}
	part := client.Part{Type: client.PartText, Text: "tok"}
	switch n, _ := fmt.Sscanf(word[1:], "%d", &id); {
	case n == 1:
		e.Type, e.Message = client.EventMessage, message(word[:1], id)
	case word == ".":
		e.Type, e.MessagePart = client.EventMessagePart, &client.PartEvent{Role: client.RoleAssistant, Part: part}
	case word == "RESET":
		e.Type = client.EventPreviewReset
	case word == "HISTORY":
		e.Type = client.EventHistoryReset
	case word == "queue":
		e.Type = client.EventQueueUpdate
	case word == "retry":
		e.Type, e.Retry = client.EventRetry, &client.RetryEvent{Attempt: 1, RetryingAt: time.Unix(1, 0)}
	case word == "action":
		e.Type = client.EventActionRequired
		e.ActionRequired = &client.ActionRequired{ToolCalls: []client.PendingCall{{ToolCallID: "call", ToolName: "my_tool"}}}
	default:
		e.Type, e.Status = client.EventStatus, &client.StatusEvent{Status: client.Status(word)}
	}
	return e
}

func message(kind string, id int64) *client.Message {
	text := client.Part{Type: client.PartText, Text: fmt.Sprint("text ", id)}
	switch kind {
	case "u":
		return &client.Message{ID: id, Role: client.RoleUser, Content: []client.Part{text}}
	case "c":
		return &client.Message{ID: id, Role: client.RoleAssistant, Content: []client.Part{{Type: client.PartToolCall, ToolCallID: "call", ToolName: "my_tool"}}}
	case "r":
		return &client.Message{ID: id, Role: client.RoleTool, Content: []client.Part{{Type: client.PartToolResult, ToolCallID: "call", ToolName: "my_tool"}}}
	}
	return &client.Message{ID: id, Role: client.RoleAssistant, Content: []client.Part{text}}
}

const restOf2 = `WAITING settled[settled "text 2" unanswered=false]`

func TestStateOnServersOfMay(t *testing.T) {
	for name, c := range map[string]struct {
		frames []string
		want   string
	}{
		"statuses come twice":                       {[]string{"pending", "u1", "pending", "running running", ".", "a2", "waiting", "waiting"}, "PENDING user(1) RUNNING . assistant(2) " + restOf2},
		"pending after running":                     {[]string{"u1", "running pending", "a2 waiting"}, "user(1) RUNNING assistant(2) " + restOf2},
		"waiting before the last message":           {[]string{"u1 running", "waiting", "a2"}, "user(1) RUNNING assistant(2) " + restOf2},
		"waiting between tool result and answer":    {[]string{"u1 running c2 r3", "waiting", "a4"}, `user(1) RUNNING assistant(2) tool(3) assistant(4) WAITING settled[settled "text 4" unanswered=false]`},
		"parts after their message":                 {[]string{"u1 running", ".", "a2", ".", "waiting", "."}, "user(1) RUNNING . assistant(2) " + restOf2},
		"a late running after rest":                 {[]string{"u1 running a2 waiting", "running", "waiting"}, "user(1) RUNNING assistant(2) " + restOf2},
		"a waiting of before, after a new send":     {[]string{"u1 running a2 waiting", "pending", "waiting", "u3", "pending", "running", "a4", "waiting"}, "user(1) RUNNING assistant(2) " + restOf2 + ` user(3) PENDING RUNNING assistant(4) WAITING settled[settled "text 4" unanswered=false]`},
		"a waiting that another turn follows":       {[]string{"u1 running", "waiting", "pending", "u3", "running", "a4 waiting"}, `user(1) RUNNING user(3) assistant(4) WAITING settled[settled "text 4" unanswered=false]`},
		"a retry voids the parts":                   {[]string{"u1 running . retry", "retry", ". a2 waiting"}, "user(1) RUNNING . preview_reset retry . assistant(2) " + restOf2},
		"a retry at rest is stale":                  {[]string{"u1 running a2 waiting", "retry"}, "user(1) RUNNING assistant(2) " + restOf2},
		"calls are told with the status":            {[]string{"u1 running c2 requires_action action requires_action action"}, `user(1) RUNNING assistant(2) REQUIRES_ACTION action_required settled[requires_action "" unanswered=false]`},
		"calls wait for their message":              {[]string{"u1 running requires_action action", "c2"}, `user(1) RUNNING assistant(2) REQUIRES_ACTION action_required settled[requires_action "" unanswered=false]`},
		"an unknown status passes":                  {[]string{"u1 running dreaming", "a2", "waiting"}, "user(1) RUNNING DREAMING assistant(2) " + restOf2},
		"a message that is known is not told again": {[]string{"u1 running a2 waiting", "u1 a2"}, "user(1) RUNNING assistant(2) " + restOf2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &state{id: uuid.New(), snapshot: true}
			require.Equal(t, c.want, talk(s, c.frames...))
		})
	}
}

func TestStateOnServersOfAugust(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	require.Equal(t, "user(1) RUNNING", talk(s, "u1 running RESET", "RESET"))
	require.Equal(t, ".", talk(s, "."))
	require.Equal(t, "preview_reset retry", talk(s, "RESET retry"), "the attempt failed, the next one begins")
	require.Equal(t, `INTERRUPTING WAITING settled[settled "" unanswered=true]`, talk(s, "interrupting", "waiting"))
	require.Empty(t, talk(s, "waiting retry"))
	require.Equal(t, "history_reset(0,3) user(3) RUNNING", talk(s, "HISTORY u3 running RESET"))
	require.Equal(t, `assistant(4) WAITING settled[settled "text 4" unanswered=false]`, talk(s, "a4 RESET", "waiting"))
}

func TestStateAsksForTheQueueThatASnapshotDoesNotTell(t *testing.T) {
	for _, frame := range []string{"u1 running RESET", "u1 queue running RESET"} {
		s := &state{id: uuid.New(), snapshot: true, queue: []client.QueuedMessage{{ID: 1}}}
		talk(s, frame)
		require.Equal(t, !strings.Contains(frame, "queue"), s.suspect, frame)
	}
}

// A REST read in the middle of a repetition is the newer truth.
func TestStateReadInTheMiddleOfARepetition(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 a2 u3 a4 waiting RESET", "HISTORY u1")
	s.sync(&history{chat: client.Chat{Status: client.StatusRunning}, messages: []client.Message{*message("u", 1), *message("a", 2), *message("u", 5)}})
	require.Equal(t, "history_reset(2,5) user(5) RUNNING", said(s))
	require.Empty(t, talk(s, "a2 u5 running"))
}

// A waiting of the turn before must not hide the beginning of this one's answer.
func TestStateHoldsPartsWhileAWaitingIsInDoubt(t *testing.T) {
	for read, want := range map[client.Status]string{client.StatusRunning: ". .", client.StatusWaiting: ""} {
		s := &state{id: uuid.New(), snapshot: true}
		talk(s, "u1 running a2 waiting", "u3 pending running", "waiting")
		require.Empty(t, talk(s, ".", "."))
		require.True(t, s.holdsAll([]client.StreamEvent{word2event(".")}))
		h := &history{chat: client.Chat{Status: read}, messages: []client.Message{*message("u", 1), *message("a", 2), *message("u", 3)}}
		s.sync(h)
		require.Equal(t, want, said(s), read)
	}
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 running a2 waiting", "u3 pending running", "waiting", ".")
	require.Equal(t, ".", talk(s, "running"), "the stream itself may say so")
	require.Equal(t, `assistant(4) WAITING settled[settled "text 4" unanswered=false]`, talk(s, "a4 waiting"))
}

func TestStateHeldPartsAreBounded(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 running", "waiting")
	part := word2event(".")
	part.Raw = []byte(strings.Repeat("x", 1000))
	for range 2 * previewLimit / 1000 {
		s.apply([]client.StreamEvent{part})
	}
	require.LessOrEqual(t, len(s.held), previewLimit/1000+2)
	talk(s, "a2")
	require.Empty(t, s.held)
}

// A read ahead of May's stream shows the results of the calls that the stream asks for only then.
func TestStateDoesNotAskForWhatWasAnswered(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 running")
	u1, c2, r3 := *message("u", 1), *message("c", 2), *message("r", 3)
	s.sync(&history{chat: client.Chat{Status: client.StatusRequiresAction}, messages: []client.Message{u1, c2}})
	require.Equal(t, `assistant(2) REQUIRES_ACTION action_required settled[requires_action "" unanswered=false]`, said(s))
	require.Empty(t, talk(s, "running"), "only a read can say so")
	require.True(t, s.suspect)
	now := &history{chat: client.Chat{Status: client.StatusRunning}, messages: []client.Message{u1, c2, r3}}
	s.sync(now)
	require.Equal(t, "tool(3) RUNNING", said(s))
	require.Empty(t, talk(s, "c2 requires_action requires_action action"))
	require.False(t, s.suspect)
	require.True(t, s.doubtful())
	s.sync(now)
	require.Empty(t, said(s))
	require.Empty(t, s.claim)
	require.Equal(t, `assistant(4) WAITING settled[settled "text 4" unanswered=false]`, talk(s, "a4 waiting"))
}

func TestStateALateRunningDoesNotAskAgain(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 running c2 requires_action action", "running")
	s.sync(&history{chat: client.Chat{Status: client.StatusRequiresAction}, messages: []client.Message{*message("u", 1), *message("c", 2)}})
	require.Empty(t, said(s))
	require.Len(t, s.pending, 1)
}

func TestStateNewCallsAtRestAreAnotherRest(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	talk(s, "u1 running c2 requires_action action RESET")
	next := word2event("action")
	next.ActionRequired.ToolCalls = []client.PendingCall{{ToolCallID: "other", ToolName: "my_tool"}}
	m := message("c", 3)
	m.Content[0].ToolCallID = "other"
	s.apply([]client.StreamEvent{{Type: client.EventMessage, Message: m}, next})
	require.Equal(t, `assistant(3) REQUIRES_ACTION action_required settled[requires_action "" unanswered=false]`, said(s))
}

func TestStateKeepsABoundedWindow(t *testing.T) {
	s := &state{id: uuid.New(), snapshot: true}
	for id := range int64(200) {
		s.addMessage(*message("a", id+1), nil)
	}
	p := s.picture()
	require.Len(t, p.Messages, windowMessages)
	require.True(t, p.Truncated)
	require.Equal(t, int64(200), p.LastID)
	big := message("a", 300)
	big.Content[0].Text = strings.Repeat("x", windowBytes)
	s.addMessage(*big, nil)
	require.Len(t, s.picture().Messages, 1)
	require.Len(t, s.take(), 201, "every message is told")
}

func TestPreviewIsBoundedAndJoined(t *testing.T) {
	var v preview
	add := func(p client.Part) { v.add(&client.PartEvent{Part: p}) }
	add(client.Part{Type: client.PartReasoning, Text: "think"})
	add(client.Part{Type: client.PartText, Text: "I call "})
	add(client.Part{Type: client.PartText, Text: "two."})
	for _, delta := range []string{`{"x"`, `:1}`} {
		for _, id := range []string{"a", "b"} {
			add(client.Part{Type: client.PartToolCall, ToolCallID: id, ArgsDelta: delta})
		}
	}
	add(client.Part{Type: client.PartToolCall, ToolCallID: "b", Args: []byte(`{"x":1}`)})
	parts := v.snapshot()
	require.Len(t, parts, 4)
	require.Equal(t, "I call two.", parts[1].Text)
	require.Equal(t, `{"x":1}`, parts[2].ArgsDelta)
	require.JSONEq(t, `{"x":1}`, string(parts[3].Args))
	for range 300 {
		add(client.Part{Type: client.PartText, Text: strings.Repeat("x", 1000)})
	}
	require.True(t, v.truncated)
	require.LessOrEqual(t, len(v.snapshot()[4].Text), previewLimit+1000)
	require.Equal(t, "I call two.", parts[1].Text, "a snapshot stays as it was")
}

func TestConflatedWatchKeepsWhatCameToRest(t *testing.T) {
	a, b := uuid.New(), uuid.New()
	var items []*watchItem
	add := func(kind string, id uuid.UUID, st client.Status) {
		items = append(items, &watchItem{event: &client.WatchEvent{Kind: kind, Chat: client.Chat{ID: id, Status: st}}})
	}
	add(client.KindCreated, a, client.StatusRunning)
	for range 3 {
		add(client.KindStatusChange, a, client.StatusRunning)
		add(client.KindTitleChange, a, client.StatusRunning)
		add(client.KindTitleChange, b, client.StatusRunning)
		items = append(items, &watchItem{})
		add(client.KindStatusChange, a, client.StatusWaiting)
	}
	add(client.KindDeleted, a, client.StatusWaiting)
	var kept []string
	for _, i := range conflateWatch(items) {
		if i.event == nil {
			kept = append(kept, "down")
			continue
		}
		kept = append(kept, i.event.Kind+" "+string(i.event.Chat.Status))
	}
	require.Equal(t, []string{
		"created running", "status_change waiting", "status_change waiting", "title_change running", "title_change running",
		"down", "status_change waiting", "deleted waiting",
	}, kept)
}

// Whoever never reads must not cost more with every turn of a chat.
func TestConflatedWatchIsBoundedByTheNumberOfChats(t *testing.T) {
	chats := []uuid.UUID{uuid.New(), uuid.New()}
	var items []*watchItem
	for n := range 1000 {
		for _, id := range chats {
			for _, kind := range []string{client.KindStatusChange, client.KindActionRequired, client.KindCreated, client.KindDeleted} {
				items = append(items, &watchItem{event: &client.WatchEvent{
					Kind: kind, Chat: client.Chat{ID: id, Status: client.StatusWaiting, Title: fmt.Sprint(n)},
				}})
			}
		}
		items = conflateWatch(items)
		require.LessOrEqual(t, len(items), len(chats)*(lastFinals+4))
	}
	require.Equal(t, "999", items[len(items)-1].event.Chat.Title)
}

func TestCursorOf100ChatsIsShort(t *testing.T) {
	var c cursor
	for n := range 100 {
		id := uuid.New()
		c.put(told{chatMark(id), listMark(id, client.StatusWaiting, time.Now()), messageMark(id, client.StatusWaiting, int64(n))})
	}
	s := c.String()
	require.Less(t, len(s), 1700)
	again, err := parseCursor(s)
	require.NoError(t, err)
	require.Equal(t, c, again)
	for i := range s {
		flipped := []byte(s)
		if flipped[i]++; flipped[i] != 'A' {
			_, err := parseCursor(string(flipped))
			require.Error(t, err, "a changed cursor is refused")
		}
	}
}
