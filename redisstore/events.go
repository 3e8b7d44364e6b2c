package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"coder-chats-mcp/transport"
)

// The log of a session is a list of entries "ID STREAM LAST\nDATA" of all its streams, oldest first; LAST is 1 for a
// response and 0 else. Ids count up for the whole session, whichever replica appends.
var appendEvents = redis.NewScript(`
local size = 0
if redis.call('EXISTS', KEYS[1]) == 1 then size = tonumber(redis.call('HGET', KEYS[2], 'bytes') or '0') end
local ids = {}
for i = 3, #ARGV, 2 do
  local id = string.format('%d', redis.call('HINCRBY', KEYS[2], 'last', 1))
  local entry = id .. ' ' .. ARGV[i] .. '\n' .. ARGV[i + 1]
  redis.call('RPUSH', KEYS[1], entry)
  size = size + #entry
  ids[#ids + 1] = id
end
local length = redis.call('LLEN', KEYS[1])
while size > tonumber(ARGV[1]) and length > 1 do
  size = size - #redis.call('LPOP', KEYS[1])
  length = length - 1
end
redis.call('HSET', KEYS[2], 'bytes', size)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return ids`)

// Append implements transport.EventStore. Either all events are logged, one after the other, or none.
func (s *Store) Append(ctx context.Context, session, stream string, events []transport.Event) ([]string, error) {
	args := []any{s.o.MaxBytes, s.o.TTL.Milliseconds()}
	for _, e := range events {
		last := "0"
		if e.Last {
			last = "1"
		}
		args = append(args, stream+" "+last, e.Data)
	}
	ids, err := appendEvents.Run(ctx, s.redis, s.sessionKeys(session)[1:], args...).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("log events in Redis: %w", err)
	}
	return ids, nil
}

// After implements transport.EventStore.
func (s *Store) After(ctx context.Context, session, stream, id string) ([]transport.Event, error) {
	if _, err := strconv.ParseUint(id, 10, 53); err != nil || len(session) > longestID {
		return nil, transport.ErrUnknownEvent
	}
	entries, err := s.redis.LRange(ctx, s.key("log", session), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read events from Redis: %w", err)
	}
	var events []transport.Event
	for _, entry := range entries {
		head, data, _ := strings.Cut(entry, "\n")
		if fields := strings.Fields(head); len(fields) == 3 && fields[1] == stream {
			events = append(events, transport.Event{ID: fields[0], Data: []byte(data), Last: fields[2] == "1"})
		}
	}
	at := slices.IndexFunc(events, func(e transport.Event) bool { return e.ID == id })
	if at < 0 {
		return nil, transport.ErrUnknownEvent
	}
	return events[at+1:], nil
}

// Drop implements transport.EventStore.
func (s *Store) Drop(ctx context.Context, session string) error {
	if err := s.redis.Del(ctx, s.sessionKeys(session)[1:]...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("forget events in Redis: %w", err)
	}
	return nil
}
