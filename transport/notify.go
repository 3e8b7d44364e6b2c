package transport

import (
	"context"
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"
)

// Notify sends a notification. With the context of a request of this session it belongs to that request and leaves
// before its response; afterwards it is refused with ErrAnswered. With any other context it is the session's own. While
// the outbox is full it waits, until ctx ends; an HTTP session without an open GET stream keeps its messages for the next
// one. params must not change any more, unless join is nil.
func (s *Session) Notify(ctx context.Context, method string, params any, join *Join) error {
	out, from := s.stream(ctx)
	return out.notify(ctx, notice{method: method, params: params, join: join, from: from})
}

// stream is where messages sent with ctx go, and the request they belong to.
func (s *Session) stream(ctx context.Context) (*outbox, *request) {
	if r := requestFrom(ctx); r != nil && r.session == s {
		return r.out, r
	}
	return s.out, nil
}

// LogLevel is the least level of notifications/message that the client wants, and whether it said so: with
// logging/setLevel, or in the one request that the session is (HTTP, protocol 2026-07-28).
func (s *Session) LogLevel() (mcp.LoggingLevel, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.level, s.level != ""
}

// LogLevelFor is the level that holds for the request of ctx: in protocol 2026-07-28 each request carries its own.
func (s *Session) LogLevelFor(ctx context.Context) (mcp.LoggingLevel, bool) {
	if r := requestFrom(ctx); r != nil && r.session == s && r.modern {
		return r.level, r.level != ""
	}
	return s.LogLevel()
}

// Apart reports whether log messages sent with ctx are apart from the session's others: the request has a stream of its own, or
// (protocol 2026-07-28) a level of its own.
func (s *Session) Apart(ctx context.Context) bool {
	r := requestFrom(ctx)
	return r != nil && r.session == s && (r.modern || r.out != s.out)
}

// GetLogLevel is the level in force, info unless the client set one.
func (s *Session) GetLogLevel() mcp.LoggingLevel {
	if level, ok := s.LogLevel(); ok {
		return level
	}
	return mcp.LoggingLevelInfo
}

// SetLogLevel is called by mcp-go for logging/setLevel.
func (s *Session) SetLogLevel(level mcp.LoggingLevel) { s.mu.Lock(); s.level = level; s.mu.Unlock() }

// Log sends notifications/message if the client wants that level: a client of the older protocols that set none gets
// info and above, a request of 2026-07-28 that named none gets nothing. join merges the data of two messages of one
// level and logger. It waits and is refused as Notify is.
func (s *Session) Log(ctx context.Context, level mcp.LoggingLevel, logger string, data any, join *Join) error {
	if !s.wants(ctx, level) {
		return ctx.Err()
	}
	return s.Notify(ctx, string(mcp.MethodNotificationMessage), logParams{level, logger, data}, join.ofLogData())
}

func (s *Session) wants(ctx context.Context, level mcp.LoggingLevel) bool {
	r := requestFrom(ctx)
	if r != nil && r.session == s && r.modern {
		return r.level != "" && level.ShouldSendTo(r.level)
	}
	if !s.isLegacy() && r == nil {
		threshold, ok := s.LogLevel()
		return ok && level.ShouldSendTo(threshold)
	}
	return level.ShouldSendTo(s.GetLogLevel())
}

type logParams struct {
	Level  mcp.LoggingLevel `json:"level"`
	Logger string           `json:"logger,omitempty"`
	Data   any              `json:"data"`
}

func (j *Join) ofLogData() *Join {
	if j == nil || j.Merge == nil {
		return j
	}
	return &Join{Key: j.Key, Merge: func(queued, next any) (any, bool) {
		was, is := queued.(logParams), next.(logParams)
		if was.Level != is.Level || was.Logger != is.Logger {
			return nil, false
		}
		data, ok := j.Merge(was.Data, is.Data)
		return logParams{is.Level, is.Logger, data}, ok
	}}
}

// ResourceUpdated sends notifications/resources/updated to the subscription of resources/subscribe and to each
// subscriptions/listen that named uri. It never waits: a notice that is still queued covers the next one.
func (s *Session) ResourceUpdated(uri string) {
	legacy, listens := s.subscribers(uri)
	if legacy {
		s.post(s.out, nil, mcp.MethodNotificationResourceUpdated, uri, updatedParams{URI: uri})
	}
	for _, l := range listens {
		s.post(l.request.out, l.request, mcp.MethodNotificationResourceUpdated, uri, updatedParams{URI: uri, Meta: l.tag()})
	}
}

// ListChanged sends notifications/{what}/list_changed, what being tools, prompts or resources, to a client that
// initialized and to each subscriptions/listen that asked for it. It never waits.
func (s *Session) ListChanged(what string) {
	method := "notifications/" + what + "/list_changed"
	s.mu.Lock()
	legacy := s.legacy
	var listens []*listen
	for l := range s.subs.listens {
		if l.wantsList(method) && !l.request.silenced.Load() {
			listens = append(listens, l)
		}
	}
	s.mu.Unlock()
	if legacy {
		s.post(s.out, nil, method, "", nil)
	}
	for _, l := range listens {
		s.post(l.request.out, l.request, method, "", updatedParams{Meta: l.tag()})
	}
}

type updatedParams struct {
	Meta map[string]json.RawMessage `json:"_meta,omitempty"`
	URI  string                     `json:"uri,omitempty"`
}

// post queues a notice that replaces its like. Whoever it can't reach any more has no use for it.
func (s *Session) post(out *outbox, from *request, method, key string, params any) {
	if from != nil {
		key += "\x00" + from.key
	}
	_ = out.notifyNow(notice{method: method, params: params, join: &Join{Key: key}, from: from})
}
