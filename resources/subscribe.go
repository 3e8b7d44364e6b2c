package resources

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// Subscribe calls updated with uri whenever what Read gives for it may have changed: at most four times a second, and always once more after the
// last change. ctx bounds the setting up alone; cancel ends the subscription, returns when all of it is gone, and must not be called from
// updated. When the subscription cannot go on (the token expired, the chat is gone) updated is called a last time: reading then says why.
//
// Every address can be followed but those of files, which never change. The models are asked for every few minutes, because the API says nothing
// of their changes. The errors are those of Read.
func Subscribe(ctx context.Context, src Source, uri string, updated func(uri string)) (cancel func(), err error) {
	k, t, err := parse(uri)
	if err != nil {
		return nil, err
	}
	feeds, err := k.follow(ctx, src, t)
	if err != nil {
		return nil, explain(t, err)
	}
	return start(feeds, func() { updated(uri) }), nil
}

// WatchList calls changed when a chat joins or leaves what List gives: created, archived, brought back. Bursts are joined; cancel is that of
// Subscribe.
func WatchList(ctx context.Context, src Source, changed func()) (cancel func(), err error) {
	feeds, err := watch(ctx, src, func(e client.WatchEvent) bool {
		root := e.Chat.ParentChatID == nil // subchats stand in their parents
		return root && (e.Kind == client.KindCreated || e.Kind == client.KindDeleted)
	})
	if err != nil {
		return nil, fmt.Errorf("watch the list of resources: %w", err)
	}
	return start(feeds, changed), nil
}

// feed is a source of news for one subscription.
type feed struct {
	next  func(context.Context) (news bool, err error)
	close func()
}

// start reads the feeds until cancel.
func start(feeds []feed, tell func()) (cancel func()) {
	ctx, stop := context.WithCancel(context.Background())
	p := newPulse()
	var wait sync.WaitGroup
	wait.Go(func() { p.run(ctx, tell) })
	for _, f := range feeds {
		wait.Go(func() {
			defer f.close()
			f.read(ctx, p)
		})
	}
	return sync.OnceFunc(func() {
		stop()
		wait.Wait()
	})
}

func (f feed) read(ctx context.Context, p *pulse) {
	for {
		news, err := f.next(ctx)
		over := ctx.Err() != nil || errors.Is(err, relay.ErrClosed)
		if (news || err != nil) && !over {
			p.beat()
		}
		if err != nil {
			return
		}
	}
}
