package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"coder-chats-mcp/client"
)

// Watch listens to the events about all of the caller's chats. It returns when the socket is up, or the typed
// *client.Error: the first failure, but when ctx has a deadline, so that somebody waits, only one that does not pass within
// 3 s. All listeners share one socket; after a reconnect, what changed meanwhile comes as events that the relay makes from a
// list of the chats.
func (r *Relay) Watch(ctx context.Context) (*WatchListener, error) {
	if _, ok := ctx.Deadline(); ok {
		return r.listen(ctx, firstTries)
	}
	return r.listen(ctx, 0)
}

// listen is Watch with as much patience with failures as is said.
func (r *Relay) listen(ctx context.Context, patience time.Duration) (*WatchListener, error) {
	f, err := r.watchFeed()
	if err != nil {
		return nil, err
	}
	asked := f.reads()
	if err := f.up(ctx, patience); err != nil {
		f.leave()
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		f.leave()
		return nil, f.failed
	}
	l := &WatchListener{feed: f, place: f.backlog.place()}
	if f.firstRead > asked {
		l.list = slices.Collect(maps.Values(f.known))
	}
	return l, nil
}

// WatchListener is one reader of the events about the caller's chats.
type WatchListener struct {
	feed  *watchFeed
	place *place[*watchItem]
	list  []client.Chat // nil unless the read of it began after this listener asked
}

// Next waits for the next event. Its chat is a hint, as client.WatchEvent says. A listener that falls behind by more than
// Options.Backlog gets of each chat the last event of each kind, and the last 8 of those that say that it came to rest, asks,
// began or ended. It fails as Listener.Next does.
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

// watchItem is an event, or (nil) word that the socket was down: chats that were not seen since may have changed.
type watchItem struct {
	event *client.WatchEvent
	seen  map[uuid.UUID]bool
}

// watchFeed is the caller's shared watch socket.
type watchFeed struct {
	relay   *Relay
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{}
	backlog *backlog[*watchItem]
	trouble trouble
	shared  sharing

	mu        sync.Mutex
	known     map[uuid.UUID]client.Chat // as far as told
	listed    int                       // how many reads of the list began,
	firstRead int                       // and which of them, from 1, made the feed ready
	last      error                     // why the last attempt at a first connection failed
	failing   chan struct{}             // closed and renewed by each such failure
	failed    error
}

func (r *Relay) watchFeed() (*watchFeed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	f := r.watch
	if f == nil {
		f = &watchFeed{relay: r, ready: make(chan struct{}), failing: make(chan struct{})}
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

func (f *watchFeed) reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed
}

// up waits for the first connection until ctx ends, or attempts fail and patience is over. A connection that is there when the
// deadline of ctx comes still counts.
func (f *watchFeed) up(ctx context.Context, patience time.Duration) error {
	until := time.Now().Add(patience)
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		f.mu.Lock()
		failing := f.failing
		f.mu.Unlock()
		ended := ctx.Err()
		switch {
		case errors.Is(ended, context.Canceled):
			return ended
		case f.isReady():
			return nil
		case ended != nil:
			return cmp.Or(f.lastFailure(), ended)
		}
		select {
		case <-f.ready:
		case <-failing:
			if err := f.lastFailure(); time.Until(until) <= retryAfter(err) {
				return err
			}
		case <-over.C:
			if err := f.lastFailure(); err != nil && !f.isReady() {
				return err
			}
		case <-ctx.Done():
		}
	}
}

func (f *watchFeed) lastFailure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
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
	w, list, err := f.open()
	if err != nil {
		return f.first(err)
	}
	defer w.Close()
	f.catchUp(list)
	up()
	for {
		e, err := w.Next(f.ctx)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.note(&e)
		f.backlog.append([]*watchItem{{event: &e}})
		f.mu.Unlock()
	}
}

func (f *watchFeed) open() (*client.Watch, chatList, error) {
	w, err := f.relay.client.WatchChats(f.ctx)
	if err != nil {
		return nil, chatList{}, err
	}
	f.mu.Lock()
	f.listed++
	f.mu.Unlock()
	list, err := f.relay.lists.try(f.ctx, struct{}{})
	if err != nil {
		_ = w.Close()
		return nil, chatList{}, err
	}
	return w, f.completed(list), nil
}

