// Package transport carries MCP over stdio and over streamable HTTP on the core of mcp-go. It knows messages and
// sessions and nothing of chats.
//
// Of mcp-go, (*server.MCPServer).HandleMessage is used. Its own transports and its Send* methods lose, reorder or
// misroute notifications under load, and notifications are what this server exists for. What holds here instead:
//
//   - One ordered writer per stream: everything a request emits leaves before its response, nothing after it.
//   - An outbox per stream that joins messages by key, counts what it joined, is bounded in bytes and then holds the
//     producer back. Nothing is dropped.
//   - A request can be cancelled from the moment the next message is read, and is then never answered.
//   - Ids and progress tokens travel as the raw JSON the client sent.
package transport

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Options configures a Core. The zero value of every field means its default.
type Options struct {
	// Logger receives what the client can't be told: panics with their stack, results that don't encode. Default
	// slog.Default.
	Logger *slog.Logger
	// DrainTimeout is how long calls may still run once the input has ended (stdio), and how long a client that
	// reads nothing may hold up the last flush. Default 2 s.
	DrainTimeout time.Duration
	// MaxLine is the longest message on stdio, in bytes. A longer one is skipped and answered with an error; the
	// connection lives on. Default 8 MiB.
	MaxLine int
	// MaxConcurrent bounds the requests of one session that run at once. One more is answered with an error; ping,
	// initialize, logging/setLevel and cancellations are not counted. Default 4096.
	MaxConcurrent int
	// MaxQueued is how many bytes wait in the outbox of one stream before its producers are held back. Default 1 MiB.
	MaxQueued int
	// ProgressInterval is the least time between two notifications/progress of one request. Default 250 ms.
	ProgressInterval time.Duration
	// CallTool, if set, is asked before mcp-go. It calls a tool with the arguments as they came, nil for none, and returns a result that is the caller's
	// to change, or leaves the call to mcp-go by returning nil and nil. Its errors are taken as those of a tool's handler are.
	CallTool func(ctx context.Context, tool string, arguments json.RawMessage) (*mcp.CallToolResult, error)
	// ListResources, if set, answers resources/list instead of mcp-go, whose list is the same for every caller and
	// pages by name. cursor is "" for the first page, next is "" after the last.
	ListResources func(ctx context.Context, cursor string) (page []mcp.Resource, next string, err error)
	// Repeatable says that calling the tool with these arguments once more does no harm and tells no less. HTTP sessions
	// shared by replicas need it. Default: tools that are annotated as read-only or idempotent are repeatable.
	Repeatable func(tool string, arguments json.RawMessage) bool
	// Lost is the result of a call of the tool that ran on a replica that is gone, and is not repeated. Default: an error
	// that says that it may have been done.
	Lost func(tool string) *mcp.CallToolResult
	// Observe, if set, is called once for each request before it is served, ping and initialize included. The context that it
	// returns, which descends from the one it is given, is that of the request from then on. end is called with what became
	// of it; of a subscriptions/listen, once that is open.
	Observe func(ctx context.Context, r Request) (observed context.Context, end func(Outcome))
	// Hooks tell the owner of the sessions what becomes of them.
	Hooks Hooks
}

// Hooks are called by a Core; any of them may be nil.
type Hooks struct {
	// SessionOpened is called once, after initialize or with the first request of a client that sends none. Over
	// HTTP a request of protocol 2026-07-28 is a session of its own.
	SessionOpened func(s *Session)
	// SessionClosed is called once for each opened session, after Unsubscribed for all that it still had.
	SessionClosed func(s *Session)
	// Listening is called when a subscriptions/listen was acknowledged, with what it may hear of.
	Listening func(s *Session, filter mcp.SubscriptionFilter)
	// Subscribed is called for the first subscription of a session to a URI, by resources/subscribe or by
	// subscriptions/listen. An error refuses the subscription: its text, and its code if it is an *Error, become
	// the answer. Calls for one session never overlap; one that can take long watches s.Context.
	Subscribed func(s *Session, uri string) error
	// Unsubscribed is called when the last subscription of a session to a URI is gone, also at the session's end.
	Unsubscribed func(s *Session, uri string)
}

// Core serves one MCP server to any number of sessions.
type Core struct {
	mcp    *server.MCPServer
	opts   Options
	log    *slog.Logger
	counts counters
	// signature names the server in results of protocol 2026-07-28.
	signature func() json.RawMessage
}

// New returns a Core for m. It adds middleware to m that keeps the Go errors and panics of handlers from the wire, so
// m should be given to one Core only.
func New(m *server.MCPServer, o Options) *Core {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.DrainTimeout = orDefault(o.DrainTimeout, 2*time.Second)
	o.MaxLine = orDefault(o.MaxLine, 8<<20)
	o.MaxConcurrent = orDefault(o.MaxConcurrent, 4096)
	o.MaxQueued = orDefault(o.MaxQueued, 1<<20)
	o.ProgressInterval = orDefault(o.ProgressInterval, 250*time.Millisecond)
	c := &Core{mcp: m, opts: o, log: o.Logger}
	c.signature = sync.OnceValue(c.askSignature)
	c.guardHandlers()
	return c
}

func orDefault[T ~int | ~int64](v, standard T) T {
	if v <= 0 {
		return standard
	}
	return v
}

// Stats counts messages to clients since the start.
type Stats struct {
	// Queued is the number of messages put into an outbox as messages of their own.
	Queued int64
	// Joined is the number of messages merged into one that was still waiting.
	Joined int64
	// Held is how often a producer had to wait for a slow client.
	Held int64
}

// Stats sums up all sessions, those that ended too.
func (c *Core) Stats() Stats { return c.counts.stats() }

type counters struct{ queued, joined, held atomic.Int64 }

func (c *counters) stats() Stats {
	return Stats{Queued: c.queued.Load(), Joined: c.joined.Load(), Held: c.held.Load()}
}
