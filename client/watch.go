package client

import (
	"context"
	"encoding/json"
	"iter"
)

// The kinds of a watch event. Others pass through.
const (
	KindCreated           = "created" // also unarchived, and sub-agents' chats
	KindStatusChange      = "status_change"
	KindTitleChange       = "title_change"
	KindSummaryChange     = "summary_change"
	KindDeleted           = "deleted" // archived
	KindDiffStatusChange  = "diff_status_change"
	KindActionRequired    = "action_required"
	KindChatSummaryChange = "chat_summary_change"
	KindContextDirty      = "context_dirty"
)

// WatchEvent says that something about a chat changed. It is a hint: its Chat can be stale in status and title, never has
// files, and HasUnread is always false. Read the chat for the truth.
type WatchEvent struct {
	Kind      string        `json:"kind"`
	Chat      Chat          `json:"chat"`
	ToolCalls []PendingCall `json:"tool_calls"` // action_required, servers of May only

	// Raw is the event as it came.
	Raw json.RawMessage `json:"-"`
}

// Watch is the stream of events about the caller's chats.
type Watch struct {
	s       *socket
	pending []WatchEvent
}

// WatchChats is "Watch chat events for a user via WebSockets". There is no snapshot and no replay: list right after, and
// again after every reconnect.
func (c *Client) WatchChats(ctx context.Context) (*Watch, error) {
	s, err := c.dial(ctx, call{op: "watch chats", path: []string{"watch"}})
	if err != nil {
		return nil, err
	}
	return &Watch{s: s}, nil
}

// Next waits for the next event. It ends as Stream.Next does; one caller at a time.
func (w *Watch) Next(ctx context.Context) (WatchEvent, error) {
	for len(w.pending) == 0 {
		frame, err := w.s.next(ctx)
		if err != nil {
			return WatchEvent{}, err
		}
		if err := w.decode(frame); err != nil {
			return WatchEvent{}, err
		}
	}
	event := w.pending[0]
	w.pending = w.pending[1:]
	return event, nil
}

func (w *Watch) decode(frame []byte) error {
	err := eachEvent(frame, func(raw []byte) error {
		event := WatchEvent{Raw: raw}
		if err := json.Unmarshal(raw, &event); err != nil {
			// Pass on what there is: an event is a hint to look.
			w.s.client.host.options.Logger.Warn("a watch event is not as expected", "kind", event.Kind, "error", err)
		}
		w.pending = append(w.pending, event)
		return nil
	}, w.s.envelopeFailed)
	return w.s.frameError(frame, err)
}

// Close ends the watch.
func (w *Watch) Close() error { return w.s.Close() }

// Events ranges over the watch until it ends or ctx does; the last pair carries the error.
func (w *Watch) Events(ctx context.Context) iter.Seq2[WatchEvent, error] {
	return pump(ctx, w.Next)
}
