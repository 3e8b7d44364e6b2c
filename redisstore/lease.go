package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// beat renews the lease of this replica until it leaves.
func (s *Store) beat() {
	ticks := time.NewTicker(s.o.Lease / 5)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			s.renew()
		case <-s.leaving.Done():
			return
		}
	}
}

func (s *Store) renew() {
	announced := s.mac(s.id+"\n"+s.o.Address) + " " + s.o.Address
	if err := s.redis.Set(s.leaving, s.replicaKey(s.id), announced, s.o.Lease).Err(); err != nil && s.leaving.Err() == nil {
		s.o.Logger.Error("Redis can't be reached: MCP sessions are refused until it can", "error", err)
	}
}

// claim gives the session to this replica, if it still belongs to the one that is gone.
var claim = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[2])
return 1`)

// locate returns the address of the replica that has the session; empty for this one, or for a session that nobody has.
func (s *Store) locate(ctx context.Context, session string) (address string, err error) {
	for ctx.Err() == nil {
		owner, err := s.redis.HGet(ctx, s.sessionKey(session), "owner").Result()
		if errors.Is(err, redis.Nil) || owner == s.id {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		address, err := s.addressOf(ctx, owner)
		if err != nil || address != "" {
			return address, err
		}
		claimed, err := claim.Run(ctx, s.redis, []string{s.sessionKey(session)}, owner, s.id).Bool()
		if err != nil && !errors.Is(err, redis.Nil) {
			return "", err
		}
		if claimed {
			s.o.Logger.Info("took over a session of a replica that is gone", "replica", owner)
			return "", nil
		}
	}
	return "", ctx.Err()
}

// addressOf is where a replica can be reached, or empty when its lease has ended or this process is its successor.
func (s *Store) addressOf(ctx context.Context, replica string) (string, error) {
	announced, err := s.redis.Get(ctx, s.replicaKey(replica)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", err
	}
	mac, address, _ := strings.Cut(announced, " ")
	if mac != s.mac(replica+"\n"+address) || address == s.o.Address {
		return "", nil
	}
	return address, nil
}
