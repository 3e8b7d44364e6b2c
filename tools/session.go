package tools

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// Config is what an operator allows.
type Config struct {
	MaxWait        time.Duration // the longest wait of one call
	MaxOutputBytes int           // of one result, counted for its text and for its structure alone
	MaxChats       int           // that one session may create; 0 = no limit
	AllowDirs      []string      // where files may be read and written
	Local          bool          // the caller is on this machine (stdio)
	Logger         *slog.Logger
}

// Defaults of Config.
const (
	DefaultMaxWait        = 5 * time.Minute
	DefaultMaxOutputBytes = 60_000
	// DefaultWait is how long a wait lasts when the call does not say: every known client's own time-out survives it.
	DefaultWait = 45 * time.Second
)

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// Caller is one person at one deployment: a token's client and the relay on it, shared by all sessions of that token and by nobody else.
type Caller struct {
	Client *client.Client
	Relay  *relay.Relay

	creating requests
	desktops desktops
	shown    pictures // to sessions of one call
}

// NewCaller takes ownership of neither; Close ends what tools keep between calls.
func NewCaller(c *client.Client, r *relay.Relay) *Caller { return &Caller{Client: c, Relay: r} }

// Close ends the connections that tools keep between calls.
func (c *Caller) Close() { c.desktops.close() }

// Peer is the MCP client at the other end. The contexts are those of the calls.
type Peer interface {
	// Progress tells a person what happens, when the client asked for it.
	Progress(ctx context.Context, message string)
	// Event passes a chat's stream event on, when the client set a log level.
	Event(ctx context.Context, chat uuid.UUID, event relay.Event)
	// Changed passes an event of the caller's chats on, when the client set a log level.
	Changed(ctx context.Context, event client.WatchEvent)
	// Roots are the folders that the client works in, as file paths; empty when it names none.
	Roots(ctx context.Context) []string
	// Cancelled reports whether the client itself took the call back. A session or a server that ends cancels nothing in its name.
	Cancelled(ctx context.Context) bool
	// Concerns says that this session created a chat or waits for it.
	Concerns(chat uuid.UUID)
}

// Session is one MCP session of a caller.
type Session struct {
	*Caller
	Config Config
	Peer   Peer
	// OneCall: the session ends with the call (protocol 2026-07-28 over HTTP), so that what is to last longer is kept with the caller.
	OneCall bool
	// Unusable is why no call can work (no URL, no token), or nil. It says what to do.
	Unusable error

	rootsPatience time.Duration // 0 = the package's
	shown         pictures

	mu      sync.Mutex
	created int
}

func (s *Session) usable() error {
	if s.Unusable == nil {
		return nil
	}
	kind := client.KindOf(s.Unusable)
	if kind == "" {
		kind = client.KindUnauthorized
	}
	return &Failure{Kind: string(kind), Message: strings.TrimSuffix(s.Unusable.Error(), ".")}
}

// checkChatURL refuses pages of another deployment: their ids mean nothing here.
func (s *Session) checkChatURL(u *url.URL) error {
	if s.Caller == nil {
		return nil
	}
	own := s.Client.Host().URL()
	page := url.URL{Scheme: own.Scheme, Host: u.Host} // pages are often spelled with the other scheme
	if !s.Client.Host().Serves(&page) {
		return fmt.Errorf("that chat is on %s, and this server works with %s", u.Host, own.Host)
	}
	return nil
}

// chatURL is the page of a chat.
func (s *Session) chatURL(id uuid.UUID) string { return s.Client.Host().ChatURL(id) }

var errTooManyChats = errors.New("this session has created as many chats as it may")

// reserve counts a chat that is about to be created; release takes that back when it was not.
func (s *Session) reserve() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Config.MaxChats > 0 && s.created >= s.Config.MaxChats {
		return nil, &Failure{
			Kind: string(client.KindForbidden), Message: fmt.Sprintf("%s (%d)", errTooManyChats, s.Config.MaxChats),
			Next: "send a message to a chat that is there (list_chats), or ask the operator to raise --max-chats",
		}
	}
	s.created++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.created--
	}, nil
}

// wait is how long a call waits: what it asked for, or fallback, within what the operator allows.
func (s *Session) wait(seconds *float64, fallback time.Duration) time.Duration {
	switch {
	case seconds == nil:
		return min(fallback, s.Config.MaxWait)
	case *seconds >= s.Config.MaxWait.Seconds():
		return s.Config.MaxWait
	}
	return time.Duration(*seconds * float64(time.Second))
}
