package relay

import (
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// event makes an event that did not come from upstream, with JSON of upstream's shape.
func event(e client.StreamEvent) *Event {
	e.Raw = rawEvent(&e)
	return &Event{StreamEvent: e}
}

// rawEvent is an event as upstream would have sent it: the fields of its type and no other.
func rawEvent(e *client.StreamEvent) json.RawMessage {
	type part struct {
		Role              client.Role     `json:"role"`
		Part              json.RawMessage `json:"part"`
		HistoryVersion    int64           `json:"history_version,omitempty"`
		GenerationAttempt int64           `json:"generation_attempt,omitempty"`
		Seq               int64           `json:"seq,omitempty"`
	}
	out := struct {
		Type           string                 `json:"type"`
		ChatID         uuid.UUID              `json:"chat_id"`
		Status         *client.StatusEvent    `json:"status,omitempty"`
		Message        *client.Message        `json:"message,omitempty"`
		MessagePart    *part                  `json:"message_part,omitempty"`
		QueuedMessages []client.QueuedMessage `json:"queued_messages,omitempty"`
		Error          *client.ChatError      `json:"error,omitempty"`
		ActionRequired *client.ActionRequired `json:"action_required,omitempty"`
	}{Type: e.Type, ChatID: e.ChatID, Status: e.Status, Message: e.Message, QueuedMessages: e.QueuedMessages,
		Error: e.Error, ActionRequired: e.ActionRequired}
	if p := e.MessagePart; p != nil {
		out.MessagePart = &part{p.Role, rawPart(&p.Part), p.HistoryVersion, p.GenerationAttempt, p.Seq}
	}
	raw, err := json.Marshal(out)
	if err != nil { // upstream's own JSON values were found valid when they were read
		return nil
	}
	return raw
}

func rawPart(p *client.Part) json.RawMessage {
	raw, err := json.Marshal(struct {
		Type        client.PartType `json:"type"`
		Text        string          `json:"text,omitempty"`
		ToolCallID  string          `json:"tool_call_id,omitempty"`
		ToolName    string          `json:"tool_name,omitempty"`
		Args        json.RawMessage `json:"args,omitempty"`
		ArgsDelta   string          `json:"args_delta,omitempty"`
		Result      json.RawMessage `json:"result,omitempty"`
		ResultDelta string          `json:"result_delta,omitempty"`
		IsError     bool            `json:"is_error,omitempty"`
		Title       string          `json:"title,omitempty"`
		URL         string          `json:"url,omitempty"`
	}{p.Type, p.Text, p.ToolCallID, p.ToolName, p.Args, p.ArgsDelta, p.Result, p.ResultDelta, p.IsError, p.Title, p.URL})
	if err != nil {
		return nil
	}
	return raw
}

// weighDelta counts what may collapse: deltas. Final states are shared by all listeners and never dropped.
func weighDelta(e *Event) int {
	if e.Type == client.EventMessagePart {
		return len(e.Raw)
	}
	return 0
}

// joinDeltas makes one event of a run of deltas of one part.
func joinDeltas(n *node[*Event]) (*Event, *node[*Event]) {
	first := n.value
	next := n.next.Load()
	if next == nil || !sameRun(first, next.value) {
		return first, n
	}
	var text strings.Builder
	text.WriteString(*deltaOf(&first.MessagePart.Part))
	count := first.Parts
	for next != nil && sameRun(first, next.value) {
		n = next
		text.WriteString(*deltaOf(&n.value.MessagePart.Part))
		count += n.value.Parts
		next = n.next.Load()
	}
	part := *first.MessagePart
	part.Seq = n.value.MessagePart.Seq
	*deltaOf(&part.Part) = text.String()
	e := event(client.StreamEvent{Type: client.EventMessagePart, ChatID: first.ChatID, MessagePart: &part})
	e.Parts, e.Serial = count, n.value.Serial
	return e, n
}

func sameRun(a, b *Event) bool {
	return a.Type == client.EventMessagePart && b.Type == client.EventMessagePart &&
		a.MessagePart.GenerationAttempt == b.MessagePart.GenerationAttempt &&
		a.MessagePart.HistoryVersion == b.MessagePart.HistoryVersion &&
		continues(&a.MessagePart.Part, &b.MessagePart.Part)
}
