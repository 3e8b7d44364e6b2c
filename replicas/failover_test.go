package replicas

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// slowly is a deployment whose agent takes some ten seconds for a small task, which no failover is done before.
var slowly = simulator.Options{Story: true, TokenDelay: 60 * time.Millisecond}

const task = "Fix the rounding of prices"

// TestTheHolderOfASessionIsKilledInMidTurn is the promise of --redis. A client works through a balancer that sends every
// request to the next replica. The one that runs its call is killed. The call reads only, so the other replica goes on
// with it: the client's streams resume there, by themselves, and it never learns that anything happened but by a pause.
func TestTheHolderOfASessionIsKilledInMidTurn(t *testing.T) {
	f := openFleet(t, slowly)
	c := f.connect("simulator-user-1")
	c.answer(c.order(map[string]any{"do": "level", "level": "debug"}))
	chat := c.call("create_chat", map[string]any{"prompt": task}).StructuredContent.ID
	uri := "coder://chats/" + chat
	c.answer(c.order(map[string]any{"do": "subscribe", "uri": uri}))

	wait := c.begin("stream_chat", map[string]any{"chat": chat, "wait_seconds": 80})
	c.progress(wait, 3)
	c.until(func(w told) bool { return w.Updated == uri })
	c.until(func(w told) bool { return len(w.Log) > 0 })
	f.holder(c.session).kill()
	killed := c.now()

	c.since(killed, func(w told) bool { return w.Updated == uri })
	c.since(killed, func(w told) bool { return len(w.Log) > 0 })
	c.since(killed, func(w told) bool { return w.ID == wait && w.Progress != nil })
	answer := c.answer(wait)
	require.False(t, answer.IsError, "%v", answer.Content)
	require.False(t, answer.StructuredContent.TimedOut)
	require.Contains(t, answer.Content[0].Text, "rounds the sum once")

	diff := c.call("get_chat_diff", map[string]any{"chat": chat})
	require.Contains(t, diff.Content[0].Text, "price/price.go")
	f.nothingLostOrDoubled(c)
}

// TestTheHolderOfASessionIsStoppedInMidTurn: it finishes the call, whatever that is, and then gives the session up. Nobody
// else runs the call again or answers it.
func TestTheHolderOfASessionIsStoppedInMidTurn(t *testing.T) {
	f := openFleet(t, slowly)
	c := f.connect("simulator-user-1")
	c.answer(c.order(map[string]any{"do": "level", "level": "debug"}))
	creation := c.begin("create_chat", map[string]any{"prompt": task, "wait_seconds": 80})
	c.progress(creation, 3)
	ended := f.holder(c.session).term()
	stopped := c.now()
	c.since(stopped, func(w told) bool { return w.ID == creation && w.Progress != nil })
	list := c.call("list_chats", map[string]any{})
	chat := chatID(t, list)
	uri := "coder://chats/" + chat
	c.answer(c.order(map[string]any{"do": "subscribe", "uri": uri}))
	answer := c.answer(creation)
	require.False(t, answer.IsError, "%v", answer.Content)
	require.Contains(t, answer.Content[0].Text, "rounds the sum once")
	require.NoError(t, <-ended)

	require.Equal(t, 1, f.results(c.session), "one answer on a stream")
	require.Equal(t, 1, f.sim.Requests()["POST /chats"], "one chat")
	moved := c.now()
	require.Contains(t, c.call("get_chat_diff", map[string]any{"chat": chat}).Content[0].Text, "price/price.go")
	c.call("send_chat_message", map[string]any{"chat": chat, "text": "thanks"})
	c.since(moved, func(w told) bool { return w.Updated == uri })
	f.nothingLostOrDoubled(c)
}

// TestACallThatIsCutIsAnsweredByTheReplicaThatRanIt once the time to drain is over.
func TestACallThatIsCutIsAnsweredByTheReplicaThatRanIt(t *testing.T) {
	f := openFleet(t, slowly, "--drain", "1s")
	c := f.connect("simulator-user-1")
	chat := c.call("create_chat", map[string]any{"prompt": task}).StructuredContent.ID
	wait := c.begin("stream_chat", map[string]any{"chat": chat, "wait_seconds": 80})
	c.progress(wait, 3)
	require.NoError(t, <-f.holder(c.session).term())
	answer := c.answer(wait)
	require.False(t, answer.IsError, "%v", answer.Content)
	require.Contains(t, answer.Content[0].Text, "(timed_out); stream_chat goes on waiting")
	require.Equal(t, 1, f.results(c.session), "one answer on a stream")
	require.Contains(t, c.call("stream_chat", map[string]any{"chat": chat, "wait_seconds": 80}).Content[0].Text, "rounds the sum once")
	f.nothingLostOrDoubled(c)
}