// first tells those who wait for the first connection why an attempt failed. What only a person can mend ends the attempts.
func (f *watchFeed) first(err error) error {
	if f.isReady() {
		return err
	}
	f.mu.Lock()
	f.last = err
	close(f.failing)
	f.failing = make(chan struct{})
	f.mu.Unlock()
	if misled(err) {
		return backoff.Permanent(err)
	}
	return err
}

const (
	doubtfulChats = 100 // that a list lacks and that are asked for one by one, after a reconnect
	readsAtOnce   = 4
)

// completed is the list and what became of known chats that it lacks. These need not be gone: pages are counted off, and a
// chat that moves between two reads can slip through. One that is not known to be gone stays as it was.
func (f *watchFeed) completed(list chatList) chatList {
	if !list.complete {
		return list
	}
	ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
	defer cancel()
	var mu sync.Mutex
	each(f.lacking(list), func(id uuid.UUID) {
		chat, err := f.relay.states.get(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case client.IsNotFound(err) || err == nil && chat.Archived:
			list.gone = append(list.gone, id)
		case err == nil:
			list.chats = append(list.chats, *chat)
		}
	})
	return list
}

// lacking are the known chats that the list lacks, as many as may be asked for.
func (f *watchFeed) lacking(list chatList) []uuid.UUID {
	listed := list.ids()
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []uuid.UUID
	for id := range f.known {
		if !listed[id] && len(ids) < doubtfulChats {
			ids = append(ids, id)
		}
	}
	return ids
}

// each calls do with every one of the values, with readsAtOnce of them at a time.
func each[T any](values []T, do func(T)) {
	var group errgroup.Group
	group.SetLimit(readsAtOnce)
	for _, v := range values {
		group.Go(func() error {
			do(v)
			return nil
		})
	}
	_ = group.Wait()
}

func (f *watchFeed) catchUp(list chatList) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[uuid.UUID]client.Chat{}
		for _, c := range list.chats {
			f.known[c.ID] = c
		}
		f.firstRead = f.listed
		close(f.ready)
		return
	}
	items := f.missed(list)
	f.backlog.append(append(items, &watchItem{seen: list.ids()}))
}

// missed makes the events of what the list shows and was not told.
func (f *watchFeed) missed(list chatList) []*watchItem {
	var items []*watchItem
	tell := func(kind string, c client.Chat) {
		e := &client.WatchEvent{Kind: kind, Chat: c}
		e.Raw, _ = json.Marshal(e) // a chat that was read can be written
		items = append(items, &watchItem{event: e})
	}
	for _, c := range list.chats {
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
	for _, id := range list.gone {
		c := f.known[id]
		delete(f.known, id)
		c.Archived = true
		tell(client.KindDeleted, c)
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
// title (05/067), and of a chat's status one event can overtake another (servers of May).
func (f *watchFeed) note(e *client.WatchEvent) {
	c, ok := f.known[e.Chat.ID]
	switch {
	case ok && e.Chat.UpdatedAt.Before(c.UpdatedAt) && (tellsStatus(e.Kind) || e.Kind == client.KindDeleted):
		return
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
		return len(i.seen) * len(uuid.UUID{})
	}
	return len(i.event.Raw)
}

func nextWatch(n *node[*watchItem]) (*watchItem, *node[*watchItem]) { return n.value, n }

// lastFinals is how many final events of one chat a listener that does not read still gets: how it ended, and a little of how
// it came to that. Without a bound they would grow with every turn.
const lastFinals = 8

// conflateWatch keeps of each chat the last event of each kind and the last final ones, in order.
func conflateWatch(unread []*watchItem) []*watchItem {
	type key struct {
		chat uuid.UUID
		kind string
	}
	seen := map[key]bool{}
	finals := map[uuid.UUID]int{}
	var kept []*watchItem
	for _, i := range slices.Backward(unread) {
		var k key
		if i.event != nil {
			k = key{i.event.Chat.ID, i.event.Kind}
		}
		final := i.final() && finals[k.chat] < lastFinals
		if final {
			finals[k.chat]++
		}
		if !seen[k] || final {
			kept = append(kept, i)
		}
		seen[k] = true
	}
	slices.Reverse(kept)
	return kept
}

// final: what comes to rest, begins or ends.
func (i *watchItem) final() bool {
	switch {
	case i.event == nil:
		return false
	case i.event.Kind == client.KindStatusChange:
		return atRest(i.event.Chat.Status)
	}
	return tellsStatus(i.event.Kind) || i.event.Kind == client.KindDeleted
}
