package relay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator/replay"
)

// What real servers sent, in May's order or August's, comes out in the one order that Event documents.
func TestRecordedStreamsComeOutInOrder(t *testing.T) {
	for _, generation := range []string{"2026-05", "2026-08"} {
		recordings, err := replay.Load("../simulator/testdata/recordings-" + generation + ".json.gz")
		require.NoError(t, err)
		streams := 0
		for _, r := range recordings {
			for _, ws := range r.WebSockets {
				if frames := streamFrames(t, &ws); len(frames) > 0 {
					streams++
					t.Run(generation+"/"+r.Name+"/"+ws.ID, func(t *testing.T) { checkOrder(t, frames) })
				}
			}
		}
		require.Greater(t, streams, 20)
	}
}

type timedFrame struct {
	at     float64
	events []client.StreamEvent
}

func streamFrames(t *testing.T, ws *replay.Socket) []timedFrame {
	if !strings.Contains(ws.Request.Path, "/stream") || strings.Contains(ws.Request.Path, "/stream/") {
		return nil
	}
	var frames []timedFrame
	for _, f := range ws.Frames {
		var raws []json.RawMessage
		if f.Dir != "recv" || f.Opcode != "text" || json.Unmarshal([]byte(f.Data), &raws) != nil {
			continue
		}
		frame := timedFrame{at: f.TMs}
		for _, raw := range raws {
			var e client.StreamEvent
			require.NoError(t, json.Unmarshal(raw, &e))
			e.Raw = raw
			frame.events = append(frame.events, e)
		}
		frames = append(frames, frame)
	}
	return frames
}

// checkOrder plays frames into a state. Where the relay would read over REST, what the stream says by then stands in.
func checkOrder(t *testing.T, frames []timedFrame) {
	s := &state{id: uuid.New(), snapshot: true}
	var out []*Event
	for i, f := range frames {
		s.apply(f.events)
		s.snapshot = false
		if s.suspect {
			s.sync(&history{chat: client.Chat{Status: cmp.Or(s.claim, s.status)}, messages: stored(s, frames, f.events)})
		}
		if quiet := i == len(frames)-1 || frames[i+1].at-f.at > 300; quiet && s.claim != "" {
			s.explain(&client.Chat{Status: s.claim, LastError: &client.ChatError{Message: "read"}})
			s.settle()
		}
		out = append(out, s.take()...)
	}
	var last int64
	var text strings.Builder
	var previous *Event
	settled := true
	for _, e := range out {
		text.WriteString(describe(e) + " ")
		switch e.Type {
		case client.EventMessage:
			require.Greater(t, e.Message.ID, last, "%s", &text)
			last = e.Message.ID
			if !e.Message.IsContextOnly() {
				settled = false
			}
		case EventSettled:
			require.False(t, settled, "settled twice: %s", &text)
			require.Equal(t, last, e.Outcome.LastID)
			require.Contains(t, []string{client.EventStatus, client.EventError, client.EventActionRequired}, previous.Type, "%s", &text)
			settled = e.Outcome.Reason != ReasonRequiresAction // which an interrupt ends without a message
		case client.EventStatus:
			require.False(t, previous != nil && previous.Type == e.Type && previous.Status.Status == e.Status.Status, "%s", &text)
		}
		previous = e
	}
	t.Log(text.String())
	if atRest(s.status) {
		require.True(t, s.rested, "%s", &text)
		require.Empty(t, s.preview.parts)
	}
}

// stored is the history that REST would give: what a frame repeats, else what is known and the tool rows right after it.
func stored(s *state, frames []timedFrame, frame []client.StreamEvent) []client.Message {
	all := map[int64]client.Message{}
	for _, f := range frames {
		for _, e := range f.events {
			if e.Message != nil {
				all[e.Message.ID] = *e.Message
			}
		}
	}
	var repeated []client.Message
	for _, e := range frame {
		if e.Message != nil {
			repeated = append(repeated, *e.Message)
		}
	}
	if len(repeated) > 1 {
		return repeated
	}
	history := slices.Clone(s.messages)
	for next, ok := all[s.lastID+1]; ok && next.Role == client.RoleTool; next, ok = all[next.ID+1] {
		history = append(history, next)
	}
	return history
}

func describe(e *Event) string {
	switch {
	case e.Message != nil:
		return fmt.Sprintf("%s(%d)", e.Message.Role, e.Message.ID)
	case e.Status != nil:
		return strings.ToUpper(string(e.Status.Status))
	case e.Type == client.EventMessagePart:
		return "."
	case e.Type == EventSettled:
		return fmt.Sprintf("settled[%s %q unanswered=%v]", e.Outcome.Reason, short(e.Outcome.Text()), e.Outcome.Unanswered)
	case e.Type == client.EventHistoryReset:
		return fmt.Sprintf("history_reset(%d,%d)", e.GoneAfter, e.GoneBefore)
	}
	return e.Type
}

func short(s string) string { return s[:min(len(s), 12)] }
