package transport

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// subscriptions is who in a session wants to hear of what. Session.mu guards it; order is held around the hooks, so that
// Subscribed and Unsubscribed of one session never overlap or cross.
type subscriptions struct {
	order   sync.Mutex
	over    bool // guarded by order
	counts  map[string]int
	legacy  map[string]struct{}
	listens map[*listen]struct{}
}

// Subscriptions lists the URIs the session is subscribed to, in no order.
func (s *Session) Subscriptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	uris := make([]string, 0, len(s.subs.counts))
	for uri := range s.subs.counts {
		uris = append(uris, uri)
	}
	return uris
}

// subscribe serves resources/subscribe. Subscribing twice is subscribing once.
func (s *Session) subscribe(uri string) error {
	s.subs.order.Lock()
	defer s.subs.order.Unlock()
	if s.subscribedLegacy(uri) {
		return nil
	}
	if err := s.retain(uri); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs.legacy == nil {
		s.subs.legacy = map[string]struct{}{}
	}
	s.subs.legacy[uri] = struct{}{}
	return nil
}

func (s *Session) unsubscribe(uri string) {
	s.subs.order.Lock()
	defer s.subs.order.Unlock()
	if !s.subscribedLegacy(uri) {
		return
	}
	s.mu.Lock()
	delete(s.subs.legacy, uri)
	s.mu.Unlock()
	s.release(uri)
}

func (s *Session) subscribedLegacy(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.subs.legacy[uri]
	return ok
}

// retain and release run with subs.order held.
func (s *Session) retain(uri string) error {
	if s.subs.over {
		return ErrSessionOver
	}
	s.mu.Lock()
	first := s.subs.counts[uri] == 0
	s.mu.Unlock()
	if hook := s.core.opts.Hooks.Subscribed; first && hook != nil {
		if err := hook(s, uri); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs.counts == nil {
		s.subs.counts = map[string]int{}
	}
	s.subs.counts[uri]++
	return nil
}

func (s *Session) release(uri string) {
	s.mu.Lock()
	s.subs.counts[uri]--
	last := s.subs.counts[uri] == 0
	if last {
		delete(s.subs.counts, uri)
	}
	s.mu.Unlock()
	if hook := s.core.opts.Hooks.Unsubscribed; last && hook != nil {
		s.tell(func() { hook(s, uri) })
	}
}

// releaseAll gives up what is left at the session's end.
func (s *Session) releaseAll() {
	s.subs.order.Lock()
	defer s.subs.order.Unlock()
	s.subs.over = true
	s.mu.Lock()
	left := s.subs.counts
	s.subs.counts, s.subs.legacy = nil, nil
	s.mu.Unlock()
	if hook := s.core.opts.Hooks.Unsubscribed; hook != nil {
		for uri := range left {
			s.tell(func() { hook(s, uri) })
		}
	}
}

func (s *Session) subscribers(uri string) (legacy bool, listens []*listen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, legacy = s.subs.legacy[uri]
	for l := range s.subs.listens {
		if _, ok := l.uris[uri]; ok && !l.request.silenced.Load() {
			listens = append(listens, l)
		}
	}
	return legacy, listens
}

// listen is a running subscriptions/listen request.
type listen struct {
	request *request
	lists   mcp.SubscriptionFilter
	uris    map[string]struct{}
	over    sync.Once
	info    json.RawMessage // serverInfo, for the result
}

// listen opens r's subscription and acknowledges it. The subscription then lives without a goroutine until r's context
// ends: silently if the client cancelled it, else with its result. An encoded error is returned if it can't be opened.
func (s *Session) listen(r *request, m *message) (refused []byte) {
	ctx, end := s.core.observe(r, m)
	reply := s.core.guarded(r, func() answer { return s.openListen(ctx, r, m) })
	end(reply.Outcome)
	return reply.data
}

// openListen answers only what it refuses.
func (s *Session) openListen(ctx context.Context, r *request, m *message) answer {
	offer, refused := s.core.discover(ctx, r, m)
	if offer == nil {
		return refused
	}
	var params mcp.SubscriptionsListenParams
	if err := json.Unmarshal(m.Params, &params); err != nil {
		return r.refused(&Error{Code: mcp.INVALID_PARAMS,
			Message: "notifications must be an object of the booleans toolsListChanged, promptsListChanged, resourcesListChanged and the array of URIs resourceSubscriptions"})
	}
	l := &listen{request: r, lists: offer.allowed(params.Notifications), uris: map[string]struct{}{}, info: offer.info}
	if err := s.retainAll(l); err != nil {
		return r.refused(refusal(r, err))
	}
	stopping := s.acknowledge(l)
	if hook := s.core.opts.Hooks.Listening; hook != nil && !stopping {
		hook(s, l.lists)
	}
	if stopping || l.lists.IsEmpty() {
		// Nothing will ever come.
		l.end()
		return answer{}
	}
	context.AfterFunc(r.ctx, l.end)
	return answer{}
}

// retainAll subscribes to every URI of l, or to none.
func (s *Session) retainAll(l *listen) error {
	s.subs.order.Lock()
	defer s.subs.order.Unlock()
	for _, uri := range l.lists.ResourceSubscriptions {
		if _, twice := l.uris[uri]; twice {
			continue
		}
		if err := s.retain(uri); err != nil {
			l.releaseURIs()
			l.request.uri = uri // the one that the answer is about
			return err
		}
		l.uris[uri] = struct{}{}
	}
	return nil
}

// acknowledge makes l visible to ResourceUpdated and ListChanged only with its acknowledgement already queued.
func (s *Session) acknowledge(l *listen) (stopping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = l.request.out.notifyNow(notice{method: mcp.MethodNotificationSubscriptionsAcknowledged, from: l.request, params: struct {
		Meta          map[string]json.RawMessage `json:"_meta"`
		Notifications mcp.SubscriptionFilter     `json:"notifications"`
	}{l.tag(), l.lists}})
	if s.subs.listens == nil {
		s.subs.listens = map[*listen]struct{}{}
	}
	s.subs.listens[l] = struct{}{}
	return s.closing
}

func (l *listen) end() { l.over.Do(l.finish) }

func (l *listen) finish() {
	r, s := l.request, l.request.session
	s.mu.Lock()
	delete(s.subs.listens, l)
	s.mu.Unlock()
	r.forget()
	meta := l.tag()
	if l.info != nil {
		meta[mcp.MetaKeyServerInfo] = l.info
	}
	r.out.respondNow(r, mustEncode(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}{mcp.JSONRPC_VERSION, r.id, map[string]any{"resultType": mcp.ResultTypeComplete, "_meta": meta}}))
	r.release()
	s.subs.order.Lock()
	defer s.subs.order.Unlock()
	if !s.subs.over {
		l.releaseURIs()
	}
}

