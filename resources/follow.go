package resources

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// watch is news of the caller's chats.
func watch(ctx context.Context, src Source, matters func(client.WatchEvent) bool) ([]feed, error) {
	listener, err := src.Relay.Watch(ctx)
	if err != nil {
		return nil, err
	}
	next := func(ctx context.Context) (bool, error) {
		event, err := listener.Next(ctx)
		return err == nil && matters(event), err
	}
	return []feed{{next: next, close: listener.Close}}, nil
}

// stream is news of one chat.
func stream(ctx context.Context, src Source, chat uuid.UUID, matters func(relay.Event) bool) ([]feed, error) {
	listener, err := src.Relay.Follow(ctx, chat)
	if err != nil {
		return nil, err
	}
	next := func(ctx context.Context) (bool, error) {
		event, err := listener.Next(ctx)
		return err == nil && matters(event), err
	}
	return []feed{{next: next, close: listener.Close}}, nil
}

// both are news of one chat as its stream and the watch tell them. The stream comes first: it knows whether the chat is there.
func both(ctx context.Context, src Source, chat uuid.UUID, streamed func(relay.Event) bool, watched func(client.WatchEvent) bool) ([]feed, error) {
	feeds, err := stream(ctx, src, chat, streamed)
	if err != nil {
		return nil, err
	}
	more, err := watch(ctx, src, watched)
	if err != nil {
		feeds[0].close()
		return nil, err
	}
	return append(feeds, more...), nil
}

func followChats(ctx context.Context, src Source, _ target) ([]feed, error) {
	return watch(ctx, src, func(client.WatchEvent) bool { return true })
}

func followChat(ctx context.Context, src Source, t target) ([]feed, error) {
	return both(ctx, src, t.chat, func(e relay.Event) bool {
		switch e.Type {
		case client.EventMessagePart, client.EventPreviewReset, client.EventQueueUpdate, client.EventRetry:
			return false // none of these is in the chat itself
		}
		return true
	}, func(e client.WatchEvent) bool {
		parent := e.Chat.ParentChatID
		return e.Chat.ID == t.chat || parent != nil && *parent == t.chat
	})
}

// followMessages leaves out the parts of an answer in progress, which is not in the transcript before it is whole.
func followMessages(ctx context.Context, src Source, t target) ([]feed, error) {
	return stream(ctx, src, t.chat, func(e relay.Event) bool {
		switch e.Type {
		case client.EventMessagePart, client.EventPreviewReset, client.EventRetry:
			return false
		}
		return true
	})
}

func followPrompts(ctx context.Context, src Source, t target) ([]feed, error) {
	return stream(ctx, src, t.chat, func(e relay.Event) bool {
		said := e.Type == client.EventMessage && e.Message != nil && e.Message.Role == client.RoleUser
		return said || e.Type == client.EventHistoryReset
	})
}

// followDiff hears of the server's own looks at the branch, and of every end of a turn: the server looks only every 10 s.
func followDiff(ctx context.Context, src Source, t target) ([]feed, error) {
	return both(ctx, src, t.chat,
		func(e relay.Event) bool { return e.Type == relay.EventSettled },
		func(e client.WatchEvent) bool { return e.Kind == client.KindDiffStatusChange && e.Chat.ID == t.chat })
}

func followGit(ctx context.Context, src Source, t target) ([]feed, error) {
	listener, err := src.Relay.FollowGit(ctx, t.chat)
	if err != nil {
		return nil, err
	}
	next := func(ctx context.Context) (bool, error) {
		_, err := listener.Next(ctx)
		return err == nil, err
	}
	return []feed{{next: next, close: listener.Close}}, nil
}

func followModels(ctx context.Context, src Source, t target) ([]feed, error) {
	first, err := modelsNow(ctx, src, t)
	if err != nil {
		return nil, err
	}
	last := first.Text
	next := func(ctx context.Context) (bool, error) {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(src.modelsInterval()):
		}
		now, err := modelsNow(ctx, src, t)
		if client.IsUnauthorized(err) {
			return false, err
		}
		if err != nil || now.Text == last {
			return false, nil // a server that is away comes back
		}
		last = now.Text
		return true, nil
	}
	return []feed{{next: next, close: func() {}}}, nil
}

func refuseFile(_ context.Context, _ Source, t target) ([]feed, error) {
	return nil, fmt.Errorf("the file %s never changes, so there is nothing to subscribe to: read it once", t.file)
}
