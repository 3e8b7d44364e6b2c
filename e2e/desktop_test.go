package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"image"
	"image/draw"
	_ "image/jpeg"
	_ "image/png"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client/rfb/vnctest"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/simulator/desktop"
)

// do is the arguments of control_chat_desktop.
func do(chat string, actions ...map[string]any) map[string]any {
	return map[string]any{"chat": chat, "actions": actions}
}

func types(text string) map[string]any { return map[string]any{"action": "type", "text": text} }

func at(action string, x, y int) map[string]any {
	return map[string]any{"action": action, "x": x, "y": y}
}

var enter = map[string]any{"action": "key", "key": "Return"}

// picture is what a call shows, and what it says about that.
func (a answer) picture() (*image.RGBA, map[string]any) {
	a.t.Helper()
	said := a.ok()
	last := a.Content[len(a.Content)-1]
	require.Equal(a.t, "image", last.Type)
	require.Equal(a.t, said["media_type"], last.MIMEType)
	data, err := base64.StdEncoding.DecodeString(last.Data)
	require.NoError(a.t, err)
	decoded, _, err := image.Decode(bytes.NewReader(data))
	require.NoError(a.t, err)
	size := decoded.Bounds().Size()
	require.Equal(a.t, []any{float64(size.X), float64(size.Y)}, []any{said["shown_width"], said["shown_height"]})
	img := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(img, img.Rect, decoded, decoded.Bounds().Min, draw.Src)
	return img, said
}

// ownChat is a chat bound to a workspace.
func ownChat(p *peer, bound uuid.UUID) string {
	p.t.Helper()
	arguments := map[string]any{"prompt": "hello", "wait_seconds": 60}
	if bound != uuid.Nil {
		arguments["workspace_id"] = bound
	}
	return p.tool("create_chat", arguments).ok()["id"].(string)
}

// A real X server, seen through the whole way: RFB over TCP, the server's WebSocket, the binary, MCP.
func TestEndToEndRealDesktop(t *testing.T) {
	var vnc vnctest.Server
	var dials atomic.Int32
	o := withWorkspace(simulator.Options{Desktop: func(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", vnc.Address)
	}})
	onOneSimulator(t, o, func(t *testing.T, b backend) {
		vnc = vnctest.Start(t, append(vnctest.TCP, "-geometry", "800x600", "-desktop", "a real one")...)
		p := start(t, b.environment())
		workRealDesktop(t, p, ownChat(p, workspace), vnc)
		require.EqualValues(t, 1, dials.Load(), "the connection is kept between the calls")
	})
}

func workRealDesktop(t *testing.T, p *peer, chat string, vnc vnctest.Server) {
	t.Helper()
	const width, height = 800, 600
	// Two terminals: what is typed goes to the one that has the pointer.
	first, second := image.Point{}, image.Pt(400, 300)
	vnc.XTerm(t, "66x22+0+0")
	vnc.XTerm(t, "60x20+400+300")
	shows := func(img *image.RGBA, terminal image.Point, row, column, n int) bool {
		return !vnctest.Blank(vnctest.Characters(img, terminal, row, column, n))
	}
	view := func() *image.RGBA {
		img, said := p.tool("view_chat_desktop", map[string]any{"chat": chat, "max_width": width}).picture()
		require.Equal(t, "image/png", said["media_type"])
		require.Equal(t, []any{"a real one", float64(width), float64(height)}, []any{said["name"], said["width"], said["height"]})
		return img
	}
	// until looks until the picture is as wished and the one that X itself gives.
	until := func(what string, wished func(*image.RGBA) bool) (img *image.RGBA) {
		t.Helper()
		for deadline := time.Now().Add(vnctest.Patience); ; {
			if img = view(); wished(img) && vnctest.Same(img, vnc.Screen(t)) {
				return img
			}
			require.True(t, time.Now().Before(deadline), "it never came to be that %s", what)
		}
	}
	until("both terminals prompt", func(img *image.RGBA) bool { return shows(img, first, 0, 0, 1) && shows(img, second, 0, 0, 1) })

	p.tool("control_chat_desktop", do(chat, at("move", 18, 26), types("echo hello"), enter)).ok()
	shown := until("the first terminal printed what was typed", func(img *image.RGBA) bool {
		typed, printed := vnctest.Characters(img, first, 0, 7, 5), vnctest.Characters(img, first, 1, 0, 5)
		return !vnctest.Blank(typed) && vnctest.Same(typed, printed) && shows(img, first, 2, 0, 1)
	})
	hello := vnctest.Characters(shown, first, 1, 0, 5)

	// In a picture of half the size, 250,180 is the second terminal; at full size it would be the first.
	img, said := p.tool("view_chat_desktop", map[string]any{"chat": chat, "max_width": width / 2}).picture()
	require.Equal(t, image.Pt(width/2, height/2), img.Rect.Size())
	require.Equal(t, []any{float64(width), float64(height)}, []any{said["width"], said["height"]})
	img, said = p.tool("control_chat_desktop", do(chat, at("move", 250, 180), types("echo hello"))).picture()
	require.Equal(t, width/2, img.Rect.Dx(), "the next picture is as wide as the last")
	require.Equal(t, 2.0, said["actions_done"])
	until("the second terminal shows it", func(img *image.RGBA) bool {
		return vnctest.Same(hello, vnctest.Characters(img, second, 0, 7, 5)) && !shows(img, first, 2, 3, 10)
	})

	// Click, look, click: a double click selects the word under it, a middle click pastes it. At full size the place would be in the first terminal.
	p.tool("view_chat_desktop", map[string]any{"chat": chat, "max_width": width / 2}).ok()
	word := second.Add(image.Pt(9*vnctest.Cell.X, vnctest.Cell.Y/2)).Div(2)
	p.tool("control_chat_desktop", do(chat, at("double_click", word.X, word.Y))).ok()
	p.tool("view_chat_desktop", map[string]any{"chat": chat}).ok()
	paste := at("click", word.X, word.Y)
	paste["button"] = "middle"
	p.tool("control_chat_desktop", with(do(chat, paste, enter), "max_width", width/2)).ok()
	until("the word was selected, pasted and printed twice", func(img *image.RGBA) bool {
		return vnctest.Same(hello, vnctest.Characters(img, second, 1, 0, 5)) && vnctest.Same(hello, vnctest.Characters(img, second, 1, 5, 5))
	})
}

