package main

import (
	"context"
	"net"

	"github.com/google/uuid"

	"coder-chats-mcp/simulator"
	"coder-chats-mcp/simulator/desktop"
)

// startSimulator starts the backend of --simulate and of the demo: an agent that does small coding tasks, and a drawn desktop.
func startSimulator(g simulator.Generation) (*simulator.Instance, error) {
	return simulator.Start(simulator.Options{
		Generation: g, Story: true,
		Desktop: func(ctx context.Context, _ uuid.UUID) (net.Conn, error) { return desktop.Dial(ctx), nil },
	})
}
