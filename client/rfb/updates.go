package rfb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
)

// Encoding is a way in which a server may send pixels.
type Encoding int32

// The encodings this package decodes.
const (
	Raw      Encoding = 0
	CopyRect Encoding = 1
	Hextile  Encoding = 5
	ZRLE     Encoding = 16

	desktopSize         Encoding = -223
	extendedDesktopSize Encoding = -308
)

// The messages a server sends.
const (
	framebufferUpdate   = 0
	setColourMapEntries = 1
	bell                = 2
	serverCutText       = 3
)

// serve reads the server's messages until the connection ends, and says why it did.
func (c *Conn) serve() error {
	for {
		kind, err := c.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return errors.New("the desktop's side closed it")
		}
		if err != nil {
			return err
		}
		if err := c.message(kind); err != nil {
			return err
		}
	}
}

func (c *Conn) message(kind byte) error {
	switch kind {
	case framebufferUpdate:
		return c.update()
	case setColourMapEntries: // has no meaning in true colour
		b, err := c.in.take(5)
		if err != nil {
			return err
		}
		return c.in.skip(6 * int64(binary.BigEndian.Uint16(b[3:])))
	case bell:
		return nil
	case serverCutText:
		b, err := c.in.take(7)
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(b[3:])
		if n > maxCutText {
			return fmt.Errorf("%w: a clipboard of %d bytes, limit %d", ErrTooLarge, n, maxCutText)
		}
		return c.in.skip(int64(n))
	}
	return fmt.Errorf("%w: a message of unknown type %d", ErrProtocol, kind)
}

func (c *Conn) update() error {
	b, err := c.in.take(3)
	if err != nil {
		return err
	}
	c.beginLook()
	c.may.update = 0
	for range binary.BigEndian.Uint16(b[1:]) {
		if err := c.rectangle(); err != nil {
			return err
		}
	}
	c.advanceLook()
	return nil
}

func (c *Conn) rectangle() error {
	b, err := c.in.take(12)
	if err != nil {
		return err
	}
	at := image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
	size := image.Pt(int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:])))
	encoding := Encoding(binary.BigEndian.Uint32(b[8:]))

	switch encoding {
	case desktopSize:
		return c.resize(size)
	case extendedDesktopSize:
		return c.extendedResize(size, at.Y)
	}
	r := image.Rectangle{Min: at, Max: at.Add(size)}
	if !within(r, c.fb.img.Rect) {
		return fmt.Errorf("%w: a rectangle %v outside of the desktop %v", ErrProtocol, r, c.fb.img.Rect.Max)
	}
	switch encoding {
	case Raw:
		return c.fb.raw(c.in, r)
	case CopyRect:
		return c.fb.copyRect(c.in, r)
	case Hextile:
		return c.fb.hextile(c.in, r)
	case ZRLE:
		return c.zrle.rectangle(c.in, &c.fb, r)
	}
	return fmt.Errorf("%w: a rectangle in encoding %d, which was not offered", ErrProtocol, encoding)
}

// extendedResize reads the layout of screens, which is not needed, and heeds the
// size unless it only reports that somebody's wish for another one failed.
func (c *Conn) extendedResize(size image.Point, status int) error {
	b, err := c.in.take(4)
	if err != nil {
		return err
	}
	if err := c.in.skip(16 * int64(b[0])); err != nil {
		return err
	}
	if status != 0 {
		return nil
	}
	return c.resize(size)
}

// resize makes the framebuffer of the given size. Its pixels are lost when that is a new one.
func (c *Conn) resize(size image.Point) error {
	if size.X == 0 || size.Y == 0 {
		return fmt.Errorf("%w: a desktop of %dx%d pixels", ErrProtocol, size.X, size.Y)
	}
	if size.X > maxSide || size.Y > maxSide || size.X*size.Y > maxPixels {
		return fmt.Errorf("%w: a desktop of %dx%d pixels, limit %d a side and %d in all", ErrTooLarge, size.X, size.Y, maxSide, maxPixels)
	}
	if size == c.Size() {
		return nil
	}
	all := image.Rectangle{Max: size}
	if err := c.may.paint(all, size); err != nil {
		return err
	}
	c.fb = framebuffer{img: image.NewRGBA(all), may: &c.may, replaced: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size = size
	return nil
}

// within is image.Rectangle.In that holds an empty rectangle to the bounds, too.
func within(r, bounds image.Rectangle) bool {
	return r.Min.X >= 0 && r.Min.Y >= 0 && r.Max.X <= bounds.Max.X && r.Max.Y <= bounds.Max.Y
}
