package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"coder-chats-mcp/transport"
)

// ended is how long the store remembers that a session was ended: longer than a request that could still save it.
const ended = 10 * time.Minute

// longestID is that of session ids that are looked up at all; those of the transport have 36 characters.
const longestID = 64

var save = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], 'over') == 1 then return 0 end
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'record', ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return 1`)

// Save implements transport.SessionStore. The first replica to save a session has it.
func (s *Store) Save(ctx context.Context, r transport.SessionRecord, ttl time.Duration) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a session: %w", err)
	}
	mine, err := save.Run(ctx, s.redis, s.sessionKeys(r.ID), s.id, data, max(ttl, time.Second).Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("save a session in Redis: %w", err)
	}
	if mine == 0 {
		return transport.ErrNoSession
	}
	return nil
}

// Load implements transport.SessionStore.
func (s *Store) Load(ctx context.Context, id string) (transport.SessionRecord, error) {
	var r transport.SessionRecord
	if len(id) > longestID {
		return r, transport.ErrNoSession
	}
	data, err := s.redis.HGet(ctx, s.sessionKey(id), "record").Bytes()
	if errors.Is(err, redis.Nil) {
		return r, transport.ErrNoSession
	}
	if err != nil {
		return r, fmt.Errorf("load a session from Redis: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("decode a session: %w", err)
	}
	return r, nil
}

var end = redis.NewScript(`
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'over', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`)

// Delete implements transport.SessionStore. No replica can bring the session back, not by saving it late either.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := end.Run(ctx, s.redis, []string{s.sessionKey(id)}, ended.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("delete a session from Redis: %w", err)
	}
	return nil
}

var release = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '')
return 1`)

// Release implements transport.SessionStore. The session then has an owner that is nobody, so that it is claimed by the
// replica that its next request reaches, and saved by no other.
func (s *Store) Release(ctx context.Context, id string) error {
	if err := release.Run(ctx, s.redis, []string{s.sessionKey(id)}, s.id).Err(); err != nil {
		return fmt.Errorf("release a session in Redis: %w", err)
	}
	return nil
}
