package server

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// channel wakes Claude Code: one notifications/claude/channel each time a chat that the session created or awaits settles, asks or fails.
type channel struct {
	session *session
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	chats   []uuid.UUID
	changed chan struct{} // closed and renewed when chats change
}

// mostConcerned is how many chats one Await takes; the oldest give way.
const mostConcerned = 100

func newChannel(s *session) *channel {
	ctx, cancel := context.WithCancel(s.transport.Context())
	c := &channel{session: s, cancel: cancel, changed: make(chan struct{})}
	c.done.Go(func() { c.run(ctx) })
	return c
}

func (c *channel) close() {
	c.cancel()
	c.done.Wait()
}

func (c *channel) add(chat uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.chats, chat) {
		c.chats = append(c.chats, chat)
	}
	if len(c.chats) > mostConcerned {
		c.chats = c.chats[1:]
	}
	close(c.changed) // also for a chat that is known: it may work again
	c.changed = make(chan struct{})
}

func (c *channel) concerned() ([]uuid.UUID, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.chats), c.changed
}

func (c *channel) run(ctx context.Context) {
	cursor := ""
	for ctx.Err() == nil {
		chats, changed := c.concerned()
		if len(chats) == 0 {
			c.rest(ctx, changed)
			continue
		}
		cursor = c.await(ctx, chats, changed, cursor)
	}
}

func (c *channel) rest(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// await tells what settles until the chats change or something did, and returns the cursor that keeps it from being told twice.
func (c *channel) await(ctx context.Context, chats []uuid.UUID, changed <-chan struct{}, cursor string) string {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-stop:
		}
	}()
	result, err := c.session.tools.Relay.Await(waiting, relay.AwaitRequest{Chats: chats, Cursor: cursor})
	if err != nil {
		c.session.server.log.Warn("the Claude channel cannot wait for its chats", "error", err)
		c.rest(ctx, changed)
		return cursor
	}
	for _, settled := range result.Settled {
		c.tell(ctx, settled)
	}
	c.drop(result.Missing)
	if len(result.Settled)+len(result.Missing)+len(result.Running) == 0 {
		c.rest(ctx, changed) // all are told and none works
	}
	return result.Cursor
}

func (c *channel) tell(ctx context.Context, settled relay.Settlement) {
	what := "is done"
	switch settled.Reason {
	case relay.ReasonRequiresAction:
		what = "waits for tool results"
	case relay.ReasonError:
		what = "failed"
	}
	content := fmt.Sprintf("Chat %s %s %s.", settled.Chat.ID, view.Inline(settled.Chat.Title, 80), what)
	if text := settled.Text(); text != "" {
		content += " It says: " + view.Inline(text, 300)
	}
	params := map[string]any{"content": content, "meta": map[string]string{
		"chat_id": settled.Chat.ID.String(), "status": string(settled.Status), "reason": string(settled.Reason),
	}}
	if err := c.session.transport.Notify(ctx, "notifications/claude/channel", params, nil); err != nil {
		c.session.server.log.Debug("the Claude channel was not told", "error", err)
	}
}

// drop forgets chats that cannot be read, so that they do not end every wait.
func (c *channel) drop(missing []relay.Missing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range missing {
		c.chats = slices.DeleteFunc(c.chats, func(id uuid.UUID) bool { return id == m.ID })
	}
}
