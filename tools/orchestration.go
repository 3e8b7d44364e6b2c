package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

type toolResult struct {
	ToolCallID string          `json:"tool_call_id" jsonschema:"minLength=1"`
	Output     json.RawMessage `json:"output"`
	IsError    bool            `json:"is_error,omitempty"`
}

type submitToolResultsArgs struct {
	Chat    uuid.UUID    `json:"chat" jsonschema:"format=chat,description=id or URL"`
	Results []toolResult `json:"results" jsonschema:"minItems=1,description=one for every pending call"`
	waitArgs
}

// submitted is what came of the turn that went on with the results.
type submitted struct {
	Chat   uuid.UUID     `json:"id"`
	Count  int           `json:"submitted"`
	Status client.Status `json:"status,omitempty"`
	turn
}

var _ = declare(Spec{
	Name: "submit_tool_results", Title: "Submit tool results", Toolset: Orchestration, Effect: Writes,
	Description: "Answers all pending calls of a chat in requires_action; its turn goes on.",
}, func(ctx context.Context, s *Session, a submitToolResultsArgs) (*Result, error) {
	results := make([]client.ToolResult, 0, len(a.Results))
	for _, r := range a.Results {
		results = append(results, client.ToolResult(r))
	}
	// What is known before the results go in is not the answer to them.
	known, err := s.Client.ListMessages(ctx, a.Chat, client.ListMessagesRequest{Limit: 1})
	if err != nil {
		return nil, err
	}
	if err := s.Client.SubmitToolResults(ctx, a.Chat, results); err != nil {
		return nil, err
	}
	s.Peer.Concerns(a.Chat)
	answer := submitted{Chat: a.Chat, Count: len(results)}
	head := fmt.Sprintf("Gave %s to chat %s; it goes on.", view.Count(len(results), "result"), a.Chat)
	if a.none() {
		return &Result{Text: head, Structured: answer}, nil
	}
	var options relay.TurnOptions
	if len(known.Messages) > 0 {
		options.AfterID = known.Messages[0].ID
	}
	for _, r := range a.Results {
		options.Answered = append(options.Answered, r.ToolCallID)
	}
	outcome, err := s.follow(ctx, a.Chat, options, a.waitArgs)
	if err != nil {
		return nil, afterwards(s, "the results were submitted", err)
	}
	return s.answer(outcome, func(t turn) *Result {
		answer.turn, answer.Status = t, t.status
		return &Result{Text: head + "\n" + t.text(a.Chat), Structured: answer}
	}), nil
})

type manageQueueArgs struct {
	Chat      uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	MessageID int64     `json:"message_id" jsonschema:"minimum=1,description=queued_message_id"`
	Action    string    `json:"action" jsonschema:"enum=delete,enum=promote"`
}

type managedQueue struct {
	Chat      uuid.UUID `json:"id"`
	MessageID int64     `json:"queued_message_id"`
	Action    string    `json:"action"`
}

var _ = declare(Spec{
	Name: "manage_chat_queue", Title: "Manage chat queue", Toolset: Orchestration, Effect: Writes,
	Description: "Deletes a queued message, or promotes it: it runs next, even where a failed turn blocks the queue.",
}, func(ctx context.Context, s *Session, a manageQueueArgs) (*Result, error) {
	if err := s.queued(ctx, a.Chat, a.MessageID); err != nil {
		return nil, err
	}
	manage, done := s.Client.DeleteQueuedMessage, "deleted from"
	if a.Action == "promote" {
		manage, done = s.Client.PromoteQueuedMessage, "promoted in"
	}
	if err := manage(ctx, a.Chat, a.MessageID); err != nil {
		return nil, err
	}
	return textf(managedQueue(a), "Queued message %d %s the queue of chat %s.", a.MessageID, done, a.Chat), nil
})

// queued refuses an id that is not in the chat's queue: servers of May call deleting it a success and promoting it a failure of their own (05/019).
func (s *Session) queued(ctx context.Context, chat uuid.UUID, id int64) error {
	page, err := s.Client.ListMessages(ctx, chat, client.ListMessagesRequest{Limit: 1})
	if err != nil {
		return err
	}
	var ids []string
	for _, q := range page.Queued {
		if q.ID == id {
			return nil
		}
		ids = append(ids, fmt.Sprint(q.ID))
	}
	there := "the queue is empty"
	if len(ids) > 0 {
		there = "the queue has " + strings.Join(ids, ", ")
	}
	return &Failure{
		Kind: string(client.KindNotFound), Message: fmt.Sprintf("no queued message %d; %s", id, there),
		Next: "it may have become a message already: list_chat_messages shows messages and queue",
	}
}
