package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// contentPart is a part of what a person says, as the reference has it.
type contentPart struct {
	Type      string    `json:"type" jsonschema:"enum=text,enum=file,enum=file-reference"`
	Text      string    `json:"text,omitempty"`
	FileID    uuid.UUID `json:"file_id,omitzero" jsonschema:"format=uuid"`
	FileName  string    `json:"file_name,omitempty"`
	StartLine int       `json:"start_line,omitempty"`
	EndLine   int       `json:"end_line,omitempty"`
	Content   string    `json:"content,omitempty"`
}

// parts are the content of a message that came as a plain text or as parts: exactly one of them.
func parts(name, text string, content []contentPart) ([]client.InputPart, error) {
	switch {
	case text != "" && len(content) > 0:
		return nil, &Failure{Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("%s and content were both given", name), Next: "give one of them"}
	case text != "":
		return []client.InputPart{client.TextPart(text)}, nil
	case len(content) == 0:
		return nil, &Failure{Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("missing argument %q", name), Next: fmt.Sprintf("say what the agent shall do in %s, or in content as parts", name)}
	}
	input := make([]client.InputPart, 0, len(content))
	for _, c := range content {
		part := client.InputPart{Type: c.Type, Text: c.Text, FileName: c.FileName, StartLine: c.StartLine, EndLine: c.EndLine, Content: c.Content}
		if c.FileID != uuid.Nil {
			part.FileID = &c.FileID
		}
		input = append(input, part)
	}
	return input, nil
}

type dynamicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
}

type createChatArgs struct {
	Prompt       string            `json:"prompt,omitempty" jsonschema:"description=the task"`
	Content      []contentPart     `json:"content,omitempty" jsonschema:"description=or parts" jsonschema_extras:"brief=true"`
	Model        string            `json:"model,omitempty" jsonschema:"description=id or name"`
	Organization string            `json:"organization,omitempty" jsonschema:"description=id or name"`
	Labels       map[string]string `json:"labels,omitempty"`
	WorkspaceID  uuid.UUID         `json:"workspace_id,omitzero" jsonschema:"format=uuid"`
	PlanMode     string            `json:"plan_mode,omitempty" jsonschema:"enum=plan"`
	SystemPrompt string            `json:"system_prompt,omitempty"`
	MCPServerIDs []uuid.UUID       `json:"mcp_server_ids,omitempty" jsonschema:"format=uuid"`
	DynamicTools []dynamicTool     `json:"dynamic_tools,omitempty" jsonschema:"description=answered by submit_tool_results" jsonschema_extras:"brief=true"`
	RequestID    string            `json:"request_id,omitempty" jsonschema:"maxLength=200,description=idempotency key"`
	waitArgs
}

// requestLabel marks a chat with the request that made it. The API has no idempotency; a label does it, and outlives this process.
const requestLabel = "coder-chats-mcp.request-id"

// created is a chat, as briefly as answers about what happened to one are, with what came of its first turn, when that was waited for.
type created struct {
	ID       uuid.UUID     `json:"id"`
	Title    string        `json:"title"`
	Status   client.Status `json:"status"`
	URL      string        `json:"url"`
	Archived bool          `json:"archived,omitempty"`
	Error    *view.Failure `json:"last_error,omitempty"` // of an earlier turn
	Warnings []string      `json:"warnings,omitempty"`
	Existing bool          `json:"existing,omitempty"` // request_id had made it before
	turn
}

// creation is the answer before the turn was waited for.
func (s *Session) creation(c client.Chat, existing bool) created {
	most := s.Config.MaxOutputBytes
	return created{
		ID: c.ID, Title: c.Title, Status: c.Status, URL: s.chatURL(c.ID), Archived: c.Archived, Existing: existing,
		Error: view.FailureOf(c.LastError).Within(most / 4), Warnings: fewer(c.Warnings, most/8), turn: turn{WaitsForCapacity: c.QueuedForCapacity},
	}
}

