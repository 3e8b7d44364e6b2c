package tools_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
	"coder-chats-mcp/simulator/desktop"
	"coder-chats-mcp/tools"
)

// desk is what stands behind the desktop stream of all chats.
type desk struct {
	drawn *desktop.Desktop
	serve func(ctx context.Context) (net.Conn, error) // nil: the drawn one

	mu    sync.Mutex
	conns []*watchedConn
}

// watchedConn tells when the far side has let it go.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (d *desk) dial(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.drawn.Dial(ctx)
	if d.serve != nil {
		var err error
		if conn, err = d.serve(ctx); err != nil {
			return nil, err
		}
	}
	watched := &watchedConn{Conn: conn, closed: make(chan struct{})}
	d.conns = append(d.conns, watched)
	return watched, nil
}

func (d *desk) dials() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// ended waits until a connection is gone.
func (d *desk) ended(t *testing.T, i int) {
	t.Helper()
	select {
	case <-d.conns[i].closed:
	case <-time.After(10 * time.Second):
		require.Fail(t, "the connection stays open")
	}
}

func deskBench(t *testing.T, g simulator.Generation) (*bench, *desk, string) {
	d := &desk{drawn: desktop.New()}
	b := newBench(t, withWorkspace(simulator.Options{Generation: g, Desktop: d.dial}, ""))
	return b, d, b.chat("hello", workshop)
}

func pictureOf(t *testing.T, r *mcp.CallToolResult) (image.Image, object) {
	t.Helper()
	_, got := okay(t, r)
	content := r.Content[1].(mcp.ImageContent)
	require.Equal(t, got["media_type"], content.MIMEType)
	raw, err := base64.StdEncoding.DecodeString(content.Data)
	require.NoError(t, err)
	img, _, err := image.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	return img, got
}

func TestADesktopIsSeenAndWorked(t *testing.T) {
	generations(t, func(t *testing.T, g simulator.Generation) {
		b, d, chat := deskBench(t, g)
		result := b.call("view_chat_desktop", object{"chat": chat})
		before, got := pictureOf(t, result)
		require.Equal(t, image.Pt(desktop.Width, desktop.Height), before.Bounds().Size())
		require.Equal(t, object{
			"id": chat, "name": "Simulated desktop", "width": 1024.0, "height": 768.0, "shown_width": 1024.0, "shown_height": 768.0, "media_type": "image/png",
		}, got)
		require.Contains(t, textOf(t, result), `Desktop "Simulated desktop" of chat `+chat+": 1024x768, shown as 1024x768 (image/png).")

		result = b.call("control_chat_desktop", object{"chat": chat, "actions": []object{
			{"action": "move", "x": 10, "y": 10},
			{"action": "type", "text": "echo hello"},
			{"action": "key", "key": "Return"},
			{"action": "wait", "seconds": 0.01},
			{"action": "scroll", "x": 300, "y": 300, "dy": 3},
			{"action": "double_click", "x": 300, "y": 300, "button": "right"},
		}})
		after, got := pictureOf(t, result)
		require.EqualValues(t, 6, got["actions_done"])
		require.Contains(t, d.drawn.Text(), "\nhello\n")
		require.NotEqual(t, before, after, "the picture is of after the actions")
		require.Contains(t, strings.Join(b.heard.told(), "\n"), "2 of 6: type")
		require.Equal(t, 1, d.dials(), "the connection is kept")
	})
}

func TestCoordinatesAreThoseOfTheLastPicture(t *testing.T) {
	b, d, chat := deskBench(t, "")
	typed := func(text string) bool { return strings.Contains(d.drawn.Text(), text) }
	press := func(x, y int, text string, more ...object) *mcp.CallToolResult {
		arguments := object{"chat": chat, "actions": []object{{"action": "click", "x": x, "y": y}, {"action": "type", "text": text}}}
		for _, m := range more {
			for k, v := range m {
				arguments[k] = v
			}
		}
		return b.call("control_chat_desktop", arguments)
	}
	// The window begins at 140,120: 100,100 is beside it in a picture of full size, and inside it in one of half the size.
	okay(t, press(100, 100, "outside"))
	require.False(t, typed("outside"))
	img, got := pictureOf(t, b.call("view_chat_desktop", object{"chat": chat, "max_width": 512}))
	require.Equal(t, image.Pt(512, 384), img.Bounds().Size())
	require.EqualValues(t, 512, got["shown_width"])
	img, _ = pictureOf(t, press(100, 100, "inside"))
	require.True(t, typed("inside"))
	require.Equal(t, 512, img.Bounds().Dx(), "the next picture is as wide as the last")
	f := failure(t, press(512, 10, "x"))
	require.Contains(t, f.Message, "actions[0] (click) is at 512,10, which is not in the picture of 512x384; nothing was done")

	okay(t, press(100, 100, "beside", object{"max_width": 1024}))
	require.False(t, typed("beside"), "max_width says which picture is meant")

	// A window moved by its title is found at its new place.
	b.ok("control_chat_desktop", object{"chat": chat, "actions": []object{
		{"action": "drag", "x": 200, "y": 130, "to_x": 400, "to_y": 400}, {"action": "click", "x": 200, "y": 200}, {"action": "type", "text": "vacant"},
	}})
	require.False(t, typed("vacant"))
}

