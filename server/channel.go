package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// channel wakes Claude Code: one notifications/claude/channel each time a chat that the session created or awaits settles, asks or fails, whoever
// made it work. It costs no socket beside the caller's watch, and no request while none of the chats moves.
type channel struct {
	session *session
	cancel  context.CancelFunc
	done    sync.WaitGroup
	stirred chan struct{} // a token when one of the chats may work again

	mu     sync.Mutex
	chats  []uuid.UUID   // the one that was concerned last comes last
	joined chan struct{} // closed and renewed when a chat joins
}

const (
	// mostConcerned is how many chats one Await takes; those that were not heard of for the longest give way.
	mostConcerned = 100
	// gathering is how long a chat that joins waits for others: an orchestrator creates them in a row, and each new wait costs a list read.
	gathering = 50 * time.Millisecond
)

func newChannel(s *session) *channel {
	ctx, cancel := context.WithCancel(s.transport.Context())
	c := &channel{session: s, cancel: cancel, stirred: make(chan struct{}, 1), joined: make(chan struct{})}
	c.done.Go(func() { c.run(ctx) })
	c.done.Go(func() { c.watch(ctx) })
	return c
}

func (c *channel) close() {
	c.cancel()
	c.done.Wait()
}

func (c *channel) add(chat uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.Index(c.chats, chat)
	if known >= 0 {
		c.chats = append(slices.Delete(c.chats, known, known+1), chat)
		c.stir()
		return
	}
	c.chats = append(c.chats, chat)
	if len(c.chats) > mostConcerned {
		c.chats = c.chats[1:]
	}
	close(c.joined)
	c.joined = make(chan struct{})
}

func (c *channel) stir() {
	select {
	case c.stirred <- struct{}{}:
	default:
	}
}

func (c *channel) concerned() ([]uuid.UUID, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.chats), c.joined
}

// watch stirs when one of the chats moves: it may be somebody else who sent it a message.
func (c *channel) watch(ctx context.Context) {
	for ctx.Err() == nil {
		listener, err := persist(ctx, func() (*relay.WatchListener, error) { return c.session.tools.Relay.Watch(ctx) })
		if err != nil {
			return
		}
		c.stir() // no event tells of what moved before
		c.listen(ctx, listener)
	}
}

func (c *channel) listen(ctx context.Context, listener *relay.WatchListener) {
	defer listener.Close()
	for {
		e, err := listener.Next(ctx)
		if err != nil {
			return
		}
		switch e.Kind {
		case client.KindStatusChange, client.KindActionRequired, client.KindCreated:
			if c.concerns(e.Chat.ID) {
				c.stir()
			}
		}
	}
}

func (c *channel) concerns(chat uuid.UUID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.chats, chat)
}

func (c *channel) run(ctx context.Context) {
	cursor := ""
	pause := newPause()
	for ctx.Err() == nil {
		chats, joined := c.concerned()
		idle := len(chats) == 0
		if !idle {
			select {
			case <-c.stirred: // what moved until now, the wait sees by itself
			default:
			}
			result, err := c.await(ctx, chats, joined, cursor)
			if err != nil {
				c.session.server.log.Warn("the Claude channel cannot wait for its chats", "error", err)
				sleep(ctx, pause.NextBackOff())
				continue
			}
			pause.Reset()
			cursor = result.Cursor
			c.tell(ctx, result)
			idle = len(result.Settled)+len(result.Missing)+len(result.Running) == 0 // all are told and none works
		}
		if idle {
			c.rest(ctx, joined)
		}
	}
}

func (c *channel) rest(ctx context.Context, joined <-chan struct{}) {
	select {
	case <-joined:
	case <-c.stirred:
	case <-ctx.Done():
	}
}

// await waits until something settled or other chats joined. What it had settled by then is in the result and in its cursor, what was still being
// looked at in neither: the next wait finds it.
func (c *channel) await(ctx context.Context, chats []uuid.UUID, joined <-chan struct{}, cursor string) (relay.AwaitResult, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	c.done.Go(func() {
		select {
		case <-joined:
			sleep(waiting, gathering)
			cancel()
		case <-waiting.Done():
		}
	})
	return c.session.tools.Relay.Await(waiting, relay.AwaitRequest{Chats: chats, Cursor: cursor})
}

func (c *channel) tell(ctx context.Context, r relay.AwaitResult) {
	for _, settled := range r.Settled {
		params := map[string]any{"content": wake(settled), "meta": map[string]string{
			"chat_id": settled.Chat.ID.String(), "status": string(settled.Status), "reason": string(settled.Reason),
		}}
		if err := c.session.transport.Notify(ctx, "notifications/claude/channel", params, nil); err != nil {
			c.session.server.log.Debug("the Claude channel was not told", "error", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range r.Missing { // or there would be no rest
		c.chats = slices.DeleteFunc(c.chats, func(id uuid.UUID) bool { return id == m.ID })
	}
}

// wake is what the model reads: a line or two, in which everything of the chat's own stands in quotes.
func wake(s relay.Settlement) string {
	content := fmt.Sprintf("Chat %s %s %s.", s.Chat.ID, view.Inline(s.Chat.Title, 80), became(s))
	if text := s.Text(); text != "" {
		content += " It says: " + view.Inline(text, 300)
	}
	return content
}

func became(s relay.Settlement) string {
	switch {
	case s.Reason == relay.ReasonRequiresAction:
		names := make([]string, 0, len(s.Pending))
		for _, call := range s.Pending {
			names = append(names, view.Inline(call.ToolName, 40))
		}
		return "waits for the results of " + strings.Join(names, ", ") + ": submit_tool_results answers it"
	case s.Reason == relay.ReasonError && s.LastError != nil:
		return "failed: " + view.Inline(s.LastError.Message, 200)
	case s.Reason == relay.ReasonError:
		return "failed"
	case s.Unanswered:
		return "ended its turn without an answer"
	}
	return "is done"
}
