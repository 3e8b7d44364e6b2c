package rfb_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"image"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/require"
)

// record rewrites testdata/sessions, the recordings of a real server that other tests replay.
var record = flag.Bool("record", false, "record testdata/sessions from Xtigervnc")

// patience bounds each test against the real server. None waits that long unless it fails.
const patience = 30 * time.Second

// passwordFile is TigerVNC's file of the password "password", which it scrambles with a key everybody knows.
var passwordFile, _ = hex.DecodeString("dbd83cfd727a1458")

// vncServer is a running Xtigervnc.
type vncServer struct {
	display, socket string
}

// startVNC runs a headless X server that serves VNC on a socket in the test's own
// folder. REQUIRE_VNC makes its absence a failure.
func startVNC(t *testing.T, args ...string) vncServer {
	t.Helper()
	for _, program := range []string{"Xtigervnc", "xterm", "xwd"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("REQUIRE_VNC") != "" {
				require.NoError(t, err, "REQUIRE_VNC is set: install tigervnc-standalone-server, xterm and x11-apps")
			}
			t.Skipf("no real VNC server to test against: %v (install tigervnc-standalone-server, xterm and x11-apps)", err)
		}
	}
	ready, displayFD, err := os.Pipe()
	require.NoError(t, err)
	defer ready.Close()
	require.NoError(t, ready.SetReadDeadline(time.Now().Add(patience)))

	socket := filepath.Join(t.TempDir(), "rfb")
	args = append([]string{
		"-displayfd", "3", "-nolisten", "tcp", "-rfbport", "-1", "-rfbunixpath", socket,
		"-depth", "24", "-fp", "built-ins", "-nocursor", "-SecurityTypes", "None",
	}, args...)
	start(t, nil, []*os.File{displayFD}, "Xtigervnc", args...)
	displayFD.Close()
	number, err := bufio.NewReader(ready).ReadString('\n')
	require.NoError(t, err, "Xtigervnc did not come up")
	return vncServer{display: ":" + strings.TrimSpace(number), socket: socket}
}

// start runs a program until the test ends.
func start(t *testing.T, env []string, files []*os.File, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), files, &said, &said
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.String())
		}
	})
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
	conn, err := net.Dial("unix", s.socket)
	require.NoError(t, err)
	return conn
}

// within is the time a test may take.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// xterm opens a terminal with a shell in the upper left corner and waits for its prompt.
func (s vncServer) xterm(t *testing.T, c *rfb.Conn, geometry string) {
	t.Helper()
	start(t, []string{"DISPLAY=" + s.display, "PS1=$ ", "ENV=", "LC_ALL=C.UTF-8"}, nil,
		"xterm", "-u8", "-fn", "fixed", "-b", "0", "-bw", "0", "+sb", "-geometry", geometry, "-e", "sh")
	require.NoError(t, c.Move(within(t), image.Pt(3*cell.X, 2*cell.Y))) // the keyboard follows the pointer
	untilShown(t, c, func(img *image.RGBA) bool { return !blank(img, 0, 0, 1) && blank(img, 0, 3, 5) })
}

// cell is a character of X's built-in font in xterm.
var cell = image.Pt(6, 13)

// characters gives the pixels of n characters of the terminal.
func characters(img *image.RGBA, row, column, n int) *image.RGBA {
	at := image.Pt(column*cell.X, row*cell.Y)
	return img.SubImage(image.Rectangle{Min: at, Max: at.Add(image.Pt(n*cell.X, cell.Y))}).(*image.RGBA)
}

func blank(img *image.RGBA, row, column, n int) bool {
	part := characters(img, row, column, n)
	first := part.RGBAAt(part.Rect.Min.X, part.Rect.Min.Y)
	for y := part.Rect.Min.Y; y < part.Rect.Max.Y; y++ {
		for x := part.Rect.Min.X; x < part.Rect.Max.X; x++ {
			if part.RGBAAt(x, y) != first {
				return false
			}
		}
	}
	return true
}

func samePixels(a, b *image.RGBA) bool {
	if a.Rect.Size() != b.Rect.Size() {
		return false
	}
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			if a.RGBAAt(a.Rect.Min.X+x, a.Rect.Min.Y+y) != b.RGBAAt(b.Rect.Min.X+x, b.Rect.Min.Y+y) {
				return false
			}
		}
	}
	return true
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

// xwd takes a picture of the whole screen from X itself.
func (s vncServer) xwd(t *testing.T) *image.RGBA {
	t.Helper()
	out, err := exec.CommandContext(within(t), "xwd", "-root", "-silent", "-display", s.display).Output()
	require.NoError(t, err)
	return decodeXWD(t, out)
}

// decodeXWD reads the one kind of X window dump that a 24 bit screen gives: version
// 7, ZPixmap, 32 bits per pixel, least significant byte first.
func decodeXWD(t *testing.T, dump []byte) *image.RGBA {
	t.Helper()
	header := func(i int) int { return int(binary.BigEndian.Uint32(dump[4*i:])) }
	require.Equal(t, []int{7, 2, 0, 32}, []int{header(1), header(2), header(7), header(11)})
	require.Equal(t, []int{0xff0000, 0xff00, 0xff}, []int{header(14), header(15), header(16)})
	img := image.NewRGBA(image.Rect(0, 0, header(4), header(5)))
	stride, pixels := header(12), dump[header(0)+12*header(19):]
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			from, to := pixels[y*stride+4*x:], img.Pix[img.PixOffset(x, y):]
			to[0], to[1], to[2], to[3] = from[2], from[1], from[0], 255
		}
	}
	return img
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
				return !blank(img, 0, 7, 5) && samePixels(typed, printed) && samePixels(prompt, characters(img, 0, 0, 2))
			})
			require.True(t, samePixels(img, s.xwd(t)), "the picture differs from X's own")
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

// What a program reads is what was typed: letters of either case, other scripts,
// keys by name and chords.
func TestRealServerTypesEveryCharacter(t *testing.T) {
	s := startVNC(t, "-geometry", "640x480")
	c := s.connect(t, rfb.Options{})
	s.xterm(t, c, "80x24+0+0")
	file := filepath.Join(t.TempDir(), "typed")
	const text = "The quick Brown FOX, ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ Grüße 10 € кот 漢字"
	require.NoError(t, c.Type(within(t), "cat >"+file+"; echo >"+file+".done\n"+text+"wrong"))
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
		return !blank(img, 1, 0, 5) && samePixels(first, second)
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
			require.True(t, samePixels(first, replayed))
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
