package resources

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

// Read reads any address. What is missing, foreign or no address of ours is a *NotFoundError; what the API refuses is its *client.Error,
// wrapped with what to do.
func Read(ctx context.Context, src Source, uri string) ([]mcp.ResourceContents, error) {
	k, t, err := parse(uri)
	if err != nil {
		return nil, err
	}
	contents, err := k.read(ctx, src, t)
	if err != nil {
		return nil, explain(t, err)
	}
	return []mcp.ResourceContents{contents}, nil
}

// explain makes of the API's errors what Read and Subscribe return.
func explain(t target, err error) error {
	var own *NotFoundError
	if errors.As(err, &own) {
		return own
	}
	if client.IsNotFound(err) {
		missing := notFound(t.uri, "there is no resource %s, or this token may not see it; %s", view.Inline(t.uri, 200), whereIDs)
		missing.cause = err
		return missing
	}
	return fmt.Errorf("resource %s: %w", view.Line(t.uri, 200), err)
}

func text(t target, mime, text string) mcp.TextResourceContents {
	return mcp.TextResourceContents{URI: t.uri, MIMEType: mime, Text: text}
}

// encoded is v as JSON, with <, > and & as they are: this is no web page.
func encoded(t target, v any) (mcp.TextResourceContents, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return mcp.TextResourceContents{}, err
	}
	return text(t, typeJSON, string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))), nil
}

// recentChats is how many chats coder://chats has.
const recentChats = 50

type chatList struct {
	Chats []view.Chat `json:"chats"`
	Note  string      `json:"note,omitempty"`
}

func readChats(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	// One more tells whether there are more.
	chats, err := src.Client.ListChats(ctx, client.ListChatsRequest{Limit: recentChats + 1})
	if err != nil {
		return nil, err
	}
	list := chatList{Chats: []view.Chat{}}
	if len(chats) > recentChats {
		chats = chats[:recentChats]
		list.Note = fmt.Sprintf("the %d most recent; list_chats and resources/list have the others, page by page", recentChats)
	}
	for _, c := range chats {
		list.Chats = append(list.Chats, view.ListedChat(c))
	}
	return encoded(t, list)
}

func readModels(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	return modelsNow(ctx, src, t)
}

func modelsNow(ctx context.Context, src Source, t target) (mcp.TextResourceContents, error) {
	models, err := view.ListModels(ctx, src.Client)
	if err != nil {
		return mcp.TextResourceContents{}, err
	}
	return encoded(t, models)
}

func readChat(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	chat, err := src.Client.GetChat(ctx, t.chat)
	if err != nil {
		return nil, err
	}
	return encoded(t, view.WholeChat(*chat, src.Client.Host().ChatURL(chat.ID)))
}

// maxPrompts is how many prompts are listed; the API's own default.
const maxPrompts = 500

type promptList struct {
	Prompts []client.Prompt `json:"prompts"`
	Note    string          `json:"note,omitempty"`
}

func readPrompts(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	prompts, err := src.Client.ListPrompts(ctx, t.chat, maxPrompts+1)
	if err != nil {
		return nil, err
	}
	shown, bytes := 0, 0
	for shown < min(len(prompts), maxPrompts) && (shown == 0 || bytes+len(prompts[shown].Text) <= src.maxText()) {
		bytes += len(prompts[shown].Text)
		shown++
	}
	list := promptList{Prompts: append([]client.Prompt{}, prompts[:shown]...)}
	if shown < len(prompts) {
		list.Note = fmt.Sprintf("older ones are left out for size; list_chat_messages with before_id %d reads them", prompts[shown-1].ID)
	}
	return encoded(t, list)
}

// pageOfMessages is the most that the API gives at once.
const pageOfMessages = 200

func readMessages(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	chat, err := src.Client.GetChat(ctx, t.chat)
	if err != nil {
		return nil, err
	}
	transcript := view.NewTranscript(src.maxText())
	var queue []client.QueuedMessage
	for request := (client.ListMessagesRequest{Limit: pageOfMessages}); ; {
		page, err := src.Client.ListMessages(ctx, t.chat, request)
		if err != nil {
			return nil, err
		}
		if request.BeforeID == 0 {
			queue = page.Queued // filled on a page without a cursor alone
		}
		room := true
		for _, m := range page.Messages {
			room = room && transcript.Before(m)
			request.BeforeID = m.ID
		}
		if !room || !page.HasMore || len(page.Messages) == 0 {
			return text(t, typeMarkdown, transcript.Text(*chat, queue)), nil
		}
	}
}