func TestABadActionIsFoundBeforeAnyIsDone(t *testing.T) {
	b, d, chat := deskBench(t, "")
	for says, bad := range map[string]object{
		"actions[1] (click) needs x and y; nothing was done":                   {"action": "click", "x": 1},
		"actions[1] (drag) needs to_x and to_y":                                {"action": "drag", "x": 1, "y": 1},
		"actions[1] (drag) is at 9999,1":                                       {"action": "drag", "x": 1, "y": 1, "to_x": 9999, "to_y": 1},
		"actions[1] (move) is at -1,1":                                         {"action": "move", "x": -1, "y": 1},
		"actions[1] (scroll) needs dx or dy":                                   {"action": "scroll", "x": 1, "y": 1},
		"actions[1] (type) needs text":                                         {"action": "type"},
		"actions[1] (key) needs key":                                           {"action": "key"},
		"actions[1] (wait) needs seconds; nothing was done":                    {"action": "wait"},
		"actions[1] (wait) needs seconds":                                      {"action": "wait", "seconds": -1},
		`actions[1] (key) cannot be sent: there is no key "nonsense"`:          {"action": "key", "key": "nonsense"},
		"actions[1] (key) cannot be sent: 9 keys at once, limit 8":             {"action": "key", "key": "a+b+c+d+e+f+g+h+i"},
		"actions[1] (scroll) cannot be sent: a scroll by 0, 1001 steps":        {"action": "scroll", "x": 1, "y": 1, "dy": 1001},
		"actions[1] (type) cannot be sent: the control character U+0001":       {"action": "type", "text": "a\x01"},
		"actions[1] (type) cannot be sent: a text of 65537 bytes, limit 65536": {"action": "type", "text": strings.Repeat("a", 65537)},
		`"actions[1].action" must be one of move, click`:                       {"action": "dance"},
	} {
		f := b.fails("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": "typed"}, bad, {"action": "move", "x": 1, "y": 1}}})
		require.Equal(t, "invalid_argument", f.Kind)
		require.Contains(t, f.Message, says)
	}
	require.NotContains(t, d.drawn.Text(), "typed")
}

func TestAnIdleConnectionEndsAndADeadOneIsReplaced(t *testing.T) {
	b, d, chat := deskBench(t, "")
	b.session.KeepDesktops(30 * time.Millisecond)
	b.ok("view_chat_desktop", object{"chat": chat, "max_width": 512})
	d.ended(t, 0)
	_, got := b.ok("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": "again"}}})
	require.EqualValues(t, 512, got["shown_width"], "the scale outlives the connection")
	require.Equal(t, 2, d.dials())

	b, d, chat = deskBench(t, "")
	for i, tool := range []string{"view_chat_desktop", "control_chat_desktop", "view_chat_desktop"} {
		arguments := object{"chat": chat}
		if tool == "control_chat_desktop" {
			arguments["actions"] = []object{{"action": "type", "text": "again"}}
		}
		b.ok(tool, arguments)
		require.Equal(t, i+1, d.dials())
		require.NoError(t, d.conns[i].Conn.Close())
		require.Eventually(t, func() bool { return b.session.Desktops() == 0 }, 10*time.Second, time.Millisecond)
	}
	require.Contains(t, d.drawn.Text(), "again")
}

