package rfb_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"image"
	"image/png"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/client/rfb/vnctest"

	"github.com/stretchr/testify/require"
)

// record rewrites testdata/sessions, the recordings of a real server that other tests replay.
var record = flag.Bool("record", false, "record testdata/sessions from Xtigervnc")

// passwordFile is TigerVNC's file of the password "password", which it scrambles with a key everybody knows.
var passwordFile, _ = hex.DecodeString("dbd83cfd727a1458")

// vncServer is a running Xtigervnc.
type vncServer struct{ vnctest.Server }

func startVNC(t *testing.T, args ...string) vncServer {
	t.Helper()
	return vncServer{vnctest.Start(t, args...)}
}

// connect is a client of the server.
func (s vncServer) connect(t *testing.T, o rfb.Options) *rfb.Conn {
	t.Helper()
	c, err := rfb.New(within(t), s.dial(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func (s vncServer) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.Socket)
	require.NoError(t, err)
	return conn
}

// within is the time a test may take.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), vnctest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// xterm opens a terminal in the upper left corner, gives it the keyboard and waits for its prompt.
func (s vncServer) xterm(t *testing.T, c *rfb.Conn, geometry string) {
	t.Helper()
	s.XTerm(t, geometry)
	require.NoError(t, c.Move(within(t), image.Pt(3*cell.X, 2*cell.Y))) // the keyboard follows the pointer
	untilShown(t, c, func(img *image.RGBA) bool { return !blank(img, 0, 0, 1) && blank(img, 0, 3, 5) })
}

var cell = vnctest.Cell

func characters(img *image.RGBA, row, column, n int) *image.RGBA {
	return vnctest.Characters(img, image.Point{}, row, column, n)
}

func blank(img *image.RGBA, row, column, n int) bool {
	return vnctest.Blank(characters(img, row, column, n))
}

// untilShown looks until the picture is as wished.
func untilShown(t *testing.T, c *rfb.Conn, wished func(*image.RGBA) bool) *image.RGBA {
	t.Helper()
	ctx := within(t)
	var last *image.RGBA
	for {
		img, err := c.Screenshot(ctx)
		if err != nil && last != nil {
			file := filepath.Join(os.TempDir(), strings.ReplaceAll(t.Name(), "/", "-")+".png")
			var b bytes.Buffer
			_ = png.Encode(&b, last)
			_ = os.WriteFile(file, b.Bytes(), 0o600)
			t.Logf("the last picture is in %s", file)
		}
		require.NoError(t, err, "the picture never became what was expected")
		if wished(img) {
			return img
		}
		last = img
		next := time.NewTimer(20 * time.Millisecond)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
		}
	}
}

func TestRealServerShowsWhatIsTypedPixelForPixel(t *testing.T) {
	for name, try := range map[string]struct {
		server []string
		client rfb.Options
	}{
		"Raw":     {client: rfb.Options{Encodings: []rfb.Encoding{rfb.Raw}}},
		"Hextile": {client: rfb.Options{Encodings: []rfb.Encoding{rfb.Hextile}}},
		"ZRLE":    {client: rfb.Options{Encodings: []rfb.Encoding{rfb.ZRLE}}},
		"all":     {},
		"3.3":     {server: []string{"-Protocol3.3"}},
		"password": {
			server: []string{"-SecurityTypes", "VncAuth", "-PasswordFile", writePassword(t)},
			client: rfb.Options{Password: "password"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startVNC(t, append(try.server, "-geometry", "800x600", "-desktop", "a real one")...)
			c := s.connect(t, try.client)
			require.Equal(t, image.Pt(800, 600), c.Size())
			require.Equal(t, "a real one", c.Name())
			s.xterm(t, c, "80x24+0+0")

			require.NoError(t, c.Type(within(t), "echo hello\n"))
			img := untilShown(t, c, func(img *image.RGBA) bool {
				typed, printed, prompt := characters(img, 0, 7, 5), characters(img, 1, 0, 5), characters(img, 2, 0, 2)
				return !blank(img, 0, 7, 5) && vnctest.Same(typed, printed) && vnctest.Same(prompt, characters(img, 0, 0, 2))
			})
			require.True(t, vnctest.Same(img, s.Screen(t)), "the picture differs from X's own")
		})
	}
}

func writePassword(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwd")
	require.NoError(t, os.WriteFile(file, passwordFile, 0o600))
	return file
}

func TestRealServerTurnsAWrongPasswordDown(t *testing.T) {
	s := startVNC(t, "-SecurityTypes", "VncAuth", "-PasswordFile", writePassword(t))
	_, err := rfb.New(within(t), s.dial(t), rfb.Options{Password: "guess"})
	require.ErrorIs(t, err, rfb.ErrPasswordWrong)
	require.ErrorContains(t, err, "Authentication fail")
	_, err = rfb.New(within(t), s.dial(t), rfb.Options{})
	require.ErrorIs(t, err, rfb.ErrPasswordRequired)
}

