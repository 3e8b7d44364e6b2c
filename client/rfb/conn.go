package rfb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"net"
	"sync"
	"time"
)

// Options say how to connect. The zero value suits a desktop without a password.
type Options struct {
	// Password answers VNC authentication. The protocol uses its first 8 bytes only.
	Password string
	// Exclusive asks the server to disconnect every other viewer of the desktop.
	Exclusive bool
	// Encodings to offer, the best first. Empty: all that this package knows.
	// Raw is always understood.
	Encodings []Encoding
}

// Conn is a connection to a desktop. Its methods may be called at the same time
// from several goroutines: each action reaches the server in one piece.
//
// One goroutine reads for as long as the connection lives, asked or not, so that
// a transport that must be read to stay alive (a WebSocket answers pings only
// while it is read) survives the quiet between two calls. [Conn.Close] ends it.
type Conn struct {
	conn net.Conn
	in   wire
	zrle zrle
	fb   framebuffer // the reading goroutine's alone
	may  allowance

	name    string
	looking chan struct{} // holds one token: the one Screenshot at work
	writing chan struct{} // holds one token: the one message being written

	mu      sync.Mutex
	size    image.Point
	look    *look               // the Screenshot that is waited for, perhaps by nobody any more
	foreign map[uint32]struct{} // keysyms typed that the US layout lacks, at most maxForeign

	done chan struct{} // closed when reading has ended
	err  error         // why it ended; set before done is closed
}

// New greets the server at the other end of conn and takes conn over: it is
// closed when New fails, when ctx ends before New returns, and by [Conn.Close].
//
// Errors: [ErrPasswordRequired], [ErrPasswordWrong], [ErrRefused], [ErrSecurity],
// [ErrProtocol], [ErrTooLarge], the context's, and conn's own.
func New(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	c := newConn(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := c.handshake(o)
	if !stop() {
		err = fmt.Errorf("rfb: greeting the desktop: %w", context.Cause(ctx))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.run()
	return c, nil
}

func newConn(conn net.Conn) *Conn {
	return &Conn{
		conn:    conn,
		in:      wire{bufio.NewReaderSize(conn, wireBuffer)},
		looking: make(chan struct{}, 1),
		writing: make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
}

// Name is the desktop's name as the server tells it: untrusted text, at most 64 KiB.
func (c *Conn) Name() string { return c.name }

// Size is the desktop's size in pixels as last heard. A desktop can change its
// size; the client learns of it with the next [Conn.Screenshot].
func (c *Conn) Size() image.Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// Done is closed when the connection has ended, by either side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection and returns when nothing of it runs any more.
// Calls at work return [ErrClosed].
func (c *Conn) Close() error {
	c.may.close()
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *Conn) run() {
	c.err = fmt.Errorf("%w: %w", ErrClosed, c.serve())
	close(c.done) // first, so that who cannot write any more finds out why
	c.conn.Close()
}

// send writes a message in one piece. A context that ends before all of it is
// written closes the connection: half a message cannot be taken back.
func (c *Conn) send(ctx context.Context, message []byte) error {
	if err := c.acquire(ctx, c.writing); err != nil {
		return err
	}
	defer func() { <-c.writing }()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0)) // long past
	})
	_, err := c.conn.Write(message)
	if !stop() {
		<-cut
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	c.conn.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-c.done:
		return c.err
	default:
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
}

// acquire puts its token into slot, or says why it is pointless to wait for it.
func (c *Conn) acquire(ctx context.Context, slot chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.err
	}
}
