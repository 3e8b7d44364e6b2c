package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// Desktop is "Connect to chat workspace desktop via WebSockets": the workspace's screen as a raw RFB (VNC) connection, the
// server speaking first. A chat without a workspace or whose agent is not connected is an invalid_argument. ctx bounds the
// connecting only. Pings are answered while nobody reads; a read deadline that passes leaves the connection as it is, a write
// deadline ends it.
func (c *Client) Desktop(ctx context.Context, id uuid.UUID) (net.Conn, error) {
	s, err := c.dial(ctx, call{op: opDesktop, path: chatPath(id, "stream", "desktop")})
	if err != nil {
		return nil, err
	}
	return &desktopConn{s: s, address: desktopAddress(origin(c.host.base)), read: newDeadline(), write: newDeadline()}, nil
}

// desktopConn is the bytes of a socket's frames, whose borders mean nothing. The library's NetConn would answer pings only
// while somebody reads, and break on the first read deadline.
type desktopConn struct {
	s           *socket
	address     desktopAddress
	read, write *deadline

	mu   sync.Mutex
	rest []byte // of the frame that is being read
}

func (d *desktopConn) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	ctx, cancel := d.read.context()
	defer cancel()
	for len(d.rest) == 0 {
		frame, err := d.s.next(ctx)
		if err != nil {
			return 0, d.netError(err, ctx)
		}
		d.rest = frame
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *desktopConn) Write(p []byte) (int, error) {
	ctx, cancel := d.write.context()
	defer cancel()
	if ctx.Err() != nil {
		return 0, os.ErrDeadlineExceeded
	}
	if err := d.s.conn.Write(ctx, websocket.MessageBinary, p); err != nil {
		return 0, d.netError(err, ctx)
	}
	return len(p), nil
}

// netError says it in the words of package net.
func (d *desktopConn) netError(err error, ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		return io.EOF
	case d.s.closing.Load():
		return net.ErrClosed
	}
	return err
}

func (d *desktopConn) Close() error         { return d.s.Close() }
func (d *desktopConn) LocalAddr() net.Addr  { return desktopAddress("this side") }
func (d *desktopConn) RemoteAddr() net.Addr { return d.address }

func (d *desktopConn) SetDeadline(t time.Time) error {
	d.read.set(t)
	d.write.set(t)
	return nil
}

func (d *desktopConn) SetReadDeadline(t time.Time) error {
	d.read.set(t)
	return nil
}

func (d *desktopConn) SetWriteDeadline(t time.Time) error {
	d.write.set(t)
	return nil
}

// desktopAddress names an end of the connection by the deployment it goes to.
type desktopAddress string

func (desktopAddress) Network() string  { return "websocket" }
func (a desktopAddress) String() string { return string(a) }

// deadline makes contexts that end when it passes, also when it is set while they are in use.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed context.Context
	pass   context.CancelFunc
}

func newDeadline() *deadline {
	d := &deadline{}
	d.passed, d.pass = context.WithCancel(context.Background())
	return d
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.passed.Err() != nil {
		d.passed, d.pass = context.WithCancel(context.Background())
	}
	switch rest := time.Until(t); {
	case t.IsZero():
	case rest <= 0:
		d.pass()
	default:
		d.timer = time.AfterFunc(rest, d.pass)
	}
}

func (d *deadline) context() (context.Context, context.CancelFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return context.WithCancel(d.passed)
}
