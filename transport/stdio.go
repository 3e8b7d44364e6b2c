package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// ServeStdio serves one client that sends a message per line on in and reads a message per line from out, in either
// protocol era or in both. It returns nil when in has ended: running calls then have Options.DrainTimeout to finish,
// what they say is flushed, listen subscriptions end with their result. An end of ctx is served in the same way and
// returns its error; in is then still being read until its next line or end. An error of in or out is returned.
func (c *Core) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	s := c.newSession(ctx, "")
	w := &lineWriter{out: out, box: s.out, broken: make(chan struct{}), done: make(chan struct{}), moved: make(chan struct{}, 1)}
	go w.run()
	ended := make(chan error, 1)
	go func() { ended <- s.readLines(in) }()

	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	case <-w.broken:
		s.close(errStopping)
		return fmt.Errorf("writing to the MCP client: %w", w.err)
	}
	s.drain()
	s.close(errStopping)
	w.flush(c.opts.DrainTimeout)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("reading from the MCP client: %w", err)
	}
	return err
}

// drain lets running requests finish, then cuts them short. Their answers are queued when it returns, but for those
// that don't even heed the cut.
func (s *Session) drain() {
	s.stop()
	s.endListens()
	if !s.quietWithin(s.core.opts.DrainTimeout) {
		s.cutShort()
		s.quietWithin(cutGrace)
	}
}

// cutGrace is for calls that heed their cut to say so.
const cutGrace = time.Second

func (s *Session) quietWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.quiet:
		return true
	case <-timer.C:
		return false
	}
}

func (s *Session) cutShort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.inflight {
		r.cancel(errStopping)
	}
}

// readLines dispatches every line of in until it ends. Back-pressure works on the client, too: one that sends without
// reading isn't read any further.
func (s *Session) readLines(in io.Reader) error {
	lines := &lineReader{in: bufio.NewReaderSize(in, 64<<10), max: s.core.opts.MaxLine}
	crew := newCrew(s.Done())
	for s.out.below(s.ctx, 2*s.core.opts.MaxQueued) == nil {
		line, err := lines.next()
		switch {
		case errors.Is(err, errLineTooLong):
			message := fmt.Sprintf("the message is longer than %d bytes", lines.max)
			s.out.reply(encodeError(leadingID(line), &Error{Code: mcp.INVALID_REQUEST, Message: message}))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			s.receive(line, crew)
		}
	}
	return nil
}

// receive handles one message: itself if it is quick or must be done before the next one, else by the crew.
func (s *Session) receive(line []byte, crew *crew) {
	m, bad := parse(line)
	switch {
	case bad != nil:
		s.out.reply(encodeError(m.ID, bad))
	case m.isResponse():
		s.answer(m)
	case m.ID == nil:
		s.hear(s.ctx, m)
	case inline(m.Method):
		s.out.reply(s.handle(s.ctx, m))
		if m.Method == string(mcp.MethodInitialize) && s.isLegacy() {
			s.open()
		}
	default:
		s.start(m, crew)
	}
}

func inline(method string) bool {
	switch mcp.MCPMethod(method) {
	case mcp.MethodInitialize, mcp.MethodPing, mcp.MethodSetLogLevel:
		return true
	default:
		return false
	}
}

// start registers m and runs it in a goroutine of its own.
func (s *Session) start(m *message, crew *crew) {
	r, refused := s.begin(s.ctx, m, s.out)
	if refused != nil {
		s.out.reply(encodeError(m.ID, refused))
		return
	}
	s.open()
	turn := s.turn(m.Method)
	crew.run(func() {
		defer turn.end()
		turn.await()
		if m.listens() {
			if refused := s.listen(r, m); refused != nil {
				r.finish(refused)
				return
			}
			s.leave() // it lives on without a goroutine
			return
		}
		r.finish(s.core.serve(r, m))
	})
}

// turn keeps the requests that change subscriptions in the order they came.
type turn struct{ before, mine chan struct{} }

func (s *Session) turn(method string) turn {
	switch mcp.MCPMethod(method) {
	case mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe, mcp.MethodSubscriptionsListen:
	default:
		return turn{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := turn{before: s.ordered, mine: make(chan struct{})}
	s.ordered = t.mine
	return t
}

func (t turn) await() {
	if t.before != nil {
		<-t.before
	}
}

func (t turn) end() {
	if t.mine != nil {
		close(t.mine)
	}
}

var errLineTooLong = errors.New("line too long")

type lineReader struct {
	in  *bufio.Reader
	max int
}

// next returns the next line that isn't empty, without its end. With errLineTooLong it returns the beginning of a line
// whose rest has been skipped. A last line may lack its end.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := l.in.ReadSlice('\n')
		if !tooLong {
			line = append(line, part...)
			tooLong = len(bytes.TrimRight(line, "\r\n")) > l.max
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return nil, err
		}
		if tooLong {
			return line, errLineTooLong
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// lineWriter is the one consumer of a session's outbox.
type lineWriter struct {
	out    io.Writer
	box    *outbox
	err    error         // set before broken is closed
	broken chan struct{} // closed when out failed
	done   chan struct{} // closed when all is written, or broken
	moved  chan struct{} // a token for each write that succeeded
}

// writeSize is about how many bytes go out in one write. What waits beyond it can still be joined.
const writeSize = 64 << 10

func (w *lineWriter) run() {
	defer close(w.done)
	var buffer []byte
	for {
		batch := w.box.take(writeSize)
		if len(batch) == 0 {
			if w.box.drained() {
				return
			}
			<-w.box.ready
			continue
		}
		buffer = buffer[:0]
		for _, i := range batch {
			data, err := i.encoded()
			if err != nil {
				data = lostJoin(i, err)
			}
			buffer = append(append(buffer, data...), '\n')
		}
		if _, err := w.out.Write(buffer); err != nil {
			w.err = err
			close(w.broken)
			w.box.close()
			return
		}
		w.box.written(batch)
		if cap(buffer) > 4*writeSize {
			buffer = nil
		}
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
}

// lostJoin says on the wire that what a Merge made can't be sent.
func lostJoin(i *item, err error) []byte {
	return mustEncode(struct {
		Version string    `json:"jsonrpc"`
		Method  string    `json:"method"`
		Params  logParams `json:"params"`
	}{mcp.JSONRPC_VERSION, string(mcp.MethodNotificationMessage), logParams{mcp.LoggingLevelError, "transport", "lost joined " + i.method + ": " + err.Error()}})
}

// flush waits until all is written, as long as the client takes something within each limit.
func (w *lineWriter) flush(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-w.moved:
			timer.Reset(limit)
		case <-timer.C:
			return
		}
	}
}
