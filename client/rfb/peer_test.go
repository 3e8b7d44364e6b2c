package rfb_test

import (
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// peer is a server that follows a script.
type peer struct {
	t    *testing.T
	conn net.Conn
}

// scripted gives the client's end of a connection to a peer, which closes its own
// when the script is through or the client has gone.
func scripted(t *testing.T, script func(p *peer)) net.Conn {
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		script(&peer{t, server})
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
	})
	return client
}

// connected is a client that has been greeted by a peer with a desktop of the given
// size, and goes on with the script.
func connected(t *testing.T, size image.Point, script func(p *peer)) *rfb.Conn {
	conn := scripted(t, func(p *peer) {
		p.greet(size)
		script(p)
	})
	c, err := rfb.New(within(t), conn, rfb.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func (p *peer) say(parts ...[]byte) {
	if _, err := p.conn.Write(slices.Concat(parts...)); err != nil {
		runtime.Goexit() // the client has gone
	}
}

func (p *peer) hear(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		runtime.Goexit()
	}
	return b
}

func (p *peer) expect(want []byte) {
	p.t.Helper()
	assert.Equal(p.t, append([]byte{}, want...), p.hear(len(want)))
}

// untilGone reads, and forgets, what the client still says.
func (p *peer) untilGone() { _, _ = io.Copy(io.Discard, p.conn) }

func (p *peer) greet(size image.Point) {
	p.say([]byte("RFB 003.008\n"))
	p.expect([]byte("RFB 003.008\n"))
	p.say([]byte{1, 1})
	p.expect([]byte{1})
	p.say(u32(0))
	p.expect([]byte{1}) // shared
	p.say(serverInit(size, "scripted"))
	p.preferences()
}

// preferences hears SetPixelFormat and SetEncodings and gives the encodings.
func (p *peer) preferences() (offered []int32) {
	p.expect([]byte{0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0})
	p.expect([]byte{2, 0})
	for range binary.BigEndian.Uint16(p.hear(2)) {
		offered = append(offered, int32(binary.BigEndian.Uint32(p.hear(4))))
	}
	return offered
}

func u16(n ...int) (b []byte) {
	for _, v := range n {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func u32(n int64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func text(s string) []byte { return append(u32(int64(len(s))), s...) }

func serverInit(size image.Point, name string) []byte {
	// A format of its own, to be overruled: 8 bits per pixel, with a palette.
	return slices.Concat(u16(size.X, size.Y), make([]byte, 16), text(name))
}

// session is what a server says to a client up to where updates begin.
func session(size image.Point) []byte {
	return slices.Concat([]byte("RFB 003.008\n\x01\x01"), u32(0), serverInit(size, "scripted"))
}

func update(rectangles ...[]byte) []byte {
	return slices.Concat([]byte{0, 0}, u16(len(rectangles)), slices.Concat(rectangles...))
}

func rectangle(r image.Rectangle, encoding rfb.Encoding, data ...[]byte) []byte {
	return slices.Concat(u16(r.Min.X, r.Min.Y, r.Dx(), r.Dy()), u32(int64(encoding)), slices.Concat(data...))
}

const (
	desktopSize         rfb.Encoding = -223
	extendedDesktopSize rfb.Encoding = -308
)

// The colours of hand-made pictures, by their letter.
var palette = map[rune]color.RGBA{
	'.': {0, 0, 0, 255}, 'W': {255, 255, 255, 255},
	'R': {255, 0, 0, 255}, 'G': {0, 200, 0, 255}, 'B': {0, 0, 150, 255},
}

// pixels gives colours as a server sends them; three bytes each in ZRLE, else four.
func pixels(bytes int, letters string) (b []byte) {
	for _, l := range letters {
		c := palette[l]
		b = append(b, []byte{c.B, c.G, c.R, 99}[:bytes]...)
	}
	return b
}

// drawn gives the picture that rows of letters show.
func drawn(rows ...string) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, len(rows[0]), len(rows)))
	for y, row := range rows {
		for x, l := range row {
			img.SetRGBA(x, y, palette[l])
		}
	}
	return img
}

// plain is an update that paints all of a desktop in one colour, as Hextile does it.
func plain(size image.Point, letter string) []byte {
	var tiles [][]byte
	for range (size.X + 15) / 16 * ((size.Y + 15) / 16) {
		tiles = append(tiles, []byte{2}, pixels(4, letter))
	}
	return update(rectangle(image.Rectangle{Max: size}, rfb.Hextile, tiles...))
}