var _ = declare(Spec{
	Name: "create_chat", Title: "Create chat", Operation: "Create chat", Toolset: Chats, Effect: Writes,
	Description: "Gives a task to a new agent chat. With wait_seconds, returns its answer if done by then.",
}, func(ctx context.Context, s *Session, a createChatArgs) (*Result, error) {
	const labelBytes = 256 // the API's limit of a label's value
	if len(a.RequestID) > labelBytes {
		return nil, &Failure{
			Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("request_id has %d bytes, and at most %d are kept", len(a.RequestID), labelBytes), Next: "use a shorter one, a UUID for example",
		}
	}
	request, err := a.request(ctx, s)
	if err != nil {
		return nil, err
	}
	chat, existing, err := s.create(ctx, request, a.RequestID)
	if err != nil {
		return nil, err
	}
	s.Peer.Concerns(chat.ID)
	answer := s.creation(*chat, existing)
	verb := "Created"
	if existing {
		verb = "Found the one of that request_id:"
	}
	head := fmt.Sprintf("%s chat %s %s", verb, answer.ID, view.Inline(answer.Title, 80))
	if a.none() {
		return textf(answer, "%s, %s. %s%s\nWait for it with await_chats or stream_chat.", head, view.Word(string(answer.Status)), answer.URL, warned(answer.Warnings)), nil
	}
	outcome, err := s.follow(ctx, chat.ID, relay.TurnOptions{New: !existing}, a.waitArgs)
	if err != nil {
		return nil, afterwards(s, "the chat "+chat.ID.String()+" was created", err)
	}
	answer.Error = nil // the turn has it
	return s.answer(outcome, func(t turn) *Result {
		answer.turn, answer.Status = t, t.status
		return textf(answer, "%s. %s%s\n%s", head, answer.URL, warned(answer.Warnings), t.text(chat.ID))
	}), nil
})

// warned are the API's warnings as sentences that follow another.
func warned(warnings []string) string {
	var b strings.Builder
	for _, warning := range warnings {
		b.WriteString(" Warning: " + view.Inline(warning, 1000) + ".")
	}
	return b.String()
}

func (a createChatArgs) request(ctx context.Context, s *Session) (client.CreateChatRequest, error) {
	content, err := parts("prompt", a.Prompt, a.Content)
	if err != nil {
		return client.CreateChatRequest{}, err
	}
	r := client.CreateChatRequest{
		Content: content, WorkspaceID: a.WorkspaceID, MCPServerIDs: a.MCPServerIDs, Labels: a.Labels, PlanMode: a.PlanMode, SystemPrompt: a.SystemPrompt,
	}
	for _, t := range a.DynamicTools {
		r.DynamicTools = append(r.DynamicTools, client.DynamicTool(t))
	}
	if r.ModelConfigID, err = s.model(ctx, a.Model); err != nil {
		return r, err
	}
	if r.OrganizationID, err = s.organization(ctx, a.Organization); err != nil {
		return r, err
	}
	if err := refuseRequestLabel(a.Labels); err != nil {
		return r, err
	}
	if a.RequestID != "" {
		r.Labels = map[string]string{requestLabel: a.RequestID}
		for name, value := range a.Labels {
			r.Labels[name] = value
		}
	}
	return r, nil
}

// refuseRequestLabel keeps others from saying which request made a chat.
func refuseRequestLabel(labels map[string]string) error {
	if _, taken := labels[requestLabel]; taken {
		return &Failure{
			Kind: string(client.KindInvalidArgument), Message: "the label " + requestLabel + " is this server's own", Next: "leave it out; request_id of create_chat sets it",
		}
	}
	return nil
}

// create makes the chat, unless a request of the same id did before.
func (s *Session) create(ctx context.Context, r client.CreateChatRequest, requestID string) (chat *client.Chat, existing bool, err error) {
	if requestID != "" {
		unlock, err := s.creating.lock(ctx, requestID)
		if err != nil {
			return nil, false, err
		}
		defer unlock()
		if chat, err := s.createdBy(ctx, requestID); chat != nil || err != nil {
			return chat, true, err
		}
	}
	release, err := s.reserve()
	if err != nil {
		return nil, false, err
	}
	if chat, err = s.Client.CreateChat(ctx, r); err != nil {
		release()
	}
	return chat, false, err
}

