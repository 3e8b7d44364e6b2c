package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket that is read all the time, so that pings are answered and a dead peer is noticed while nobody asks
// for the next frame. Frames wait in a queue of maxQueued bytes; when that is full, reading (and answering pings) rests until
// somebody takes one.
type socket struct {
	conn    *websocket.Conn
	op      string
	client  *Client
	queue   *frameQueue
	stop    context.CancelFunc // ends reading, by cutting the connection
	reading chan struct{}      // closed when the reader is gone

	began     time.Time
	lastSeen  atomic.Int64 // ns since began: when the server last gave a sign of life
	watchdog  *time.Timer
	silent    atomic.Bool // the watchdog cut the connection
	closing   atomic.Bool // Close was called
	closeOnce sync.Once
}

// maxQueued is how many bytes of frames wait for their reader; a single larger one is taken nevertheless.
const maxQueued = 8 << 20

// dial opens a WebSocket. A refused handshake is the same Error that a REST call would get. It is tried once: who follows a
// chat reconnects with a policy of its own.
func (c *Client) dial(ctx context.Context, k call) (*socket, error) {
	var s *socket
	err := c.addressed(ctx, &k, func(path []string) error {
		var err error
		s, err = c.handshake(ctx, &k, path)
		return err
	})
	return s, err
}

func (c *Client) handshake(ctx context.Context, k *call, path []string) (*socket, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.host.options.HandshakeTimeout, errTimeout)
	defer cancel()
	s := &socket{op: k.op, client: c, queue: newFrameQueue(), reading: make(chan struct{}), began: time.Now()}
	header := c.header(k)
	header.Del("Accept")
	conn, _, err := websocket.Dial(ctx, c.host.address(path, k.query), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     &handshakeTransport{c, k},
			CheckRedirect: c.host.checkRedirect,
		},
		HTTPHeader:     header,
		OnPingReceived: func(context.Context, []byte) bool { s.seen(); return true },
	})
	if err != nil {
		return nil, c.transportError(ctx, k, c.host.base.Path+"/"+strings.Join(path, "/"), err)
	}
	conn.SetReadLimit(c.host.options.MaxResponse)
	s.conn = conn
	readCtx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.watchdog = time.AfterFunc(math.MaxInt64, s.checkSilence)
	s.watchdog.Reset(c.host.options.PingTimeout)
	go s.read(readCtx)
	return s, nil
}

// handshakeTransport makes the typed Error of a handshake that was answered with anything but 101: the library would keep
// 1 KiB of the answer only.
type handshakeTransport struct {
	client *Client
	call   *call
}

func (t *handshakeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.client.host.http.Transport.RoundTrip(r)
	if err != nil || resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode/100 == 3 {
		return resp, err
	}
	defer resp.Body.Close()
	resp.Request = r
	e := t.client.answerError(t.call, resp)
	if resp.StatusCode/100 == 2 {
		e.Message = "It did not open a WebSocket; a proxy in between may not pass them."
	}
	return nil, e
}

func (s *socket) seen() { s.lastSeen.Store(int64(time.Since(s.began))) }

// checkSilence cuts the connection when nothing came for PingTimeout: the server pings every 15 s. A reader that waits for
// room in the queue hears nothing, and that is not the server's fault.
func (s *socket) checkSilence() {
	if s.queue.isFull() {
		s.seen()
	}
	timeout := s.client.host.options.PingTimeout
	rest := timeout - (time.Since(s.began) - time.Duration(s.lastSeen.Load()))
	if rest > 0 {
		s.watchdog.Reset(rest)
		return
	}
	s.silent.Store(true)
	s.stop()
}

func (s *socket) read(ctx context.Context) {
	defer close(s.reading)
	defer s.watchdog.Stop()
	defer s.stop()
	for {
		frame, err := s.readFrame(ctx)
		if err != nil {
			s.queue.end(s.closedError(err))
			return
		}
		s.queue.put(frame)
		s.seen()
	}
}

