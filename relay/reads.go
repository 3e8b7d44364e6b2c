package relay

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// reads shares reads among those who ask for the same at the same time. Everybody gets the answer of a read that began after
// the question, so it is never older than what made them ask.
type reads[K comparable, V any] struct {
	relay *Relay
	read  func(context.Context, K) (V, error)

	mu      sync.Mutex
	running map[K]*shared[V] // being read
	next    map[K]*shared[V] // to be read after that
}

type shared[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newReads[K comparable, V any](r *Relay, read func(context.Context, K) (V, error)) *reads[K, V] {
	return &reads[K, V]{relay: r, read: read, running: map[K]*shared[V]{}, next: map[K]*shared[V]{}}
}

// get is try until ctx ends, as long as the failures may pass.
func (r *reads[K, V]) get(ctx context.Context, key K) (V, error) {
	return insist(ctx, r.relay.options, always, func() (V, error) { return r.try(ctx, key) })
}

// try takes part in one read.
func (r *reads[K, V]) try(ctx context.Context, key K) (V, error) {
	s := r.join(key)
	select {
	case <-s.done:
		return s.value, s.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (r *reads[K, V]) join(key K) *shared[V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.next[key]; s != nil {
		return s
	}
	s := &shared[V]{done: make(chan struct{})}
	if r.running[key] != nil {
		r.next[key] = s
	} else {
		r.start(key, s)
	}
	return s
}

func (r *reads[K, V]) start(key K, s *shared[V]) {
	r.running[key] = s
	if !r.relay.spawn(func() { r.run(key, s) }) {
		delete(r.running, key)
		s.err = ErrClosed
		close(s.done)
	}
}

func (r *reads[K, V]) run(key K, s *shared[V]) {
	s.value, s.err = r.read(r.relay.ctx, key)
	close(s.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, key)
	if next := r.next[key]; next != nil {
		delete(r.next, key)
		r.start(key, next)
	}
}

const (
	listPage  = 200 // chats; the API takes more, but one page of 200 is what most callers have at most
	listPages = 5
)

// chatList are the caller's chats that are not archived, children included.
type chatList struct {
	chats    []client.Chat
	complete bool // there were no others, but for those that moved between the reads of two pages
	gone     []uuid.UUID
}

func (l *chatList) ids() map[uuid.UUID]bool {
	ids := make(map[uuid.UUID]bool, len(l.chats))
	for _, c := range l.chats {
		ids[c.ID] = true
	}
	return ids
}

func (r *Relay) listChats(ctx context.Context, _ struct{}) (chatList, error) {
	var list chatList
	for page := range listPages {
		roots, err := r.client.ListChats(ctx, client.ListChatsRequest{Limit: listPage, Offset: page * listPage})
		if err != nil {
			return list, err
		}
		list.add(roots)
		if len(roots) < listPage {
			list.complete = true
			break
		}
	}
	return list, nil
}

func (l *chatList) add(chats []client.Chat) {
	for _, c := range chats {
		l.chats = append(l.chats, c)
		l.add(c.Children)
	}
}

// judgedMessages is how many messages tell how a turn ended: enough for a batch of tool results after the calls.
const judgedMessages = 20

func (r *Relay) lastMessages(ctx context.Context, chat uuid.UUID) (*client.MessagesPage, error) {
	return r.client.ListMessages(ctx, chat, client.ListMessagesRequest{Limit: judgedMessages})
}
