// Package vnctest is for tests against a real VNC server: Debian's Xtigervnc with an xterm on it, and xwd to see what X itself shows.
package vnctest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience bounds what a test waits for. Nothing takes that long unless it fails.
const Patience = 30 * time.Second

// Cell is the size in pixels of a character in XTerm's terminals.
var Cell = image.Pt(6, 13)

// Server is a running Xtigervnc.
type Server struct {
	Display string
	Socket  string // a Unix socket that serves VNC
	Address string // the same on loopback, host:port, when Start was told to listen there
}

// TCP makes a server listen on Address, too.
var TCP = []string{"-rfbport", "0", "-interface", "127.0.0.1"}

// Start runs a headless X server that serves VNC on a socket in the test's own
// folder until the test ends. Without the programs the test is skipped, or fails
// when REQUIRE_VNC is set.
func Start(t *testing.T, args ...string) Server {
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
	require.NoError(t, ready.SetReadDeadline(time.Now().Add(Patience)))

	socket := filepath.Join(t.TempDir(), "rfb")
	args = append([]string{
		"-displayfd", "3", "-nolisten", "tcp", "-rfbport", "-1", "-rfbunixpath", socket,
		"-depth", "24", "-fp", "built-ins", "-nocursor", "-SecurityTypes", "None",
	}, args...)
	run(t, nil, []*os.File{displayFD}, "Xtigervnc", args...)
	displayFD.Close()
	line, err := bufio.NewReader(ready).ReadString('\n')
	require.NoError(t, err, "Xtigervnc did not come up")
	display, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	const firstPort = 5900 // of display 0, as RFC 6143 has it
	return Server{Display: fmt.Sprintf(":%d", display), Socket: socket, Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+display))}
}

// run runs a program until the test ends.
func run(t *testing.T, env []string, files []*os.File, program string, args ...string) {
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

// XTerm opens a terminal at an X geometry, in characters and pixels, with a shell that prompts with "$ ". Nobody has its
// keyboard: it follows the pointer.
func (s Server) XTerm(t *testing.T, geometry string) {
	t.Helper()
	run(t, []string{"DISPLAY=" + s.Display, "PS1=$ ", "ENV=", "LC_ALL=C.UTF-8"}, nil,
		"xterm", "-u8", "-fn", "fixed", "-b", "0", "-bw", "0", "+sb", "-geometry", geometry, "-e", "sh")
}

// Screen takes a picture of the whole screen from X itself.
func (s Server) Screen(t *testing.T) *image.RGBA {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "xwd", "-root", "-silent", "-display", s.Display).Output()
	require.NoError(t, err)
	return decode(t, out)
}

// decode reads the one kind of X window dump that a 24 bit screen gives: version 7,
// ZPixmap, 32 bits per pixel, least significant byte first.
func decode(t *testing.T, dump []byte) *image.RGBA {
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

// Characters gives the pixels of n characters of a terminal whose upper left corner is at a place.
func Characters(img *image.RGBA, terminal image.Point, row, column, n int) *image.RGBA {
	at := terminal.Add(image.Pt(column*Cell.X, row*Cell.Y))
	return img.SubImage(image.Rectangle{Min: at, Max: at.Add(image.Pt(n*Cell.X, Cell.Y))}).(*image.RGBA)
}

// Blank tells whether all pixels have one colour.
func Blank(img *image.RGBA) bool {
	first := img.RGBAAt(img.Rect.Min.X, img.Rect.Min.Y)
	for y := img.Rect.Min.Y; y < img.Rect.Max.Y; y++ {
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
			if img.RGBAAt(x, y) != first {
				return false
			}
		}
	}
	return true
}

// Same tells whether two pictures have the same pixels, wherever they begin.
func Same(a, b *image.RGBA) bool {
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
