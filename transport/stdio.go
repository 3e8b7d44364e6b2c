package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
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
	s.out.pour = w.pour
	go w.run()
	l := &listener{
		session: s, lines: &lineReader{in: bufio.NewReaderSize(in, 64<<10), max: c.opts.MaxLine},
		crew: newCrew(s.Done()), ended: make(chan error, 1),
	}
	l.crew.run(l.listen)

	var err error
	select {
	case err = <-l.ended:
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

// listener reads the client's lines. One goroutine at a time listens: whoever read a message that takes time hands the
// listening on and serves the message itself, so that a call does not wait for another thread to wake up.
type listener struct {
	session *Session
	lines   *lineReader
	crew    *crew
	ended   chan error // one error, or nil, when the input has ended
}

// listen takes line after line until the input ends or a message is to be served. Back-pressure works on the client, too:
// one that sends without reading isn't read any further.
func (l *listener) listen() {
	s := l.session
	for s.out.below(s.ctx, 2*s.core.opts.MaxQueued) == nil {
		line, err := l.lines.next()
		switch {
		case errors.Is(err, errLineTooLong):
			message := fmt.Sprintf("the message is longer than %d bytes", l.lines.max)
			s.out.reply(encodeError(leadingID(line), &Error{Code: mcp.INVALID_REQUEST, Message: message}))
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = nil
			}
			l.ended <- err
			return
		default:
			if serve := s.receive(line); serve != nil {
				l.crew.run(l.listen)
				serve()
				return
			}
		}
	}
	l.ended <- nil
}

// receive does at once what must be done before the next message is read. What it returns, if anything, may take its time.
func (s *Session) receive(line []byte) (serve func()) {
	m, bad := parse(line)
	switch {
	case bad != nil:
		s.out.reply(encodeError(m.ID, bad))
	case m.isResponse():
		s.answer(m)
	case m.ID == nil:
		s.hear(s.ctx, m)
	case m.Method == string(mcp.MethodPing) && s.arrive():
		return func() {
			defer s.leave()
			s.out.deliver(s.handle(s.ctx, m))
		}
	case inline(m.Method):
		s.out.reply(s.handle(s.ctx, m))
		if m.Method == string(mcp.MethodInitialize) && s.isLegacy() {
			s.open()
		}
	default:
		return s.start(m)
	}
	return nil
}

func inline(method string) bool {
	switch mcp.MCPMethod(method) {
	case mcp.MethodInitialize, mcp.MethodPing, mcp.MethodSetLogLevel:
		return true
	default:
		return false
	}
}

// start registers m and returns what serves it.
func (s *Session) start(m *message) (serve func()) {
	r, refused := s.begin(s.ctx, m, s.out)
	if refused != nil {
		s.out.reply(encodeError(m.ID, refused))
		return nil
	}
	s.open()
	turn := s.turn(m.Method)
	return func() {
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
	}
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

// lineWriter writes a session's outbox: in a goroutine of its own, or in that of a request that has just been answered,
// which saves the answer a change of threads.
type lineWriter struct {
	out     io.Writer
	box     *outbox
	writing sync.Mutex    // held by whoever takes from box
	buffer  []byte        // guarded by writing
	err     error         // set before broken is closed
	broken  chan struct{} // closed when out failed
	done    chan struct{} // closed when all is written, or broken
	moved   chan struct{} // a token for each write that succeeded
}

// writeSize is about how many bytes go out in one write. What waits beyond it can still be joined.
const writeSize = 64 << 10

func (w *lineWriter) run() {
	defer close(w.done)
	for {
		w.writing.Lock()
		wrote := w.write()
		over := !wrote && w.box.drained()
		w.writing.Unlock()
		if over {
			return
		}
		if !wrote {
			<-w.box.ready
		}
	}
}

// pour writes some of what is queued, unless somebody else is at it.
func (w *lineWriter) pour() bool {
	if !w.writing.TryLock() {
		return false
	}
	defer w.writing.Unlock()
	w.write()
	return true
}

// write takes a batch and writes it; false if there was none. It runs with w.writing held.
func (w *lineWriter) write() bool {
	batch := w.box.take(writeSize)
	if len(batch) == 0 {
		return false
	}
	buffer := w.buffer[:0]
	for _, i := range batch {
		data, err := i.encoded()
		if err != nil {
			data = lostJoin(i, err)
		}
		buffer = append(append(buffer, data...), '\n')
	}
	if w.buffer = buffer; cap(buffer) > 4*writeSize {
		w.buffer = nil
	}
	if w.err != nil {
		return true // nobody is there to read it
	}
	if _, err := w.out.Write(buffer); err != nil {
		w.err = err
		close(w.broken)
		w.box.close()
		return true
	}
	w.box.written(batch)
	select {
	case w.moved <- struct{}{}:
	default:
	}
	return true
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
