package desktop

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
)

// format is how a viewer wants its pixels, in the layout of RFB's PIXEL_FORMAT.
type format struct {
	bytes            int // of a pixel: 1, 2 or 4
	order            binary.ByteOrder
	max              [3]uint32 // of red, green and blue
	shift            [3]byte
	wireFormatOctets [16]byte
}

// ownFormat is what the server offers of its own accord: 32 bits, little endian, blue first.
var ownFormat, _ = parseFormat([]byte{32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0})

func parseFormat(b []byte) (format, error) {
	f := format{bytes: int(b[0]) / 8, order: binary.LittleEndian, wireFormatOctets: [16]byte(b)}
	if b[0] != 8 && b[0] != 16 && b[0] != 32 || b[3] == 0 {
		return f, fmt.Errorf("desktop: pixels of %d bits (true colour: %d) are not served", b[0], b[3])
	}
	if b[2] != 0 {
		f.order = binary.BigEndian
	}
	for i := range f.max {
		f.max[i] = uint32(binary.BigEndian.Uint16(b[4+2*i:]))
		f.shift[i] = b[10+i]
	}
	return f, nil
}

// pixel appends a colour in the viewer's format.
func (f format) pixel(m []byte, c color.RGBA) []byte {
	var v uint32
	for i, part := range [3]uint8{c.R, c.G, c.B} {
		v |= (uint32(part)*f.max[i] + 127) / 255 << f.shift[i]
	}
	switch f.bytes {
	case 1:
		return append(m, byte(v))
	case 2:
		var b [2]byte
		f.order.PutUint16(b[:], uint16(v))
		return append(m, b[:]...)
	}
	var b [4]byte
	f.order.PutUint32(b[:], v)
	return append(m, b[:]...)
}

// raw appends the pixels of r, row by row.
func (f format) raw(m []byte, img *image.RGBA, r image.Rectangle) []byte {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			m = f.pixel(m, img.RGBAAt(x, y))
		}
	}
	return m
}

// The bits of a Hextile tile's first byte.
const (
	hextileRaw        = 1
	hextileBackground = 2
	hextileSubrects   = 8
	hextileColoured   = 16
	hextileSide       = 16
)

// hextile appends r as tiles of 16x16.
func (f format) hextile(m []byte, img *image.RGBA, r image.Rectangle) []byte {
	for y := r.Min.Y; y < r.Max.Y; y += hextileSide {
		for x := r.Min.X; x < r.Max.X; x += hextileSide {
			m = f.tile(m, img, image.Rect(x, y, x+hextileSide, y+hextileSide).Intersect(r))
		}
	}
	return m
}

// tile appends one tile: its first colour with the runs of others on it, or, when
// that is longer, raw.
func (f format) tile(m []byte, img *image.RGBA, r image.Rectangle) []byte {
	background := img.RGBAAt(r.Min.X, r.Min.Y)
	var runs []byte
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; {
			start, c := x, img.RGBAAt(x, y)
			for x < r.Max.X && img.RGBAAt(x, y) == c {
				x++
			}
			if c == background {
				continue
			}
			runs = f.pixel(runs, c)
			runs = append(runs, byte((start-r.Min.X)<<4|(y-r.Min.Y)), byte((x-start-1)<<4))
			n++
		}
	}
	switch {
	case n == 0:
		return f.pixel(append(m, hextileBackground), background)
	case n > 255 || len(runs) > r.Dx()*r.Dy()*f.bytes:
		return f.raw(append(m, hextileRaw), img, r)
	}
	m = f.pixel(append(m, hextileBackground|hextileSubrects|hextileColoured), background)
	return append(append(m, byte(n)), runs...)
}
