package rfb

import (
	"context"
	"encoding/binary"
	"image"
	"time"
)

// look is one picture asked for: from its request until every pixel has come.
type look struct {
	request request       // still to be sent; the Screenshot at work's alone
	pause   time.Duration // before that; the Screenshot at work's alone
	begun   bool          // the pixels from before are marked; the reading goroutine's alone
	answer  chan progress // holds one: the latest
}

// progress is what an update made of a look: the picture, or what to ask for next.
type progress struct {
	picture *image.RGBA
	next    request
	little  bool // the update brought next to nothing
}

type request int

const (
	nothing request = iota
	everything
	theRest
)

// Screenshot asks for the whole desktop anew and waits until all of it has come.
// What was sent before (a click, a text) has reached the server before the
// picture is taken; what programs then draw may come later.
//
// When ctx ends first, the connection stays good: the picture that is under way
// is let pass, and the next Screenshot is again newer than its call.
func (c *Conn) Screenshot(ctx context.Context) (*image.RGBA, error) {
	if err := c.acquire(ctx, c.looking); err != nil {
		return nil, err
	}
	defer func() { <-c.looking }()
	if left := c.leftLook(); left != nil {
		if _, err := c.finish(ctx, left); err != nil {
			return nil, err
		}
	}
	l := &look{request: everything, answer: make(chan progress, 1)}
	c.setLook(l)
	return c.finish(ctx, l)
}

// How long finish waits before it asks again after an update that brought next to nothing: some servers answer the first request so, and one that
// always does must not be asked as fast as it can answer.
const (
	firstPause   = 2 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// finish sends what the look asks for until the picture is whole.
func (c *Conn) finish(ctx context.Context, l *look) (*image.RGBA, error) {
	for {
		if l.request != nothing {
			if err := c.rest(ctx, l.pause); err != nil {
				return nil, err
			}
			c.may.ask()
			if err := c.send(ctx, updateRequest(c.Size(), l.request)); err != nil {
				return nil, err
			}
			l.request = nothing
		}
		select {
		case p := <-l.answer:
			if p.picture != nil {
				return p.picture, nil
			}
			l.asks(p)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.done:
			return l.last(c.err)
		}
	}
}

// last is the picture that came just before the connection ended.
func (l *look) last(err error) (*image.RGBA, error) {
	select {
	case p := <-l.answer:
		if p.picture != nil {
			return p.picture, nil
		}
	default:
	}
	return nil, err
}

// asks notes what to ask for next, and when.
func (l *look) asks(p progress) {
	l.request = p.next
	if !p.little {
		l.pause = 0
		return
	}
	l.pause = min(max(2*l.pause, firstPause), longestPause)
}

// rest waits, unless the connection or ctx ends before.
func (c *Conn) rest(ctx context.Context, pause time.Duration) error {
	if pause == 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.err
	}
}

func updateRequest(size image.Point, what request) []byte {
	m := []byte{3, 0, 0, 0, 0, 0}
	if what == theRest {
		m[1] = 1 // incremental: what the server has marked as not yet sent
	}
	m = binary.BigEndian.AppendUint16(m, uint16(size.X))
	return binary.BigEndian.AppendUint16(m, uint16(size.Y))
}

func (c *Conn) leftLook() *look {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look
}

func (c *Conn) setLook(l *look) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look = l
}

// beginLook marks all pixels as not of this look, with the first update that
// follows its request.
func (c *Conn) beginLook() {
	if l := c.leftLook(); l != nil && !l.begun {
		l.begun = true
		c.fb.forget()
	}
}

// advanceLook tells the look, after an update, how far it is. An update uses the
// request up, so one that is not whole needs another: for everything when the
// desktop has a new size; else for the rest, which the server has marked as owed
// (some send in slices, and TigerVNC answers a request for everything with the
// size on its own, each time).
func (c *Conn) advanceLook() {
	l := c.leftLook()
	if l == nil || !l.begun {
		return
	}
	p := progress{little: c.may.update < littlePaint}
	switch {
	case c.fb.whole():
		p.picture = c.fb.copy()
		c.setLook(nil)
	case c.fb.replaced:
		p.next = everything
		c.fb.replaced = false
	default:
		p.next = theRest
	}
	select {
	case <-l.answer: // not yet taken, and out of date
	default:
	}
	l.answer <- p
}
