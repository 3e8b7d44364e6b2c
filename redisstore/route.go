package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// forwarded marks a request that another replica passed on: it goes no further.
const forwarded = "X-Coder-Chats-Mcp-Forwarded"

// Route returns next for everything but requests of sessions, at path, that another replica has: those go there as they
// came, the caller's token included, and are checked there. A replica that doesn't answer is waited for until its lease
// ends; then its session is taken over here. Without Redis such requests are answered with 503.
func (s *Store) Route(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := r.Header.Get(mcp.HeaderSessionID)
		if r.URL.Path != path || session == "" || len(session) > longestID || mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) {
			next.ServeHTTP(w, r)
			return
		}
		s.route(w, r, session, next)
	})
}

func (s *Store) route(w http.ResponseWriter, r *http.Request, session string, next http.Handler) {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Lease+2*patience)
	defer cancel()
	for {
		address, err := s.locate(ctx, session)
		switch {
		case r.Context().Err() != nil:
			return
		case err != nil:
			s.o.Logger.Error("the replica of a session can't be looked up", "error", err)
			refuse(w, "the store of MCP sessions can't be reached at the moment; protocol 2026-07-28 needs none")
			return
		case address == "":
			next.ServeHTTP(w, r)
			return
		case r.Header.Get(forwarded) != "":
			refuse(w, "the session has just moved to another replica: repeat the request")
			return
		}
		var dial *net.OpError
		if err = s.forward(w, r, address); err == nil {
			return
		}
		if !errors.As(err, &dial) || dial.Op != "dial" {
			s.o.Logger.Warn("a request was lost with the replica that had its session", "address", address, "error", err)
			refuse(w, "the replica that has this session went away with the request: look before you repeat it")
			return
		}
		select {
		case <-time.After(s.o.Lease / 20):
		case <-ctx.Done():
			s.o.Logger.Error("another replica renews its lease but can't be reached", "address", address, "error", err)
			refuse(w, "the replica that has this session can't be reached: try again, or initialize anew")
			return
		}
	}
}

// forward passes the request on and its answer back. With an error nothing was answered yet; when connecting failed, the
// body was not read either.
func (s *Store) forward(w http.ResponseWriter, r *http.Request, address string) (err error) {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if r.Method == http.MethodGet { // calls are worth to be waited for, streams are resumed
		defer context.AfterFunc(s.leaving, cancel)()
	}
	out := r.WithContext(ctx)
	out.Body = io.NopCloser(r.Body)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.URL.Path, p.Out.URL.RawPath = r.URL.Path, r.URL.RawPath
			p.Out.Host = r.Host
			p.Out.Header.Set(forwarded, s.id)
		},
		Transport: s.peers, FlushInterval: -1, ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, failed error) { err = failed },
	}
	proxy.ServeHTTP(w, out)
	return err
}

func refuse(w http.ResponseWriter, why string) {
	body, _ := json.Marshal(map[string]any{"jsonrpc": mcp.JSONRPC_VERSION, "id": nil, "error": map[string]any{"code": -32000, "message": why}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body)
}
