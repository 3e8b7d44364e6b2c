package rfb

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
)

const (
	// plainPNG is the size up to which a PNG is not worth giving up exact pixels for.
	plainPNG    = 100 << 10
	jpegQuality = 80
)

// Picture is a screenshot as it is shown: encoded, and perhaps smaller than the desktop.
type Picture struct {
	Data  []byte
	MIME  string      // image/png or image/jpeg
	True  image.Point // the desktop's size in pixels
	Shown image.Point // the picture's
}

// NewPicture scales a screenshot to at most maxWidth pixels across (0: as it is) and encodes it.
func NewPicture(screenshot *image.RGBA, maxWidth int) (Picture, error) {
	shown := Scale(screenshot, maxWidth)
	data, mime, err := Encode(shown)
	return Picture{Data: data, MIME: mime, True: screenshot.Rect.Size(), Shown: shown.Rect.Size()}, err
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
	scaled := image.NewRGBA(image.Rect(0, 0, maxWidth, height))
	draw.CatmullRom.Scale(scaled, scaled.Rect, img, img.Rect, draw.Src, nil)
	return scaled
}

// Encode gives img as PNG or, when that is over 100 KiB and JPEG is smaller, as JPEG, with the MIME type.
func Encode(img *image.RGBA) (data []byte, mime string, err error) {
	var exact, lossy bytes.Buffer
	if err := png.Encode(&exact, img); err != nil {
		return nil, "", err
	}
	if exact.Len() <= plainPNG {
		return exact.Bytes(), "image/png", nil
	}
	if err := jpeg.Encode(&lossy, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, "", err
	}
	if lossy.Len() < exact.Len() {
		return lossy.Bytes(), "image/jpeg", nil
	}
	return exact.Bytes(), "image/png", nil
}
