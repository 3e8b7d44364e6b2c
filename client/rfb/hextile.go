package rfb

import (
	"fmt"
	"image"
)

// The bits of a Hextile tile's first byte.
const (
	hextileRaw = 1 << iota
	hextileBackground
	hextileForeground
	hextileSubrects
	hextileColoured
)

const hextileSide = 16

// hextile reads r as tiles of 16x16, each raw or a background with rectangles on it.
func (f *framebuffer) hextile(in wire, r image.Rectangle) error {
	background, foreground := opaque, opaque
	for tile := range tiles(r, hextileSide) {
		mask, err := in.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if mask&hextileRaw != 0 {
			if err := f.raw(in, tile); err != nil {
				return err
			}
			continue
		}
		if mask&hextileBackground != 0 {
			if background, err = takeColour(in); err != nil {
				return err
			}
		}
		if mask&hextileForeground != 0 {
			if foreground, err = takeColour(in); err != nil {
				return err
			}
		}
		if err := f.fill(tile, background); err != nil {
			return err
		}
		if mask&hextileSubrects == 0 {
			continue
		}
		if err := f.subrects(in, tile, foreground, mask&hextileColoured != 0); err != nil {
			return err
		}
	}
	return nil
}

func (f *framebuffer) subrects(in wire, tile image.Rectangle, foreground colour, coloured bool) error {
	n, err := in.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	for range n {
		if coloured {
			if foreground, err = takeColour(in); err != nil {
				return err
			}
		}
		b, err := in.take(2)
		if err != nil {
			return err
		}
		at := tile.Min.Add(image.Pt(int(b[0]>>4), int(b[0]&15)))
		r := image.Rectangle{Min: at, Max: at.Add(image.Pt(int(b[1]>>4)+1, int(b[1]&15)+1))}
		if !within(r, tile) {
			return fmt.Errorf("%w: a Hextile rectangle %v outside of its tile %v", ErrProtocol, r, tile)
		}
		if err := f.fill(r, foreground); err != nil {
			return err
		}
	}
	return nil
}

func takeColour(in wire) (colour, error) {
	b, err := in.take(pixelBytes)
	if err != nil {
		return 0, err
	}
	return colourOf(b), nil
}

// tiles walks r from left to right, then down, in squares that the edges may cut.
func tiles(r image.Rectangle, side int) func(yield func(image.Rectangle) bool) {
	return func(yield func(image.Rectangle) bool) {
		for y := r.Min.Y; y < r.Max.Y; y += side {
			for x := r.Min.X; x < r.Max.X; x += side {
				if !yield(image.Rect(x, y, x+side, y+side).Intersect(r)) {
					return
				}
			}
		}
	}
}
