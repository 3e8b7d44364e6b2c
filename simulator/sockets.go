package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	heartbeat    = 15 * time.Second
	closePatient = 250 * time.Millisecond // how long a closing handshake may take on shutdown
)

// socket is one open WebSocket.
type socket struct {
	kind   string // stream, parts, watch, git, desktop
	conn   *websocket.Conn
	cancel context.CancelFunc
	once   sync.Once
}

// Sockets counts the WebSockets that are open now.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// SocketsOf counts the open WebSockets of one kind: stream, watch, git or desktop.
func (s *Server) SocketsOf(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for k := range s.sockets {
		if k.kind == kind {
			n++
		}
	}
	return n
}

// CloseSockets closes all open sockets of a kind with a close code from the
// server's side; code 0 drops the connections without a close frame.
func (s *Server) CloseSockets(kind string, code int) {
	for _, k := range s.socketsOf(kind) {
		k.close(websocket.StatusCode(code))
	}
}

func (s *Server) socketsOf(kind string) []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*socket
	for k := range s.sockets {
		if kind == "" || k.kind == kind {
			found = append(found, k)
		}
	}
	return found
}

// goodbye closes every socket as a graceful shutdown does.
func (s *Server) goodbye() {
	var all sync.WaitGroup
	for _, k := range s.socketsOf("") {
		code := websocket.StatusNormalClosure
		switch k.kind {
		case "stream":
			code = s.gen.streamGoodbye
		case "git":
			code = websocket.StatusGoingAway
		}
		all.Go(func() { k.close(code) })
	}
	all.Wait()
}

func (k *socket) close(code websocket.StatusCode) {
	k.once.Do(func() {
		if code == 0 {
			k.cancel() // the reader dies with its context, and the connection with it
			_ = k.conn.CloseNow()
			return
		}
		patience := time.AfterFunc(closePatient, k.cancel)
		defer patience.Stop()
		_ = k.conn.Close(code, "")
		k.cancel()
	})
}

// upgrade opens a WebSocket and registers it. When it fails, the library has
// written a line of text already; the API adds its JSON to the same body (05/058).
func (s *Server) upgrade(c *call, kind, failure string, compress websocket.CompressionMode) (*socket, context.Context) {
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{CompressionMode: compress})
	if err != nil {
		if failure != "" {
			_ = json.NewEncoder(c.w).Encode(apiError{Message: failure, Detail: err.Error()})
		}
		return nil, nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	k := &socket{kind: kind, conn: conn, cancel: cancel}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		cancel()
		_ = conn.CloseNow()
		return nil, nil
	}
	s.sockets[k] = struct{}{}
	s.work.Add(1)
	s.mu.Unlock()
	return k, ctx
}

// release ends a socket's life; every successful upgrade is followed by one.
func (s *Server) release(k *socket) {
	k.cancel()
	_ = k.conn.CloseNow()
	s.mu.Lock()
	delete(s.sockets, k)
	s.mu.Unlock()
	s.work.Done()
}

// beat pings every 15 s and closes the socket of a peer that does not answer
// for as long. Something must be reading meanwhile.
func (s *Server) beat(ctx context.Context, k *socket) {
	every := s.scaled(heartbeat)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pong, cancel := context.WithTimeout(ctx, every)
		err := k.conn.Ping(pong)
		dead := pong.Err() != nil && ctx.Err() == nil
		cancel()
		if dead {
			patience := time.AfterFunc(closePatient, k.cancel)
			_ = k.conn.Close(websocket.StatusGoingAway, s.gen.noPong)
			patience.Stop()
		}
		if err != nil {
			k.cancel()
			return
		}
	}
}

// background runs the socket's heartbeat, and readers, beside its handler.
func (s *Server) background(ctx context.Context, k *socket, readers ...func(context.Context)) (wait func()) {
	var g sync.WaitGroup
	g.Go(func() { s.beat(ctx, k) })
	for _, read := range readers {
		g.Go(func() { read(ctx) })
	}
	return g.Wait
}

// hearNothing answers control frames until the socket ends; a data frame closes
// it. The library's CloseRead does that too, but then waits for itself for 15 s.
func (k *socket) hearNothing(ctx context.Context) {
	defer k.cancel()
	if _, _, err := k.conn.Reader(ctx); err == nil {
		_ = k.conn.Close(websocket.StatusPolicyViolation, "unexpected data message")
	}
}

// pump writes what arrives in a feed until the socket or ctx ends. frame turns
// up to most pending events into one frame.
func pump(ctx context.Context, k *socket, f *feed, most int, frame func([]event) []byte) error {
	for {
		batch := f.take(most)
		if len(batch) == 0 {
			select {
			case <-f.wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := k.conn.Write(ctx, websocket.MessageText, frame(batch)); err != nil {
			return fmt.Errorf("write a frame: %w", err)
		}
	}
}
