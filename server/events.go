package server

import (
	"context"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// pump tells a session every stream event of a chat that it subscribed to, as notifications/message. It lives while any address of the chat is subscribed to.
type pump struct {
	addresses int
	cancel    context.CancelFunc
	done      sync.WaitGroup
}

// startPump runs with s.mu held. It does nothing for clients without a log level, and for addresses of no chat.
func (s *session) startPump(uri string) {
	chat, ok := chatOf(uri)
	if _, set := s.transport.LogLevel(); !ok || !set {
		return
	}
	if p := s.pumps[chat]; p != nil {
		p.addresses++
		return
	}
	ctx, cancel := context.WithCancel(s.transport.Context())
	p := &pump{addresses: 1, cancel: cancel}
	s.pumps[chat] = p
	p.done.Go(func() { s.pump(ctx, chat) })
}

// stopPump runs with s.mu held; what it returns, if anything, ends the pump and must run without.
func (s *session) stopPump(uri string) func() {
	chat, _ := chatOf(uri)
	p := s.pumps[chat]
	if p == nil {
		return nil
	}
	if p.addresses--; p.addresses > 0 {
		return nil
	}
	delete(s.pumps, chat)
	return func() {
		p.cancel()
		p.done.Wait()
	}
}

func (s *session) pump(ctx context.Context, chat uuid.UUID) {
	listener, err := s.tools.Relay.Follow(ctx, chat)
	if err != nil {
		s.server.log.Debug("the events of a chat cannot be told", "chat", chat, "error", err)
		return
	}
	defer listener.Close()
	for {
		e, err := listener.Next(ctx)
		if err != nil {
			return
		}
		s.logEvent(ctx, chat, e)
	}
}

func (s *session) logEvent(ctx context.Context, chat uuid.UUID, e relay.Event) {
	if len(e.Raw) == 0 {
		return // the relay's own conclusion, not an event of the API
	}
	// Nothing joins here: while the outbox is full this waits, and the relay joins what comes meanwhile.
	if err := s.transport.Log(ctx, levelOf(e), "chat/"+chat.String(), e.Raw, nil); err != nil {
		s.server.log.Debug("a stream event was not told", "chat", chat, "error", err)
	}
}

func levelOf(e relay.Event) mcp.LoggingLevel {
	switch e.Type {
	case client.EventMessagePart, client.EventPreviewReset:
		return mcp.LoggingLevelDebug
	case client.EventRetry:
		return mcp.LoggingLevelWarning
	case client.EventError:
		return mcp.LoggingLevelError
	case client.EventActionRequired:
		return mcp.LoggingLevelNotice
	}
	return mcp.LoggingLevelInfo
}

// chatOf is the chat that an address is about.
func chatOf(uri string) (uuid.UUID, bool) {
	rest, ok := strings.CutPrefix(uri, "coder://chats/")
	if !ok {
		return uuid.Nil, false
	}
	id, _, _ := strings.Cut(rest, "/")
	chat, err := uuid.Parse(id)
	return chat, err == nil
}
