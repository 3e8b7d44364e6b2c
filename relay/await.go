package relay

import (
	"context"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// AwaitRequest says which chats to wait for.
type AwaitRequest struct {
	Chats   []uuid.UUID // 1..100
	All     bool        // until all of them settled, not any one
	Cursor  string      // of the last AwaitResult: what it told is not told again
	Observe func(AwaitEvent)
}

// AwaitEvent is progress: a chat of the request changed its status or settled.
type AwaitEvent struct {
	Chat                    client.Chat
	Settlement              *Settlement // set when it settled
	Settled, Running, Total int
}

// AwaitResult is what became of the chats.
type AwaitResult struct {
	Settled  []Settlement // new since the cursor, in the order in which they settled
	Running  []Running
	Missing  []Missing
	Cursor   string
	TimedOut bool // the context ended first
}

// Settlement is one chat at rest.
type Settlement struct {
	Chat client.Chat
	Outcome
}

// Running is one chat that goes on.
type Running struct {
	ID               uuid.UUID
	Title            string
	Status           client.Status
	WaitsForCapacity bool // known only of chats that were read one by one
}

// Missing is one chat that cannot be read.
type Missing struct {
	ID  uuid.UUID
	Err *client.Error
}

// Await waits until any or all of several chats settle: one watch socket, one or two list reads to begin with, one REST
// read for each chat that settled. When ctx ends first the result says how far the chats are. The chats go on.
func (r *Relay) Await(ctx context.Context, a AwaitRequest) (AwaitResult, error) {
	return AwaitResult{}, ErrClosed
}
