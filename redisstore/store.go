// Package redisstore lets any replica of an MCP server over HTTP go on with any session. Sessions and the event log that
// Last-Event-ID resumes from are in Redis or Valkey.
//
// At any time one replica has a session: it holds the session's subscriptions, streams and running calls. Route brings
// the session's requests there, whichever replica they reach; so cancellations, answers and notifications meet what they
// belong to, and nothing is told twice. A replica has its sessions until it releases them or stops renewing its lease.
// After that, the next request of a session gives it to the replica that the request reached.
//
// What is stored: what clients said of themselves, what they subscribed to, messages on the way to them (bounded), and
// requests that are running. Callers stand there as the keyed hashes that the transport makes of their tokens, never as
// the tokens.
package redisstore

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"coder-chats-mcp/transport"
)

// MinKey is the least number of bytes of Options.Key.
const MinKey = 32

// Options configure a Store. The zero value of what has a default means that.
type Options struct {
	// URL is the store's address: redis://[user:password@]host[:port][/database], rediss:// with TLS, or unix://.
	URL string
	// Key is the secret that all replicas share, of at least MinKey bytes. It also separates those that don't: servers with
	// another key see nothing of these sessions, on the same database either.
	Key []byte
	// Address is where other replicas reach this one: http://10.0.0.7:8137.
	Address string
	// TTL is how long the events of a session are kept after the last one. Default 30 min.
	TTL time.Duration
	// MaxBytes bounds the events of one session; the newest is always kept. Default 256 KiB.
	MaxBytes int
	// Lease is how long a replica may be silent before others take its sessions. Default 5 s.
	Lease time.Duration
	// Calm is how long this replica must have renewed its own lease without a failure before it takes sessions of a silent
	// one: an outage of Redis silences all. Default Lease.
	Calm   time.Duration
	Logger *slog.Logger // default slog.Default
}

// Store is a transport.SessionStore and a transport.EventStore that replicas share.
type Store struct {
	o     Options
	redis *redis.Client
	id    string // of this replica, new with every start
	lease lease

	peers    *http.Transport
	stopping context.Context // ends with Stop
	stop     context.CancelFunc
	leaving  context.Context // ends with Leave
	leave    context.CancelFunc
	beats    sync.WaitGroup
}

var (
	_ transport.SessionStore = (*Store)(nil)
	_ transport.EventStore   = (*Store)(nil)
)

// Redis is near: what takes longer than this is down.
const patience = time.Second

// Open makes a Store and announces this replica. A store that can't be reached is no error: sessions are refused until it
// can. Close it.
func Open(o Options) (*Store, error) {
	settings, err := o.check()
	if err != nil {
		return nil, err
	}
	o.TTL = cmp.Or(o.TTL, 30*time.Minute)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<10)
	o.Lease = cmp.Or(o.Lease, 5*time.Second)
	o.Calm = cmp.Or(o.Calm, o.Lease)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	s := &Store{o: o, redis: redis.NewClient(settings), id: uuid.NewString(), peers: &http.Transport{
		DialContext: (&net.Dialer{Timeout: patience}).DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		DisableCompression: true,
	}}
	s.leaving, s.leave = context.WithCancel(context.Background())
	s.stopping, s.stop = context.WithCancel(s.leaving)
	s.renew()
	s.beats.Go(s.beat)
	return s, nil
}

func (o Options) check() (*redis.Options, error) {
	if len(o.Key) < MinKey {
		return nil, fmt.Errorf("the key that replicas share must have at least %d bytes", MinKey)
	}
	if u, err := url.Parse(o.Address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("replicas can't reach this one at %q: use http://HOST:PORT", o.Address)
	}
	settings, err := redis.ParseURL(o.URL)
	if err != nil { // which may quote the password
		return nil, errors.New("the address of Redis must have the form redis://[user:password@]host[:port][/database] (rediss:// for TLS)")
	}
	settings.DialTimeout, settings.ReadTimeout, settings.WriteTimeout, settings.PoolTimeout = patience, patience, patience, patience
	settings.MaxRetries, settings.DialerRetries = 1, 1
	settings.ContextTimeoutEnabled = true
	settings.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // Valkey has none
	return settings, nil
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// go-redis prints to standard error what its calls return as well.
func init() { redis.SetLogger(silence{}) }

// Stop has this replica take no more sessions, and ends the GET streams that pass through it. What it has stays its own.
// Call it before the transport's Shutdown, which releases the sessions one by one.
func (s *Store) Stop() { s.stop() }

// Leave ends the lease of this replica, so that others take at once what it still has. Call it after the transport's
// Shutdown.
func (s *Store) Leave() {
	s.leave()
	s.beats.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.redis.Del(ctx, s.replicaKey(s.id)).Err(); err != nil {
		s.o.Logger.Warn("other replicas were not told of the end of this one; they notice", "error", err)
	}
}

// Close leaves, and ends the connections.
func (s *Store) Close() error {
	if s.leaving.Err() == nil {
		s.Leave()
	}
	s.peers.CloseIdleConnections()
	return s.redis.Close()
}

// mac authenticates what this key's replicas say.
func (s *Store) mac(what string) string {
	sum := hmac.New(sha256.New, s.o.Key)
	sum.Write([]byte("redisstore\n" + what))
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

func (s *Store) key(kind, id string) string {
	return "coder-chats-mcp:" + s.mac("namespace")[:8] + ":" + kind + ":{" + id + "}"
}

func (s *Store) replicaKey(id string) string      { return s.key("replica", id) }
func (s *Store) sessionKey(session string) string { return s.key("session", session) }

// sessionKeys are all keys of a session: the record, the log, the counters of the log. They are in one slot of a cluster.
func (s *Store) sessionKeys(session string) []string {
	return []string{s.sessionKey(session), s.key("log", session), s.key("count", session)}
}