// createdBy is the chat that a request made, archived or not.
func (s *Session) createdBy(ctx context.Context, requestID string) (*client.Chat, error) {
	for _, archived := range []bool{false, true} {
		chats, err := s.Client.ListChats(ctx, client.ListChatsRequest{Labels: map[string]string{requestLabel: requestID}, Archived: &archived, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(chats) > 0 {
			return &chats[0], nil
		}
	}
	return nil, nil
}

// requests lets one creation of a request id run at a time.
type requests struct {
	mu      sync.Mutex
	running map[string]*request
}

type request struct {
	turn  chan struct{} // holds one token: the creation at work
	users int
}

func (r *requests) lock(ctx context.Context, id string) (unlock func(), err error) {
	r.mu.Lock()
	if r.running == nil {
		r.running = map[string]*request{}
	}
	one := r.running[id]
	if one == nil {
		one = &request{turn: make(chan struct{}, 1)}
		r.running[id] = one
	}
	one.users++
	r.mu.Unlock()
	leave := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(r.running, id)
		}
	}
	select {
	case one.turn <- struct{}{}:
		return func() { <-one.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// afterwards says that a failure came after the write that was asked for, so that nobody writes twice.
func afterwards(s *Session, done string, err error) error {
	f := explain(Spec{}, s, err)
	f.Message = done + ", but waiting for it failed: " + f.Message
	f.Next = "do not send it again; look with get_chat, or wait with stream_chat"
	return f
}

// waitArgs are the arguments of every call that can wait for a turn.
type waitArgs struct {
	WaitSeconds       *float64 `json:"wait_seconds,omitempty" jsonschema:"minimum=0,description=default 0"`
	InterruptOnCancel bool     `json:"interrupt_on_cancel,omitempty"`
}

func (w waitArgs) none() bool { return w.WaitSeconds == nil || *w.WaitSeconds == 0 }

// follow waits for a turn as long as the arguments say, and tells the peer what happens meanwhile. A wait that is cut short says how far the turn is, like
// one that ran out, unless the client took the call back.
func (s *Session) follow(ctx context.Context, chat uuid.UUID, o relay.TurnOptions, w waitArgs) (relay.Outcome, error) {
	s.Peer.Concerns(chat)
	if w.InterruptOnCancel {
		defer s.interruptOn(ctx, chat)
	}
	waiting, cancel := context.WithTimeout(ctx, s.wait(w.WaitSeconds, DefaultWait))
	defer cancel()
	tell := narrate(ctx, s.Peer, "waits for the chat")
	defer tell.end()
	outcome, err := s.Relay.Turn(waiting, chat, o, func(e relay.Event) {
		s.Peer.Event(ctx, chat, e)
		tell.event(e)
	})
	switch {
	case err != nil:
	case s.Peer.Cancelled(ctx), outcome.Status == "" && ctx.Err() != nil:
		err = ctx.Err()
	case outcome.Status == "":
		err = s.unseen("stream_chat", "chat stands")
	}
	return outcome, s.ended(ctx, err)
}

// unseen is the failure of a wait, of the named tool, that ended before anybody could see how its chats stand.
func (s *Session) unseen(tool, chats string) *Failure {
	return &Failure{
		Kind: string(client.KindTimeout), Message: fmt.Sprintf("%s did not say in time how the %s", s.Client.Host().URL().Host, chats),
		Next: "call " + tool + " again, or look with get_chat",
	}
}

// interruptOn stops the chats when the client took the call back, and at no other end of it: a server that is restarted must not stop anybody's work. The
// context of such a call is of no use for that any more.
func (s *Session) interruptOn(ctx context.Context, chats ...uuid.UUID) {
	if !s.Peer.Cancelled(ctx) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, chat := range chats {
		if _, err := s.interrupt(ctx, chat); err != nil && client.KindOf(err) != client.KindConflict {
			s.Config.logger().Warn("interrupt after a cancelled call failed", "chat", chat, "error", err)
		}
	}
}