// nothingLostOrDoubled compares what the client heard with what the servers sent. They may go on sending, so it heard at
// least what they had sent before it was asked, and no more than they had sent afterwards.
func (f *fleet) nothingLostOrDoubled(c *sdk) {
	f.t.Helper()
	before := f.logged(c.session)
	var heard []string
	f.eventually(func() bool {
		heard = nil
		for _, w := range c.all(func(w told) bool { return w.Event != "" }) {
			heard = append(heard, w.Event)
		}
		return covers(heard, before)
	})
	after := f.logged(c.session) // an event has its id from the log, so none is heard that is not there
	for _, stream := range streams(after) {
		sent, got := ofStream(after, stream), ofStream(heard, stream)
		require.Equal(f.t, sent[:min(len(got), len(sent))], got, "each event once and in order, on stream %s", stream)
	}
	last := map[int]int{}
	for _, w := range c.all(func(w told) bool { return w.Progress != nil }) {
		require.Greater(f.t, w.Progress.Progress, last[w.ID], "progress rises")
		last[w.ID] = w.Progress.Progress
	}
	parts := map[string]bool{}
	for _, w := range c.all(func(w told) bool { return w.Message.Params.Data.Type == "message_part" }) {
		stream, _, _ := strings.Cut(w.Event, "_")
		part := stream + string(w.Message.Params.Data.Part) // with its number
		require.False(f.t, parts[part], "told twice on a stream: %s", part)
		parts[part] = true
	}
}

// covers reports that on each stream there are as many of all as of some.
func covers(all, some []string) bool {
	return !slices.ContainsFunc(streams(some), func(stream string) bool { return len(ofStream(all, stream)) < len(ofStream(some, stream)) })
}

func streams(ids []string) (names []string) {
	for _, id := range ids {
		if name, _, _ := strings.Cut(id, "_"); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func ofStream(ids []string, stream string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, stream+"_") })
}

// TestACreationWithARequestIDGoesOn: it is safe to make twice, since the chat is found by the id.
func TestACreationWithARequestIDGoesOn(t *testing.T) {
	f := openFleet(t, slowly)
	c := f.connect("simulator-user-1")
	creation := c.begin("create_chat", map[string]any{"prompt": task, "wait_seconds": 80, "request_id": "once"})
	c.progress(creation, 3)
	f.holder(c.session).kill()
	answer := c.answer(creation)
	require.False(t, answer.IsError, "%v", answer.Content)
	require.True(t, answer.StructuredContent.Existing)
	require.Contains(t, answer.Content[0].Text, "rounds the sum once")
	require.Equal(t, 1, f.sim.Requests()["POST /chats"], "one chat")
	f.nothingLostOrDoubled(c)
}

// TestAWriteOfAKilledReplicaIsAnswered: nobody knows whether it was done, so the model is told to look. Its chat goes on,
// and so does the client, after the killed replica has come back, too.
func TestAWriteOfAKilledReplicaIsAnswered(t *testing.T) {
	f := openFleet(t, slowly)
	c := f.connect("simulator-user-1")
	creation := c.begin("create_chat", map[string]any{"prompt": task, "wait_seconds": 80})
	c.progress(creation, 3)
	holder := f.holder(c.session)
	holder.kill()
	answer := c.answer(creation)
	require.True(t, answer.IsError)
	require.Contains(t, answer.Content[0].Text, "look before you repeat it")
	f.nothingLostOrDoubled(c)

	holder.again()
	list := c.call("list_chats", map[string]any{})
	id := chatID(t, list)
	require.Contains(t, c.call("stream_chat", map[string]any{"chat": id, "wait_seconds": 80}).Content[0].Text, "rounds the sum once")
	require.Equal(t, 1, f.sim.Requests()["POST /chats"], "one chat")
	f.nothingLostOrDoubled(c)
	c.answer(c.order(map[string]any{"do": "end"}))
}

func chatID(t *testing.T, list *result) string {
	t.Helper()
	require.Len(t, list.StructuredContent.Chats, 1)
	return list.StructuredContent.Chats[0].ID
}
