package transport

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
)

// CallRecord is a call that a client can still resume the stream of, should the replica that runs it go away.
type CallRecord struct {
	Stream string          `json:"stream"`
	First  string          `json:"first"` // id of the stream's first event
	ID     json.RawMessage `json:"id"`
	Tool   bool            `json:"tool,omitempty"` // a call of a tool
	Name   string          `json:"name,omitempty"` // of the tool
	// Request is the message, if another replica may serve it once more. Without it the call is answered with an error.
	Request json.RawMessage `json:"request,omitempty"`
}

// longestRepeated is how long a request may be to be kept for another replica.
const longestRepeated = 64 << 10

// recordOf is what another replica would need to know of m; nil without others.
func (s *httpSession) recordOf(m *message, stream string) *CallRecord {
	if s.handler.o.Sessions == nil {
		return nil
	}
	c := &CallRecord{Stream: stream, ID: m.ID}
	if m.Method == string(mcp.MethodToolsCall) {
		c.Tool, c.Name = true, m.meta.Name
	}
	if len(m.raw) <= longestRepeated && (!c.Tool || s.core.repeatable(m)) {
		c.Request = m.raw
	}
	return c
}

// repeatable reports whether a tool call may be made twice.
func (c *Core) repeatable(m *message) bool {
	tool := c.mcp.GetTool(m.meta.Name)
	if tool == nil {
		return true // it is only refused
	}
	if c.opts.Repeatable == nil {
		return isTrue(tool.Tool.Annotations.ReadOnlyHint) || isTrue(tool.Tool.Annotations.IdempotentHint)
	}
	return !m.odd && c.opts.Repeatable(m.meta.Name, m.meta.Arguments)
}

func isTrue(hint *bool) bool { return hint != nil && *hint }

// sharedRecord is record with the calls that have begun to stream.
func (s *httpSession) sharedRecord() SessionRecord {
	r := s.record()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		r.Calls = append(r.Calls, c)
	}
	return r
}

// noteCall tells the store of a call when its first event is logged, which the client can resume from, and forgets it
// once its response is. It runs with st.mu held.
func (s *httpSession) noteCall(st *stream, first string, last bool) {
	if last {
		s.settleCall(st)
		return
	}
	if st.call == nil || st.call.First != "" {
		return
	}
	st.call.First = first
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]CallRecord{}
	}
	s.calls[st.name] = *st.call
	s.mu.Unlock()
	_ = s.save()
}

func (s *httpSession) settleCall(st *stream) {
	s.mu.Lock()
	_, noted := s.calls[st.name]
	delete(s.calls, st.name)
	s.mu.Unlock()
	if noted {
		_ = s.save()
	}
}

// takeOver makes a fresh session the one that another replica had. Its calls go on: each is served again if that does no
// harm, else answered with what is known. Since nobody watched for a while, every subscription is told of a change.
func (s *httpSession) takeOver(ctx context.Context, r SessionRecord) {
	s.restore(r)
	for _, c := range r.Calls {
		s.takeOverCall(ctx, c)
	}
	for _, uri := range s.Subscriptions() {
		s.ResourceUpdated(uri)
	}
}

func (s *httpSession) takeOverCall(ctx context.Context, c CallRecord) {
	logged, err := s.handler.o.Events.After(ctx, s.id, c.Stream, c.First)
	if len(logged) > 0 && logged[len(logged)-1].Last {
		return
	}
	st := &stream{session: s, name: c.Stream, call: &c, box: newOutbox(s.core.opts.MaxQueued, &s.counts, &s.core.counts)}
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]CallRecord{}
	}
	s.calls[st.name] = c
	s.mu.Unlock()
	if err == nil && c.Request != nil {
		switch refused := s.repeat(ctx, st, logged); refused {
		case nil, errSessionStopping: // then the next replica decides
			return
		}
	}
	s.answerLost(st)
}

// repeat serves the call of st again, its progress going on from where it was logged.
func (s *httpSession) repeat(ctx context.Context, st *stream, logged []Event) (refused *Error) {
	m, bad := parse(st.call.Request)
	if bad != nil {
		return bad
	}
	r, refused := s.begin(ctx, m, st.box)
	if refused != nil {
		return refused
	}
	s.handler.posts.add()
	r.progress.count = lastProgress(logged)
	s.mu.Lock()
	s.streams[st.name] = st
	s.mu.Unlock()
	s.run(r, m, st)
	return nil
}

// lastProgress is the counter of the newest notifications/progress.
func lastProgress(logged []Event) int64 {
	for _, e := range slices.Backward(logged) {
		var n struct {
			Method string `json:"method"`
			Params struct {
				Progress int64 `json:"progress"`
			} `json:"params"`
		}
		if json.Unmarshal(e.Data, &n) == nil && n.Method == string(mcp.MethodNotificationProgress) {
			return n.Params.Progress
		}
	}
	return 0
}

// answerLost answers a call of which nobody knows how far it came.
func (s *httpSession) answerLost(st *stream) {
	data, err := encodeResult(st.call.ID, s.core.lost(st.call.Name))
	if err != nil || !st.call.Tool {
		data = encodeError(st.call.ID, &Error{Code: codeBusy, Message: "the server that ran this request went away before it answered: send it again"})
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.ctx.Err() == nil {
		_ = st.log([]Event{{Data: data, Last: true}})
	}
}

// lost is the result of a tool call that another replica did not finish.
func (c *Core) lost(tool string) *mcp.CallToolResult {
	if c.opts.Lost != nil {
		return c.opts.Lost(tool)
	}
	return mcp.NewToolResultError("the server that ran this call went away before it answered. What was asked for may have been done: look before you repeat it")
}
