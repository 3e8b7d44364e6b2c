package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The types of a stream event. Others pass through.
const (
	EventStatus         = "status"
	EventMessage        = "message"
	EventMessagePart    = "message_part"
	EventQueueUpdate    = "queue_update"
	EventRetry          = "retry"
	EventError          = "error"
	EventActionRequired = "action_required"
	EventPreviewReset   = "preview_reset" // since August: the parts so far are void
	EventHistoryReset   = "history_reset" // since August: all messages follow anew
)

// StreamEvent is one event of a chat's stream; the field of its type is set.
type StreamEvent struct {
	Type           string          `json:"type"`
	ChatID         uuid.UUID       `json:"chat_id"`
	Status         *StatusEvent    `json:"status"`
	Message        *Message        `json:"message"`
	MessagePart    *PartEvent      `json:"message_part"`
	QueuedMessages []QueuedMessage `json:"queued_messages"` // of queue_update; none = the queue is empty
	Retry          *RetryEvent     `json:"retry"`
	Error          *ChatError      `json:"error"`
	ActionRequired *ActionRequired `json:"action_required"`

	// Raw is the event as it came, a slice of its frame.
	Raw json.RawMessage `json:"-"`
}

// StatusEvent is a change of the chat's status.
type StatusEvent struct {
	Status Status `json:"status"`
}

// PartEvent is a piece of the answer in progress. Servers of May lose parts of a fast answer and number none; later ones
// number them from 1 within a GenerationAttempt.
type PartEvent struct {
	Role              Role  `json:"role"`
	Part              Part  `json:"part"`
	HistoryVersion    int64 `json:"history_version"`
	GenerationAttempt int64 `json:"generation_attempt"`
	Seq               int64 `json:"seq"`
}

// RetryEvent says that the provider failed and will be asked again. On servers of May the parts of the failed attempt are
// void with it; later ones send preview_reset when the next attempt starts.
type RetryEvent struct {
	Attempt    int       `json:"attempt"`
	DelayMS    int64     `json:"delay_ms"`
	Error      string    `json:"error"`
	Kind       string    `json:"kind"`
	Provider   string    `json:"provider"`
	StatusCode int       `json:"status_code"`
	RetryingAt time.Time `json:"retrying_at"`
}

// ActionRequired are the dynamic tools' calls that SubmitToolResults must answer.
type ActionRequired struct {
	ToolCalls []PendingCall `json:"tool_calls"`
}

// PendingCall is one call that waits for its result. Args is what the model wrote: mostly, not always, JSON.
type PendingCall struct {
	ToolCallID string `json:"tool_call_id"`
	ToolName   string `json:"tool_name"`
	Args       string `json:"args"`
}

// StreamRequest says from where on to stream.
type StreamRequest struct {
	// AfterID leaves out the messages up to this id from the snapshot; 0 = every message.
	AfterID int64
}

// Stream is the live stream of one chat.
type Stream struct{ s *socket }

// StreamChat is "Stream chat events via WebSockets": a snapshot, then what happens. Connecting and closing mark the chat
// read.
func (c *Client) StreamChat(ctx context.Context, id uuid.UUID, r StreamRequest) (*Stream, error) {
	s, err := c.dial(ctx, call{op: "stream chat", path: chatPath(id, "stream"), query: r.values()})
	if err != nil {
		return nil, err
	}
	return &Stream{s}, nil
}

// Next waits for the next frame and returns its events, 1 to 256, in order. One caller at a time.
//
// It reads from a queue that the socket fills by itself, so pings are answered between two calls, too; above 8 MiB unread,
// reading rests, and a server that gets no pong for 30 s closes. When ctx ends, Next returns its error and the stream stays
// as it was. When the stream ends, Next returns what came before and then, for ever, a *ClosedError; errors.Is(err, io.EOF)
// tells an ordinary end.
func (s *Stream) Next(ctx context.Context) ([]StreamEvent, error) {
	for {
		frame, err := s.s.next(ctx)
		if err != nil {
			return nil, err
		}
		events, err := s.decode(frame)
		if err != nil {
			return nil, s.s.readError(frame, err)
		}
		if len(events) > 0 {
			return events, nil
		}
	}
}

func (s *Stream) decode(frame []byte) ([]StreamEvent, error) {
	var events []StreamEvent
	err := eachEvent(frame, func(raw []byte) error {
		events = append(events, StreamEvent{})
		e := &events[len(events)-1]
		if err := e.UnmarshalJSON(raw); err != nil {
			// Pass on what there is: the same event would come again after every reconnect.
			s.s.client.host.options.Logger.Warn("a stream event is not as expected", "type", e.Type, "error", err)
		}
		return nil
	}, func(data []byte) error {
		events = append(events, StreamEvent{Type: EventError, Error: envelopeError(data), Raw: data})
		return nil
	})
	return events, err
}

// Close ends the stream.
func (s *Stream) Close() error { return s.s.Close() }

// Events ranges over the stream until it ends or ctx does; the last pair carries the error.
func (s *Stream) Events(ctx context.Context) iter.Seq2[StreamEvent, error] {
	return func(yield func(StreamEvent, error) bool) {
		for {
			events, err := s.Next(ctx)
			if err != nil {
				yield(StreamEvent{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func (r StreamRequest) values() url.Values {
	v := url.Values{}
	if r.AfterID != 0 {
		v.Set("after_id", strconv.FormatInt(r.AfterID, 10))
	}
	return v
}
