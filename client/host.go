// Package client is a typed client of Coder's Chats API over HTTP and WebSocket, for the servers of May 2026 and all
// later ones.
//
// A Host is one Coder deployment, a Client one caller of it (a token). Every failure is an *Error; see KindOf.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Options tune a Host; the zero value is good.
type Options struct {
	// HTTPClient gives the Transport, and the time-out when Timeout is 0. Its cookie jar and redirect policy are not used.
	HTTPClient *http.Client
	// Wrap, if set, goes around the Transport, for example to pass a trace on.
	Wrap      func(http.RoundTripper) http.RoundTripper
	UserAgent string       // "" = coder-chats-mcp
	Logger    *slog.Logger // nil = silent

	Retries      int           // how often a failed GET is tried again; 0 = 4, negative = never
	RetryBase    time.Duration // the first wait, doubled from then on, with jitter; 0 = 250 ms
	MaxRetryWait time.Duration // the longest single wait; a server that asks for more gets no retry; 0 = 20 s

	Timeout          time.Duration // for one REST request, its body included; of a download for each pause in it; 0 = 60 s
	HandshakeTimeout time.Duration // for opening a WebSocket; 0 = 30 s
	PingTimeout      time.Duration // a WebSocket without any frame or ping for so long is dead; 0 = 45 s
	MaxResponse      int64         // bytes of a JSON answer or of a WebSocket message; 0 = 64 MiB
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 && o.HTTPClient != nil {
		o.Timeout = o.HTTPClient.Timeout
	}
	setDefault(&o.UserAgent, "coder-chats-mcp")
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	setDefault(&o.Retries, 4)
	setDefault(&o.RetryBase, 250*time.Millisecond)
	setDefault(&o.MaxRetryWait, 20*time.Second)
	setDefault(&o.Timeout, 60*time.Second)
	setDefault(&o.HandshakeTimeout, 30*time.Second)
	setDefault(&o.PingTimeout, 45*time.Second)
	setDefault(&o.MaxResponse, 64<<20)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Host is one Coder deployment: its address, its connections, and which generation of the API it speaks.
type Host struct {
	base    *url.URL // path without a trailing slash
	url     string   // base
	http    *http.Client
	options Options

	mu         sync.Mutex
	generation *Generation
	discovery  *discovery      // in flight
	lacking    map[string]bool // operations that the remembered generation lacks
}

// NewHost makes a Host of a URL like https://coder.example.com or https://example.com/coder. Nothing is sent yet.
func NewHost(baseURL string, o Options) (*Host, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	h := &Host{base: base, url: base.String(), options: o.withDefaults()}
	h.http = &http.Client{Transport: transport(o), CheckRedirect: h.checkRedirect}
	return h, nil
}

func parseBase(s string) (*url.URL, error) {
	invalid := func(why string) error {
		return &Error{Kind: KindInvalidArgument, Message: "The Coder URL " + why + ". It should look like https://coder.example.com."}
	}
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil:
		return nil, invalid("can't be read") // the reason would repeat the URL, with a password perhaps
	case u.User != nil:
		return nil, invalid("contains a user name or password, which would be sent along; leave it out")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, invalid(fmt.Sprintf("must begin with https:// or http://, not %q", u.Scheme))
	case u.Hostname() == "":
		return nil, invalid("names no host")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("must not have a query or a fragment")
	}
	return &url.URL{
		Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/"),
	}, nil
}

func transport(o Options) http.RoundTripper {
	base := http.DefaultTransport
	switch t, ok := base.(*http.Transport); {
	case o.HTTPClient != nil && o.HTTPClient.Transport != nil:
		base = o.HTTPClient.Transport
	case ok:
		t = t.Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256 // one host, many chats and callers at once
		base = t
	}
	if o.Wrap != nil {
		return o.Wrap(base)
	}
	return base
}

// maxRedirects is how far a GET is followed on the same host.
const maxRedirects = 5

var errRedirectLoop = errors.New("it redirects in a circle")

// checkRedirect follows a GET on the configured scheme, host and port, and nothing else: net/http would carry the token
// header along.
func (h *Host) checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case origin(r.URL) != origin(h.base):
		return &RedirectError{From: origin(h.base), To: origin(r.URL)}
	case via[0].Method != http.MethodGet:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return errRedirectLoop
	}
	return nil
}

// origin is scheme://host:port, the port left out when it is the scheme's own.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

// Serves reports whether an address is this deployment's: its scheme, host and port, however they are written.
func (h *Host) Serves(u *url.URL) bool { return origin(u) == origin(h.base) }

// URL is the deployment's address, without a trailing slash.
func (h *Host) URL() *url.URL {
	u := *h.base
	return &u
}

// ChatURL is the page of a chat, for a person's browser.
func (h *Host) ChatURL(id uuid.UUID) string {
	return h.url + "/agents/" + id.String()
}

// Close closes the connections that are idle.
func (h *Host) Close() { h.http.CloseIdleConnections() }

// Client is the caller that token belongs to. It is cheap, and safe for concurrent use.
func (h *Host) Client(token string) *Client {
	return &Client{host: h, token: strings.TrimSpace(token)}
}

// New is NewHost and Client in one.
func New(baseURL, token string, o Options) (*Client, error) {
	h, err := NewHost(baseURL, o)
	if err != nil {
		return nil, err
	}
	return h.Client(token), nil
}

// Client is one caller of a Host.
type Client struct {
	host  *Host
	token string
	me    atomic.Pointer[User]
}

// Host is the deployment that the Client talks to.
func (c *Client) Host() *Host { return c.host }

// String names the host and never the token.
func (c *Client) String() string { return "client of " + origin(c.host.base) }

