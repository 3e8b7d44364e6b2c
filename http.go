package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"coder-chats-mcp/client"
	"coder-chats-mcp/redisstore"
	"coder-chats-mcp/server"
	"coder-chats-mcp/telemetry"
	"coder-chats-mcp/transport"
)

// httpSettings are the flags of the http command.
type httpSettings struct {
	listen, tlsCert, tlsKey string
	behindProxy             bool
	sharedToken             bool
	allowSharedToken        bool
	oauth                   bool
	publicURL               string
	hosts, origins          []string
	maxSessions             int
	maxSessionsPerCaller    int
	rate                    int
	idle, drain             time.Duration
	redis                   redisSettings
}

func httpCommand(s *settings) *cobra.Command {
	h := &httpSettings{}
	cmd := &cobra.Command{
		Use:   "http",
		Short: "Serve MCP over streamable HTTP, for many callers",
		Long: `http serves MCP at /mcp, for protocols 2025-03-26 to 2025-11-25 (sessions) and 2026-07-28, to any
number of callers. Each brings an own Coder token with every request (Authorization: Bearer, or
Coder-Session-Token) and sees nothing of anybody else. The deployment is the operator's choice
alone. /healthz says that the process lives, /readyz that Coder is reachable, /metrics is for
Prometheus. With OTEL_EXPORTER_OTLP_ENDPOINT set, traces and metrics go there. Each write leaves an
audit line in the log: who (a hash of the token), which tool, which chat, the result.

A request may narrow what it is offered, never widen it, by the headers X-MCP-Toolsets, X-MCP-Tools,
X-MCP-Exclude-Tools and X-MCP-Readonly. The file tools take no paths over HTTP.

Sessions live in this process: behind a load balancer use sticky routing, or clients of protocol
2026-07-28, which need none, or --redis, with which any replica goes on with any session. Replicas
pass requests on to the one that has the session, so they must reach one another.

On SIGTERM, /readyz says 503, no session is opened any more, and running calls get --drain. Without
--redis, streams of sessions end at once; with it, each session is served until its calls are done,
and then goes to another replica.`,
		Example: `  coder-chats-mcp http --url https://coder.example.com --listen 127.0.0.1:8137
  coder-chats-mcp http --simulate            # tokens simulator-user-1 and simulator-user-2
  coder-chats-mcp http --listen :8137 --behind-proxy --oauth --public-url https://mcp.example.com
  CODER_CHATS_MCP_SESSION_KEY=... coder-chats-mcp http --listen :8137 --behind-proxy --redis redis://redis:6379 --advertise http://$POD_IP:8137`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serveHTTP(cmd, s, h) },
	}
	f := cmd.Flags()
	f.StringVar(&h.listen, "listen", "127.0.0.1:8137", "address to serve on; beyond loopback it needs TLS or --behind-proxy")
	f.StringVar(&h.tlsCert, "tls-cert", "", "certificate file, PEM")
	f.StringVar(&h.tlsKey, "tls-key", "", "key file, PEM")
	f.BoolVar(&h.behindProxy, "behind-proxy", false, "a proxy in front of this server ends TLS")
	f.BoolVar(&h.sharedToken, "shared-token", false, "let all callers work as the user of CODER_SESSION_TOKEN; loopback only, and without a proxy")
	f.BoolVar(&h.allowSharedToken, "allow-shared-token", false, "allow --shared-token beyond loopback and behind a proxy")
	f.BoolVar(&h.oauth, "oauth", false, "announce the Coder deployment as OAuth authorization server (RFC 9728)")
	f.StringVar(&h.publicURL, "public-url", "", "this server's address as clients see it, without /mcp, for --oauth and the Host check")
	f.StringSliceVar(&h.hosts, "allow-host", nil, "further values of the Host header to answer to; * for any")
	f.StringSliceVar(&h.origins, "allow-origin", nil, "origins whose pages may call this server")
	f.IntVar(&h.maxSessions, "max-sessions", 10_000, "sessions and listen streams at once")
	f.IntVar(&h.maxSessionsPerCaller, "max-sessions-per-caller", 500, "those of one caller; 0 for any number")
	f.IntVar(&h.rate, "rate", 600, "requests a minute of one caller; 0 for any number")
	f.DurationVar(&h.idle, "idle-timeout", 30*time.Minute, "forget a session that was not used for so long")
	f.DurationVar(&h.drain, "drain", 30*time.Second, "how long running calls may go on after SIGTERM")
	h.redis.addFlags(f)
	return cmd
}

func (h *httpSettings) check() error {
	encrypted := h.tlsCert != ""
	if encrypted != (h.tlsKey != "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if err := server.CheckListen(h.listen, encrypted, h.behindProxy); err != nil {
		return err
	}
	if h.sharedToken {
		if err := server.CheckSharedToken(h.listen, h.behindProxy, h.allowSharedToken); err != nil {
			return err
		}
	}
	if err := h.checkPublicURL(); err != nil {
		return err
	}
	switch {
	case h.maxSessions < 1 || h.maxSessionsPerCaller < 0:
		return errors.New("--max-sessions must be above 0, --max-sessions-per-caller not negative")
	case h.rate < 0:
		return errors.New("--rate must not be negative")
	case h.idle < time.Second || h.drain < 0:
		return errors.New("--idle-timeout must be at least 1s, --drain not negative")
	}
	return nil
}

