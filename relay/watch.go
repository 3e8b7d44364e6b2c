package relay

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Watch listens to the events about all of the caller's chats. It returns when the socket is up, or the typed
// *client.Error. All listeners share one socket; after a reconnect, what changed meanwhile comes as events that the relay
// makes from a list of the chats.
func (r *Relay) Watch(ctx context.Context) (*WatchListener, error) {
	f, err := r.watchFeed()
	if err != nil {
		return nil, err
	}
	fresh := !f.isReady()
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		f.leave()
		return nil, f.failed
	}
	l := &WatchListener{feed: f, place: f.backlog.place()}
	if fresh {
		l.list = slices.Collect(maps.Values(f.known))
	}
	return l, nil
}

// WatchListener is one reader of the events about the caller's chats.
type WatchListener struct {
	feed  *watchFeed
	place *place[*watchItem]
	list  []client.Chat // read for this listener; nil when the socket was up already
}

// Next waits for the next event. Its chat is a hint, as client.WatchEvent says. A listener that falls far behind gets of
// busy statuses and mere changes only the last of each kind of a chat. It fails as Listener.Next does.
func (l *WatchListener) Next(ctx context.Context) (client.WatchEvent, error) {
	for {
		item, err := l.place.next(ctx)
		if err != nil {
			return client.WatchEvent{}, err
		}
		if item.event != nil {
			return *item.event, nil
		}
	}
}

// Close stops listening.
func (l *WatchListener) Close() {
	if l.place.leave() {
		l.feed.leave()
	}
}

// watchItem is an event, or (nil) word that the socket was down: chats that are in no list may have changed.
type watchItem struct{ event *client.WatchEvent }

// watchFeed is the caller's shared watch socket.
type watchFeed struct {
	relay   *Relay
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{}
	backlog *backlog[*watchItem]
	trouble trouble
	shared  sharing

	mu     sync.Mutex
	known  map[uuid.UUID]client.Chat // as far as told
	failed error
}

func (r *Relay) watchFeed() (*watchFeed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	f := r.watch
	if f == nil {
		f = &watchFeed{relay: r, ready: make(chan struct{})}
		f.ctx, f.cancel = context.WithCancel(r.ctx)
		f.backlog = newBacklog(r.options.Backlog, weighWatch, nextWatch, conflateWatch)
		r.watch = f
		r.wait.Go(f.run)
	}
	f.shared.join()
	return f, nil
}

func (f *watchFeed) leave() {
	f.shared.leave(f.relay, func() {
		if f.relay.watch == f {
			f.relay.watch = nil
		}
		f.cancel()
	})
}

func (f *watchFeed) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

func (f *watchFeed) run() {
	err := f.relay.reconnect(f.ctx, "watch", &f.trouble, f.connect)
	f.cancel()
	f.relay.mu.Lock()
	if f.relay.watch == f {
		f.relay.watch = nil
	}
	f.shared.stop()
	f.relay.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
	f.backlog.end(err)
	if !f.isReady() {
		close(f.ready)
	}
}

// connect opens the socket and only then lists, so that nothing falls between.
func (f *watchFeed) connect(up func()) error {
	w, err := f.relay.client.WatchChats(f.ctx)
	if err != nil {
		return f.first(err)
	}
	defer w.Close()
	list, err := f.relay.lists.get(f.ctx, struct{}{})
	if err != nil {
		return f.first(err)
	}
	f.catchUp(list)
	up()
	for {
		e, err := w.Next(f.ctx)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.note(&e)
		f.backlog.append([]*watchItem{{&e}})
		f.mu.Unlock()
	}
}

// first makes an error that comes before the first connection the answer to whoever waits for it.
func (f *watchFeed) first(err error) error {
	if f.isReady() {
		return err
	}
	return backoff.Permanent(err)
}

func (f *watchFeed) catchUp(list chatList) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[uuid.UUID]client.Chat{}
		for _, c := range list.chats {
			f.known[c.ID] = c
		}
		close(f.ready)
		return
	}
	items := f.missed(list)
	f.backlog.append(append(items, &watchItem{}))
}

