package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/view"
)

const (
	desktopIdle = time.Minute      // how long a connection is kept after a call
	lookTimeout = 20 * time.Second // for a picture, or for connecting; the desktop is dead after that
	maxDesktops = 16               // of one caller at a time: each keeps a picture of its desktop
)

// desktops keeps a caller's connections to workspace desktops between calls, so that click, look, click is quick.
type desktops struct {
	idle time.Duration // 0 = desktopIdle

	mu     sync.Mutex // held for no longer than it takes to look: no connection is ended under it
	open   map[uuid.UUID]*desktop
	closed bool
}

// desktop is a chat's. One call at a time has it. desktops.mu guards what is below all.
type desktop struct {
	chat  uuid.UUID
	calls chan struct{} // holds one token: the call at work

	all   *desktops
	users int // the call at work, and those that wait for it
	conn  *rfb.Conn
	since time.Time   // when it fell idle
	timer *time.Timer // ends it
}

var (
	errDesktopsClosed  = &Failure{Kind: string(client.KindUnavailable), Message: "this server is shutting down", Next: "start it again"}
	errTooManyDesktops = &Failure{
		Kind: string(client.KindUnavailable), Message: fmt.Sprintf("%d desktops are at work, as many as one token may have at a time", maxDesktops),
		Next: "wait for one of those calls to end, then call again",
	}
)

// take waits for a chat's desktop to be free and gives it to the caller, who releases it.
func (all *desktops) take(ctx context.Context, chat uuid.UUID) (*desktop, error) {
	d, ended, err := all.join(chat)
	hangUp(ended)
	if err != nil {
		return nil, err
	}
	select {
	case d.calls <- struct{}{}:
		return d, nil
	case <-ctx.Done():
		d.leave()
		return nil, ctx.Err()
	}
}

// join finds or makes the desktop. For a new one the connection that idled longest may have to end.
func (all *desktops) join(chat uuid.UUID) (d *desktop, ended *rfb.Conn, err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed {
		return nil, nil, errDesktopsClosed
	}
	if d = all.open[chat]; d == nil {
		if len(all.open) >= maxDesktops {
			longest := all.longestIdle()
			if longest == nil {
				return nil, nil, errTooManyDesktops
			}
			ended = longest.remove()
		}
		if all.open == nil {
			all.open = map[uuid.UUID]*desktop{}
		}
		d = &desktop{all: all, chat: chat, calls: make(chan struct{}, 1)}
		all.open[chat] = d
	}
	d.users++
	d.stopTimer()
	return d, ended, nil
}

func (all *desktops) longestIdle() *desktop {
	var longest *desktop
	for _, d := range all.open {
		if d.users == 0 && (longest == nil || d.since.Before(longest.since)) {
			longest = d
		}
	}
	return longest
}

// close ends all connections, those of calls at work too.
func (all *desktops) close() {
	all.mu.Lock()
	all.closed = true
	var conns []*rfb.Conn
	for _, d := range all.open {
		conns = append(conns, d.remove())
	}
	all.mu.Unlock()
	for _, conn := range conns {
		hangUp(conn)
	}
}

func hangUp(conn *rfb.Conn) {
	if conn != nil {
		_ = conn.Close()
	}
}

// release lets the next call have the desktop, and the connection end when none comes in time.
func (d *desktop) release() {
	<-d.calls
	d.leave()
}

// leave keeps a connection that nobody uses for a while, and nothing where there is none.
func (d *desktop) leave() {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	d.users--
	switch {
	case d.users > 0 || d.all.closed:
	case d.conn == nil:
		d.remove()
	default:
		d.since = time.Now()
		d.timer = time.AfterFunc(d.all.patience(), d.expire)
	}
}

func (all *desktops) patience() time.Duration { return cmp.Or(all.idle, desktopIdle) }

func (d *desktop) expire() {
	d.all.mu.Lock()
	var conn *rfb.Conn
	if d.users == 0 && time.Since(d.since) >= d.all.patience() { // else a call has had it since
		conn = d.remove()
	}
	d.all.mu.Unlock()
	hangUp(conn)
}

// remove forgets the desktop and gives its connection, which is to be ended. desktops.mu is held.
func (d *desktop) remove() *rfb.Conn {
	d.stopTimer()
	if d.all.open[d.chat] == d {
		delete(d.all.open, d.chat)
	}
	conn := d.conn
	d.conn = nil
	return conn
}

