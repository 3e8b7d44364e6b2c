package transport

import (
	"context"
	"errors"
	"sync"
)

// ErrAnswered refuses a notification in the name of a request that has been answered or cancelled. What outlives a
// request is sent with a context that isn't derived from the request's.
var ErrAnswered = errors.New("the request has already been answered: nothing can be sent in its name any more")

// ErrSessionOver refuses a message to a client that is gone.
var ErrSessionOver = errors.New("the MCP session is over")

// Join lets a message that still waits for a slow client take up the next one of its kind.
type Join struct {
	// Key names the kind, within one method and session. Only the last queued message of a key is joined, so messages
	// that share a key keep their order.
	Key string
	// Merge returns what to send instead of queued and next, or false to send both. It runs with the outbox locked, so
	// it is quick and sends nothing, and what it returns is not changed any more. With a nil Merge the newest replaces the queued one, and a full outbox doesn't make it wait.
	Merge func(queued, next any) (joined any, ok bool)
}

// outbox is the ordered queue of messages on one stream. Any number of producers put, one consumer takes.
type outbox struct {
	limit  int
	counts [2]*counters // of the session and of the core

	mu     sync.Mutex
	queue  []*item
	keyed  map[string]*item
	bytes  int           // queued, and taken but not yet written
	space  chan struct{} // closed when bytes may have fallen; nil while nobody waits
	ready  chan struct{} // one token when there may be something to take
	closed bool

	// pour, if set, writes what is queued in the calling goroutine, or reports that somebody else is at it.
	pour func() bool
}

func newOutbox(limit int, session, core *counters) *outbox {
	return &outbox{limit: limit, counts: [2]*counters{session, core}, ready: make(chan struct{}, 1)}
}

// item is one queued message: data as it goes out, or, once joined, the parts to encode it from.
type item struct {
	data   []byte
	size   int // what it counts for in the outbox
	key    string
	method string
	params any
	stale  bool // params have changed since data was encoded
	last   bool // the response that ends its stream
}

func (i *item) encoded() ([]byte, error) {
	if !i.stale {
		return i.data, nil
	}
	return encodeNotification(i.method, i.params)
}

// notice is a notification on its way into an outbox.
type notice struct {
	method string
	params any
	join   *Join
	from   *request // whose notification it is; nil for the session's own
}

// notify queues n. Unless it can replace a queued message it waits while the outbox is full, until ctx ends.
func (o *outbox) notify(ctx context.Context, n notice) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.push(n, func() error { return o.admit(ctx) })
}

// notifyNow queues n however full the outbox is. It is for notices that replace their like, so that their number is
// bounded by the number of keys.
func (o *outbox) notifyNow(n notice) error { return o.push(n, atOnce) }

func atOnce() error { return nil }

