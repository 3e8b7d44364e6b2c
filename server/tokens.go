package server

import (
	"cmp"
	"context"
	"errors"
	"time"

	"coder-chats-mcp/client"
)

// TokenChecks say how Coder is asked whether it accepts a token. Zero means the default.
type TokenChecks struct {
	Timeout  time.Duration // for Coder to answer; then the request goes on without. Default 4 s
	Accepted time.Duration // until a token that Coder accepted is asked for again, which nobody waits for. Default 5 min
	Refused  time.Duration // that a refusal is believed. Default 10 s
	Again    time.Duration // until an answer that was neither is asked for again. Default 5 s
	AtOnce   int           // tokens that are asked for at once; others wait. Default 32
}

func (c TokenChecks) withDefaults() TokenChecks {
	c.Timeout, c.Accepted = cmp.Or(c.Timeout, 4*time.Second), cmp.Or(c.Accepted, 5*time.Minute)
	c.Refused, c.Again, c.AtOnce = cmp.Or(c.Refused, 10*time.Second), cmp.Or(c.Again, 5*time.Second), cmp.Or(c.AtOnce, 32)
	return c
}

// longestToken is that of tokens that Coder is asked for at all, in bytes. Its own have some 40.
const longestToken = 512

// Callers whom Coder has neither accepted nor refused, since it does not answer, are let through, so that those who are known elsewhere notice
// nothing: without Coder there is nothing that they could do. But only so many are kept.
const mostUnproven = 256

var (
	errRefused = errors.New("a token that Coder does not accept")
	errBusy    = errors.New("at the moment Coder can't be asked whether it accepts the token: try again")
)

// check is the question whether Coder accepts a token, that all who bring it wait for.
type check struct {
	done chan struct{}
	one  *caller
	err  error // errRefused, errBusy
}

// ask waits for the answer of a check, its own or one that is under way. The check goes on without whoever leaves.
func (c *callers) ask(ctx context.Context, identity, token string) (*caller, error) {
	c.mu.Lock()
	k := c.checks[identity]
	c.mu.Unlock()
	if k == nil {
		limit := time.NewTimer(c.times.Timeout)
		defer limit.Stop()
		select {
		case c.slots <- struct{}{}:
			k = c.begin(identity, token)
		case <-limit.C:
			return nil, errBusy
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case <-k.done:
		return k.one, k.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refresh asks again for a token that was accepted before, if there is room. It runs with c.mu held.
func (c *callers) refresh(one *caller) {
	if c.checks[one.identity] != nil {
		return
	}
	select {
	case c.slots <- struct{}{}:
		c.start(one.identity, one.token)
	default:
	}
}

// begin starts a check on a slot that was taken, or gives the slot back when somebody else was first.
func (c *callers) begin(identity, token string) *check {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.checks[identity]; k != nil || c.ctx.Err() != nil {
		<-c.slots
		if k == nil {
			k = &check{done: answered, err: errBusy}
		}
		return k
	}
	return c.start(identity, token)
}

// start runs with c.mu held and a slot taken.
func (c *callers) start(identity, token string) *check {
	k := &check{done: make(chan struct{})}
	c.checks[identity] = k
	c.checking.Go(func() {
		defer func() { <-c.slots }()
		ctx, cancel := context.WithTimeout(client.Once(c.ctx), c.times.Timeout)
		defer cancel()
		_, err := c.host.Client(token).ListChats(ctx, client.ListChatsRequest{Limit: 1})
		c.settle(k, identity, token, err)
	})
	return k
}

// settle makes of Coder's answer what is believed from now on.
func (c *callers) settle(k *check, identity, token string, answer error) {
	var ended []*caller
	c.mu.Lock()
	now := time.Now()
	one := c.known[identity]
	switch {
	case client.IsUnauthorized(answer):
		k.err = errRefused
		c.refused.add(identity, now.Add(c.times.Refused))
		if one != nil {
			one.proven, one.next = false, now
			ended = c.drop(one, ended)
		}
	case answer == nil:
		if one == nil {
			one = c.add(identity, token)
		}
		k.one = one
		one.proven, one.next = true, now.Add(c.times.Accepted)
	default:
		if one == nil {
			ended = c.makeRoom(now, ended)
			one = c.addUnproven(identity, token)
		}
		if one == nil {
			k.err = errBusy
			break
		}
		k.one = one
		one.next = now.Add(c.times.Again)
	}
	delete(c.checks, identity)
	c.mu.Unlock()
	close(k.done)
	for _, one := range ended {
		one.end()
	}
}

// addUnproven is add, unless there are too many of that kind. It runs with c.mu held.
func (c *callers) addUnproven(identity, token string) *caller {
	unproven := 0
	for _, one := range c.known {
		if !one.proven {
			unproven++
		}
	}
	if unproven >= mostUnproven {
		return nil
	}
	return c.add(identity, token)
}

// makeRoom drops the unproven who were not seen for a moment. It runs with c.mu held.
func (c *callers) makeRoom(now time.Time, ended []*caller) []*caller {
	for _, one := range c.known {
		if !one.proven && now.Sub(one.used) > c.times.Again {
			ended = c.drop(one, ended)
		}
	}
	return ended
}

// refusals remembers the newest identities that were refused.
type refusals struct {
	until map[string]time.Time
	order [1024]string // a ring
	at    int
}

func (r *refusals) add(identity string, until time.Time) {
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	if _, known := r.until[identity]; !known {
		delete(r.until, r.order[r.at])
		r.order[r.at] = identity
		r.at = (r.at + 1) % len(r.order)
	}
	r.until[identity] = until
}

func (r *refusals) has(identity string, now time.Time) bool {
	until, known := r.until[identity]
	return known && now.Before(until)
}
