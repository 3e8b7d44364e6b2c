package tools

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

type listMessagesArgs struct {
	Chat     uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	BeforeID int64     `json:"before_id,omitempty" jsonschema:"minimum=1,description=older than this"`
	AfterID  int64     `json:"after_id,omitempty" jsonschema:"minimum=0,description=newer than this"`
	Limit    int       `json:"limit,omitempty" jsonschema:"minimum=1,maximum=200,description=default 50"`
	Detail   string    `json:"detail,omitempty" jsonschema:"enum=text,enum=full,description=full adds calls with arguments and results and reasoning"`
}

type messageList struct {
	Messages     []view.Message       `json:"messages"`
	NextBeforeID int64                `json:"next_before_id,omitempty"` // there are older ones
	NextAfterID  int64                `json:"next_after_id,omitempty"`  // where newer ones begin
	More         bool                 `json:"more,omitempty"`           // there are newer ones already
	Queued       []view.QueuedMessage `json:"queued,omitempty"`
}

var _ = declare(Spec{
	Name: "list_chat_messages", Title: "List chat messages", Operation: "List chat messages", Toolset: Messages, Effect: Reads, Idempotent: true,
	Description: "The transcript, oldest first: the latest page, or the one before or after an id. Names the tools called; detail full shows everything.",
}, func(ctx context.Context, s *Session, a listMessagesArgs) (*Result, error) {
	page, err := s.Client.ListMessages(ctx, a.Chat, client.ListMessagesRequest{BeforeID: a.BeforeID, AfterID: a.AfterID, Limit: a.Limit})
	if err != nil {
		return nil, err
	}
	return s.messages(a, page), nil
})

// messages are a page as a result. The API's order is kept until the size is known, so that what does not fit is what is farthest from the cursor.
func (s *Session) messages(a listMessagesArgs, page *client.MessagesPage) *Result {
	list := messageList{Messages: []view.Message{}, NextAfterID: a.AfterID, Queued: view.Queued(page.Queued)}
	for i, q := range list.Queued {
		list.Queued[i] = q.Within(s.Config.MaxOutputBytes / 4 / len(list.Queued))
	}
	if len(page.Messages) > 0 {
		s.fill(&list, a, page)
	}
	return &Result{Text: messagesText(a.Chat, list), Structured: list}
}

func (s *Session) fill(list *messageList, a listMessagesArgs, page *client.MessagesPage) {
	said := s.said(a.Detail, page.Messages)
	list.Messages = said[:fitting(said, s.Config.MaxOutputBytes, view.Message.WholeText)]
	more, edge := page.HasMore, page.Messages[len(page.Messages)-1].ID
	if len(list.Messages) < len(said) {
		more, edge = true, list.Messages[len(list.Messages)-1].ID
	}
	if a.AfterID > 0 && a.BeforeID == 0 { // oldest first
		list.NextAfterID, list.More = edge, more
		return
	}
	slices.Reverse(list.Messages)
	list.NextAfterID = page.Messages[0].ID
	if more {
		list.NextBeforeID = edge
	}
}

func (s *Session) said(detail string, messages []client.Message) []view.Message {
	said := make([]view.Message, 0, len(messages))
	for _, m := range messages {
		v, ok := view.Said(m)
		if detail == "full" {
			v, ok = view.Full(m), true
		}
		if ok {
			said = append(said, v.Within(s.Config.MaxOutputBytes))
		}
	}
	return said
}