// readFrame reads a whole message, which may come in fragments.
func (s *socket) readFrame(ctx context.Context) ([]byte, error) {
	_, r, err := s.conn.Reader(ctx)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, 1024)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		s.seen()
		switch {
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return nil, err
		case len(buf) == cap(buf):
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

func (s *socket) closedError(err error) *ClosedError {
	var closed websocket.CloseError
	switch {
	case s.closing.Load():
		return &ClosedError{Code: -1, Reason: "it was closed from this side", cause: net.ErrClosed}
	case s.silent.Load():
		return &ClosedError{Code: -1, Reason: fmt.Sprintf(
			"no frame and no ping for %s, the connection is dead", s.client.host.options.PingTimeout)}
	case errors.As(err, &closed):
		return &ClosedError{Code: int(closed.Code), Reason: s.client.redact(excerpt([]byte(closed.Reason), ""))}
	case errors.Is(err, websocket.ErrMessageTooBig):
		return &ClosedError{Code: -1, Reason: "a message is larger than " + megabytes(s.client.host.options.MaxResponse), cause: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &ClosedError{Code: -1, Reason: "the connection ended without a close frame", cause: io.EOF}
	}
	return &ClosedError{Code: -1, Reason: excerpt([]byte(err.Error()), ""), cause: err}
}

// next takes the next frame.
func (s *socket) next(ctx context.Context) ([]byte, error) {
	return s.queue.take(ctx)
}

// closeGrace is how long Close waits for the server's answer. The server may not look for 15 s (061).
const closeGrace = 250 * time.Millisecond

// Close ends the WebSocket: politely, and after closeGrace in any case. It may be called more than once.
func (s *socket) Close() error {
	s.closeOnce.Do(func() {
		s.closing.Store(true)
		s.queue.discard()
		cut := time.AfterFunc(closeGrace, s.stop)
		_ = s.conn.Close(websocket.StatusNormalClosure, "")
		cut.Stop()
		s.stop()
	})
	<-s.reading
	return nil
}

// readError is for a frame that can't be understood.
func (s *socket) readError(frame []byte, cause error) *Error {
	return &Error{
		Kind: KindUnavailable, Op: s.op, Method: http.MethodGet, cause: cause,
		Message: "The server sent a frame that is not what the Chats API would send: " + s.client.redact(excerpt(frame, "")),
	}
}

// pump ranges over next until it fails.
func pump[T any](ctx context.Context, next func(context.Context) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := next(ctx)
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// frameQueue hands frames from the reader of a socket to its user.
type frameQueue struct {
	changed, room chan struct{} // capacity 1: look again

	mu        sync.Mutex
	frames    [][]byte
	bytes     int
	full      bool // the reader waits
	discarded bool
	err       error // after the last frame
}

func newFrameQueue() *frameQueue {
	return &frameQueue{changed: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a frame, when there is room for it.
func (q *frameQueue) put(frame []byte) {
	for {
		q.mu.Lock()
		q.full = !q.discarded && q.bytes > 0 && q.bytes+len(frame) > maxQueued
		if !q.full {
			if !q.discarded {
				q.frames = append(q.frames, frame)
				q.bytes += len(frame)
			}
			q.mu.Unlock()
			signal(q.changed)
			return
		}
		q.mu.Unlock()
		<-q.room
	}
}

// end says that no frame follows, and why.
func (q *frameQueue) end(err error) {
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	signal(q.changed)
}

// discard drops the frames, those to come too.
func (q *frameQueue) discard() {
	q.mu.Lock()
	q.discarded, q.frames, q.bytes = true, nil, 0
	q.mu.Unlock()
	signal(q.room)
}

func (q *frameQueue) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full
}

// take removes the oldest frame. What came before the end is handed out before the error.
func (q *frameQueue) take(ctx context.Context) ([]byte, error) {
	for {
		q.mu.Lock()
		if len(q.frames) > 0 {
			frame := q.frames[0]
			q.frames[0] = nil
			q.frames = q.frames[1:]
			q.bytes -= len(frame)
			more := len(q.frames) > 0 || q.err != nil
			q.mu.Unlock()
			signal(q.room)
			if more {
				signal(q.changed)
			}
			return frame, nil
		}
		err := q.err
		q.mu.Unlock()
		if err != nil {
			signal(q.changed) // for another caller
			return nil, err
		}
		select {
		case <-q.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
