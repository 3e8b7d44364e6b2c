package server

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/resources"
	"coder-chats-mcp/tools"
	"coder-chats-mcp/transport"
)

// session is what the Server knows of one MCP session beside the transport.
type session struct {
	server     *Server
	transport  *transport.Session
	tools      *tools.Session
	channel    *channel       // nil unless the Claude channel is on
	watching   atomic.Bool    // the list of chats
	background sync.WaitGroup // what ends with the session
	counted    func(string)   // takes it out of the number of sessions; nil if it is in none

	mu            sync.Mutex
	subscriptions map[string]func() // by address
	pumps         map[uuid.UUID]*pump
	voices        map[uuid.UUID]*voice

	messages memory
}

type sessionKey struct{}

func (s *Server) session(ctx context.Context) *session {
	return s.sessionOf(transport.SessionFromContext(ctx))
}

func (s *Server) sessionOf(t *transport.Session) *session {
	return t.LoadOrStore(sessionKey{}, func() any {
		caller := s.callerOf(t.Context())
		own := &session{
			server: s, transport: t,
			subscriptions: map[string]func(){}, pumps: map[uuid.UUID]*pump{}, voices: map[uuid.UUID]*voice{},
		}
		own.tools = &tools.Session{Caller: caller, Config: s.options.Config, Peer: own, Unusable: s.options.Unusable}
		own.tools.OneCall = callerFrom(t.Context()) != nil && mcp.IsModernProtocol(t.ProtocolVersion())
		if s.options.ClaudeChannel && caller != nil {
			own.channel = newChannel(own)
		}
		return own
	}).(*session)
}

// opened prepares a session. Clients that said initialize hear of changes to the list of chats without asking.
func (s *Server) opened(t *transport.Session) {
	own := s.sessionOf(t)
	if !mcp.IsModernProtocol(t.ProtocolVersion()) { // whose requests stand alone
		own.counted = s.options.Telemetry.Session(t.Context(), t.OverHTTP())
	}
	if one := callerFrom(t.Context()); one != nil {
		s.callers.enter(one)
	}
	if !mcp.IsModernProtocol(t.ProtocolVersion()) {
		s.sessionOf(t).watchList()
	}
	if t.Resumed() {
		t.ListChanged("resources") // nobody watched for a while
	}
}

// listening is for clients of protocol 2026-07-28, who ask for what they want to hear of.
func (s *Server) listening(t *transport.Session, filter mcp.SubscriptionFilter) {
	if filter.ResourcesListChanged {
		s.sessionOf(t).watchList()
	}
}

// watchList follows the caller's list of chats, once for a session. While the deployment cannot be reached nobody sees what becomes of the list, so
// its return is told as a change.
func (s *session) watchList() {
	ctx := s.transport.Context()
	source, err := s.server.source(ctx)
	if err != nil || !s.watching.CompareAndSwap(false, true) {
		return
	}
	s.background.Go(func() {
		changed := func() { s.transport.ListChanged("resources") }
		attempts := 0
		cancel, err := persist(ctx, func() (func(), error) {
			attempts++
			return resources.WatchList(ctx, source, changed)
		})
		switch {
		case err == nil:
			if attempts > 1 {
				changed()
			}
			<-ctx.Done()
			cancel()
		case ctx.Err() == nil:
			s.server.log.Warn("the list of chats cannot be watched, so resources/list_changed will not be sent", "error", err)
		}
	})
}

func (s *Server) closed(t *transport.Session) {
	own := s.sessionOf(t)
	own.background.Wait()
	if own.channel != nil {
		own.channel.close()
	}
	if one := callerFrom(t.Context()); one != nil {
		s.callers.leave(one)
	}
	if own.counted != nil {
		own.counted(t.ProtocolVersion())
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
	plain, err := url.PathUnescape(value) // a plus is a plus
	if !found || err != nil {
		return uri
	}
	return address + "?" + name + "=" + strings.ReplaceAll(url.QueryEscape(plain), "+", "%20")
}

// Progress implements tools.Peer.
func (s *session) Progress(ctx context.Context, message string) { transport.Progress(ctx, message) }

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

// Cancelled implements tools.Peer.
func (s *session) Cancelled(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), transport.ErrCancelled)
}

// Concerns implements tools.Peer.
func (s *session) Concerns(chat uuid.UUID) {
	if s.channel != nil {
		s.channel.add(chat)
	}
}