func TestActionsOfAConnectionThatBreaksAreToldAsFarAsTheyCame(t *testing.T) {
	b, d, chat := deskBench(t, "")
	b.ok("view_chat_desktop", object{"chat": chat})
	result := make(chan *mcp.CallToolResult)
	go func() {
		result <- b.call("control_chat_desktop", object{"chat": chat, "actions": []object{
			{"action": "type", "text": "begun"}, {"action": "wait", "seconds": 30}, {"action": "type", "text": "never"},
		}})
	}()
	require.Eventually(t, func() bool { return strings.Contains(d.drawn.Text(), "begun") }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.conns[0].Conn.Close())
	f := failure(t, <-result)
	require.Equal(t, "unavailable", f.Kind)
	require.Contains(t, f.Message, "actions[1] (wait) failed: the desktop connection is closed; done before: 0 type; not done: 1 after it")
	require.Equal(t, 1, d.dials())
}

func TestACancelledCallSaysWhatWasDone(t *testing.T) {
	b, d, chat := deskBench(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan *mcp.CallToolResult)
	go func() {
		result <- b.callWith(ctx, "control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": "begun"}, {"action": "wait", "seconds": 30}}})
	}()
	require.Eventually(t, func() bool { return strings.Contains(d.drawn.Text(), "begun") }, 10*time.Second, time.Millisecond)

	impatient, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	require.Equal(t, "timeout", failure(t, b.callWith(impatient, "view_chat_desktop", object{"chat": chat})).Kind, "the desktop is busy")

	cancel()
	f := failure(t, <-result)
	require.Equal(t, "timeout", f.Kind)
	require.Contains(t, f.Message, "actions[1] (wait) failed: the call was cancelled; done before: 0 type")
	b.ok("view_chat_desktop", object{"chat": chat})
	require.Equal(t, 1, d.dials(), "the connection is as good as before")
}

func TestActionsLastNoLongerThanACallMay(t *testing.T) {
	b, _, chat := deskBench(t, "")
	b.session.Config.MaxWait = 50 * time.Millisecond
	f := b.fails("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "wait", "seconds": 30}}})
	require.Equal(t, "timeout", f.Kind)
	require.Contains(t, f.Message, "the actions take longer than a call may; done before: nothing")
}

// cutting is the drawn desktop behind a connection that ends with the n-th message which begins or ends as given.
func (d *desk) cutting(ends func(message []byte) bool, n int) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return &cutConn{Conn: d.drawn.Dial(ctx), ends: ends, left: n}, nil
	}
}

type cutConn struct {
	net.Conn
	ends func([]byte) bool
	left int
}

func (c *cutConn) Write(message []byte) (int, error) {
	if c.ends(message) {
		if c.left--; c.left == 0 {
			return len(message), c.Close()
		}
	}
	return c.Conn.Write(message)
}

func TestActionsWithoutAPictureAfterThemAreNotTakenForDone(t *testing.T) {
	b, d, chat := deskBench(t, "")
	d.serve = d.cutting(func(m []byte) bool { return m[0] == 4 && m[len(m)-1] == 'Z' }, 1)
	f := b.fails("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": "Z"}}})
	require.Equal(t, "unavailable", f.Kind)
	require.Contains(t, f.Message, "all 1 actions were sent, but the picture after them failed: the desktop's connection ended")
	require.Contains(t, f.Next, "look with view_chat_desktop")
	require.Equal(t, 1, d.dials(), "nothing is done again unseen")
}

func TestAViewReplacesAConnectionThatDiesUnderIt(t *testing.T) {
	b, d, chat := deskBench(t, "")
	d.serve = d.cutting(func(m []byte) bool { return m[0] == 3 }, 2)
	b.ok("view_chat_desktop", object{"chat": chat})
	b.ok("view_chat_desktop", object{"chat": chat})
	require.Equal(t, 2, d.dials())

	d.serve = d.cutting(func(m []byte) bool { return m[0] == 3 }, 1)
	f := b.fails("view_chat_desktop", object{"chat": chat})
	require.Equal(t, "unavailable", f.Kind)
	require.Contains(t, f.Message, "the desktop's connection ended")
	require.Equal(t, 3, d.dials(), "replaced once, not for ever")
}

func TestADesktopThatNeverGreetsIsLeftWithTheCall(t *testing.T) {
	b, d, chat := deskBench(t, "")
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	d.serve = func(context.Context) (net.Conn, error) { return near, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.Equal(t, "timeout", failure(t, b.callWith(ctx, "view_chat_desktop", object{"chat": chat})).Kind)
	d.ended(t, 0)
}

func TestCallsToOneDesktopDoNotMix(t *testing.T) {
	b, d, chat := deskBench(t, "")
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			digit := fmt.Sprint(i)
			r := b.call("control_chat_desktop", object{"chat": chat, "actions": []object{
				{"action": "type", "text": "<" + digit}, {"action": "wait", "seconds": 0.01}, {"action": "type", "text": digit + ">"}, {"action": "key", "key": "Return"},
			}})
			if r.IsError {
				t.Errorf("%v", r.Content)
			}
		})
	}
	calls.Wait()
	for i := range 4 {
		require.Contains(t, d.drawn.Text(), fmt.Sprintf("<%d%d>", i, i))
	}
	require.Equal(t, 1, d.dials())
}

