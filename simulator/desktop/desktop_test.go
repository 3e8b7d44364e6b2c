package desktop_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/simulator/desktop"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connect(t *testing.T, d *desktop.Desktop, o rfb.Options) *rfb.Conn {
	t.Helper()
	c, err := rfb.New(within(t), d.Dial(t.Context()), o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func look(t *testing.T, c *rfb.Conn) *image.RGBA {
	t.Helper()
	img, err := c.Screenshot(within(t))
	require.NoError(t, err)
	return img
}

// asDrawn looks, and holds the picture against the drawing.
func asDrawn(t *testing.T, d *desktop.Desktop, c *rfb.Conn) *image.RGBA {
	t.Helper()
	img := look(t, c) // all that was sent before it has been done
	require.True(t, bytes.Equal(d.Draw().Pix, img.Pix), "the picture differs from the drawing")
	return img
}

func TestAViewerSeesWhatIsDrawn(t *testing.T) {
	for name, o := range map[string]rfb.Options{
		"Raw":     {Encodings: []rfb.Encoding{rfb.Raw}},
		"Hextile": {Encodings: []rfb.Encoding{rfb.Hextile}},
		"all":     {},
	} {
		t.Run(name, func(t *testing.T) {
			d := desktop.New()
			c := connect(t, d, o)
			require.Equal(t, image.Pt(desktop.Width, desktop.Height), c.Size())
			require.Equal(t, "Simulated desktop", c.Name())
			before := asDrawn(t, d, c)
			require.True(t, before.Opaque())

			require.NoError(t, c.Type(within(t), "echo 'hello there'\n"))
			after := asDrawn(t, d, c)
			require.False(t, bytes.Equal(before.Pix, after.Pix))
			require.Equal(t, "coder@workspace:~$ echo 'hello there'\nhello there\ncoder@workspace:~$ ", d.Text())
		})
	}
}

func TestTheTerminal(t *testing.T) {
	const prompt = "coder@workspace:~$ "
	for name, try := range map[string]struct {
		text  string
		chord string
		want  []string
	}{
		"commands":        {"pwd\nwhoami\nrm -rf /\n\n", "", []string{prompt + "pwd", "/home/coder", prompt + "whoami", "coder", prompt + "rm -rf /", "sh: rm: not found", prompt, prompt}},
		"clear":           {"pwd\nclear\n", "", []string{prompt}},
		"backspace":       {"\bpwx\bd\n", "", []string{prompt + "pwd", "/home/coder", prompt}},
		"ctrl+c":          {"sleep", "ctrl+c", []string{prompt + "sleep^C", prompt}},
		"ctrl+u":          {"sleep", "ctrl+u", []string{prompt}},
		"ctrl+l":          {"pwd\nls", "ctrl+l", []string{prompt + "ls"}},
		"other chords":    {"pwd", "ctrl+x", []string{prompt + "pwd"}},
		"keys unknown":    {"pwd", "F5", []string{prompt + "pwd"}},
		"keypad enter":    {"pwd", "KP_Enter", []string{prompt + "pwd", "/home/coder", prompt}},
		"Unicode":         {"echo é€\n", "", []string{prompt + "echo é€", "é€", prompt}},
		"a long line":     {"echo " + strings.Repeat("a", 81) + "\n", "", []string{prompt + "echo " + strings.Repeat("a", 56), strings.Repeat("a", 25), strings.Repeat("a", 80), "a", prompt}},
		"what scrolls by": {strings.Repeat("echo x\n", 20), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := desktop.New()
			c := connect(t, d, rfb.Options{})
			require.NoError(t, c.Type(within(t), try.text))
			if try.chord != "" {
				require.NoError(t, c.Key(within(t), try.chord))
			}
			asDrawn(t, d, c)
			if try.want == nil {
				require.Len(t, strings.Split(d.Text(), "\n"), 24)
				return
			}
			require.Equal(t, strings.Join(try.want, "\n"), d.Text())
		})
	}
}

