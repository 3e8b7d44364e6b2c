package resources

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
	"coder-chats-mcp/view"
)

const (
	maxValues      = 100 // of one completion, by the protocol
	completedChats = 200 // recent chats that are looked through
	chatsWithFiles = 8   // recent chats whose files are looked through: each costs a request
)

// Complete completes a variable of the templates: {chat} by the beginning of an id or a part of a title, {file} likewise by id and name of the
// files of the latest few chats. Values are ids, at most 100, those of the latest chats first; total is how many fit. Any other argument has
// none. The path of a diff's file is completed by CompletePath.
func Complete(ctx context.Context, src Source, argument, value string) (values []string, total int, hasMore bool, err error) {
	switch argument {
	case "chat":
		return completeChat(ctx, src, value)
	case "file":
		return completeFile(ctx, src, value)
	}
	return []string{}, 0, false, nil
}

// CompletePath completes {?file} of coder://chats/{chat}/diff{?file} by a part of a path. Values are paths of the chat's diff.
func CompletePath(ctx context.Context, src Source, chat, value string) (values []string, total int, hasMore bool, err error) {
	id, err := uuid.Parse(chat)
	if err != nil {
		return []string{}, 0, false, nil // not known yet
	}
	d, err := src.Client.GetDiff(ctx, id)
	if err != nil {
		return nil, 0, false, fmt.Errorf("complete file: %w", view.ExplainDiff(err, src.Client))
	}
	var found choice
	for _, f := range diff.Parse(d.Diff).Files {
		found.add(f.Path, value, "", f.Path)
	}
	return found.values(false)
}

func completeChat(ctx context.Context, src Source, value string) ([]string, int, bool, error) {
	chats, err := src.Client.ListChats(ctx, client.ListChatsRequest{Limit: completedChats})
	if err != nil {
		return nil, 0, false, fmt.Errorf("complete chat: %w", err)
	}
	var found choice
	for _, c := range chats {
		found.add(c.ID.String(), value, c.ID.String(), c.Title)
		for _, child := range c.Children {
			found.add(child.ID.String(), value, child.ID.String(), child.Title)
		}
	}
	return found.values(len(chats) == completedChats)
}

func completeFile(ctx context.Context, src Source, value string) ([]string, int, bool, error) {
	// Lists have no files (SEMANTICS-2026-05 2.4), so each chat is read.
	chats, err := src.Client.ListChats(ctx, client.ListChatsRequest{Limit: chatsWithFiles})
	if err != nil {
		return nil, 0, false, fmt.Errorf("complete file: %w", err)
	}
	files := make([][]client.ChatFile, len(chats))
	var wait sync.WaitGroup
	for i, c := range chats {
		wait.Go(func() {
			// A chat that cannot be read any more only has no files to offer.
			if chat, err := src.Client.GetChat(ctx, c.ID); err == nil {
				files[i] = chat.Files
			}
		})
	}
	wait.Wait()
	var found choice
	for _, chat := range files {
		for _, f := range chat {
			found.add(f.ID.String(), value, f.ID.String(), f.Name)
		}
	}
	return found.values(len(chats) == chatsWithFiles)
}

// choice collects what fits, each value once.
type choice struct {
	all  []string
	seen map[string]bool
}

func (c *choice) add(value, typed, id, words string) {
	typed = strings.ToLower(strings.TrimSpace(typed))
	if c.seen[value] || !(id != "" && strings.HasPrefix(id, typed)) && !strings.Contains(strings.ToLower(words), typed) {
		return
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	c.seen[value] = true
	c.all = append(c.all, value)
}

// values are the first of them; unseen says that there may be more that nobody looked at.
func (c *choice) values(unseen bool) ([]string, int, bool, error) {
	shown := append([]string{}, c.all[:min(len(c.all), maxValues)]...)
	return shown, len(c.all), unseen || len(shown) < len(c.all), nil
}
