package tools

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

type listChatsArgs struct {
	Query    string            `json:"query,omitempty" jsonschema:"description=search terms of the API: title:x repo:x has_unread:true"`
	Labels   map[string]string `json:"labels,omitempty" jsonschema:"description=all must match"`
	Archived *bool             `json:"archived,omitempty"`
	Limit    int               `json:"limit,omitempty" jsonschema:"minimum=1,maximum=200,description=default 20"`
	Cursor   string            `json:"cursor,omitempty" jsonschema:"description=next_cursor of the page before"`
}

type chatList struct {
	Chats      []view.Chat `json:"chats"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// listPosition is where a page of chats begins: behind a chat, which was so many from the top.
type listPosition struct {
	after  uuid.UUID
	offset int
}

func (p listPosition) String() string { return fmt.Sprintf("%s.%d", p.after, p.offset) }

func parseListPosition(cursor string) (listPosition, error) {
	if cursor == "" {
		return listPosition{}, nil
	}
	id, count, _ := strings.Cut(cursor, ".")
	after, err := uuid.Parse(id)
	offset, err2 := strconv.Atoi(count)
	if err != nil || err2 != nil || offset < 0 {
		return listPosition{}, &Failure{
			Kind: string(client.KindInvalidArgument), Message: "cursor is not one that list_chats returned",
			Next: "pass next_cursor of the page before unchanged, or leave it out for the first page",
		}
	}
	return listPosition{after: after, offset: offset}, nil
}

var _ = declare(Spec{
	Name: "list_chats", Title: "List chats", Operation: "List chats", Toolset: Chats, Effect: Reads, Idempotent: true,
	Description: "Lists your chats with their subchats: pinned, then latest first.",
}, func(ctx context.Context, s *Session, a listChatsArgs) (*Result, error) {
	at, err := parseListPosition(a.Cursor)
	if err != nil {
		return nil, err
	}
	limit := cmp.Or(a.Limit, 20)
	// One more than asked for tells whether there is a next page.
	request := client.ListChatsRequest{Query: a.Query, Labels: a.Labels, Archived: a.Archived, Limit: limit + 1, AfterID: at.after}
	chats, err := s.Client.ListChats(ctx, request)
	if err == nil && len(chats) == 0 && at.after != uuid.Nil {
		// The API gives nothing after a chat that is no longer in the list (archived since): go by the count instead, less that chat.
		request.AfterID, request.Offset = uuid.Nil, at.offset-1
		chats, err = s.Client.ListChats(ctx, request)
	}
	if err != nil {
		return nil, err
	}
	rows := make([]view.Chat, 0, len(chats))
	for _, c := range chats {
		rows = append(rows, row(c))
	}
	shown := min(limit, fitting(rows, s.Config.MaxOutputBytes, view.Chat.Row))
	list := chatList{Chats: rows[:min(shown, len(rows))]}
	var text strings.Builder
	for _, row := range list.Chats {
		text.WriteString(row.Row() + "\n")
	}
	switch {
	case len(rows) == 0 && a.Cursor != "":
		text.WriteString("No more chats.")
	case len(rows) == 0:
		text.WriteString("No chats match.")
	case len(list.Chats) < len(rows):
		last := list.Chats[len(list.Chats)-1].ID
		list.NextCursor = listPosition{after: last, offset: at.offset + len(list.Chats)}.String()
		text.WriteString("There are more: cursor " + list.NextCursor)
	}
	return &Result{Text: strings.TrimSuffix(text.String(), "\n"), Structured: list}, nil
})

func row(c client.Chat) view.Chat { return view.ListedChat(withoutRequest(c)).Short() }

// withoutRequest is the chat without the label that a request_id left, which is no news to whoever gave it.
func withoutRequest(c client.Chat) client.Chat {
	c.Labels = maps.Clone(c.Labels)
	delete(c.Labels, requestLabel)
	return c
}

type chatArgs struct {
	Chat uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
}

var _ = declare(Spec{
	Name: "get_chat", Title: "Get chat", Operation: "Get chat by ID", Toolset: Chats, Effect: Reads, Idempotent: true,
	Description: "One chat: status, last error, subchats, files, diff size, pull request.",
}, func(ctx context.Context, s *Session, a chatArgs) (*Result, error) {
	chat, err := s.Client.GetChat(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	return whole(s, *chat), nil
})

func whole(s *Session, chat client.Chat) *Result {
	v := view.WholeChat(withoutRequest(chat), s.chatURL(chat.ID)).Within(s.Config.MaxOutputBytes)
	text := v.Text()
	if chat.Status == client.StatusRequiresAction {
		text += "\nIt waits for results of tools: stream_chat shows the calls, submit_tool_results answers them."
	}
	return &Result{Text: text, Structured: v}
}

type updateChatArgs struct {
	Chat        uuid.UUID          `json:"chat" jsonschema:"format=chat,description=id or URL"`
	Title       *string            `json:"title,omitempty" jsonschema:"minLength=1,maxLength=200"`
	Archived    *bool              `json:"archived,omitempty"`
	Labels      *map[string]string `json:"labels,omitempty" jsonschema:"description=replaces all labels"`
	PinOrder    *int               `json:"pin_order,omitempty" jsonschema:"minimum=0,description=0 unpins"`
	PlanMode    *string            `json:"plan_mode,omitempty" jsonschema:"description=plan or an empty string"`
	WorkspaceID *uuid.UUID         `json:"workspace_id,omitempty" jsonschema:"format=uuid,description=the nil UUID unbinds"`
}

// changes are the single updates that the arguments stand for. The API applies fields one after another and keeps those before the first
// that it refuses, so each goes alone and the caller is told which were made.
func (a updateChatArgs) changes() (names []string, requests []client.UpdateChatRequest) {
	add := func(name string, r client.UpdateChatRequest) {
		names, requests = append(names, name), append(requests, r)
	}
	if a.Archived != nil && !*a.Archived {
		add("archived", client.UpdateChatRequest{Archived: a.Archived}) // an archived chat takes no pin
	}
	if a.PlanMode != nil {
		add("plan_mode", client.UpdateChatRequest{PlanMode: a.PlanMode})
	}
	if a.Title != nil {
		add("title", client.UpdateChatRequest{Title: a.Title})
	}
	if a.Labels != nil {
		add("labels", client.UpdateChatRequest{Labels: *a.Labels})
	}
	if a.WorkspaceID != nil {
		add("workspace_id", client.UpdateChatRequest{WorkspaceID: a.WorkspaceID})
	}
	if a.PinOrder != nil {
		add("pin_order", client.UpdateChatRequest{PinOrder: a.PinOrder})
	}
	if a.Archived != nil && *a.Archived {
		add("archived", client.UpdateChatRequest{Archived: a.Archived})
	}
	return names, requests
}

var _ = declare(Spec{
	Name: "update_chat", Title: "Update chat", Operation: "Update chat", Toolset: Chats, Effect: Writes, Idempotent: true,
	Description: "Renames, archives, labels, pins or binds a chat to a workspace. Archiving takes the subchats along; a running chat must be interrupted first.",
}, func(ctx context.Context, s *Session, a updateChatArgs) (*Result, error) {
	if err := s.keepRequestLabel(ctx, a); err != nil {
		return nil, err
	}
	names, requests := a.changes()
	if len(requests) == 0 {
		return nil, &Failure{Kind: string(client.KindInvalidArgument), Message: "nothing to change", Next: "give title, archived, labels, pin_order, plan_mode or workspace_id"}
	}
	for i, request := range requests {
		err := s.Client.UpdateChat(ctx, a.Chat, request)
		if err == nil || (request.Archived != nil && isAlready(err, *request.Archived)) {
			continue
		}
		return nil, partly(s, err, names, i)
	}
	chat, err := s.Client.GetChat(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	result := whole(s, *chat)
	result.Text = "Updated " + strings.Join(names, ", ") + ". " + result.Text
	return result, nil
})

// keepRequestLabel puts the label that says which request made the chat among those that replace its labels: nobody is shown it, so nobody can mean to
// take it off.
func (s *Session) keepRequestLabel(ctx context.Context, a updateChatArgs) error {
	if a.Labels == nil {
		return nil
	}
	chat, err := s.Client.GetChat(ctx, a.Chat)
	if err != nil {
		return err
	}
	request, made := chat.Labels[requestLabel]
	if (*a.Labels)[requestLabel] != request {
		if err := refuseRequestLabel(*a.Labels); err != nil {
			return err
		}
	}
	if made {
		*a.Labels = maps.Clone(*a.Labels)
		if *a.Labels == nil {
			*a.Labels = map[string]string{}
		}
		(*a.Labels)[requestLabel] = request
	}
	return nil
}

// isAlready recognises the refusal of a change that is already so: for the caller that is success.
func isAlready(err error, archived bool) bool {
	text := err.Error()
	if archived {
		return strings.Contains(text, "already archived")
	}
	return strings.Contains(text, "already not archived")
}

// partly says which changes of a call were made before the one that failed.
func partly(s *Session, err error, names []string, at int) error {
	f := explain(Spec{Name: "update_chat", Idempotent: true}, s, err)
	f.Message = names[at] + " was not changed: " + f.Message
	if at > 0 {
		f.Message += "; already changed: " + strings.Join(names[:at], ", ")
	}
	if at+1 < len(names) {
		f.Message += "; not tried: " + strings.Join(names[at+1:], ", ")
	}
	return f
}

var _ = declare(Spec{
	Name: "interrupt_chat", Title: "Interrupt chat", Operation: "Interrupt chat", Toolset: Chats, Effect: Writes, Idempotent: true,
	Description: "Stops a chat's running turn and keeps the partial answer. The next queued message, if any, then runs.",
}, func(ctx context.Context, s *Session, a chatArgs) (*Result, error) {
	chat, err := s.interrupt(ctx, a.Chat)
	note := "Interrupted."
	switch {
	case err == nil && chat.Status.Idle():
		note = "Stopped: nothing runs now." // servers of May say the same whether something ran or not
	case err == nil && chat.Status == client.StatusPending:
		note = "Not interrupted: its turn has not begun yet, and this server cannot stop it before. Call this again once it runs."
	case client.KindOf(err) == client.KindConflict:
		// Servers since August refuse what has nothing to interrupt. For the caller the chat is as it wants it.
		note = "Nothing was running."
		chat, err = s.Client.GetChat(ctx, a.Chat)
	}
	if err != nil {
		return nil, err
	}
	v := view.BriefChat(*chat, s.chatURL(chat.ID))
	return textf(v, "%s Chat %s %s is %s.", note, v.ID, view.Inline(v.Title, 80), v.Status), nil
})

// interrupt stops a running turn. A server of May answers for one that has not begun and lets it run all the same (SEMANTICS-2026-05 2.9), so it is
// asked again for two seconds.
func (s *Session) interrupt(ctx context.Context, id uuid.UUID) (*client.Chat, error) {
	const attempts, pause = 10, 200 * time.Millisecond
	for n := 1; ; n++ {
		chat, err := s.Client.InterruptChat(ctx, id)
		if err != nil || chat.Status != client.StatusPending || n == attempts {
			return chat, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

var _ = declare(Spec{
	Name: "regenerate_chat_title", Title: "Regenerate chat title", Operation: "Regenerate chat title", Toolset: Chats, Effect: Writes,
	Description: "Has the model write a new title for the chat.",
}, func(ctx context.Context, s *Session, a chatArgs) (*Result, error) {
	chat, err := s.Client.RegenerateChatTitle(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	v := view.BriefChat(*chat, s.chatURL(chat.ID))
	return textf(v, "Chat %s is now titled %s.", v.ID, view.Inline(v.Title, 200)), nil
})
