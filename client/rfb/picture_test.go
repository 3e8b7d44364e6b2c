package rfb_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/require"
)

func TestAPlainPictureIsAPNGOfTheSamePixels(t *testing.T) {
	screen := drawn("RGB", "W.R")
	p, err := rfb.NewPicture(screen, 1280)
	require.NoError(t, err)
	require.Equal(t, "image/png", p.MIME)
	require.Equal(t, image.Pt(3, 2), p.True)
	require.Equal(t, p.True, p.Shown)
	shown, err := png.Decode(bytes.NewReader(p.Data))
	require.NoError(t, err)
	require.Equal(t, screen, shown)
}

func TestAPictureIsScaledDownInProportion(t *testing.T) {
	screen := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	for i := range screen.Pix {
		screen.Pix[i] = 255
	}
	p, err := rfb.NewPicture(screen, 1280)
	require.NoError(t, err)
	require.Equal(t, image.Pt(1920, 1080), p.True)
	require.Equal(t, image.Pt(1280, 720), p.Shown)
	shown, err := png.Decode(bytes.NewReader(p.Data))
	require.NoError(t, err)
	require.Equal(t, p.Shown, shown.Bounds().Size())
	require.Equal(t, color.RGBA{255, 255, 255, 255}, shown.At(640, 360))

	require.Equal(t, image.Pt(10, 1), rfb.Scale(image.NewRGBA(image.Rect(0, 0, 8000, 2)), 10).Rect.Size())
	require.Same(t, screen, rfb.Scale(screen, 0))
}

func TestPlacesInAPictureMapBack(t *testing.T) {
	p := rfb.Picture{True: image.Pt(1920, 1080), Shown: image.Pt(1280, 720)}
	for shown, want := range map[image.Point]image.Point{
		{X: 0, Y: 0}:      {X: 0, Y: 0},
		{X: 640, Y: 360}:  {X: 960, Y: 540},
		{X: 1279, Y: 719}: {X: 1919, Y: 1079},
	} {
		require.Equal(t, want, p.OnDesktop(shown))
	}
	same := rfb.Picture{True: image.Pt(1024, 768), Shown: image.Pt(1024, 768)}
	for _, at := range []image.Point{{}, {X: 511, Y: 33}, {X: 1023, Y: 767}} {
		require.Equal(t, at, same.OnDesktop(at))
	}
}

func TestAPhotographIsAJPEG(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	screen := image.NewRGBA(image.Rect(0, 0, 300, 300))
	for i := range screen.Pix {
		screen.Pix[i] = 128 + byte(noise.IntN(64))
		if i%4 == 3 {
			screen.Pix[i] = 255
		}
	}
	data, mime, err := rfb.Encode(screen)
	require.NoError(t, err)
	require.Equal(t, "image/jpeg", mime)
	shown, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, screen.Rect, shown.Bounds())

	small := screen.SubImage(image.Rect(0, 0, 100, 100)).(*image.RGBA)
	_, mime, err = rfb.Encode(small)
	require.NoError(t, err)
	require.Equal(t, "image/png", mime, "under 100 KiB the pixels stay exact")
}
