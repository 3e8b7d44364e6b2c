package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lease is what this replica knows of its own.
type lease struct {
	mu      sync.Mutex
	failing bool      // the latest renewal did
	renewed time.Time // the latest that succeeded
	steady  time.Time // since when all have succeeded, without a gap as long as a lease
}

// beat renews the lease of this replica until it leaves: often, and more often while that fails.
func (s *Store) beat() {
	for {
		timer := time.NewTimer(s.lease.pause(s.o.Lease))
		select {
		case <-timer.C:
			s.renew()
		case <-s.leaving.Done():
			timer.Stop()
			return
		}
	}
}

func (s *Store) renew() {
	announced := s.mac(s.id+"\n"+s.o.Address) + " " + s.o.Address
	err := s.redis.Set(s.leaving, s.replicaKey(s.id), announced, s.o.Lease).Err()
	if s.leaving.Err() != nil {
		return
	}
	switch changed := s.lease.note(err == nil, s.o.Lease); {
	case changed && err != nil:
		s.o.Logger.Error("Redis can't be reached: MCP sessions are refused until it can", "error", err)
	case changed:
		s.o.Logger.Warn("Redis can be reached again")
	}
}

// note takes down how a renewal went, and reports whether the one before went otherwise.
func (l *lease) note(good bool, length time.Duration) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, failed := time.Now(), l.failing
	l.failing = !good
	if good {
		if failed || now.Sub(l.renewed) >= length {
			l.steady = now
		}
		l.renewed = now
	}
	return failed == good
}

func (l *lease) pause(length time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing {
		return length / 25
	}
	return length / 5
}

// isSteady reports whether renewals have gone well for so long that a replica without a lease is gone. After an outage
// of Redis nobody has one, until everybody has had the time to renew it.
func (l *lease) isSteady(calm, length time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return !l.failing && now.Sub(l.renewed) < length && now.Sub(l.steady) >= calm
}

// claim gives the session to this replica, if it still belongs to the one that is gone, or to nobody.
var claim = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[2])
return 1`)

var (
	errUnsteady = errors.New("the replica that has the session may be gone, or was cut off from Redis as this one was")
	errStopping = errors.New("this replica is stopping")
)

// locate returns the address of the replica that has the session; empty for this one, or for a session that there is not.
// A session of a replica that is gone, or of nobody, is claimed, unless that has to wait (errUnsteady) or this replica
// takes no more (errStopping).
func (s *Store) locate(ctx context.Context, session string) (address string, err error) {
	for ctx.Err() == nil {
		owner, err := s.redis.HGet(ctx, s.sessionKey(session), "owner").Result()
		if errors.Is(err, redis.Nil) || owner == s.id {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if owner != "" {
			address, err := s.addressOf(ctx, owner)
			if err != nil || address != "" && address != s.o.Address {
				return address, err
			}
			if address == "" && !s.lease.isSteady(s.o.Calm, s.o.Lease) {
				return "", errUnsteady
			}
		}
		if s.stopping.Err() != nil {
			return "", errStopping
		}
		claimed, err := claim.Run(ctx, s.redis, []string{s.sessionKey(session)}, owner, s.id).Bool()
		if err != nil && !errors.Is(err, redis.Nil) {
			return "", err
		}
		if claimed {
			s.o.Logger.Info("took over a session", "from", owner)
			return "", nil
		}
	}
	return "", ctx.Err()
}

// addressOf is where a replica can be reached; empty when it has no lease. At the address of this one it was its predecessor.
func (s *Store) addressOf(ctx context.Context, replica string) (string, error) {
	announced, err := s.redis.Get(ctx, s.replicaKey(replica)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", err
	}
	mac, address, _ := strings.Cut(announced, " ")
	if mac != s.mac(replica+"\n"+address) {
		return "", nil
	}
	return address, nil
}
