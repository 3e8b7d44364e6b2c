package rfb

import (
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"slices"
)

// framebuffer is the desktop's picture as the updates have made it so far.
//
// A desktop has no transparency, so alpha is free to tell the pixels that have
// come since the look began (255) from those from before (0).
type framebuffer struct {
	img      *image.RGBA
	may      *allowance // asked before anything is painted
	fresh    int        // all pixels before this index have come
	replaced bool       // the desktop has this size since the look began
	row      []byte
}

// colour is a pixel as it lies in image.RGBA's memory, little endian; alpha is 255.
type colour uint32

const opaque colour = 255 << 24

// colourOf reads blue, green, red, the first bytes of a pixel of clientFormat.
func colourOf(b []byte) colour {
	return opaque | colour(b[0])<<16 | colour(b[1])<<8 | colour(b[2])
}

// forget marks every pixel as not yet come.
func (f *framebuffer) forget() {
	f.fresh, f.replaced = 0, false
	for i := 3; i < len(f.img.Pix); i += 4 {
		f.img.Pix[i] = 0
	}
}

// whole says whether every pixel has come. A pixel that has come stays so until
// forget, so the search goes on where it last stopped.
func (f *framebuffer) whole() bool {
	pix := f.img.Pix
	for 4*f.fresh < len(pix) && pix[4*f.fresh+3] != 0 {
		f.fresh++
	}
	return 4*f.fresh == len(pix)
}

func (f *framebuffer) copy() *image.RGBA {
	return &image.RGBA{Pix: slices.Clone(f.img.Pix), Stride: f.img.Stride, Rect: f.img.Rect}
}

func (f *framebuffer) set(x, y int, c colour) {
	binary.LittleEndian.PutUint32(f.img.Pix[f.img.PixOffset(x, y):], uint32(c))
}

// paint says whether r may be painted.
func (f *framebuffer) paint(r image.Rectangle) error { return f.may.paint(r, f.img.Rect.Max) }

func (f *framebuffer) fill(r image.Rectangle, c colour) error {
	if err := f.paint(r); err != nil {
		return err
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			f.set(x, y, c)
		}
	}
	return nil
}

// raw reads the pixels of r, row by row, none of them compressed.
func (f *framebuffer) raw(in io.Reader, r image.Rectangle) error {
	if err := f.paint(r); err != nil {
		return err
	}
	f.row = slices.Grow(f.row[:0], pixelBytes*r.Dx())[:pixelBytes*r.Dx()]
	for y := r.Min.Y; y < r.Max.Y; y++ {
		if _, err := io.ReadFull(in, f.row); err != nil {
			return unexpected(err)
		}
		for x := range r.Dx() {
			f.set(r.Min.X+x, y, colourOf(f.row[pixelBytes*x:]))
		}
	}
	return nil
}

// copyRect moves what the client already has. The rows are walked from the side
// where source and destination overlapping does no harm; copy minds it within one.
func (f *framebuffer) copyRect(in wire, r image.Rectangle) error {
	b, err := in.take(4)
	if err != nil {
		return err
	}
	from := image.Pt(int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:])))
	source := image.Rectangle{Min: from, Max: from.Add(r.Size())}
	if !within(source, f.img.Rect) {
		return fmt.Errorf("%w: a copy from %v, outside of the desktop %v", ErrProtocol, source, f.img.Rect.Max)
	}
	if err := f.paint(r); err != nil || r.Empty() {
		return err
	}
	for i := range r.Dy() {
		if from.Y < r.Min.Y {
			i = r.Dy() - 1 - i
		}
		to := f.img.Pix[f.img.PixOffset(r.Min.X, r.Min.Y+i):][:4*r.Dx()]
		copy(to, f.img.Pix[f.img.PixOffset(from.X, from.Y+i):])
		// The server vouches for the copy, however old the source is here.
		for j := 3; j < len(to); j += 4 {
			to[j] = 255
		}
	}
	return nil
}
