package redisstore

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/transport"
)

// forwarded marks a request that another replica passed on, which it proves with the key: the request goes no further.
const forwarded = "X-Coder-Chats-Mcp-Forwarded"

// Route returns next for everything but requests of sessions, at path, that another replica has: those go there as they
// came, the caller's token included, and are checked there. Only the Host is checked here, by known: it says how the client
// found this replica. A replica that doesn't answer is waited for until its lease ends; then its session is taken over
// here. Without Redis such requests are answered with 503.
func (s *Store) Route(path string, known func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := r.Header.Get(mcp.HeaderSessionID)
		if r.URL.Path != path || session == "" || len(session) > longestID || mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) {
			next.ServeHTTP(w, r)
			return
		}
		passed := s.passedOn(r, session)
		if !passed && !known(r) {
			next.ServeHTTP(w, r) // which refuses it
			return
		}
		if passed {
			r = r.WithContext(transport.PassedOn(r.Context()))
		}
		s.route(w, &passing{Request: r, session: session, passed: passed}, next)
	})
}

// passing is a request that may be passed on.
type passing struct {
	*http.Request
	session string
	passed  bool                  // it was already
	kept    bool                  // its body was read, as far as it is short
	head    []byte                // what was read of it
	whole   bool                  // head is all of it, so that it can be sent again
	torn    atomic.Pointer[error] // why the rest of a long one did not come
}

func (s *Store) route(w http.ResponseWriter, r *passing, next http.Handler) {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Lease+2*patience)
	defer cancel()
	for {
		address, err := s.locate(ctx, r.session)
		switch {
		case r.Context().Err() != nil:
			return
		case err == nil && address == "":
			next.ServeHTTP(w, r.again())
			return
		case err == nil && r.passed:
			again(w, "the session has just moved to another replica: repeat the request")
			return
		case err == nil:
			err = s.forward(w, r, address)
		}
		var dial *net.OpError
		switch {
		case err == nil:
			return
		case r.torn.Load() != nil: // which net/http takes for the end of the client
			s.refuse(w, r, address, *r.torn.Load())
			return
		case r.Context().Err() != nil:
			return
		case errors.Is(err, errMoved), errors.Is(err, errUnsteady), errors.As(err, &dial) && dial.Op == "dial" && address != "":
			if !pause(ctx, min(s.o.Lease/20, 100*time.Millisecond)) {
				s.o.Logger.Error("another replica has a session and can't be reached", "address", address, "error", err)
				refuse(w, http.StatusServiceUnavailable, "the replica that has this session can't be reached: try again, or initialize anew")
				return
			}
		default:
			s.refuse(w, r, address, err)
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// refuse says why a request was not passed on, or not answered.
func (s *Store) refuse(w http.ResponseWriter, r *passing, address string, err error) {
	switch {
	case errors.Is(err, errStopping):
		again(w, "this replica is stopping: repeat the request")
	case r.torn.Load() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		refuse(w, http.StatusRequestTimeout, "the message took too long to arrive")
	case r.torn.Load() != nil:
		refuse(w, http.StatusBadRequest, "the message did not arrive whole")
	case address == "":
		s.o.Logger.Error("the replica of a session can't be looked up", "error", err)
		refuse(w, http.StatusServiceUnavailable, "the store of MCP sessions can't be reached at the moment; protocol 2026-07-28 needs none")
	case r.Method == http.MethodPost:
		s.o.Logger.Warn("a request was lost with the replica that had its session", "address", address, "error", err)
		refuse(w, http.StatusServiceUnavailable, "the replica that has this session went away with the request: look before you repeat it")
	default:
		refuse(w, http.StatusServiceUnavailable, "the replica that has this session went away: repeat the request")
	}
}

var errMoved = errors.New("the replica that had the session has just given it up")

// forward passes the request on and its answer back. With an error nothing was answered yet; when connecting failed, or
// the session has moved, the request can be passed on again.
func (s *Store) forward(w http.ResponseWriter, r *passing, address string) (err error) {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if r.Method == http.MethodGet { // calls are worth to be waited for, streams are resumed
		if s.stopping.Err() != nil {
			return errStopping
		}
		defer context.AfterFunc(s.stopping, cancel)()
	}
	if err := r.keep(); err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.URL.Path, p.Out.URL.RawPath = r.URL.Path, r.URL.RawPath
			p.Out.Host = r.Host
			p.Out.Header.Set(forwarded, s.pass(r.session))
		},
		Transport: s.peers, FlushInterval: -1, ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		ModifyResponse: func(answer *http.Response) error {
			if answer.Header.Get(transport.HeaderMoved) != "" && r.whole {
				return errMoved
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, failed error) { err = failed },
	}
	proxy.ServeHTTP(w, r.again().WithContext(ctx))
	return err
}

// shortBody is what a message may have to be passed on a second time.
const shortBody = 256 << 10

// keep reads a short body, once.
func (r *passing) keep() error {
	if r.kept {
		return nil
	}
	r.kept = true
	if r.Body == nil {
		r.whole = true
		return nil
	}
	var err error
	r.head, err = io.ReadAll(io.LimitReader(&body{r.Body, r}, shortBody+1))
	r.whole = len(r.head) <= shortBody
	return err
}

// again is the request as if nothing of its body had been read. A long one can be read no further than once.
func (r *passing) again() *http.Request {
	out := r.WithContext(r.Context())
	if !r.kept || r.Body == nil {
		return out
	}
	if !r.whole {
		out.Body = io.NopCloser(io.MultiReader(bytes.NewReader(r.head), &body{r.Body, r}))
		return out
	}
	out.ContentLength, out.TransferEncoding = int64(len(r.head)), nil
	out.Body = http.NoBody
	if len(r.head) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.head)), nil }
		out.Body, _ = out.GetBody()
	}
	return out
}

// body tells its failures from those of the other replica.
type body struct {
	io.Reader
	of *passing
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.of.torn.Store(&err)
	}
	return n, err
}

// pass proves to another replica that a request of the session was passed on by one that has the key.
func (s *Store) pass(session string) string { return s.id + " " + s.mac("pass\n"+s.id+"\n"+session) }

func (s *Store) passedOn(r *http.Request, session string) bool {
	replica, mac, _ := strings.Cut(r.Header.Get(forwarded), " ")
	return hmac.Equal([]byte(mac), []byte(s.mac("pass\n"+replica+"\n"+session)))
}

// again asks to repeat the request on another connection, and another replica to do so by itself.
func again(w http.ResponseWriter, why string) {
	w.Header().Set(transport.HeaderMoved, "1")
	w.Header().Set("Connection", "close")
	refuse(w, http.StatusServiceUnavailable, why)
}

func refuse(w http.ResponseWriter, status int, why string) {
	body, _ := json.Marshal(map[string]any{"jsonrpc": mcp.JSONRPC_VERSION, "id": nil, "error": map[string]any{"code": -32000, "message": why}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