func TestAClickFocuses(t *testing.T) {
	d := desktop.New()
	c := connect(t, d, rfb.Options{})
	focused := look(t, c)
	require.NoError(t, c.Click(within(t), image.Pt(10, 700), rfb.LeftButton, 1))
	require.NoError(t, c.Type(within(t), "lost"))
	unfocused := look(t, c)
	require.NotContains(t, d.Text(), "lost")
	require.NotEqual(t, focused.RGBAAt(400, 130), unfocused.RGBAAt(400, 130), "the title shows the focus")

	require.NoError(t, c.Click(within(t), image.Pt(300, 300), rfb.LeftButton, 1))
	require.NoError(t, c.Type(within(t), "found"))
	again := look(t, c)
	require.Contains(t, d.Text(), "found")
	require.Equal(t, focused.RGBAAt(400, 130), again.RGBAAt(400, 130))
}

func TestThePointerIsSeen(t *testing.T) {
	d := desktop.New()
	c := connect(t, d, rfb.Options{})
	at := image.Pt(900, 600)
	background := look(t, c).RGBAAt(at.X+1, at.Y+2)
	require.NoError(t, c.Move(within(t), at))
	img := look(t, c)
	require.Equal(t, color.RGBA{0, 0, 0, 255}, img.RGBAAt(at.X, at.Y))
	require.Equal(t, color.RGBA{255, 255, 255, 255}, img.RGBAAt(at.X+1, at.Y+2))
	require.NotEqual(t, background, img.RGBAAt(at.X+1, at.Y+2))
}

func TestTheWindowIsDraggedByItsTitle(t *testing.T) {
	d := desktop.New()
	c := connect(t, d, rfb.Options{})
	before := look(t, c)
	require.NoError(t, c.Drag(within(t), image.Pt(400, 130), image.Pt(450, 230), rfb.LeftButton))
	after := look(t, c)
	require.Equal(t, before.RGBAAt(140, 120), after.RGBAAt(190, 220))
	require.NotEqual(t, before.RGBAAt(140, 120), after.RGBAAt(140, 120))

	require.NoError(t, c.Drag(within(t), image.Pt(450, 400), image.Pt(10, 10), rfb.LeftButton))
	require.Equal(t, before.RGBAAt(140, 120), look(t, c).RGBAAt(190, 220), "the text is no grip")
}

func TestADesktopOutlivesItsViewers(t *testing.T) {
	d := desktop.New()
	first := connect(t, d, rfb.Options{})
	require.NoError(t, first.Type(within(t), "pwd\n"))
	look(t, first)
	require.NoError(t, first.Close())
	second := connect(t, d, rfb.Options{})
	asDrawn(t, d, second)
	require.Contains(t, d.Text(), "/home/coder")
}

func TestActionsAndScreenshotsInterleave(t *testing.T) {
	d := desktop.New()
	c := connect(t, d, rfb.Options{})
	ctx := within(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				assert.NoError(t, c.Type(ctx, "echo abcdef\n"))
				_, err := c.Screenshot(ctx)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	look(t, c)
	require.Equal(t, 11, strings.Count(d.Text(), "$ echo abcdef\nabcdef\n"), "no text runs into another; the first has scrolled by half")
}

// raw38 is a viewer by hand, up to where it may ask for pixels.
func raw38(t *testing.T, d *desktop.Desktop) net.Conn {
	t.Helper()
	conn := d.Dial(t.Context())
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	hear(t, conn, 12)
	say(t, conn, []byte("RFB 003.008\n"))
	require.Equal(t, []byte{1, 1}, hear(t, conn, 2))
	say(t, conn, []byte{1})
	hear(t, conn, 4)
	say(t, conn, []byte{1})
	greeting := hear(t, conn, 24)
	hear(t, conn, int(binary.BigEndian.Uint32(greeting[20:])))
	return conn
}

func hear(t *testing.T, conn net.Conn, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	require.NoError(t, err)
	return b
}

func say(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	_, err := conn.Write(b)
	require.NoError(t, err)
}

func TestPixelFormats(t *testing.T) {
	panel := desktop.New().Draw().RGBAAt(1000, 5)
	require.Equal(t, color.RGBA{24, 26, 32, 255}, panel)
	for name, try := range map[string]struct {
		format []byte
		want   []byte
	}{
		"32 bits, big endian":         {[]byte{32, 24, 1, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0}, []byte{0, 24, 26, 32}},
		"16 bits, 565, little endian": {[]byte{16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0}, []byte{6<<5&0xff | 4, 3<<3 | 6>>3}},
		"8 bits, 332":                 {[]byte{8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0}, []byte{1 | 1<<3}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := raw38(t, desktop.New())
			say(t, conn, append([]byte{0, 0, 0, 0}, try.format...))
			say(t, conn, []byte{3, 0, 1000 >> 8, 1000 & 0xff, 0, 5, 0, 1, 0, 1})
			hear(t, conn, 16)
			require.Equal(t, try.want, hear(t, conn, len(try.want)))
		})
	}
}

