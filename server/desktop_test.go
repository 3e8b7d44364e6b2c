package server_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/simulator/desktop"
)

var workshop = uuid.MustParse("5a3e2b52-8f4d-4a0e-9a55-0d7c1f2f3b11")

// deskGateway is a gateway to workspaces that show a drawn desktop.
func deskGateway(t *testing.T) (*gateway, *desktop.Desktop) {
	owner := uuid.MustParse("c0ffee00-0000-4000-8000-000000000001")
	drawn := desktop.New()
	return newGatewayTo(t, simulator.Options{
		Users:      []simulator.User{{ID: owner, Username: "ada", Token: "simulator-user-1", AgentsAccess: true}},
		Workspaces: []simulator.Workspace{{ID: workshop, OwnerID: owner}},
		Desktop:    func(ctx context.Context, _ uuid.UUID) (net.Conn, error) { return drawn.Dial(ctx), nil },
	}, server.HTTPOptions{}), drawn
}

// A desktop's connection is shared by all sessions of a token, what each was shown of it is not.
func TestCoordinatesAreInASessionsOwnPicture(t *testing.T) {
	g, drawn := deskGateway(t)
	a, b := g.session(g.token(0)), g.session(g.token(0))
	created, failed := g.tool(a, "create_chat", map[string]any{"prompt": "hello", "wait_seconds": 20, "workspace_id": workshop})
	require.False(t, failed, "%v", created)
	view := func(header http.Header, width int) float64 {
		got, failed := g.tool(header, "view_chat_desktop", map[string]any{"chat": created["id"], "max_width": width})
		require.False(t, failed, "%v", got)
		return got["shown_width"].(float64)
	}
	press := func(header http.Header, x, y int, text string) map[string]any {
		got, failed := g.tool(header, "control_chat_desktop", map[string]any{"chat": created["id"], "actions": []map[string]any{
			{"action": "click", "x": x, "y": y}, {"action": "type", "text": text},
		}})
		require.False(t, failed, "%v", got)
		return got
	}
	require.EqualValues(t, 1024, view(a, 1024))
	require.EqualValues(t, 512, view(b, 512))

	// The window begins at 140,120: 100,100 is beside it at full size, and inside it in a picture of half the size.
	require.EqualValues(t, 1024, press(a, 100, 100, "outside")["shown_width"])
	require.NotContains(t, drawn.Text(), "outside")
	require.EqualValues(t, 1024, press(a, 600, 400, "whole")["shown_width"], "a place that a picture of 512 pixels does not have")
	require.Contains(t, drawn.Text(), "whole")
	require.EqualValues(t, 512, press(b, 100, 100, "inside")["shown_width"])
	require.Contains(t, drawn.Text(), "inside")
	require.Equal(t, 1, g.sim.SocketsOf("desktop"))
}

// In protocol 2026-07-28 every request stands alone, and yet a picture is followed by what is done in it.
func TestCoordinatesAreInTheLastPictureWithoutSessions(t *testing.T) {
	g, drawn := deskGateway(t)
	call := func(name string, arguments map[string]any) map[string]any {
		header := g.token(0)
		header.Set("Mcp-Protocol-Version", "2026-07-28")
		header.Set("Mcp-Method", "tools/call")
		header.Set("Mcp-Name", name)
		_, _, answer := g.post(header, "tools/call", map[string]any{"name": name, "arguments": arguments, "_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion":    "2026-07-28",
			"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "t", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}})
		result, ok := answer["result"].(map[string]any)
		require.True(t, ok, "%v", answer)
		require.NotEqual(t, true, result["isError"], "%v", result)
		return result["structuredContent"].(map[string]any)
	}
	chat := call("create_chat", map[string]any{"prompt": "hello", "wait_seconds": 20, "workspace_id": workshop})["id"]
	require.EqualValues(t, 512, call("view_chat_desktop", map[string]any{"chat": chat, "max_width": 512})["shown_width"])
	got := call("control_chat_desktop", map[string]any{"chat": chat, "actions": []map[string]any{
		{"action": "click", "x": 100, "y": 100}, {"action": "type", "text": "inside"},
	}})
	require.EqualValues(t, 512, got["shown_width"])
	require.Contains(t, drawn.Text(), "inside")
}