func (d *desktop) stopTimer() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// drop ends the connection.
func (d *desktop) drop() {
	d.all.mu.Lock()
	conn := d.conn
	d.conn = nil
	d.all.mu.Unlock()
	hangUp(conn)
}

// connected is the connection: the one from before when it lives, else a new one.
func (d *desktop) connected(ctx context.Context, c *client.Client) (conn *rfb.Conn, kept bool, err error) {
	if conn, err = d.current(); conn != nil || err != nil {
		return conn, true, err
	}
	if conn, err = dialDesktop(ctx, c, d.chat); err != nil {
		return nil, false, err
	}
	if !d.use(conn) {
		hangUp(conn)
		return nil, false, errDesktopsClosed
	}
	return conn, false, nil
}

// current is the connection from before, nil when there is none or it has ended.
func (d *desktop) current() (*rfb.Conn, error) {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	if d.all.closed {
		return nil, errDesktopsClosed
	}
	if d.conn != nil {
		select {
		case <-d.conn.Done():
			d.conn = nil
		default:
		}
	}
	return d.conn, nil
}

// use keeps a connection, unless all have to end.
func (d *desktop) use(conn *rfb.Conn) bool {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	if d.all.closed {
		return false
	}
	d.conn = conn
	return true
}

// name is what the desktop calls itself.
func (d *desktop) name() string {
	d.all.mu.Lock()
	defer d.all.mu.Unlock()
	if d.conn == nil {
		return ""
	}
	return view.Line(d.conn.Name(), 100)
}

func dialDesktop(ctx context.Context, c *client.Client, chat uuid.UUID) (*rfb.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	stream, err := c.Desktop(dialing, chat)
	if err != nil {
		return nil, explainWorkspace(err)
	}
	conn, err := rfb.New(dialing, stream, rfb.Options{})
	if err != nil {
		return nil, explainDesktop(ctx, err)
	}
	return conn, nil
}

// explainDesktop says what a failed greeting or picture means. The caller's own end stays as it is.
func explainDesktop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := &Failure{Kind: string(client.KindUnsupported), Message: strings.TrimPrefix(err.Error(), "rfb: "), Next: desktopAdvice}
	switch {
	case errors.Is(err, rfb.ErrPasswordRequired), errors.Is(err, rfb.ErrPasswordWrong), errors.Is(err, rfb.ErrSecurity):
		f.Next = "have the chat start its desktop without a password: it is reached through Coder alone"
	case errors.Is(err, rfb.ErrProtocol), errors.Is(err, rfb.ErrTooLarge), errors.Is(err, rfb.ErrRefused):
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind, f.Message = string(client.KindTimeout), fmt.Sprintf("the desktop showed nothing within %d s", int(lookTimeout.Seconds()))
		f.Next = "try again; if it stays, the workspace hangs or its desktop does"
	case errors.Is(err, rfb.ErrClosed):
		f.Kind, f.Message = string(client.KindUnavailable), "the desktop's connection ended: "+view.Inline(f.Message, 200)
		f.Next = "try again; if it stays, check the workspace in Coder"
	default: // the stream ended before the greeting did
		f.Message = noDesktop + ": its stream ended at once"
	}
	return f
}

// look takes a picture. A connection from before that turns out to be dead is replaced once.
func (d *desktop) look(ctx context.Context, c *client.Client) (*image.RGBA, error) {
	conn, kept, err := d.connected(ctx, c)
	if err != nil {
		return nil, err
	}
	screenshot, err := d.screenshot(ctx, conn)
	if err == nil || !kept || ctx.Err() != nil {
		return screenshot, err
	}
	if conn, _, err = d.connected(ctx, c); err != nil {
		return nil, err
	}
	return d.screenshot(ctx, conn)
}

// screenshot is what the desktop shows now. A connection that gives none is dropped.
func (d *desktop) screenshot(ctx context.Context, conn *rfb.Conn) (*image.RGBA, error) {
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	screenshot, err := conn.Screenshot(looking)
	if err == nil {
		return screenshot, nil
	}
	if ctx.Err() == nil { // else the connection is good: the caller has gone
		d.drop()
	}
	return nil, explainDesktop(ctx, err)
}

// changedSize refuses actions in a picture of what is not there any more.
func changedSize(now image.Point) error {
	return &Failure{
		Kind: string(client.KindConflict), Message: fmt.Sprintf("the desktop is %dx%d now, other than in the last picture; nothing was done", now.X, now.Y),
		Next: "look with view_chat_desktop, then act on that picture",
	}
}