// On every generation the drawn desktop of the demo.
func TestEndToEndDrawnDesktop(t *testing.T) {
	var all drawn
	onEverySimulator(t, withWorkspace(simulator.Options{Desktop: all.dial}), func(t *testing.T, b backend) {
		p := start(t, b.environment())
		chat := ownChat(p, workspace)
		before, said := p.tool("view_chat_desktop", map[string]any{"chat": chat, "max_width": desktop.Width / 2}).picture()
		require.Equal(t, []any{chat, float64(desktop.Width), float64(desktop.Height)}, []any{said["id"], said["width"], said["height"]})
		require.Equal(t, image.Pt(desktop.Width/2, desktop.Height/2), before.Rect.Size())
		text := all.of(uuid.MustParse(chat)).Text

		// The window begins at 140,120: in a picture of half the size 100,100 is inside of it, and 20,20 beside it takes its keyboard.
		after, said := p.tool("control_chat_desktop", do(chat, at("click", 20, 20), types("unheard"), at("click", 100, 100), types("echo hello"), enter)).picture()
		require.Equal(t, 5.0, said["actions_done"])
		require.False(t, vnctest.Same(before, after), "the picture is of after the actions")
		require.Contains(t, text(), "\nhello\n")
		require.NotContains(t, text(), "unheard")
		require.Contains(t, p.tool("control_chat_desktop", do(chat, types("never"), at("click", 700, 1))).failed("invalid_argument"), "nothing was done")
		require.NotContains(t, text(), "never")
		require.Equal(t, 1, b.sim.SocketsOf("desktop"), "the connection is kept between the calls")
	})
}

// drawn are desktops of chats, each chat's its own.
type drawn struct{ all sync.Map }

func (d *drawn) of(chat uuid.UUID) *desktop.Desktop {
	one, _ := d.all.LoadOrStore(chat, desktop.New())
	return one.(*desktop.Desktop)
}

func (d *drawn) dial(ctx context.Context, chat uuid.UUID) (net.Conn, error) {
	return d.of(chat).Dial(ctx), nil
}

func TestEndToEndDesktopsThatAreNotThere(t *testing.T) {
	o := withWorkspace(simulator.Options{})
	owner := o.Workspaces[0].OwnerID
	bare, offline := uuid.MustParse("5a3e2b52-8f4d-4a0e-9a55-0d7c1f2f3b12"), uuid.MustParse("5a3e2b52-8f4d-4a0e-9a55-0d7c1f2f3b13")
	o.Workspaces = append(o.Workspaces,
		simulator.Workspace{ID: bare, OwnerID: owner, AgentState: "none"}, simulator.Workspace{ID: offline, OwnerID: owner, AgentState: "disconnected"})
	onEverySimulator(t, o, func(t *testing.T, b backend) {
		p := start(t, b.environment())
		for _, c := range []struct {
			workspace        uuid.UUID
			kind, says, next string
		}{
			{uuid.Nil, "invalid_argument", "the chat has no workspace", "update_chat"},
			{bare, "invalid_argument", "the chat's workspace has no agent", "start the workspace"},
			{offline, "unavailable", "the agent of the chat's workspace is not connected", "start the workspace"},
			{workspace, "unsupported", "the chat's workspace has no desktop that can be shown", "portabledesktop"},
		} {
			chat := ownChat(p, c.workspace)
			for _, a := range []answer{p.tool("view_chat_desktop", map[string]any{"chat": chat}), p.tool("control_chat_desktop", do(chat, at("move", 1, 1)))} {
				text := a.failed(c.kind)
				require.Contains(t, text, c.says, a.tool)
				_, next, _ := strings.Cut(text, "Next: ")
				require.Contains(t, next, c.next, a.tool)
				require.Contains(t, text, "The API said", a.tool)
			}
		}
	})
}