func TestADesktopThatCannotBeShownSaysWhy(t *testing.T) {
	b := newBench(t, withWorkspace(simulator.Options{}, ""))
	f := b.fails("view_chat_desktop", object{"chat": b.chat("hello", workshop)})
	require.Equal(t, "unsupported", f.Kind)
	require.Contains(t, f.Message, "no desktop that can be shown")
	require.Contains(t, f.Next, "portabledesktop")
	require.Contains(t, f.API, "Failed to start desktop.")

	for name, c := range map[string]struct {
		serve func(context.Context) (net.Conn, error)
		says  string
		next  string
	}{
		"it does not start":      {func(context.Context) (net.Conn, error) { return nil, errors.New("no display") }, "its stream ended at once", "portabledesktop"},
		"it ends at once":        {says(""), "its stream ended at once", "portabledesktop"},
		"it asks for a password": {says("RFB 003.008\n\x01\x02"), "the desktop asks for a VNC password", "without a password"},
		"it refuses":             {says("RFB 003.008\n\x00\x00\x00\x00\x06nobody"), `refused the connection: "nobody"`, "portabledesktop"},
		"it speaks otherwise":    {says("HTTP/1.1 200"), "broke the RFB protocol", "portabledesktop"},
		"it shows garbage":       {says(greeting(8, 8) + "\xff"), "a message of unknown type 255", "portabledesktop"},
	} {
		t.Run(name, func(t *testing.T) {
			b, d, chat := deskBench(t, "")
			d.serve = c.serve
			f := b.fails("view_chat_desktop", object{"chat": chat})
			require.Contains(t, f.Message, c.says)
			require.Contains(t, f.Next, c.next)
		})
	}
}

// says is a desktop that says so much, whatever it hears. One that says nothing hangs up, others let the viewer do that.
func says(words string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		if words == "" {
			return near, far.Close()
		}
		go func() { _, _ = io.Copy(io.Discard, far) }()
		go func() { _, _ = io.WriteString(far, words) }()
		return near, nil
	}
}

// greeting is all that a desktop of a size says before it is asked for a picture.
func greeting(width, height uint16) string {
	b := []byte("RFB 003.008\n\x01\x01\x00\x00\x00\x00")
	b = binary.BigEndian.AppendUint16(b, width)
	b = binary.BigEndian.AppendUint16(b, height)
	b = append(b, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0)
	return string(append(b, 0, 0, 0, 0))
}

