package desktop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"net"
)

const (
	name = "Simulated desktop"

	encodingRaw     = 0
	encodingHextile = 5
)

// Dial gives a viewer's end of a connection to the desktop. The other end is
// served until the viewer closes its own or ctx ends.
func (d *Desktop) Dial(ctx context.Context) net.Conn {
	viewer, server := net.Pipe()
	go func() { _ = d.Serve(ctx, server) }() // the viewer sees the end of it
	return viewer
}

// Serve speaks RFB 3.8 without authentication over conn, in Raw and, to a viewer
// that takes it, Hextile, in the viewer's pixel format, until the viewer goes
// (nil) or ctx ends (its error). It closes conn.
//
// It answers an incremental request that finds nothing new with the next change
// that this same viewer makes.
func (d *Desktop) Serve(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	v := &viewer{desktop: d, conn: conn, in: bufio.NewReader(conn), format: ownFormat}
	err := v.greet()
	for err == nil {
		err = v.message()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// viewer is one connection to a desktop.
type viewer struct {
	desktop *Desktop
	conn    net.Conn
	in      *bufio.Reader
	format  format
	hextile bool

	waiting image.Rectangle // asked for incrementally, not yet answered
	sent    *image.RGBA     // the desktop as the viewer has it
}

func (v *viewer) read(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(v.in, b)
	return b, err
}

// greet is the handshake: version, security, what the desktop is.
func (v *viewer) greet() error {
	const version = "RFB 003.008\n"
	if _, err := io.WriteString(v.conn, version); err != nil {
		return err
	}
	b, err := v.read(len(version))
	if err != nil {
		return err
	}
	if string(b) != version {
		return fmt.Errorf("desktop: the viewer speaks %q, not RFB 3.8", b)
	}
	if _, err := v.conn.Write([]byte{1, 1}); err != nil { // one security type: None
		return err
	}
	if b, err = v.read(1); err != nil {
		return err
	}
	if b[0] != 1 {
		return fmt.Errorf("desktop: the viewer wants security type %d, not None", b[0])
	}
	if _, err := v.conn.Write(make([]byte, 4)); err != nil { // accepted
		return err
	}
	if _, err := v.read(1); err != nil { // shared or not is the same here
		return err
	}
	m := binary.BigEndian.AppendUint16(nil, Width)
	m = binary.BigEndian.AppendUint16(m, Height)
	m = append(m, v.format.wireFormatOctets[:]...)
	m = binary.BigEndian.AppendUint32(m, uint32(len(name)))
	_, err = v.conn.Write(append(m, name...))
	return err
}

// The messages a viewer sends.
const (
	setPixelFormat           = 0
	setEncodings             = 2
	framebufferUpdateRequest = 3
	keyEvent                 = 4
	pointerEvent             = 5
	clientCutText            = 6
)

// fixedLength is how long each message is after its first byte, up to where its
// own length, if it has one, is known.
var fixedLength = map[byte]int{
	setPixelFormat: 19, setEncodings: 3, framebufferUpdateRequest: 9,
	keyEvent: 7, pointerEvent: 5, clientCutText: 7,
}

// message reads one message and does what it asks.
func (v *viewer) message() error {
	kind, err := v.in.ReadByte()
	if err != nil {
		return err
	}
	n, known := fixedLength[kind]
	if !known {
		return fmt.Errorf("desktop: the viewer sent a message of unknown type %d", kind)
	}
	b, err := v.read(n)
	if err != nil {
		return err
	}
	switch kind {
	case setPixelFormat:
		v.format, err = parseFormat(b[3:])
		return err
	case setEncodings:
		return v.setEncodings(int(binary.BigEndian.Uint16(b[1:])))
	case framebufferUpdateRequest:
		return v.requested(b[0] != 0, rectangle(b[1:]))
	case clientCutText:
		_, err := v.in.Discard(int(binary.BigEndian.Uint32(b[3:])))
		return err
	case keyEvent:
		v.desktop.key(binary.BigEndian.Uint32(b[3:]), b[0] != 0)
	case pointerEvent:
		v.desktop.point(image.Pt(int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))), b[0])
	}
	return v.changed()
}

func rectangle(b []byte) image.Rectangle {
	at := image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
	size := image.Pt(int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:])))
	return image.Rectangle{Min: at, Max: at.Add(size)}.Intersect(image.Rect(0, 0, Width, Height))
}

func (v *viewer) setEncodings(n int) error {
	b, err := v.read(4 * n)
	v.hextile = false
	for i := range len(b) / 4 {
		v.hextile = v.hextile || binary.BigEndian.Uint32(b[4*i:]) == encodingHextile
	}
	return err
}

// requested answers a request for an update at once, or remembers it until there is one.
func (v *viewer) requested(incremental bool, r image.Rectangle) error {
	if !incremental {
		return v.update(v.desktop.Draw(), r)
	}
	v.waiting = v.waiting.Union(r)
	return v.changed()
}

// changed sends what is waited for, if it now looks different.
func (v *viewer) changed() error {
	if v.waiting.Empty() {
		return nil
	}
	now := v.desktop.Draw()
	if v.sent != nil && bytes.Equal(now.Pix, v.sent.Pix) {
		return nil
	}
	r := v.waiting
	v.waiting = image.Rectangle{}
	return v.update(now, r)
}

func (v *viewer) update(img *image.RGBA, r image.Rectangle) error {
	v.sent = img
	m := []byte{0, 0, 0, 1}
	for _, side := range []int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()} {
		m = binary.BigEndian.AppendUint16(m, uint16(side))
	}
	if v.hextile {
		m = binary.BigEndian.AppendUint32(m, encodingHextile)
		m = v.format.hextile(m, img, r)
	} else {
		m = binary.BigEndian.AppendUint32(m, encodingRaw)
		m = v.format.raw(m, img, r)
	}
	_, err := v.conn.Write(m)
	return err
}