// missed makes the events of what the list shows and was not told.
func (f *watchFeed) missed(list chatList) []*watchItem {
	var items []*watchItem
	tell := func(kind string, c client.Chat) {
		e := &client.WatchEvent{Kind: kind, Chat: c}
		e.Raw, _ = json.Marshal(e) // a chat that was read can be written
		items = append(items, &watchItem{e})
	}
	listed := map[uuid.UUID]bool{}
	for _, c := range list.chats {
		listed[c.ID] = true
		old, ok := f.known[c.ID]
		f.known[c.ID] = c
		if !ok {
			tell(client.KindCreated, c)
			continue
		}
		for _, kind := range changes(&old, &c) {
			tell(kind, c)
		}
	}
	for id, c := range f.known {
		if list.complete && !listed[id] {
			delete(f.known, id)
			c.Archived = true
			tell(client.KindDeleted, c)
		}
	}
	return items
}

// changes are the kinds of events that lead from one state of a chat to another. A chat that rests and was touched may have
// run a whole turn: better told once too often than not at all.
func changes(old, c *client.Chat) []string {
	var kinds []string
	switch {
	case c.Status.Busy() && old.Status.Busy():
	case c.Status == old.Status && !c.UpdatedAt.After(old.UpdatedAt):
	case c.Status == client.StatusRequiresAction:
		kinds = append(kinds, client.KindActionRequired)
	default:
		kinds = append(kinds, client.KindStatusChange)
	}
	if c.Title != old.Title {
		kinds = append(kinds, client.KindTitleChange)
	}
	if !reflect.DeepEqual(c.LastTurnSummary, old.LastTurnSummary) {
		kinds = append(kinds, client.KindSummaryChange)
	}
	if old.DiffStatus != nil && !reflect.DeepEqual(c.DiffStatus, old.DiffStatus) {
		kinds = append(kinds, client.KindDiffStatusChange)
	}
	return kinds
}

// note keeps of an event what it is reliable in: a title_change carries a stale status (05/068), a summary_change a stale
// title (05/067).
func (f *watchFeed) note(e *client.WatchEvent) {
	c, ok := f.known[e.Chat.ID]
	switch {
	case e.Kind == client.KindDeleted:
		delete(f.known, e.Chat.ID)
		return
	case !ok:
		c = e.Chat
	case e.Kind == client.KindTitleChange:
		c.Title = e.Chat.Title
	case e.Kind == client.KindSummaryChange:
		c.LastTurnSummary = e.Chat.LastTurnSummary
	case e.Kind == client.KindDiffStatusChange:
		c.DiffStatus = e.Chat.DiffStatus
	case tellsStatus(e.Kind):
		c.Status, c.UpdatedAt = e.Chat.Status, e.Chat.UpdatedAt
	}
	f.known[e.Chat.ID] = c
}

// tellsStatus: the status in events of this kind is the chat's.
func tellsStatus(kind string) bool {
	return kind == client.KindStatusChange || kind == client.KindActionRequired || kind == client.KindCreated
}

func weighWatch(i *watchItem) int {
	if i.event == nil {
		return 0
	}
	return len(i.event.Raw)
}

func nextWatch(n *node[*watchItem]) (*watchItem, *node[*watchItem]) { return n.value, n }

// conflateWatch keeps what comes to rest, begins or ends, and of all else the last event of each kind of each chat, in order.
func conflateWatch(unread []*watchItem) []*watchItem {
	type key struct {
		chat uuid.UUID
		kind string
	}
	seen := map[key]bool{}
	var kept []*watchItem
	for _, i := range slices.Backward(unread) {
		var k key
		if i.event != nil {
			k = key{i.event.Chat.ID, i.event.Kind}
		}
		if !seen[k] || i.final() {
			kept = append(kept, i)
		}
		seen[k] = true
	}
	slices.Reverse(kept)
	return kept
}

// final: the event must reach every listener.
func (i *watchItem) final() bool {
	switch {
	case i.event == nil:
		return false
	case i.event.Kind == client.KindStatusChange:
		return atRest(i.event.Chat.Status)
	}
	return tellsStatus(i.event.Kind) || i.event.Kind == client.KindDeleted
}
