package server

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/resources"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// session is what the Server knows of one MCP session beside the transport.
type session struct {
	server    *Server
	transport *transport.Session
	tools     *tools.Session
	channel   *channel // nil unless the Claude channel is on

	mu            sync.Mutex
	subscriptions map[string]func() // by address
	pumps         map[uuid.UUID]*pump
	watching      bool   // the list of chats
	listWatch     func() // ends that
}

type sessionKey struct{}

func (s *Server) session(ctx context.Context) *session {
	return s.sessionOf(transport.SessionFromContext(ctx))
}

func (s *Server) sessionOf(t *transport.Session) *session {
	return t.LoadOrStore(sessionKey{}, func() any {
		caller := s.callerOf(t.Context())
		own := &session{server: s, transport: t, subscriptions: map[string]func(){}, pumps: map[uuid.UUID]*pump{}}
		own.tools = &tools.Session{Caller: caller, Config: s.options.Config, Peer: own, Unusable: s.options.Unusable}
		if s.options.ClaudeChannel && caller != nil {
			own.channel = newChannel(own)
		}
		return own
	}).(*session)
}

// opened prepares a session. Clients that said initialize hear of changes to the list of chats without asking.
func (s *Server) opened(t *transport.Session) {
	if one := callerFrom(t.Context()); one != nil {
		s.callers.enter(one)
	}
	if !mcp.IsModernProtocol(t.ProtocolVersion()) {
		s.watchList(t)
	}
}

// listening is for clients of protocol 2026-07-28, who ask for what they want to hear of.
func (s *Server) listening(t *transport.Session, filter mcp.SubscriptionFilter) {
	if filter.ResourcesListChanged {
		s.watchList(t)
	}
}

// watchList follows the caller's list of chats, once for a session. A caller who cannot be reached now costs only these notices.
func (s *Server) watchList(t *transport.Session) {
	own := s.sessionOf(t)
	source, err := s.source(t.Context())
	if err != nil {
		return
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	if own.watching {
		return
	}
	own.watching = true
	go func() {
		cancel, err := resources.WatchList(t.Context(), source, func() { t.ListChanged("resources") })
		if err != nil {
			s.log.Warn("the list of chats cannot be watched, so resources/list_changed will not be sent", "error", err)
			return
		}
		own.keepListWatch(cancel)
	}()
}

func (s *session) keepListWatch(cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport.Context().Err() != nil {
		cancel()
		return
	}
	s.listWatch = cancel
}

func (s *Server) closed(t *transport.Session) {
	own := s.sessionOf(t)
	own.mu.Lock()
	watch := own.listWatch
	own.listWatch = nil
	own.mu.Unlock()
	if watch != nil {
		watch()
	}
	if own.channel != nil {
		own.channel.close()
	}
	if one := callerFrom(t.Context()); one != nil {
		s.callers.leave(one)
	}
}

func (s *Server) subscribed(t *transport.Session, uri string) error {
	source, err := s.source(t.Context())
	if err != nil {
		return err
	}
	cancel, err := resources.Subscribe(t.Context(), source, uri, t.ResourceUpdated)
	if err != nil {
		return notFound(err)
	}
	own := s.sessionOf(t)
	own.mu.Lock()
	defer own.mu.Unlock()
	own.subscriptions[uri] = cancel
	own.startPump(uri)
	return nil
}

func (s *Server) unsubscribed(t *transport.Session, uri string) {
	own := s.sessionOf(t)
	own.mu.Lock()
	cancel := own.subscriptions[uri]
	delete(own.subscriptions, uri)
	ended := own.stopPump(uri)
	own.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if ended != nil {
		ended()
	}
}

// hooks start the events of chats that are subscribed to already when a client sets its log level.
func (s *Server) hooks() *server.Hooks {
	hooks := &server.Hooks{}
	hooks.AddBeforeReadResource(func(_ context.Context, _ any, q *mcp.ReadResourceRequest) { q.Params.URI = escaped(q.Params.URI) })
	hooks.AddAfterSetLevel(func(ctx context.Context, _ any, _ *mcp.SetLevelRequest, _ *mcp.EmptyResult) {
		own := s.session(ctx)
		own.mu.Lock()
		defer own.mu.Unlock()
		for uri := range own.subscriptions {
			own.startPump(uri)
		}
	})
	return hooks
}

// escaped is the address as URI templates match it: a path in a query needs its slashes escaped, and clients do not bother.
func escaped(uri string) string {
	address, query, found := strings.Cut(uri, "?")
	name, value, _ := strings.Cut(query, "=")
	plain, err := url.QueryUnescape(value)
	if !found || err != nil {
		return uri
	}
	return address + "?" + name + "=" + url.QueryEscape(plain)
}

// Progress implements tools.Peer.
func (s *session) Progress(ctx context.Context, message string) { transport.Progress(ctx, message) }

// Event implements tools.Peer. A chat that is subscribed to tells its events already.
func (s *session) Event(ctx context.Context, chat uuid.UUID, e relay.Event) {
	s.mu.Lock()
	_, pumped := s.pumps[chat]
	s.mu.Unlock()
	if _, set := s.transport.LogLevelFor(ctx); set && !pumped {
		s.logEvent(ctx, chat, e)
	}
}

// Changed implements tools.Peer.
func (s *session) Changed(ctx context.Context, e client.WatchEvent) {
	if _, set := s.transport.LogLevelFor(ctx); !set {
		return
	}
	if err := s.transport.Log(ctx, mcp.LoggingLevelInfo, "chat/"+e.Chat.ID.String(), e.Raw, nil); err != nil {
		s.server.log.Debug("an event of the chat list was not told", "error", err)
	}
}

// Roots implements tools.Peer.
func (s *session) Roots(ctx context.Context) []string {
	roots, err := s.transport.Roots(ctx)
	if err != nil {
		s.server.log.Debug("the client did not tell its roots", "error", err)
	}
	var folders []string
	for _, root := range roots {
		if u, err := url.Parse(root.URI); err == nil && u.Scheme == "file" && strings.HasPrefix(u.Path, "/") {
			folders = append(folders, filepath.FromSlash(u.Path))
		}
	}
	return folders
}

// Concerns implements tools.Peer.
func (s *session) Concerns(chat uuid.UUID) {
	if s.channel != nil {
		s.channel.add(chat)
	}
}