// GoString is String, for %#v.
func (c *Client) GoString() string { return c.String() }

// Generation is which of the API's addresses a server has.
type Generation struct {
	Prefix  string // "/api/experimental" or "/api/v2" (since 2.37): what stands before /chats
	Version string // what the server calls itself; "" when it doesn't say
}

const (
	prefixExperimental = "/api/experimental"
	prefixV2           = "/api/v2"
)

// Generation finds out which addresses the server has: once per Host, one caller asking for all, and remembered unless the
// network failed. A server that is upgraded later is noticed by its answers.
func (c *Client) Generation(ctx context.Context) (Generation, error) {
	for {
		h := c.host
		h.mu.Lock()
		if h.generation != nil {
			g := *h.generation
			h.mu.Unlock()
			return g, nil
		}
		d := h.discovery
		leads := d == nil
		if leads {
			d = &discovery{done: make(chan struct{})}
			h.discovery = d
		}
		h.mu.Unlock()
		if leads {
			c.discover(ctx, d)
			return d.generation, d.err
		}
		select {
		case <-d.done:
			if d.err == nil || ctx.Err() == nil && !d.abandoned {
				return d.generation, d.err
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return Generation{}, c.transportError(ctx, &call{op: opDiscover}, "", ctx.Err())
		}
	}
}

const opDiscover = "find the Chats API"

// discovery is one search for the addresses, by the caller who came first. It is abandoned when that caller gave up, and
// says nothing about the server then.
type discovery struct {
	done       chan struct{}
	generation Generation
	err        error
	abandoned  bool
}

func (c *Client) discover(ctx context.Context, d *discovery) {
	d.generation, d.err = c.probe(ctx)
	d.abandoned = d.err != nil && ctx.Err() != nil
	h := c.host
	h.mu.Lock()
	h.discovery = nil
	if d.err == nil {
		g := d.generation
		h.generation, h.lacking = &g, map[string]bool{}
		h.options.Logger.Debug("found the Chats API", "host", origin(h.base), "prefix", g.Prefix, "version", g.Version)
	}
	h.mu.Unlock()
	close(d.done)
}

// probe asks for the shortest list at each address. Any answer but "no such route" shows that the route is there, a 401
// too; an answer that comes from before the routes (rate limit, proxy) shows nothing.
func (c *Client) probe(ctx context.Context) (Generation, error) {
	for _, prefix := range []string{prefixV2, prefixExperimental} {
		var resp *http.Response
		err := c.do(ctx, call{
			op: opDiscover, root: true, path: pathOf(prefix, "chats"), query: url.Values{"limit": {"1"}}, keep: &resp,
		})
		var e *Error
		switch {
		case err == nil:
			isJSON := strings.Contains(resp.Header.Get("Content-Type"), "json")
			_ = resp.Body.Close()
			if !isJSON {
				continue // a web page for every address: not Coder, or not its API
			}
			return Generation{Prefix: prefix, Version: resp.Header.Get(versionHeader)}, nil
		case !errors.As(err, &e), e.Status == 0, e.Kind == KindRateLimited, e.Kind == KindUnavailable, e.Kind == KindTimeout:
			return Generation{}, err
		case e.Kind == KindUnauthorized, e.Kind == KindForbidden:
			return Generation{Prefix: prefix, Version: e.version}, nil
		}
	}
	return Generation{}, c.noChats(ctx)
}

const versionHeader = "X-Coder-Build-Version"

// noChats says what is there instead of the Chats API.
func (c *Client) noChats(ctx context.Context) error {
	e := &Error{Kind: KindUnsupported, Op: opDiscover, Method: http.MethodGet, Path: c.host.base.Path + prefixV2 + "/chats"}
	if info, err := c.BuildInfo(ctx); err == nil && info.Version != "" {
		e.Message = "The Coder server at " + origin(c.host.base) + " (" + info.Version + ") has no Chats API."
		e.hint = "It needs a Coder release with agents (chats), May 2026 or later."
		return e
	}
	e.Message = "There is no Coder server with a Chats API at " + c.host.base.String() + "."
	e.hint = "Check the URL: it is the one of Coder's dashboard, without /agents or /api."
	return e
}

// forget drops a generation that turned out wrong, unless another caller already found a newer one or the operation is
// known to be lacking. It reports whether asking anew makes sense.
func (h *Host) forget(stale Generation, op string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.generation != nil && *h.generation == stale {
		if h.lacking[op] {
			return false
		}
		h.generation = nil
	}
	return true
}

// lacks remembers that the operation has no route in this generation, so that its next failure starts no new discovery.
func (h *Host) lacks(g Generation, op string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.generation != nil && *h.generation == g {
		h.lacking[op] = true
	}
}

func (h *Host) unsupportedHint() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	version := "This Coder server"
	if h.generation != nil && h.generation.Version != "" {
		version += " (" + h.generation.Version + ")"
	}
	return version + " lacks this operation; it needs another release of Coder."
}

// BuildInfo is what a server says about itself.
type BuildInfo struct {
	Version         string    `json:"version"`
	ExternalURL     string    `json:"external_url"`
	DashboardURL    string    `json:"dashboard_url"`
	AgentAPIVersion string    `json:"agent_api_version"`
	UpgradeMessage  string    `json:"upgrade_message"`
	DeploymentID    uuid.UUID `json:"deployment_id"`
}

// BuildInfo asks for the server's version (GET /api/v2/buildinfo); no token is needed.
func (c *Client) BuildInfo(ctx context.Context) (*BuildInfo, error) {
	info := new(BuildInfo)
	k := call{op: "get build info", root: true, path: []string{"api", "v2", "buildinfo"}, out: info}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	return info, nil
}
