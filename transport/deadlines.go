package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Deadlines bound how long a client may hold up a connection by doing nothing. The zero value of a field means its default.
type Deadlines struct {
	// Body is how long the body of a request may take to arrive once its header has. Default 30 s.
	Body time.Duration
	// Write is how long a client may take to receive the next 64 KiB of an answer, or what there is. Default 30 s.
	Write time.Duration
}

const (
	// pace is how much is written within one Deadlines.Write: a slow client is waited for, one that reads nothing is not.
	pace = 64 << 10
	// lastWords is for a client that still sends what was refused to read why, before the connection is closed under it.
	lastWords = 500 * time.Millisecond
)

// Around serves next within d. It belongs around all that an http.Server serves, for net/http itself reads the rest of a
// body before it sends the header of an answer, for as long as that takes. Here an answer to a body that was not read goes
// out at once and ends the connection. A body that comes too late is an os.ErrDeadlineExceeded to whoever reads it. How long
// next itself takes, and how long a stream is silent, are not bounded.
func (d Deadlines) Around(next http.Handler) http.Handler {
	d.Body, d.Write = orDefault(d.Body, 30*time.Second), orDefault(d.Write, 30*time.Second)
	return &inTime{next, d}
}

type inTime struct {
	next http.Handler
	d    Deadlines
}

func (t *inTime) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, r := t.bound(w, r)
	defer b.end()
	t.next.ServeHTTP(b, r)
}

// bound is a function of its own for the sake of the stack below a stream that stays.
func (t *inTime) bound(w http.ResponseWriter, r *http.Request) (*bounded, *http.Request) {
	b := &bounded{ResponseWriter: w, control: http.NewResponseController(w), write: t.d.Write, closes: r.ProtoMajor == 1}
	if r.Body != nil && r.Body != http.NoBody {
		b.unread = true
		_ = b.control.SetReadDeadline(time.Now().Add(t.d.Body))
		r = r.WithContext(r.Context()) // a copy: net/http looks at the body of its own
		r.Body = &boundedBody{r.Body, b}
	}
	return b, r
}

// bounded is an answer whose client must take it in time.
type bounded struct {
	http.ResponseWriter
	control  *http.ResponseController
	write    time.Duration
	closes   bool // HTTP/1: a body that was not read makes the connection useless
	answered bool

	mu     sync.Mutex // a proxy reads the body beside the handler, and for a moment after it
	unread bool       // the body, or a part of it
	over   bool
}

// Unwrap is for http.ResponseController.
func (b *bounded) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *bounded) WriteHeader(status int) {
	b.answer()
	b.within(func() error {
		b.ResponseWriter.WriteHeader(status)
		return nil
	})
}

func (b *bounded) Write(p []byte) (written int, err error) {
	b.answer()
	for err == nil {
		part := p[:min(len(p), pace)]
		err = b.within(func() error {
			n, err := b.ResponseWriter.Write(part)
			written += n
			return err
		})
		if p = p[len(part):]; len(p) == 0 {
			break
		}
	}
	return written, err
}

// FlushError is for http.ResponseController.
func (b *bounded) FlushError() error {
	b.answer()
	return b.within(b.control.Flush)
}

// within writes in time, or fails with an os.ErrDeadlineExceeded, for which HTTP/2 has words of its own. No deadline stays
// behind: over HTTP/2 it would end a stream that has nothing to say.
func (b *bounded) within(write func() error) error {
	until := time.Now().Add(b.write)
	_ = b.control.SetWriteDeadline(until)
	defer func() { _ = b.control.SetWriteDeadline(time.Time{}) }()
	err := write()
	if err != nil && !time.Now().Before(until) {
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return err
}

// answer is called before the header goes out.
func (b *bounded) answer() {
	if b.answered {
		return
	}
	b.answered = true
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unread && b.closes {
		b.Header().Set("Connection", "close")
	}
}

// end bounds what net/http does when the handler has returned: it sends what it has held back, and reads what is left of
// the body.
func (b *bounded) end() {
	b.answer()
	_ = b.control.SetWriteDeadline(time.Now().Add(b.write))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.unread && b.closes {
		_ = b.control.SetReadDeadline(time.Now().Add(lastWords))
	}
}

// boundedBody takes the deadline off once it was read to its end: what is read of the connection from then on tells when
// the client hangs up.
type boundedBody struct {
	io.ReadCloser
	of *bounded
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.of.received()
	}
	return n, err
}

func (b *bounded) received() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unread && !b.over {
		b.unread = false
		_ = b.control.SetReadDeadline(time.Time{})
	}
}
