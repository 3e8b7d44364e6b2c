package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"coder-chats-mcp/client"
	"coder-chats-mcp/transport"
)

// Path is where MCP is served.
const Path = "/mcp"

// HTTPOptions say how a Server serves many callers.
type HTTPOptions struct {
	Host *client.Host // the deployment; no caller can change it
	// SharedToken, if set, is whom all callers work for; they need none of their own.
	SharedToken string
	// OAuth announces the deployment as the authorization server of this resource (RFC 9728). PublicURL is this server's address as clients see it,
	// without Path; empty takes it from the request.
	OAuth     bool
	PublicURL string
	Rate      int    // requests a minute of one caller; 0 = any
	Key       []byte // hashes tokens into identities; the same on all replicas; empty = random
	Checks    TokenChecks
	Transport transport.HTTPOptions
}

// Gateway is a Server over HTTP: MCP at Path, /healthz (this process), /readyz (Coder is reachable), /metrics with Options.Telemetry, and OAuth's
// metadata if that is on.
type Gateway struct {
	server   *Server
	options  HTTPOptions
	mcp      *transport.HTTPHandler
	mux      *http.ServeMux
	ready    *readiness
	stopping atomic.Bool
}

// Gateway makes the server's HTTP side. The Server's own Client is not used: each caller brings a token.
func (s *Server) Gateway(o HTTPOptions) *Gateway {
	s.callers = newCallers(o, s.options.Relay)
	g := &Gateway{server: s, options: o, mux: http.NewServeMux(), ready: newReadiness(o.Host.Client(""))}
	o.Transport.Identify = g.identify
	o.Transport.AllowedHeaders = append(o.Transport.AllowedHeaders, HeaderToken, HeaderToolsets, HeaderTools, HeaderExclude, HeaderReadOnly)
	g.mcp = s.core.HTTPHandler(o.Transport)
	g.mux.Handle(Path, g.mcp)
	g.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	g.mux.Handle("GET /readyz", g.mcp.Beside(http.HandlerFunc(g.readyz)))
	if t := s.options.Telemetry; t != nil {
		g.mux.Handle("GET /metrics", g.mcp.Beside(t.Handler()))
		s.count(t)
	}
	if o.OAuth {
		for _, path := range g.metadataPaths() {
			g.mux.Handle("GET "+path, g.mcp.Beside(http.HandlerFunc(g.metadata)))
			g.mux.Handle("OPTIONS "+path, g.mcp.Beside(http.NotFoundHandler()))
		}
	}
	return g
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// KnownHost reports whether a request was meant for this server, by its Host.
func (g *Gateway) KnownHost(r *http.Request) bool { return g.mcp.KnownHost(r) }

// Shutdown has /readyz say so from the first moment, and is the transport's Shutdown.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.stopping.Store(true)
	defer g.ready.close()
	return g.mcp.Shutdown(ctx)
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	if g.stopping.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	g.ready.serve(w, r)
}

// HeaderToken is Coder's own header for tokens.
const HeaderToken = "Coder-Session-Token"

// identify finds whom a request is of, and what it wants to be offered.
func (g *Gateway) identify(r *http.Request) (identity string, ctx context.Context, err error) {
	token := g.options.SharedToken
	if token == "" {
		if token, err = tokenOf(r.Header); err != nil {
			return "", nil, &transport.HTTPError{Status: http.StatusBadRequest, Message: err.Error()}
		}
	}
	if token == "" {
		return "", nil, g.unauthorized(r, "", "bring a Coder token: Authorization: Bearer, or "+HeaderToken)
	}
	one, err := g.server.callers.find(r.Context(), token)
	switch {
	case errors.Is(err, errRefused):
		return "", nil, g.unauthorized(r, "invalid_token", "Coder does not accept the token")
	case err != nil:
		return "", nil, &transport.HTTPError{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"5"}}, Message: err.Error()}
	}
	if wait := one.wait(time.Now()); wait > 0 {
		seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
		return "", nil, &transport.HTTPError{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {seconds}}, Message: "too many requests; slow down"}
	}
	wanted, err := selectionOf(r.Header)
	if err != nil {
		return "", nil, &transport.HTTPError{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return one.identity, withSelection(withCaller(r.Context(), one), wanted), nil
}

// tokenOf is the token that a request brings, in either header or the same one in both.
func tokenOf(h http.Header) (token string, err error) {
	brought := h.Values(HeaderToken)
	for _, value := range h.Values("Authorization") {
		if scheme, bearer, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") {
			brought = append(brought[:len(brought):len(brought)], bearer)
		}
	}
	for _, one := range brought {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if token != "" && token != one {
			return "", errors.New("the request brings different tokens: it is not clear whose it is")
		}
		token = one
	}
	return token, nil
}

// CheckListen refuses an address that others can reach without encryption, unless the operator says that a proxy in front takes care of it.
func CheckListen(address string, tls, behindProxy bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--listen %q: use HOST:PORT", address)
	}
	if tls || behindProxy || loopback(host) {
		return nil
	}
	return errors.New("tokens would travel in the clear: give --tls-cert and --tls-key, or --behind-proxy when a proxy in front ends TLS, or listen on a loopback address")
}

// CheckSharedToken refuses to lend one person's token to everybody who can reach the address, unless the operator insists. A
// proxy brings others to loopback.
func CheckSharedToken(address string, behindProxy, allowed bool) error {
	host, _, err := net.SplitHostPort(address)
	if err == nil && (allowed || loopback(host) && !behindProxy) {
		return nil
	}
	return errors.New("--shared-token beyond loopback or behind a proxy lets everybody who reaches this server work as one user: say --allow-shared-token if that is meant")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