func (o *outbox) push(n notice, admit func() error) error {
	data, err := encodeNotification(n.method, n.params)
	if err != nil {
		return err
	}
	key := ""
	if n.join != nil {
		key = n.method + "\x00" + n.join.Key
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	replaces := key != "" && n.join.Merge == nil && o.keyed[key] != nil
	if !replaces {
		if err := admit(); err != nil {
			return err
		}
	}
	if o.closed {
		return ErrSessionOver
	}
	if n.from != nil && n.from.answered {
		return ErrAnswered
	}
	if key != "" && o.joinQueued(key, n, data) {
		o.count(func(c *counters) { c.joined.Add(1) })
		return nil
	}
	i := &item{data: data, size: len(data)}
	if key != "" {
		i.key, i.method, i.params = key, n.method, n.params
	}
	o.append(i)
	o.nudge()
	return nil
}

// joinQueued merges n into the last queued message of its key, if there is one and it agrees.
func (o *outbox) joinQueued(key string, n notice, data []byte) bool {
	i := o.keyed[key]
	if i == nil {
		return false
	}
	if n.join.Merge == nil {
		o.resize(i, len(data))
		i.data, i.params, i.stale = data, n.params, false
		return true
	}
	joined, ok := n.join.Merge(i.params, n.params)
	if !ok {
		return false
	}
	i.params, i.stale = joined, true
	o.remeasure(i, len(data))
	return true
}

// remeasure estimates the size of a joined item. The sum of the parts is exact enough for text that grows and far too
// much for state that is replaced, so the item is encoded again whenever the estimate has doubled: a cost that stays
// proportional to what was joined.
func (o *outbox) remeasure(i *item, added int) {
	estimate := i.size + added
	if estimate > 2*len(i.data) {
		if data, err := encodeNotification(i.method, i.params); err == nil {
			i.data, i.stale = data, false
			estimate = len(data)
		}
	}
	o.resize(i, estimate)
}

func (o *outbox) resize(i *item, size int) {
	o.bytes += size - i.size
	i.size = size
}

// respond queues the response of r and closes the door behind it: nothing follows in r's name. A request that its
// client cancelled gets none. It waits while the outbox is full; after the end of ctx there is nobody to answer.
func (o *outbox) respond(ctx context.Context, r *request, data []byte) {
	o.mu.Lock()
	if o.admit(ctx) != nil {
		r.answered = true
	} else {
		o.conclude(r, data)
	}
	o.mu.Unlock()
	o.flush()
}

// respondNow is respond without waiting.
func (o *outbox) respondNow(r *request, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conclude(r, data)
	o.nudge()
}

func (o *outbox) conclude(r *request, data []byte) {
	silent := o.closed || r.answered || r.silenced.Load()
	r.answered = true
	if silent {
		return
	}
	o.append(&item{data: data, size: len(data), last: true})
}

// ask queues a request to the client. It waits while the outbox is full.
func (o *outbox) ask(ctx context.Context, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.admit(ctx); err != nil {
		return err
	}
	if o.closed {
		return ErrSessionOver
	}
	o.append(&item{data: data, size: len(data)})
	o.nudge()
	return nil
}

// reply queues what answers a message at once, however full the outbox is. It never waits.
func (o *outbox) reply(data []byte) {
	o.replied(data)
	o.nudge()
}

// deliver is reply for a caller that may wait for the client to read it.
func (o *outbox) deliver(data []byte) {
	o.replied(data)
	o.flush()
}

func (o *outbox) replied(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.append(&item{data: data, size: len(data)})
	}
}

// append, admit and conclude run with o.mu held. What is appended goes out after nudge or flush.
func (o *outbox) append(i *item) {
	if i.key != "" {
		if o.keyed == nil {
			o.keyed = map[string]*item{}
		}
		o.keyed[i.key] = i
	}
	o.queue = append(o.queue, i)
	o.bytes += i.size
	o.count(func(c *counters) { c.queued.Add(1) })
}

// flush has what is queued sent at once where the stream allows that, else by the consumer. The caller does not hold o.mu.
func (o *outbox) flush() {
	if o.pour == nil || !o.pour() {
		o.nudge()
	}
}

// nudge makes the consumer look.
func (o *outbox) nudge() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) admit(ctx context.Context) error {
	held := false
	for o.bytes >= o.limit && !o.closed {
		if !held {
			held = true
			o.count(func(c *counters) { c.held.Add(1) })
		}
		if o.space == nil {
			o.space = make(chan struct{})
		}
		space := o.space
		o.mu.Unlock()
		var err error
		select {
		case <-space:
		case <-ctx.Done():
			err = ctx.Err()
		}
		o.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// below waits until fewer than n bytes are queued.
func (o *outbox) below(ctx context.Context, n int) error {
	for {
		o.mu.Lock()
		if o.bytes < n || o.closed {
			o.mu.Unlock()
			return nil
		}
		if o.space == nil {
			o.space = make(chan struct{})
		}
		space := o.space
		o.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take removes up to about max bytes of messages, at least one if there is any. They still count until written.
func (o *outbox) take(max int) []*item {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, size := 0, 0
	for n < len(o.queue) && (n == 0 || size+o.queue[n].size <= max) {
		size += o.queue[n].size
		n++
	}
	batch := o.queue[:n:n]
	o.queue = o.queue[n:]
	if len(o.queue) == 0 {
		o.queue = nil
	} else {
		o.nudge()
	}
	for _, i := range batch {
		if i.key != "" && o.keyed[i.key] == i {
			delete(o.keyed, i.key)
		}
	}
	return batch
}

// written gives the room of a taken batch back to waiting producers.
func (o *outbox) written(batch []*item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range batch {
		o.bytes -= i.size
	}
	clear(batch) // it shares its array with the queue, which would keep the messages alive
	o.wake()
}

// close refuses everything from now on. What is queued can still be taken.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake()
	o.nudge()
}

func (o *outbox) wake() {
	if o.space != nil {
		close(o.space)
		o.space = nil
	}
}

// drained reports that the outbox is closed and empty.
func (o *outbox) drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && len(o.queue) == 0
}

func (o *outbox) count(add func(*counters)) {
	for _, c := range o.counts {
		add(c)
	}
}
