package relay

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// backlog is what a feed tells its listeners: a list that grows at one end. Each listener keeps its own place in it, so an
// event costs one node whatever the number of listeners, and what all of them have passed is garbage.
type backlog[T any] struct {
	weigh func(T) int                  // bytes that count against limit
	limit int                          // bytes that a place may lag behind
	join  func(*node[T]) (T, *node[T]) // the value at a node, or several from it on as one, and the last one taken
	// shrink makes of all that a place has not read what it must read in any case.
	shrink func([]T) []T

	mu     sync.Mutex
	tail   *node[T]
	places []*place[T]
	wake   chan struct{} // closed by the next append; nil while nobody waits
	err    error         // why nothing more comes
}

type node[T any] struct {
	value T
	next  atomic.Pointer[node[T]]
	sum   int64 // bytes from the beginning up to here
}

func newBacklog[T any](limit int, weigh func(T) int, join func(*node[T]) (T, *node[T]), shrink func([]T) []T) *backlog[T] {
	return &backlog[T]{weigh: weigh, limit: limit, join: join, shrink: shrink, tail: new(node[T])}
}

// append tells every place. Only one goroutine appends at a time.
func (b *backlog[T]) append(values []T) {
	if len(values) == 0 {
		return
	}
	b.mu.Lock()
	for _, v := range values {
		n := &node[T]{value: v, sum: b.tail.sum + int64(b.weigh(v))}
		b.tail.next.Store(n)
		b.tail = n
	}
	b.wakeAll()
	var late []*place[T]
	for _, p := range b.places {
		if b.tail.sum-p.read.Load() > int64(b.limit) {
			late = append(late, p)
		}
	}
	b.mu.Unlock()
	for _, p := range late {
		p.collapse()
	}
}

// end lets the places read what is there and then fail with err.
func (b *backlog[T]) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.wakeAll()
}

func (b *backlog[T]) wakeAll() {
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// place is how far one listener has read.
type place[T any] struct {
	backlog *backlog[T]
	done    chan struct{}
	close   func()
	read    atomic.Int64 // sum at `at`

	mu  sync.Mutex
	at  *node[T] // the last one read
	own []T      // what a collapse left; comes before at.next
}

// place begins at the end: it reads what is appended from now on.
func (b *backlog[T]) place() *place[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &place[T]{backlog: b, done: make(chan struct{}), at: b.tail}
	p.close = sync.OnceFunc(func() { close(p.done) })
	p.read.Store(b.tail.sum)
	b.places = append(b.places, p)
	return p
}

// leave gives the place up and reports whether it was the first time.
func (p *place[T]) leave() bool {
	b := p.backlog
	b.mu.Lock()
	i := slices.Index(b.places, p)
	if i >= 0 {
		b.places = slices.Delete(b.places, i, i+1)
	}
	b.mu.Unlock()
	p.close()
	return i >= 0
}

// next waits for the next value. What is there when the deadline of ctx comes is still handed out: whoever waits so long
// wants to know all that happened in that time.
func (p *place[T]) next(ctx context.Context) (T, error) {
	var none T
	for {
		ended := ctx.Err()
		if ended != nil && !errors.Is(ended, context.DeadlineExceeded) {
			return none, ended
		}
		v, wake, err := p.poll()
		if err != nil || wake == nil {
			return v, err
		}
		if ended != nil {
			return none, ended
		}
		select {
		case <-wake:
		case <-ctx.Done():
		case <-p.done:
		}
	}
}

// poll is the next value, or, if there is none yet, what is closed when there is.
func (p *place[T]) poll() (T, <-chan struct{}, error) {
	var none T
	for {
		select {
		case <-p.done:
			return none, nil, ErrClosed
		default:
		}
		v, at, ok := p.take()
		if ok {
			return v, nil, nil
		}
		wake, err := p.backlog.wait(at)
		if wake != closedWake || err != nil {
			return none, wake, err
		}
	}
}

func (p *place[T]) take() (v T, at *node[T], ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.own) > 0 {
		var none T
		v, p.own[0] = p.own[0], none
		p.own = p.own[1:]
		return v, p.at, true
	}
	n := p.at.next.Load()
	if n == nil {
		return v, p.at, false
	}
	v, p.at = p.backlog.join(n)
	p.read.Store(p.at.sum)
	return v, p.at, true
}

// closedWake is for a place that need not wait.
var closedWake = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// wait gives what is closed when something follows at.
func (b *backlog[T]) wait(at *node[T]) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at != b.tail {
		return closedWake, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake, nil
}

// collapse puts what must be read in the place of all that is unread.
func (p *place[T]) collapse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unread := p.own
	for n := p.at.next.Load(); n != nil; n = n.next.Load() {
		unread = append(unread, n.value)
		p.at = n
	}
	p.own = p.backlog.shrink(unread)
	p.read.Store(p.at.sum)
}
