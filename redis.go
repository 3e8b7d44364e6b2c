package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/pflag"

	"coder-chats-mcp/redisstore"
	"coder-chats-mcp/server"
)

// redisSettings are the flags of servers that share their sessions.
type redisSettings struct {
	url, key, advertise string
}

func (r *redisSettings) addFlags(f *pflag.FlagSet) {
	f.StringVar(&r.url, "redis", "", "share sessions with other replicas through this Redis or Valkey: redis://[user:password@]host[:port][/database], rediss:// for TLS")
	f.StringVar(&r.key, "session-key", "", "secret of at least 32 characters, the same on all replicas (best by its environment variable)")
	f.StringVar(&r.advertise, "advertise", "", "where other replicas reach this one, http://HOST:PORT; without it, the address of --listen")
}

// open connects to Redis if there is one, and wires it into the gateway to be. Close it, if it is not nil.
func (r *redisSettings) open(h *httpSettings, o *server.HTTPOptions, logger *slog.Logger) (*redisstore.Store, error) {
	if r.url == "" && r.key == "" {
		return nil, nil
	}
	if len(r.key) < redisstore.MinKey {
		return nil, fmt.Errorf("--redis needs a --session-key of at least %d characters, the same on all replicas: set %s, for example to what `openssl rand -hex 32` prints",
			redisstore.MinKey, environmentName("session-key"))
	}
	o.Key = []byte(r.key)
	if r.url == "" {
		return nil, nil
	}
	address, err := r.address(h)
	if err != nil {
		return nil, err
	}
	store, err := redisstore.Open(redisstore.Options{URL: r.url, Key: o.Key, Address: address, TTL: h.idle, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	o.Transport.Sessions, o.Transport.Events = store, store
	return store, nil
}

// address is where other replicas reach this one.
func (r *redisSettings) address(h *httpSettings) (string, error) {
	if r.advertise != "" {
		return r.advertise, nil
	}
	host, port, err := net.SplitHostPort(h.listen)
	if ip := net.ParseIP(host); err != nil || port == "0" || host == "" || ip != nil && ip.IsUnspecified() {
		return "", errors.New("--redis with --listen " + h.listen + " needs --advertise: where other replicas reach this one, for example http://10.0.0.7:8137")
	}
	scheme := "http"
	if h.tlsCert != "" {
		scheme = "https"
	}
	return scheme + "://" + h.listen, nil
}

// replica is the gateway as one of several, if there is a store.
func replica(g *server.Gateway, store *redisstore.Store) http.Handler {
	if store == nil {
		return g
	}
	return store.Route(server.Path, g.KnownHost, g)
}