// checkPublicURL wants the address where it can't be told from a request: a proxy hides its scheme, and often its host.
func (h *httpSettings) checkPublicURL() error {
	if h.publicURL == "" {
		if h.oauth && h.behindProxy {
			return errors.New("--oauth --behind-proxy needs --public-url: what clients are told must be the proxy's address")
		}
		return nil
	}
	u, err := url.Parse(h.publicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--public-url %q: use https://HOST or https://HOST/PATH", h.publicURL)
	}
	return nil
}

func serveHTTP(cmd *cobra.Command, s *settings, h *httpSettings) error {
	if err := h.check(); err != nil {
		return err
	}
	logger, closeLog, err := s.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLog()
	options, err := s.options(logger)
	if err != nil {
		return err
	}
	options.Config.Local = false
	if options.ClaudeChannel {
		logger.Warn("--claude-channel is for stdio and does nothing over HTTP")
		options.ClaudeChannel = false
	}
	for i, t := range options.Tools {
		options.Tools[i] = t.Remote()
	}
	gateway := server.HTTPOptions{OAuth: h.oauth, PublicURL: h.publicURL, Rate: h.rate, Transport: transport.HTTPOptions{
		AllowedHosts: h.allowedHosts(), AllowedOrigins: h.origins,
		MaxSessions: h.maxSessions, MaxSessionsPerCaller: h.maxSessionsPerCaller, IdleTimeout: h.idle,
	}}
	options.Telemetry, err = telemetry.New(cmd.Context(), telemetry.Options{
		Service: server.Name, Version: version(), Logger: logger, Slow: s.slow,
		Audit: slog.New(always{logger.Handler()}),
	})
	if err != nil {
		return err
	}
	defer func() { _ = options.Telemetry.Shutdown(context.WithoutCancel(cmd.Context())) }()
	disconnect, err := s.deployment(&gateway, h.sharedToken, options.Telemetry)
	if err != nil {
		return err
	}
	defer disconnect()
	store, err := h.redis.open(h, &gateway, logger)
	if err != nil {
		return err
	}
	if store != nil {
		defer func() { _ = store.Close() }()
	}
	srv := server.New(options)
	defer srv.Close()
	return h.serve(cmd, srv.Gateway(gateway), store, logger)
}

func (h *httpSettings) allowedHosts() []string {
	hosts := h.hosts
	if u, err := url.Parse(h.publicURL); err == nil && u.Host != "" {
		hosts = append(hosts, u.Host)
	}
	return hosts
}

// always logs whatever the level: an audit is no matter of taste.
type always struct{ slog.Handler }

func (always) Enabled(context.Context, slog.Level) bool { return true }

// serve serves until the command's context ends, then drains.
func (h *httpSettings) serve(cmd *cobra.Command, g *server.Gateway, store *redisstore.Store, logger *slog.Logger) error {
	web := &http.Server{
		Handler: transport.Deadlines{}.Around(replica(g, store)), ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	if h.tlsCert != "" {
		certificate, err := tls.LoadX509KeyPair(h.tlsCert, h.tlsKey)
		if err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		web.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	listener, err := net.Listen("tcp", h.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	failed := make(chan error, 1)
	go func() {
		if web.TLSConfig != nil {
			failed <- web.ServeTLS(listener, "", "")
			return
		}
		failed <- web.Serve(listener)
	}()
	host, _, _ := net.SplitHostPort(h.listen)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	fmt.Fprintf(cmd.ErrOrStderr(), "serving MCP on %s%s\n", net.JoinHostPort(host, port), server.Path)
	select {
	case err := <-failed:
		return err
	case <-cmd.Context().Done():
		return h.end(context.WithoutCancel(cmd.Context()), web, g, store)
	}
}

// end drains. With replicas, this one keeps its lease and stays reachable until its sessions are given up.
func (h *httpSettings) end(ctx context.Context, web *http.Server, g *server.Gateway, store *redisstore.Store) error {
	drained := time.Now().Add(h.drain)
	draining, cancel := context.WithDeadline(ctx, drained)
	defer cancel()
	if store != nil {
		store.Stop()
	}
	err := g.Shutdown(draining)
	if store != nil {
		store.Leave()
	}
	// What was answered in the last moment is still on its way, and streams may pass through to another replica.
	if soon := time.Now().Add(time.Second); drained.Before(soon) {
		drained = soon
	}
	closing, cancel := context.WithDeadline(ctx, drained)
	defer cancel()
	err = errors.Join(err, web.Shutdown(closing))
	_ = web.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // calls that were cut after --drain: that is what it is for
	}
	return err
}

// deployment finds the Coder deployment that all callers work with. Callers bring tokens of their own, so none is needed here unless it is shared.
func (s *settings) deployment(o *server.HTTPOptions, shared bool, t *telemetry.Telemetry) (close func(), err error) {
	close = func() {}
	address, token := s.url, s.token
	if s.simulate != "" {
		var sim simulated
		if sim, err = s.startSimulated(); err != nil {
			return nil, err
		}
		close, address, token = sim.close, sim.url, sim.token
	} else if shared || address == "" {
		found, err := findCredentials(s.url, s.token)
		if err != nil {
			return nil, err
		}
		address, token = found.url, found.token
	}
	if shared {
		o.SharedToken = token
	}
	o.Host, err = client.NewHost(address, client.Options{UserAgent: server.Name + "/" + version(), Wrap: t.Transport})
	return close, err
}
