package main

import (
	"context"
	"net"
	"sync"

	"github.com/google/uuid"

	"coder-chats-mcp/simulator"
	"coder-chats-mcp/simulator/desktop"
)

// startSimulator starts the backend of --simulate and of the demo: an agent that does small coding tasks, and a drawn desktop.
func startSimulator(g simulator.Generation) (*simulator.Instance, error) {
	var desktops sync.Map // of chats
	return simulator.Start(simulator.Options{
		Generation: g, Story: true,
		Desktop: func(ctx context.Context, chat uuid.UUID) (net.Conn, error) {
			d, _ := desktops.LoadOrStore(chat, desktop.New())
			return d.(*desktop.Desktop).Dial(ctx), nil
		},
	})
}
