package client

import (
	"context"
	"net"

	"github.com/google/uuid"
)

// Desktop is "Connect to chat workspace desktop via WebSockets": the workspace's screen as a raw RFB (VNC) connection, the
// server speaking first. A chat without a workspace or whose agent is not connected is an invalid_argument. ctx bounds the
// connecting only.
func (c *Client) Desktop(ctx context.Context, id uuid.UUID) (net.Conn, error) {
	return nil, errNotYet
}