func TestAnIncrementalRequestWaitsForAChange(t *testing.T) {
	d := desktop.New()
	conn := raw38(t, d)
	pixel := []byte{0, 10, 0, 10, 0, 1, 0, 1}
	say(t, conn, append([]byte{3, 1}, pixel...))
	hear(t, conn, 20) // nothing has been sent yet: all is new

	say(t, conn, append([]byte{3, 1}, pixel...))
	say(t, conn, []byte{6, 0, 0, 0, 0, 0, 0, 2, 'h', 'i'}) // a clipboard changes nothing
	say(t, conn, []byte{5, 0, 0, 10, 0, 10})
	update := hear(t, conn, 20)
	require.Equal(t, []byte{0, 0, 0, 0}, update[16:], "the pointer's tip, black")
}

func TestServeEnds(t *testing.T) {
	serve := func(t *testing.T, ctx context.Context) (net.Conn, chan error) {
		viewer, server := net.Pipe()
		t.Cleanup(func() { viewer.Close() })
		require.NoError(t, viewer.SetDeadline(time.Now().Add(30*time.Second)))
		ended := make(chan error, 1)
		go func() { ended <- desktop.New().Serve(ctx, server) }()
		return viewer, ended
	}
	t.Run("when the viewer goes", func(t *testing.T) {
		viewer, ended := serve(t, t.Context())
		hear(t, viewer, 12)
		viewer.Close()
		require.NoError(t, <-ended)
	})
	t.Run("with its context", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		viewer, ended := serve(t, ctx)
		hear(t, viewer, 12)
		cancel(assert.AnError)
		require.ErrorIs(t, <-ended, assert.AnError)
		_, err := viewer.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("at another version", func(t *testing.T) {
		viewer, ended := serve(t, t.Context())
		hear(t, viewer, 12)
		say(t, viewer, []byte("RFB 003.003\n"))
		require.ErrorContains(t, <-ended, "003.003")
	})
	t.Run("at another security type", func(t *testing.T) {
		viewer, ended := serve(t, t.Context())
		hear(t, viewer, 12)
		say(t, viewer, []byte("RFB 003.008\n"))
		hear(t, viewer, 2)
		say(t, viewer, []byte{2})
		require.ErrorContains(t, <-ended, "type 2")
	})
	for name, message := range map[string][]byte{
		"unknown type 99":   {99},
		"true colour: 0":    append([]byte{0, 0, 0, 0, 32, 24, 0, 0}, make([]byte, 12)...),
		"pixels of 24 bits": append([]byte{0, 0, 0, 0, 24, 24, 0, 1}, make([]byte, 12)...),
	} {
		t.Run("at "+name, func(t *testing.T) {
			viewer, ended := serve(t, t.Context())
			hear(t, viewer, 12)
			say(t, viewer, []byte("RFB 003.008\n"))
			hear(t, viewer, 2)
			say(t, viewer, []byte{1})
			hear(t, viewer, 4)
			say(t, viewer, []byte{1})
			hear(t, viewer, 24+len("Simulated desktop"))
			say(t, viewer, message)
			require.ErrorContains(t, <-ended, name)
		})
	}
}