func messagesText(chat uuid.UUID, l messageList) string {
	var b strings.Builder
	if l.NextBeforeID > 0 {
		fmt.Fprintf(&b, "(older: before_id %d)\n", l.NextBeforeID)
	}
	for _, m := range l.Messages {
		b.WriteString(m.WholeText() + "\n")
		if m.Cut > 0 {
			fmt.Fprintf(&b, "(whole: resource %s)\n", view.ChatLink(chat, "messages"))
		}
	}
	switch {
	case len(l.Messages) > 0:
	case l.NextBeforeID > 0 || l.More:
		b.WriteString("Only results of tools here: detail full shows them.\n")
	default:
		b.WriteString("No messages here.\n")
	}
	for _, q := range l.Queued {
		b.WriteString(q.WholeText() + "\n")
	}
	if l.More {
		fmt.Fprintf(&b, "(newer: after_id %d)\n", l.NextAfterID)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

type sendMessageArgs struct {
	Chat         uuid.UUID     `json:"chat" jsonschema:"format=chat,description=id or URL"`
	Text         string        `json:"text,omitempty"`
	Content      []contentPart `json:"content,omitempty" jsonschema:"description=or parts" jsonschema_extras:"brief=true"`
	BusyBehavior string        `json:"busy_behavior,omitempty" jsonschema:"enum=queue,enum=interrupt,description=when a turn runs; default queue"`
	Model        string        `json:"model,omitempty" jsonschema:"description=id or name"`
	PlanMode     *string       `json:"plan_mode,omitempty" jsonschema:"description=plan or an empty string"`
	MCPServerIDs []uuid.UUID   `json:"mcp_server_ids,omitempty" jsonschema:"format=uuid"`
	waitArgs
}

// sent is a message that was stored or queued, with what came of its turn when that was waited for.
type sent struct {
	Chat        uuid.UUID     `json:"id"`
	MessageID   int64         `json:"message_id,omitempty"`
	QueuedID    int64         `json:"queued_message_id,omitempty"`
	Queued      bool          `json:"queued"`
	Waits       bool          `json:"still_queued,omitempty"` // the chat rests, and what it rests in keeps the message in the queue
	Deleted     []int64       `json:"deleted_message_ids,omitempty"`
	MoreDeleted int           `json:"more_deleted,omitempty"` // so many ids were left out for size
	Status      client.Status `json:"status,omitempty"`
	Warnings    []string      `json:"warnings,omitempty"`
	turn

	queued *client.QueuedMessage
}

var _ = declare(Spec{
	Name: "send_chat_message", Title: "Send chat message", Operation: "Send chat message", Toolset: Messages, Effect: Writes,
	Description: "Says something to a chat and so starts its next turn. While a turn runs the message is queued, or interrupts it.",
}, func(ctx context.Context, s *Session, a sendMessageArgs) (*Result, error) {
	content, err := parts("text", a.Text, a.Content)
	if err != nil {
		return nil, err
	}
	r := client.SendMessageRequest{Content: content, BusyBehavior: a.BusyBehavior, PlanMode: a.PlanMode, MCPServerIDs: a.MCPServerIDs}
	if r.ModelConfigID, err = s.model(ctx, a.Model); err != nil {
		return nil, err
	}
	if a.BusyBehavior == "interrupt" {
		if err := s.leaveRequiresAction(ctx, a.Chat); err != nil {
			return nil, err
		}
	}
	response, err := s.Client.SendMessage(ctx, a.Chat, r)
	if err != nil {
		return nil, err
	}
	answer := sent{Chat: a.Chat, Queued: response.Queued, Warnings: response.Warnings}
	head := fmt.Sprintf("Sent to chat %s", a.Chat)
	switch {
	case response.QueuedMessage != nil:
		answer.QueuedID, answer.queued = response.QueuedMessage.ID, response.QueuedMessage
		head += fmt.Sprintf(", queued as %d", answer.QueuedID)
		if a.BusyBehavior == "interrupt" {
			head += "; it runs as soon as the running turn has stopped."
		} else {
			head += " behind the running turn."
		}
	case response.Message != nil:
		answer.MessageID = response.Message.ID
		head += fmt.Sprintf(" as message %d.", answer.MessageID)
	}
	return s.answered(ctx, answer, head, a.waitArgs)
})

// leaveRequiresAction ends a wait for tool results before a message interrupts it: servers of May would leave the message stuck in the queue
// (SEMANTICS-2026-05 3.3, fixture 025).
func (s *Session) leaveRequiresAction(ctx context.Context, id uuid.UUID) error {
	chat, err := s.Client.GetChat(ctx, id)
	if err != nil || chat.Status != client.StatusRequiresAction {
		return err
	}
	if _, err = s.Client.InterruptChat(ctx, id); client.KindOf(err) == client.KindConflict {
		return nil
	}
	return err
}

// answered waits for the turn of what was sent, when asked to.
func (s *Session) answered(ctx context.Context, answer sent, head string, w waitArgs) (*Result, error) {
	s.Peer.Concerns(answer.Chat)
	answer = answer.within(s.Config.MaxOutputBytes)
	head += warned(answer.Warnings)
	if w.none() {
		return &Result{Text: head, Structured: answer}, nil
	}
	outcome, err := s.follow(ctx, answer.Chat, relay.TurnOptions{MessageID: answer.MessageID, Queued: answer.queued}, w)
	if err != nil {
		return nil, afterwards(s, "the message was sent", err)
	}
	if answer.Waits = s.stillQueued(ctx, answer, outcome); answer.Waits {
		head += "\n" + waitsInQueue(answer.QueuedID, outcome.Reason)
	}
	return s.answer(outcome, func(t turn) *Result {
		answer.turn, answer.Status = t, t.status
		return &Result{Text: head + "\n" + t.text(answer.Chat), Structured: answer}
	}), nil
}

// within leaves the turn's outcome the most of so many bytes.
func (a sent) within(most int) sent {
	const id = 20 // bytes of the longest one, with its comma
	a.Warnings = fewer(a.Warnings, most/8)
	if n := most / 8 / id; len(a.Deleted) > n {
		a.Deleted, a.MoreDeleted = a.Deleted[:n], len(a.Deleted)-n
	}
	return a
}

// stillQueued reports whether a chat rests so that the queued message cannot run. It may also be the message itself that failed, or asks for something,
// with others behind it.
func (s *Session) stillQueued(ctx context.Context, a sent, o relay.Outcome) bool {
	rests := o.Reason == relay.ReasonError || o.Reason == relay.ReasonRequiresAction
	return rests && a.QueuedID > 0 && o.Queued > 0 && s.queued(ctx, a.Chat, a.QueuedID) == nil
}

// waitsInQueue says what frees a queued message.
func waitsInQueue(id int64, reason relay.Reason) string {
	if reason == relay.ReasonRequiresAction {
		return fmt.Sprintf("It still waits in the queue (still_queued): the turn before it asks for results of tools. submit_tool_results first, or manage_chat_queue takes message %d out.", id)
	}
	return fmt.Sprintf("It still waits in the queue (still_queued): the turn before it failed, and after a failure the queue stands. manage_chat_queue with message_id %d and action promote runs it.", id)
}

type editMessageArgs struct {
	Chat      uuid.UUID     `json:"chat" jsonschema:"format=chat,description=id or URL"`
	MessageID int64         `json:"message_id" jsonschema:"minimum=1"`
	Text      string        `json:"text,omitempty"`
	Content   []contentPart `json:"content,omitempty" jsonschema:"description=or parts" jsonschema_extras:"brief=true"`
	Model     string        `json:"model,omitempty" jsonschema:"description=id or name"`
	waitArgs
}

var _ = declare(Spec{
	Name: "edit_chat_message", Title: "Edit chat message", Operation: "Edit chat message", Toolset: Messages, Effect: Destroys,
	Description: "Replaces one of your messages and runs the chat again from there. That message, all after it and the queue are gone; the new one has another id.",
}, func(ctx context.Context, s *Session, a editMessageArgs) (*Result, error) {
	content, err := parts("text", a.Text, a.Content)
	if err != nil {
		return nil, err
	}
	r := client.EditMessageRequest{Content: content}
	if r.ModelConfigID, err = s.model(ctx, a.Model); err != nil {
		return nil, err
	}
	response, err := s.Client.EditMessage(ctx, a.Chat, a.MessageID, r)
	if err != nil {
		return nil, err
	}
	answer := sent{Chat: a.Chat, MessageID: response.Message.ID, Deleted: response.DeletedMessageIDs, Warnings: response.Warnings}
	head := fmt.Sprintf("Message %d of chat %s is now message %d; what followed is deleted.", a.MessageID, a.Chat, answer.MessageID)
	return s.answered(ctx, answer, head, a.waitArgs)
})

type listPromptsArgs struct {
	Chat  uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	Limit int       `json:"limit,omitempty" jsonschema:"minimum=1,maximum=2000,description=default 20"`
}

type promptList struct {
	Prompts []prompt `json:"prompts"`
	More    bool     `json:"more,omitempty"` // there are older ones
}

const mostPrompts = 2000 // that the API gives at once

type prompt struct {
	client.Prompt
	Cut int `json:"cut_bytes,omitempty"`
}

func (p prompt) text() string {
	text := fmt.Sprintf("[%d]\n%s", p.ID, view.Quote(p.Text))
	if p.Cut > 0 {
		text += fmt.Sprintf("\n(%d bytes of this prompt left out)", p.Cut)
	}
	return text
}

var _ = declare(Spec{
	Name: "list_chat_prompts", Title: "List chat prompts", Operation: "List chat user prompts", Toolset: Messages, Effect: Reads, Idempotent: true,
	Description: "What users said to a chat, newest first.",
}, func(ctx context.Context, s *Session, a listPromptsArgs) (*Result, error) {
	limit := cmp.Or(a.Limit, 20)
	// One more than asked for tells whether there are older ones.
	listed, err := s.Client.ListPrompts(ctx, a.Chat, min(limit+1, mostPrompts))
	if err != nil {
		return nil, err
	}
	prompts := make([]prompt, 0, len(listed))
	for _, p := range listed {
		cut, _ := view.Fit(p.Text, s.Config.MaxOutputBytes)
		prompts = append(prompts, prompt{Prompt: client.Prompt{ID: p.ID, Text: cut}, Cut: len(p.Text) - len(cut)})
	}
	list := promptList{Prompts: prompts[:min(limit, fitting(prompts, s.Config.MaxOutputBytes, prompt.text))]}
	list.More = len(list.Prompts) < len(prompts)
	lines := make([]string, 0, len(list.Prompts)+1)
	for _, p := range list.Prompts {
		lines = append(lines, p.text())
	}
	switch {
	case len(prompts) == 0:
		lines = append(lines, "No prompts.")
	case list.More:
		lines = append(lines, fmt.Sprintf("(older: list_chat_messages with before_id %d, or a larger limit)", list.Prompts[len(list.Prompts)-1].ID))
	}
	return &Result{Text: strings.Join(lines, "\n"), Structured: list}, nil
})
