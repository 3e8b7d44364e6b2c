package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// voice tells the client the stream events of one chat, as notifications/message, for all that hear them in its session at once: calls that
// follow the chat, and the pump of its subscriptions. Each is told once and in order: only the first speaker tells, and the others pass an event
// after it was told. When the first one leaves, the next goes on where it stopped.
type voice struct {
	mu       sync.Mutex
	speakers []any
	telling  bool          // one of them is at it, even if it has left
	last     int64         // relay.Event.Serial of the last one told
	before   int64         // last when the first speaker became that
	moved    chan struct{} // closed and renewed when any of these change
}

// join reports whether the speaker was not in the line before.
func (v *voice) join(speaker any) (new bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Contains(v.speakers, speaker) {
		return false
	}
	v.speakers = append(v.speakers, speaker)
	return true
}

func (v *voice) leave(speaker any) (empty bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := slices.Index(v.speakers, speaker)
	if at == 0 {
		v.before = v.last
	}
	if at >= 0 {
		v.speakers = slices.Delete(v.speakers, at, at+1)
	}
	v.wake()
	return len(v.speakers) == 0
}

func (v *voice) wake() {
	close(v.moved)
	v.moved = make(chan struct{})
}

var errLeft = errors.New("whoever heard it has left")

// say tells the event, or waits until another speaker did. It fails when the speaker has left: the others tell what it did not.
func (v *voice) say(ctx context.Context, speaker any, serial int64, tell func() error) error {
	for {
		now, moved := v.turn(speaker, serial)
		switch now {
		case passed:
			return nil
		case gone:
			return errLeft
		case mine:
			err := tell()
			v.told(speaker, serial, err == nil)
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// turn is what a speaker has to do about an event.
type turn int

const (
	later  turn = iota // when moved is closed
	mine               // it must tell it, and say so with told
	passed             // it was told
	gone               // it is not in the line
)

func (v *voice) turn(speaker any, serial int64) (now turn, moved <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, known := slices.Index(v.speakers, speaker), v.last
	if at == 0 {
		known = v.before // it may tell several of one number: the joined rest of what it missed
	}
	switch {
	case serial <= known:
		return passed, nil
	case at < 0:
		return gone, nil
	case at > 0 || v.telling:
		return later, v.moved
	}
	v.telling = true
	return mine, nil
}

// told ends a turn.
func (v *voice) told(speaker any, serial int64, success bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.telling = false
	if success {
		v.last = max(v.last, serial)
	}
	if slices.Index(v.speakers, speaker) != 0 { // it left meanwhile
		v.before = v.last
	}
	v.wake()
}

// joinVoice puts a speaker into the line of a chat. Whoever is new in it must leave.
func (s *session) joinVoice(chat uuid.UUID, speaker any) (v *voice, new bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v = s.voices[chat]
	if v == nil {
		v = &voice{moved: make(chan struct{})}
		s.voices[chat] = v
	}
	return v, v.join(speaker)
}

func (s *session) leaveVoice(chat uuid.UUID, speaker any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.voices[chat]; v != nil && v.leave(speaker) {
		delete(s.voices, chat)
	}
}

// Event implements tools.Peer. The call speaks until its context ends.
func (s *session) Event(ctx context.Context, chat uuid.UUID, e relay.Event) {
	if _, set := s.transport.LogLevelFor(ctx); !set || len(e.Raw) == 0 {
		return
	}
	if s.transport.Apart(ctx) {
		s.told(chat, s.logEvent(ctx, chat, e))
		return
	}
	tell := func() error { return s.logOnce(ctx, chat, e) }
	if e.Serial == 0 { // it was there before the call listened
		s.told(chat, tell())
		return
	}
	v, new := s.joinVoice(chat, ctx)
	if new {
		context.AfterFunc(ctx, func() { s.leaveVoice(chat, ctx) })
	}
	s.told(chat, v.say(ctx, ctx, e.Serial, tell))
}

// logOnce leaves out messages that the session was told.
func (s *session) logOnce(ctx context.Context, chat uuid.UUID, e relay.Event) error {
	if e.Type != client.EventMessage {
		return s.logEvent(ctx, chat, e)
	}
	return s.messages.once(ctx, chat, e.Message.ID, func() error { return s.logEvent(ctx, chat, e) })
}

// logEvent joins nothing: while the outbox is full it waits, and the relay joins what comes meanwhile.
func (s *session) logEvent(ctx context.Context, chat uuid.UUID, e relay.Event) error {
	return s.transport.Log(ctx, levelOf(e), "chat/"+chat.String(), e.Raw, nil)
}

func (s *session) told(chat uuid.UUID, err error) {
	if err != nil {
		s.server.log.Debug("an event was not told", "chat", chat, "error", err)
	}
}

// Changed implements tools.Peer.
func (s *session) Changed(ctx context.Context, e client.WatchEvent) {
	if _, set := s.transport.LogLevelFor(ctx); set {
		s.told(e.Chat.ID, s.transport.Log(ctx, mcp.LoggingLevelInfo, "chat/"+e.Chat.ID.String(), e.Raw, nil))
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

// pump tells a session every stream event of a chat that it subscribed to. It lives while any address of the chat is subscribed to.
type pump struct {
	addresses map[string]bool
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
		p.addresses[uri] = true
		return
	}
	ctx, cancel := context.WithCancel(s.transport.Context())
	p := &pump{addresses: map[string]bool{uri: true}, cancel: cancel}
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
	delete(p.addresses, uri)
	if len(p.addresses) > 0 {
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
		s.told(chat, err)
		return
	}
	defer listener.Close()
	v, _ := s.joinVoice(chat, ctx)
	defer s.leaveVoice(chat, ctx)
	for {
		e, err := listener.Next(ctx)
		if err != nil {
			return
		}
		if len(e.Raw) > 0 { // or it is the relay's own conclusion, not an event of the API
			s.told(chat, v.say(ctx, ctx, e.Serial, func() error { return s.logOnce(ctx, chat, e) }))
		}
	}
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