func (l *listen) releaseURIs() {
	for uri := range l.uris {
		l.request.session.release(uri)
	}
}

// endListens ends every subscriptions/listen with its result.
func (s *Session) endListens() {
	s.mu.Lock()
	listens := make([]*listen, 0, len(s.subs.listens))
	for l := range s.subs.listens {
		listens = append(listens, l)
	}
	s.mu.Unlock()
	for _, l := range listens {
		l.end()
	}
}

func (l *listen) tag() map[string]json.RawMessage {
	return map[string]json.RawMessage{mcp.MetaKeySubscriptionID: l.request.id}
}

func (l *listen) wantsList(method string) bool {
	switch method {
	case mcp.MethodNotificationToolsListChanged:
		return l.lists.ToolsListChanged
	case mcp.MethodNotificationPromptsListChanged:
		return l.lists.PromptsListChanged
	case mcp.MethodNotificationResourcesListChanged:
		return l.lists.ResourcesListChanged
	default:
		return false
	}
}

// offer is what the server can be listened to for.
type offer struct {
	caps mcp.ServerCapabilities
	info json.RawMessage
}

// discover asks mcp-go for its capabilities in the name of a listen request: it checks the request's _meta on the way.
func (c *Core) discover(ctx context.Context, r *request, m *message) (*offer, answer) {
	var params struct {
		Meta json.RawMessage `json:"_meta"`
	}
	_ = json.Unmarshal(m.Params, &params)
	ask := mustEncode(struct {
		Version string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{mcp.JSONRPC_VERSION, 0, string(mcp.MethodServerDiscover), params})
	reply := c.dispatch(ctx, r, &message{raw: ask, Method: string(mcp.MethodServerDiscover)})
	var response struct {
		Result *struct {
			Capabilities mcp.ServerCapabilities     `json:"capabilities"`
			Meta         map[string]json.RawMessage `json:"_meta"`
		} `json:"result"`
	}
	if json.Unmarshal(reply.data, &response) != nil || response.Result == nil {
		return nil, reply
	}
	return &offer{response.Result.Capabilities, response.Result.Meta[mcp.MetaKeyServerInfo]}, answer{}
}

func (o *offer) allowed(want mcp.SubscriptionFilter) mcp.SubscriptionFilter {
	var f mcp.SubscriptionFilter
	f.ToolsListChanged = want.ToolsListChanged && o.caps.Tools != nil && o.caps.Tools.ListChanged
	f.PromptsListChanged = want.PromptsListChanged && o.caps.Prompts != nil && o.caps.Prompts.ListChanged
	if o.caps.Resources != nil {
		f.ResourcesListChanged = want.ResourcesListChanged && o.caps.Resources.ListChanged
		if o.caps.Resources.Subscribe {
			f.ResourceSubscriptions = want.ResourceSubscriptions
		}
	}
	return f
}