func TestRealServerOfUnsupportedSecurity(t *testing.T) {
	s := startVNC(t, "-SecurityTypes", "TLSNone")
	_, err := rfb.New(within(t), s.dial(t), rfb.Options{Password: "x"})
	require.ErrorIs(t, err, rfb.ErrSecurity)
}

// What a program reads is what was typed: letters of either case, as many of other scripts as
// there is surely room for, keys by name and chords.
func TestRealServerTypesEveryCharacter(t *testing.T) {
	s := startVNC(t, "-geometry", "640x480")
	c := s.connect(t, rfb.Options{})
	s.xterm(t, c, "80x24+0+0")
	file := filepath.Join(t.TempDir(), "typed")
	const text = "The quick Brown FOX, ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ Grüße 10 € кот 漢字 λμπ éñåø"
	require.NoError(t, c.Type(within(t), "cat >"+file+"; echo >"+file+".done\n"+text+"wrong"))
	require.Equal(t, rfb.ForeignRoom, c.Foreign())
	for range len("wrong") {
		require.NoError(t, c.Key(within(t), "backspace"))
	}
	require.NoError(t, c.Key(within(t), "enter"))
	require.NoError(t, c.Key(within(t), "Ctrl+D"))
	untilShown(t, c, func(*image.RGBA) bool {
		_, err := os.Stat(file + ".done")
		return !errors.Is(err, os.ErrNotExist)
	})
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text+"\n", string(got))
}

// Selecting by double click and pasting by middle click shows that clicks arrive as such.
func TestRealServerClicks(t *testing.T) {
	s := startVNC(t, "-geometry", "640x480")
	c := s.connect(t, rfb.Options{})
	s.xterm(t, c, "80x24+0+0")
	require.NoError(t, c.Type(within(t), "echo hello"))
	untilShown(t, c, func(img *image.RGBA) bool { return !blank(img, 0, 11, 1) })
	hello := image.Pt(9*cell.X, cell.Y/2)
	require.NoError(t, c.Click(within(t), hello, rfb.LeftButton, 2))
	require.NoError(t, c.Click(within(t), hello, rfb.MiddleButton, 1))
	require.NoError(t, c.Key(within(t), "Return"))
	untilShown(t, c, func(img *image.RGBA) bool {
		first, second := characters(img, 1, 0, 5), characters(img, 1, 5, 5)
		return !blank(img, 1, 0, 5) && vnctest.Same(first, second)
	})
}

// What the server sent to a client that looked makes, replayed, the same picture.
func TestRealServerRecorded(t *testing.T) {
	for name, try := range map[string]struct {
		server []string
		client rfb.Options
	}{
		"raw":     {client: rfb.Options{Encodings: []rfb.Encoding{rfb.Raw}}},
		"hextile": {client: rfb.Options{Encodings: []rfb.Encoding{rfb.CopyRect, rfb.Hextile}}},
		"zrle":    {client: rfb.Options{Encodings: []rfb.Encoding{rfb.CopyRect, rfb.ZRLE}}},
		"password-3.3": {
			server: []string{"-Protocol3.3", "-SecurityTypes", "VncAuth", "-PasswordFile", writePassword(t)},
			client: rfb.Options{Password: "password"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startVNC(t, append(try.server, "-geometry", "100x70", "-desktop", "recorded")...)
			painter := s.connect(t, rfb.Options{Password: "password"})
			s.xterm(t, painter, "16x5+0+0")
			require.NoError(t, painter.Type(within(t), "echo hello\n"))
			untilShown(t, painter, func(img *image.RGBA) bool { return !blank(img, 2, 0, 1) })

			tape := &recorder{Conn: s.dial(t)}
			c, err := rfb.New(within(t), tape, try.client)
			require.NoError(t, err)
			first, err := c.Screenshot(within(t))
			require.NoError(t, err)
			require.NoError(t, painter.Type(within(t), "echo bye\n"))
			untilShown(t, c, func(img *image.RGBA) bool { return !blank(img, 4, 0, 1) })
			require.NoError(t, c.Close())

			replayed, err := rfb.Replay(tape.bytes(), "password")
			require.ErrorContains(t, err, "closed it")
			require.True(t, vnctest.Same(first, replayed))
			if *record {
				save(t, "testdata/sessions/"+name, tape.bytes(), replayed)
			}
		})
	}
}

func save(t *testing.T, path string, session []byte, picture *image.RGBA) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, picture))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path+".rfb", session, 0o644))
	require.NoError(t, os.WriteFile(path+".png", b.Bytes(), 0o644))
}

// recorder keeps what is read from a connection.
type recorder struct {
	net.Conn
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.Write(p[:n])
	return n, err
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.all.Bytes())
}
