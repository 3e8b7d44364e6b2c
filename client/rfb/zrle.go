package rfb

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image"
	"io"
)

const (
	zrleSide = 64

	// maxZRLERest bounds what a rectangle may leave over for the next: the end of a
	// deflate block and the marks of a flush, a few bytes, that are read only with
	// the data that follows them.
	maxZRLERest = 256
)

// zrle decodes ZRLE rectangles. They share one zlib stream, of which each brings a chunk.
type zrle struct {
	chunk chunk
	out   wire
	tile  [zrleSide * zrleSide]colour
}

// rectangle reads r as tiles of 64x64, each a plain colour, a palette, runs or raw.
func (z *zrle) rectangle(in wire, f *framebuffer, r image.Rectangle) error {
	b, err := in.take(4)
	if err != nil {
		return err
	}
	z.chunk.in, z.chunk.left = in, int64(binary.BigEndian.Uint32(b))
	if err := z.inflate(f, r); err != nil {
		if z.chunk.err != nil {
			return z.chunk.err // not the data's fault
		}
		return fmt.Errorf("%w: ZRLE: %w", ErrProtocol, unexpected(err))
	}
	return z.chunk.keepRest()
}

func (z *zrle) inflate(f *framebuffer, r image.Rectangle) error {
	if z.out.Reader == nil {
		zr, err := zlib.NewReader(&z.chunk)
		if err != nil {
			return err
		}
		z.out = wire{bufio.NewReader(zr)}
	}
	for t := range tiles(r, zrleSide) {
		if err := f.paint(t); err != nil {
			z.chunk.err = err
			return err
		}
		pixels := z.tile[:t.Dx()*t.Dy()]
		if err := z.readTile(pixels, t.Dx()); err != nil {
			return err
		}
		for y := t.Min.Y; y < t.Max.Y; y++ {
			for x := range t.Dx() {
				f.set(t.Min.X+x, y, pixels[x])
			}
			pixels = pixels[t.Dx():]
		}
	}
	if n := z.out.Buffered(); n > 0 {
		return fmt.Errorf("%d bytes more than the tiles of %v need", n, r)
	}
	return nil
}

func (z *zrle) readTile(pixels []colour, width int) error {
	kind, err := z.out.ReadByte()
	if err != nil {
		return err
	}
	switch {
	case kind == 0:
		return z.colours(pixels)
	case kind == 1:
		return z.solid(pixels)
	case kind <= 16:
		return z.packed(pixels, width, int(kind))
	case kind == 128:
		return z.runs(pixels)
	case kind >= 130:
		return z.paletteRuns(pixels, int(kind)-128)
	}
	return fmt.Errorf("a tile of unknown kind %d", kind)
}

func (z *zrle) colour() (colour, error) {
	b, err := z.out.take(cpixelBytes)
	if err != nil {
		return 0, err
	}
	return colourOf(b), nil
}

func (z *zrle) colours(to []colour) (err error) {
	for i := range to {
		if to[i], err = z.colour(); err != nil {
			return err
		}
	}
	return nil
}

func (z *zrle) solid(pixels []colour) error {
	c, err := z.colour()
	for i := range pixels {
		pixels[i] = c
	}
	return err
}

// packed reads indices into a palette of n colours: 1, 2 or 4 bits each, every row
// beginning with a byte of its own.
func (z *zrle) packed(pixels []colour, width, n int) error {
	var palette [16]colour
	if err := z.colours(palette[:n]); err != nil {
		return err
	}
	depth := 4
	switch {
	case n == 2:
		depth = 1
	case n <= 4:
		depth = 2
	}
	for row := range len(pixels) / width {
		b, err := z.out.take((width*depth + 7) / 8)
		if err != nil {
			return err
		}
		for x := range width {
			bit := x * depth
			index := int(b[bit/8]>>(8-depth-bit%8)) & (1<<depth - 1)
			if index >= n {
				return fmt.Errorf("colour %d of a palette of %d", index, n)
			}
			pixels[row*width+x] = palette[index]
		}
	}
	return nil
}

func (z *zrle) runs(pixels []colour) error {
	for len(pixels) > 0 {
		c, err := z.colour()
		if err != nil {
			return err
		}
		if pixels, err = z.run(pixels, c); err != nil {
			return err
		}
	}
	return nil
}

func (z *zrle) paletteRuns(pixels []colour, n int) error {
	var palette [127]colour
	if err := z.colours(palette[:n]); err != nil {
		return err
	}
	for len(pixels) > 0 {
		b, err := z.out.ReadByte()
		if err != nil {
			return err
		}
		index := int(b & 127)
		if index >= n {
			return fmt.Errorf("colour %d of a palette of %d", index, n)
		}
		if b < 128 {
			pixels[0], pixels = palette[index], pixels[1:]
			continue
		}
		if pixels, err = z.run(pixels, palette[index]); err != nil {
			return err
		}
	}
	return nil
}

// run reads a length, one more than the sum of its bytes of which all but the last
// are 255, sets as many pixels and gives those that are left.
func (z *zrle) run(pixels []colour, c colour) ([]colour, error) {
	length := 1
	for {
		b, err := z.out.ReadByte()
		if err != nil {
			return nil, err
		}
		length += int(b)
		if length > len(pixels) {
			return nil, fmt.Errorf("a run of %d or more pixels where %d are left", length, len(pixels))
		}
		if b < 255 {
			break
		}
	}
	for i := range length {
		pixels[i] = c
	}
	return pixels[length:], nil
}

// chunk is one rectangle's part of the zlib stream, read straight from the
// connection, so that no announced length takes memory. It gives single bytes,
// because then deflate takes no more than it needs.
type chunk struct {
	rest bytes.Buffer // of the rectangles before
	in   wire
	left int64
	err  error // of the connection, or that no more may be painted
}

func (c *chunk) ReadByte() (byte, error) {
	if c.rest.Len() > 0 {
		return c.rest.ReadByte()
	}
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	c.left--
	b, err := c.in.ReadByte()
	if err != nil {
		c.err = unexpected(err)
	}
	return b, c.err
}

func (c *chunk) Read(p []byte) (int, error) {
	for i := range p {
		b, err := c.ReadByte()
		if err != nil {
			return i, err
		}
		p[i] = b
	}
	return len(p), nil
}

// keepRest takes what deflate has not asked for out of the connection's way.
func (c *chunk) keepRest() error {
	if c.left+int64(c.rest.Len()) > maxZRLERest {
		return fmt.Errorf("%w: ZRLE: %d bytes more than its tiles need", ErrProtocol, c.left)
	}
	n, err := io.CopyN(&c.rest, c.in, c.left)
	c.left -= n
	return unexpected(err)
}
