package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"coder-chats-mcp/client"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// The headers by which a request narrows what it is offered, as github-mcp-server made them usual. Values are lists with commas.
const (
	HeaderToolsets = "X-MCP-Toolsets"
	HeaderTools    = "X-MCP-Tools"
	HeaderExclude  = "X-MCP-Exclude-Tools"
	HeaderReadOnly = "X-MCP-Readonly"
)

// Path is where MCP is served.
const Path = "/mcp"

// HTTPOptions say how a Server serves many callers.
type HTTPOptions struct {
	Host *client.Host // the deployment; no caller can change it
	// SharedToken, if set, is whom all callers work for; they need none of their own.
	SharedToken string
	// OAuth announces the deployment as the authorization server of this resource (RFC 9728). PublicURL is this server's address as clients see it;
	// empty takes it from the request.
	OAuth     bool
	PublicURL string
	Rate      int    // requests a minute of one caller; 0 = any
	Key       []byte // hashes tokens into identities; the same on all replicas; empty = random
	Transport transport.HTTPOptions
}

// Gateway is a Server over HTTP: MCP at Path, /healthz (this process), /readyz (Coder is reachable), /metrics with Options.Telemetry, and OAuth's
// metadata if that is on.
type Gateway struct {
	server  *Server
	options HTTPOptions
	mcp     *transport.HTTPHandler
	mux     *http.ServeMux
	ready   readiness
}

// Gateway makes the server's HTTP side. The Server's own Client is not used: each caller brings a token.
func (s *Server) Gateway(o HTTPOptions) *Gateway {
	s.callers = newCallers(o.Host, s.options.Relay, o.Rate, o.Key)
	g := &Gateway{server: s, options: o, mux: http.NewServeMux(), ready: readiness{client: o.Host.Client("")}}
	o.Transport.Identify = g.identify
	g.mcp = s.core.HTTPHandler(o.Transport)
	g.mux.Handle(Path, g.mcp)
	g.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	g.mux.HandleFunc("GET /readyz", g.ready.serve)
	if t := s.options.Telemetry; t != nil {
		g.mux.Handle("GET /metrics", t.Handler())
		s.count(t)
	}
	if o.OAuth {
		g.mux.HandleFunc("GET "+metadataPath, g.metadata)
		g.mux.HandleFunc("GET "+metadataPath+Path, g.metadata)
	}
	return g
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// KnownHost reports whether a request was meant for this server, by its Host.
func (g *Gateway) KnownHost(r *http.Request) bool { return g.mcp.KnownHost(r) }

// Shutdown ends listen streams with their result, then streams, and gives running calls until ctx ends.
func (g *Gateway) Shutdown(ctx context.Context) error { return g.mcp.Shutdown(ctx) }

// identify finds whom a request is of, and what it wants to be offered.
func (g *Gateway) identify(r *http.Request) (identity string, ctx context.Context, err error) {
	token := g.options.SharedToken
	if token == "" {
		token = tokenOf(r)
	}
	if token == "" {
		return "", nil, g.unauthorized(r, "bring a Coder token: Authorization: Bearer, or Coder-Session-Token")
	}
	one := g.server.callers.of(token)
	if !one.limit.Allow() {
		return "", nil, &transport.HTTPError{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Message: "too many requests; slow down"}
	}
	if err := g.server.callers.check(r.Context(), one); err != nil {
		return "", nil, g.unauthorized(r, "Coder does not accept the token")
	}
	wanted, err := selectionOf(r.Header)
	if err != nil {
		return "", nil, &transport.HTTPError{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return one.identity, withSelection(withCaller(r.Context(), one), wanted), nil
}

func tokenOf(r *http.Request) string {
	if token := r.Header.Get("Coder-Session-Token"); token != "" {
		return token
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

const metadataPath = "/.well-known/oauth-protected-resource"

func (g *Gateway) unauthorized(r *http.Request, message string) error {
	challenge := "Bearer"
	if g.options.OAuth {
		challenge += fmt.Sprintf(" resource_metadata=%q", g.publicURL(r)+metadataPath+Path)
	}
	return &transport.HTTPError{Status: http.StatusUnauthorized, Header: http.Header{"WWW-Authenticate": {challenge}}, Message: message}
}

// publicURL is this server's address as the client sees it.
func (g *Gateway) publicURL(r *http.Request) string {
	if g.options.PublicURL != "" {
		return strings.TrimSuffix(g.options.PublicURL, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: r.Host}).String()
}

// metadata is OAuth's protected-resource metadata (RFC 9728): tokens come from the Coder deployment.
func (g *Gateway) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"resource": g.publicURL(r) + Path, "authorization_servers": []string{strings.TrimSuffix(g.options.Host.URL().String(), "/")},
		"bearer_methods_supported": []string{"header"}, "resource_name": Name,
	})
}

type selectionKey struct{}

// selection is what a request's headers leave of what the operator allows.
type selection struct {
	tools    map[string]bool
	readOnly bool // without the arguments that write
}

func withSelection(ctx context.Context, wanted *selection) context.Context {
	if wanted == nil {
		return ctx
	}
	return context.WithValue(ctx, selectionKey{}, wanted)
}

func selectionFrom(ctx context.Context) *selection {
	wanted, _ := ctx.Value(selectionKey{}).(*selection)
	return wanted
}

// wants reports whether a request's headers let a tool be offered. Requests without such headers are offered all that the operator allows.
func wants(ctx context.Context, tool string) bool {
	wanted := selectionFrom(ctx)
	return wanted == nil || wanted.tools[tool]
}

// readsOnly reports that a request asked for nothing that writes.
func readsOnly(ctx context.Context) bool {
	wanted := selectionFrom(ctx)
	return wanted != nil && wanted.readOnly
}

// selectionOf is what the headers ask for; nil for no such headers.
func selectionOf(h http.Header) (*selection, error) {
	s := tools.Selection{
		Toolsets: list(h.Get(HeaderToolsets)), Tools: list(h.Get(HeaderTools)), Exclude: list(h.Get(HeaderExclude)),
		ReadOnly: truthy(h.Get(HeaderReadOnly)),
	}
	if s.Toolsets == nil && s.Tools == nil && s.Exclude == nil && !s.ReadOnly {
		return nil, nil
	}
	selected, err := tools.Select(s)
	if err != nil {
		return nil, err
	}
	wanted := &selection{tools: map[string]bool{}, readOnly: s.ReadOnly}
	for _, t := range selected {
		wanted.tools[t.Name] = true
	}
	return wanted, nil
}

func list(value string) []string {
	var words []string
	for _, word := range strings.Split(value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

func truthy(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// readiness is whether Coder is reachable, asked at most every few seconds however many probes come.
type readiness struct {
	client *client.Client

	mu      sync.Mutex
	checked time.Time
	err     error
}

const readyFor = 5 * time.Second

func (r *readiness) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) > readyFor {
		ctx, cancel := context.WithTimeout(client.Once(q.Context()), readyFor)
		defer cancel()
		_, err := r.client.BuildInfo(ctx)
		r.checked, r.err = time.Now(), err
	}
	if r.err != nil {
		http.Error(w, "Coder is not reachable: "+r.err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
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