func TestADesktopOfAnotherSizeIsLookedAtFirst(t *testing.T) {
	b, d, chat := deskBench(t, "")
	b.ok("view_chat_desktop", object{"chat": chat})
	require.NoError(t, d.conns[0].Conn.Close())
	require.Eventually(t, func() bool { return b.session.Desktops() == 0 }, 10*time.Second, time.Millisecond)
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() { _, _ = io.WriteString(far, greeting(640, 480)) }()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	d.serve = func(context.Context) (net.Conn, error) { return near, nil }
	f := b.fails("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "click", "x": 1, "y": 1}}})
	require.Equal(t, "conflict", f.Kind)
	require.Contains(t, f.Message, "the desktop is 640x480 now, other than in the last picture; nothing was done")
}

// another is another session of the same caller.
func (b *bench) another() *bench {
	other := *b
	other.session = &tools.Session{Caller: b.session.Caller, Config: b.session.Config, Peer: b.heard, OneCall: b.session.OneCall}
	return &other
}

func TestEachSessionHasAPictureOfItsOwn(t *testing.T) {
	a, d, chat := deskBench(t, "")
	b := a.another()
	a.ok("view_chat_desktop", object{"chat": chat, "max_width": 1024})
	b.ok("view_chat_desktop", object{"chat": chat, "max_width": 512})
	beside := object{"chat": chat, "actions": []object{{"action": "click", "x": 100, "y": 100}, {"action": "type", "text": "beside"}}}
	_, got := a.ok("control_chat_desktop", beside)
	require.EqualValues(t, 1024, got["shown_width"])
	require.NotContains(t, d.drawn.Text(), "beside")
	_, got = b.ok("control_chat_desktop", beside)
	require.EqualValues(t, 512, got["shown_width"])
	require.Contains(t, d.drawn.Text(), "beside")
	require.Equal(t, 1, d.dials(), "they share the connection")

	a.session.OneCall = true
	a.another().ok("view_chat_desktop", object{"chat": chat, "max_width": 256})
	_, got = a.another().ok("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "move", "x": 1, "y": 1}}})
	require.EqualValues(t, 256, got["shown_width"], "sessions of one call go on from each other")
	_, got = b.ok("control_chat_desktop", beside)
	require.EqualValues(t, 512, got["shown_width"])
}

func TestNothingIsKeptOfDesktopsThatAreNotThere(t *testing.T) {
	b, d, chat := deskBench(t, "")
	for range 20 {
		b.fails("view_chat_desktop", object{"chat": uuid.New()})
	}
	require.Zero(t, b.session.KnownDesktops())
	b.session.KeepDesktops(20 * time.Millisecond)
	b.ok("view_chat_desktop", object{"chat": chat})
	d.ended(t, 0)
	require.Eventually(t, func() bool { return b.session.KnownDesktops() == 0 }, 10*time.Second, time.Millisecond)
}

func TestTheConnectionThatIdledLongestMakesRoom(t *testing.T) {
	b, d, chat := deskBench(t, "")
	view := object{"chat": chat, "max_width": 64}
	b.ok("view_chat_desktop", view)
	for i := range tools.MaxDesktops {
		if i == 1 {
			b.ok("view_chat_desktop", view) // no longer the oldest, but for the one before
		}
		b.ok("view_chat_desktop", object{"chat": b.chat("hello", workshop), "max_width": 64})
	}
	d.ended(t, 1)
	require.Equal(t, tools.MaxDesktops+1, d.dials())
	require.Equal(t, tools.MaxDesktops, b.session.Desktops())
	b.ok("view_chat_desktop", view)
	require.Equal(t, tools.MaxDesktops+1, d.dials(), "it was kept")
}

func TestMoreDesktopsAtWorkThanMayBeAreRefused(t *testing.T) {
	b, d, chat := deskBench(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range tools.MaxDesktops {
		busy := b.chat("hello", workshop)
		calls.Go(func() {
			b.callWith(ctx, "control_chat_desktop", object{"chat": busy, "max_width": 64, "actions": []object{{"action": "wait", "seconds": 30}}})
		})
	}
	require.Eventually(t, func() bool { return d.dials() == tools.MaxDesktops }, 10*time.Second, time.Millisecond)
	f := b.fails("view_chat_desktop", object{"chat": chat})
	require.Equal(t, "unavailable", f.Kind)
	require.Contains(t, f.Message, "16 desktops are at work")
	cancel()
	calls.Wait()
	b.ok("view_chat_desktop", object{"chat": chat})
}

func TestCharactersThatMayBeLostAreTold(t *testing.T) {
	b, _, chat := deskBench(t, "")
	types := func(text string) (string, object) {
		return b.ok("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": text}}})
	}
	_, got := types("абвгдежзийклмн plain and more plain")
	require.NotContains(t, got, "note")
	text, got := types("оп")
	const note = "16 different characters that a US keyboard lacks have been typed, and a desktop may lose those beyond some 15 without a word: " +
		"compare with the picture, or have the chat write the text to a file"
	require.Equal(t, note, got["note"])
	require.Contains(t, text, note+".")
	_, got = types("plain")
	require.NotContains(t, got, "note", "nothing that could be lost was typed")
	_, got = types("а")
	require.Equal(t, note, got["note"], "what was lost once is lost again")
}

func TestAClosedCallerKeepsNoDesktop(t *testing.T) {
	b, d, chat := deskBench(t, "")
	b.ok("view_chat_desktop", object{"chat": chat})
	b.session.Close()
	d.ended(t, 0)
	f := b.fails("view_chat_desktop", object{"chat": chat})
	require.Contains(t, f.Message, "shutting down")

	b, d, chat = deskBench(t, "")
	result := make(chan *mcp.CallToolResult)
	go func() {
		result <- b.call("control_chat_desktop", object{"chat": chat, "actions": []object{{"action": "type", "text": "begun"}, {"action": "wait", "seconds": 30}}})
	}()
	require.Eventually(t, func() bool { return strings.Contains(d.drawn.Text(), "begun") }, 10*time.Second, time.Millisecond)
	b.session.Close()
	require.Contains(t, failure(t, <-result).Message, "actions[1] (wait) failed")
}
