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

// unusedFor is how long a caller without a session is kept: the next request of protocol 2026-07-28 finds relay and connections as they were.
const unusedFor = 2 * time.Minute

// callers are the people of an HTTP server, by a keyed hash of their tokens. Nobody gets at anything of another's: each has an own client, relay and
// connections, from the moment that Coder has accepted the token.
type callers struct {
	host  *client.Host
	relay relay.Options
	rate  rate.Limit // requests a second; 0 = any
	key   []byte
	times TokenChecks

	ctx      context.Context // of the checks
	end      context.CancelFunc
	checking sync.WaitGroup
	slots    chan struct{} // holds one for each running check

	mu      sync.Mutex
	known   map[string]*caller
	checks  map[string]*check
	refused refusals
	sweep   *time.Timer
}

// caller is one of them.
type caller struct {
	*tools.Caller
	identity, token string
	limit           *rate.Limiter

	// callers.mu guards the rest.
	sessions int
	used     time.Time
	proven   bool      // Coder has accepted the token
	next     time.Time // when to ask again
}

func newCallers(o HTTPOptions, upstream relay.Options) *callers {
	key := o.Key
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	c := &callers{
		host: o.Host, relay: upstream, rate: rate.Limit(o.Rate) / 60, key: key, times: o.Checks.withDefaults(),
		known: map[string]*caller{}, checks: map[string]*check{},
	}
	c.slots = make(chan struct{}, c.times.AtOnce)
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// identityOf names a token without giving it away, the same on every replica that has the key.
func (c *callers) identityOf(token string) string {
	sum := hmac.New(sha256.New, c.key)
	sum.Write([]byte(token))
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// find is the caller with the token, which Coder is asked for unless it was lately: errRefused if it refuses. Coder out of reach is no refusal: calls
// will say so.
func (c *callers) find(ctx context.Context, token string) (*caller, error) {
	if len(token) > longestToken {
		return nil, errRefused
	}
	identity, now := c.identityOf(token), time.Now()
	c.mu.Lock()
	one := c.known[identity]
	switch {
	case c.refused.has(identity, now):
		c.mu.Unlock()
		return nil, errRefused
	case one == nil || !one.proven && now.After(one.next):
		c.mu.Unlock()
		return c.ask(ctx, identity, token)
	}
	defer c.mu.Unlock()
	one.used = now
	if now.After(one.next) {
		c.refresh(one)
	}
	return one, nil
}

// wait is how long the caller has to wait until the next request; 0 lets this one through.
func (one *caller) wait(now time.Time) time.Duration {
	turn := one.limit.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now)
	}
	return wait
}

// add runs with c.mu held.
func (c *callers) add(identity, token string) *caller {
	api := c.host.Client(token)
	one := &caller{
		Caller: tools.NewCaller(api, relay.New(api, c.relay)), identity: identity, token: token,
		limit: rate.NewLimiter(rate.Inf, 0), used: time.Now(),
	}
	if c.rate > 0 {
		one.limit = rate.NewLimiter(c.rate, max(1, int(c.rate*60)))
	}
	c.known[identity] = one
	if c.sweep == nil {
		c.sweep = time.AfterFunc(unusedFor, c.forget)
	}
	return one
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

// drop takes out a caller who has no session; end those that are returned, without c.mu, which is held here.
func (c *callers) drop(one *caller, ended []*caller) []*caller {
	if one.sessions > 0 {
		return ended
	}
	delete(c.known, one.identity)
	return append(ended, one)
}

// forget closes the callers that nobody used for a while.
func (c *callers) forget() {
	c.mu.Lock()
	var unused []*caller
	for _, one := range c.known {
		if time.Since(one.used) > unusedFor {
			unused = c.drop(one, unused)
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
	c.end()
	c.mu.Unlock()
	c.checking.Wait()
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
