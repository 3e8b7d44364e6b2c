package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
pass requests on to the one that has the session, so they must reach one another. On SIGTERM,
streams end and running calls get --drain.`,
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
	f.BoolVar(&h.sharedToken, "shared-token", false, "let all callers work as the user of CODER_SESSION_TOKEN; loopback only")
	f.BoolVar(&h.allowSharedToken, "allow-shared-token", false, "allow --shared-token beyond loopback")
	f.BoolVar(&h.oauth, "oauth", false, "announce the Coder deployment as OAuth authorization server (RFC 9728)")
	f.StringVar(&h.publicURL, "public-url", "", "this server's address as clients see it, for --oauth and the Host check")
	f.StringSliceVar(&h.hosts, "allow-host", nil, "further values of the Host header to answer to; * for any")
	f.StringSliceVar(&h.origins, "allow-origin", nil, "origins whose pages may call this server")
	f.IntVar(&h.maxSessions, "max-sessions", 10_000, "sessions and listen streams at once")
	f.IntVar(&h.maxSessionsPerCaller, "max-sessions-per-caller", 500, "those of one caller")
	f.IntVar(&h.rate, "rate", 600, "requests a minute of one caller; 0 for any number")
	f.DurationVar(&h.idle, "idle-timeout", 30*time.Minute, "forget a session that was not used for so long")
	f.DurationVar(&h.drain, "drain", 30*time.Second, "how long running calls may go on after SIGTERM")
	h.redis.addFlags(f)
	return cmd
}

func (h *httpSettings) check() error {
	if err := server.CheckListen(h.listen, h.tlsCert != "" && h.tlsKey != "", h.behindProxy); err != nil {
		return err
	}
	if h.sharedToken {
		return server.CheckSharedToken(h.listen, h.allowSharedToken)
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
	return listen(cmd, h, srv.Gateway(gateway), store)
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

// listen serves until the command's context ends, then drains.
func listen(cmd *cobra.Command, h *httpSettings, g *server.Gateway, store *redisstore.Store) error {
	web := &http.Server{
		Addr: h.listen, Handler: transport.Deadlines{}.Around(replica(g, store)),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	failed := make(chan error, 1)
	go func() {
		if h.tlsCert != "" {
			failed <- web.ListenAndServeTLS(h.tlsCert, h.tlsKey)
			return
		}
		failed <- web.ListenAndServe()
	}()
	fmt.Fprintf(cmd.ErrOrStderr(), "serving MCP on %s%s\n", h.listen, server.Path)
	select {
	case err := <-failed:
		return err
	case <-cmd.Context().Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), h.drain)
	defer cancel()
	if store != nil {
		store.Stop()
	}
	err := g.Shutdown(ctx)
	if store != nil {
		store.Leave()
	}
	if closing := web.Shutdown(ctx); closing != nil && !errors.Is(closing, context.DeadlineExceeded) {
		err = errors.Join(err, closing)
	}
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
