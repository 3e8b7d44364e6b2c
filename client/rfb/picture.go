package rfb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
)

const (
	// plainPNG is the size up to which a PNG is not worth giving up exact pixels for.
	plainPNG = 100 << 10
	// maxPicture is, in bytes, what a picture may have: as base64 the 4 MiB that readers of pictures usually take.
	maxPicture = 3 << 20
	// stripBytes is what scaling takes beside the pictures, which is 32 bytes a pixel.
	stripBytes = 8 << 20
)

// jpegQualities are tried in turn until a picture is small enough.
var jpegQualities = []int{80, 60, 40}

// Picture is a screenshot as it is shown: encoded, and perhaps smaller than the desktop.
type Picture struct {
	Data  []byte
	MIME  string      // image/png or image/jpeg
	True  image.Point // the desktop's size in pixels
	Shown image.Point // the picture's
}

// making holds a token for each picture that is being made: they take time and memory, and the desktops of all callers ask for them.
var making = make(chan struct{}, 2)

// NewPicture scales a screenshot to at most maxWidth pixels across (0: as it is) and encodes it in at most 3 MiB, for which it may become smaller
// yet. Two are made at a time; ctx bounds the waiting for that.
func NewPicture(ctx context.Context, screenshot *image.RGBA, maxWidth int) (Picture, error) {
	select {
	case making <- struct{}{}:
		defer func() { <-making }()
	case <-ctx.Done():
		return Picture{}, context.Cause(ctx)
	}
	return picture(screenshot, maxWidth, maxPicture)
}

func picture(screenshot *image.RGBA, maxWidth, most int) (Picture, error) {
	p := Picture{True: screenshot.Rect.Size()}
	for width := min(cmp.Or(maxWidth, p.True.X), p.True.X); ; width = width * 3 / 4 {
		shown := Scale(screenshot, width)
		var err error
		if p.Data, p.MIME, err = encode(shown, most); err != nil {
			return Picture{}, fmt.Errorf("rfb: encoding a picture: %w", err)
		}
		if p.Shown = shown.Rect.Size(); len(p.Data) <= most || width < 2 {
			return p, nil
		}
	}
}

// OnDesktop maps a place in the picture to the desktop's pixel at its middle.
func (p Picture) OnDesktop(at image.Point) image.Point {
	return image.Pt((2*at.X+1)*p.True.X/(2*p.Shown.X), (2*at.Y+1)*p.True.Y/(2*p.Shown.Y))
}

// Scale makes img at most maxWidth pixels wide, its proportions kept. It gives img
// itself when that is narrow enough, or maxWidth is 0 or less: nothing is enlarged.
func Scale(img *image.RGBA, maxWidth int) *image.RGBA {
	size := img.Rect.Size()
	if maxWidth <= 0 || size.X <= maxWidth {
		return img
	}
	height := max(1, (size.Y*maxWidth+size.X/2)/size.X)
	return flattened(narrowed(img, maxWidth), height)
}

// narrowed scales the width alone. Every row is then on its own, so that some rows at a time can be done.
func narrowed(img *image.RGBA, width int) *image.RGBA {
	from := img.Rect
	to := image.NewRGBA(image.Rect(0, 0, width, from.Dy()))
	rows := max(1, stripBytes/(32*width))
	scaler := draw.CatmullRom.NewScaler(width, rows, from.Dx(), rows)
	for y := 0; y < from.Dy(); y += rows {
		end := min(y+rows, from.Dy())
		scaler.Scale(to, image.Rect(0, y, width, end), img, image.Rect(from.Min.X, from.Min.Y+y, from.Max.X, from.Min.Y+end), draw.Src, nil)
	}
	return to
}

// flattened scales the height alone, some columns at a time.
func flattened(img *image.RGBA, height int) *image.RGBA {
	from := img.Rect
	to := image.NewRGBA(image.Rect(0, 0, from.Dx(), height))
	columns := max(1, stripBytes/(32*from.Dy()))
	scaler := draw.CatmullRom.NewScaler(columns, height, columns, from.Dy())
	for x := 0; x < from.Dx(); x += columns {
		end := min(x+columns, from.Dx())
		scaler.Scale(to, image.Rect(x, 0, end, height), img, image.Rect(from.Min.X+x, from.Min.Y, from.Min.X+end, from.Max.Y), draw.Src, nil)
	}
	return to
}

// Encode gives img as PNG or, when that is over 100 KiB and JPEG is smaller, as JPEG, with the MIME type. What is over 3 MiB is tried again in lower
// quality; the last try may still be larger.
func Encode(img *image.RGBA) (data []byte, mime string, err error) { return encode(img, maxPicture) }

func encode(img *image.RGBA, most int) (data []byte, mime string, err error) {
	exact := capped{most: most}
	switch err := png.Encode(&exact, img); {
	case errors.Is(err, errFull):
		exact.Reset()
	case err != nil:
		return nil, "", err
	case exact.Len() <= plainPNG:
		return exact.Bytes(), "image/png", nil
	}
	var lossy bytes.Buffer
	for _, quality := range jpegQualities {
		lossy.Reset()
		if err := jpeg.Encode(&lossy, img, &jpeg.Options{Quality: quality}); err != nil {
			return nil, "", err
		}
		if exact.Len() > 0 && exact.Len() <= lossy.Len() {
			return exact.Bytes(), "image/png", nil
		}
		if lossy.Len() <= most {
			break
		}
	}
	return lossy.Bytes(), "image/jpeg", nil
}

var errFull = errors.New("rfb: a picture of too many bytes")

// capped is a buffer that takes so many bytes and no more.
type capped struct {
	bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > c.most {
		return 0, errFull
	}
	return c.Buffer.Write(p)
}
