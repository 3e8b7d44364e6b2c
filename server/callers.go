package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/tools"
)

// A caller's token is asked for once in a while: whether Coder still takes it, whether it is refused.
const (
	acceptedFor = 5 * time.Minute
	refusedFor  = 10 * time.Second
	// unusedFor is how long a caller without a session is kept: the next request of protocol 2026-07-28 finds relay and connections as they were.
	unusedFor = 2 * time.Minute
)

// callers are the people of an HTTP server, by a keyed hash of their tokens. Nobody gets at anything of another's: each has an own client, relay and connections.
type callers struct {
	host  *client.Host
	relay relay.Options
	rate  rate.Limit // requests a second; 0 = any
	key   []byte

	mu    sync.Mutex
	known map[string]*caller
	sweep *time.Timer
}

// caller is one of them.
type caller struct {
	*tools.Caller
	identity string
	limit    *rate.Limiter

	// callers.mu guards the rest.
	sessions int
	used     time.Time
	checked  time.Time
	refusal  error

	checking sync.Mutex
}

func newCallers(h *client.Host, o relay.Options, requestsPerMinute int, key []byte) *callers {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	return &callers{host: h, relay: o, rate: rate.Limit(requestsPerMinute) / 60, key: key, known: map[string]*caller{}}
}

// identityOf names a token without giving it away, the same on every replica that has the key.
func (c *callers) identityOf(token string) string {
	sum := hmac.New(sha256.New, c.key)
	sum.Write([]byte(token))
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// of is the caller with the token, new or known.
func (c *callers) of(token string) *caller {
	identity := c.identityOf(token)
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.known[identity]
	if one == nil {
		api := c.host.Client(token)
		one = &caller{Caller: tools.NewCaller(api, relay.New(api, c.relay)), identity: identity, limit: rate.NewLimiter(rate.Inf, 0)}
		if c.rate > 0 {
			one.limit = rate.NewLimiter(c.rate, max(1, int(c.rate*60)))
		}
		c.known[identity] = one
	}
	one.used = time.Now()
	if c.sweep == nil {
		c.sweep = time.AfterFunc(unusedFor, c.forget)
	}
	return one
}

// check asks Coder whether it takes the token, unless it was asked lately. Coder out of reach is no refusal: calls will say so.
func (c *callers) check(ctx context.Context, one *caller) error {
	one.checking.Lock()
	defer one.checking.Unlock()
	c.mu.Lock()
	age, refusal := time.Since(one.checked), one.refusal
	c.mu.Unlock()
	if age < acceptedFor && refusal == nil || age < refusedFor {
		return refusal
	}
	_, err := one.Client.ListChats(ctx, client.ListChatsRequest{Limit: 1})
	if !client.IsUnauthorized(err) {
		err = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one.checked, one.refusal = time.Now(), err
	return err
}

// enter and leave count the sessions of a caller.
func (c *callers) enter(one *caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.sessions++
}

func (c *callers) leave(one *caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.sessions--
	one.used = time.Now()
}

// forget closes the callers that nobody used for a while.
func (c *callers) forget() {
	c.mu.Lock()
	var unused []*caller
	for identity, one := range c.known {
		if one.sessions == 0 && time.Since(one.used) > unusedFor {
			unused = append(unused, one)
			delete(c.known, identity)
		}
	}
	c.sweep = nil
	if len(c.known) > 0 {
		c.sweep = time.AfterFunc(unusedFor/2, c.forget)
	}
	c.mu.Unlock()
	for _, one := range unused {
		one.end()
	}
}

func (c *callers) close() {
	c.mu.Lock()
	all := c.known
	c.known = map[string]*caller{}
	if c.sweep != nil {
		c.sweep.Stop()
	}
	c.mu.Unlock()
	for _, one := range all {
		one.end()
	}
}

func (one *caller) end() {
	one.Close()
	one.Relay.Close()
}

type callerKey struct{}

func withCaller(ctx context.Context, one *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, one)
}

func callerFrom(ctx context.Context) *caller {
	one, _ := ctx.Value(callerKey{}).(*caller)
	return one
}
