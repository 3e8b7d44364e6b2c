package relay_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

func TestFollowTellsATurnInOrder(t *testing.T) {
	eachGeneration(t, func(t *testing.T, w *world) {
		chat := w.create("one")
		require.Equal(t, "echo: one", w.turn(chat.ID, relay.TurnOptions{}).Text())
		l := w.follow(chat.ID)
		require.True(t, l.Picture().Settled)
		require.Len(t, l.Picture().Messages, 2)
		w.send(chat.ID, "SLOW 5 20")
		events := w.until(l, relay.EventSettled)
		got := slices.DeleteFunc(types(events), func(s string) bool {
			return s == client.EventMessagePart || s == "status:pending"
		})
		require.ElementsMatch(t, []string{"message:user", "status:running", "message:assistant", "status:waiting", "settled"}, got)
		require.Equal(t, []string{"message:assistant", "status:waiting", "settled"}, got[2:])
		var text string
		for _, e := range events {
			if e.MessagePart != nil {
				text += e.MessagePart.Part.Text
			}
		}
		require.Equal(t, "chunk-0001 chunk-0002 chunk-0003 chunk-0004 chunk-0005 ", text)
		settled := events[len(events)-1]
		require.Equal(t, text, settled.Outcome.Text())
	})
}
