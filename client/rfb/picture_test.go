package rfb_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/draw"
)

func TestAPlainPictureIsAPNGOfTheSamePixels(t *testing.T) {
	screen := drawn("RGB", "W.R")
	p, err := rfb.NewPicture(t.Context(), screen, 1280)
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
	p, err := rfb.NewPicture(t.Context(), screen, 1280)
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

// noise is what compresses worst.
func noise(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	_, _ = rand.NewChaCha8([32]byte{}).Read(img.Pix)
	for i, b := range img.Pix {
		img.Pix[i] = b&7 | -(b>>7)&248 // nearly black or nearly full
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

func TestAPictureOfTooManyBytesBecomesPlainerThenSmaller(t *testing.T) {
	screen := noise(400, 400)
	for _, try := range []struct {
		most  int
		shown image.Point
	}{
		{140_000, image.Pt(400, 400)}, // 136 kB in full quality
		{110_000, image.Pt(400, 400)}, // 101 kB in less
		{60_000, image.Pt(300, 300)},
		{1_000, image.Pt(52, 52)},
	} {
		p, err := rfb.PictureWithin(screen, 4096, try.most)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Data), try.most)
		require.Equal(t, []image.Point{{X: 400, Y: 400}, try.shown}, []image.Point{p.True, p.Shown}, "in %d bytes", try.most)
		shown, _, err := image.DecodeConfig(bytes.NewReader(p.Data))
		require.NoError(t, err)
		require.Equal(t, p.Shown, image.Pt(shown.Width, shown.Height), "the size is that of the picture")
	}
}

func TestAPictureHasAtMostThreeMegabytes(t *testing.T) {
	p, err := rfb.NewPicture(t.Context(), noise(2000, 2000), 4096)
	require.NoError(t, err)
	require.LessOrEqual(t, len(p.Data), 3<<20)
	require.Greater(t, len(p.Data), 2<<20)
}

// The library alone takes 32 bytes for each pixel of the new width and the old height, which would be 66 MiB here.
func TestScalingTakesLittleBesideThePictures(t *testing.T) {
	screen := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	debug.FreeOSMemory()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(32 << 20)) // of garbage, too
	before := heap()
	scaled := rfb.Scale(screen, 1919)
	require.Equal(t, image.Pt(1919, 1079), scaled.Rect.Size())
	require.Less(t, heap()-before, int64(48<<20))
	runtime.KeepAlive(screen)
}

func heap() int64 {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapSys - memory.HeapReleased)
}

func TestScalingInStripsShowsNoSeams(t *testing.T) {
	screen := noise(1500, 900)
	for i := 0; i < len(screen.Pix); i += 4 { // a text's contrast, and no more than that
		screen.Pix[i], screen.Pix[i+1], screen.Pix[i+2] = 100+screen.Pix[i]/4, 100+screen.Pix[i+1]/4, 100+screen.Pix[i+2]/4
	}
	got := rfb.Scale(screen, 1280)
	want := image.NewRGBA(got.Rect)
	draw.CatmullRom.Scale(want, want.Rect, screen, screen.Rect, draw.Src, nil)
	worst := 0
	for i := range want.Pix {
		worst = max(worst, int(want.Pix[i])-int(got.Pix[i]), int(got.Pix[i])-int(want.Pix[i]))
	}
	require.LessOrEqual(t, worst, 3)
}

func TestPicturesAreMadeInTurn(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	release := rfb.HoldPictures()
	_, err := rfb.NewPicture(ended, drawn("R"), 0)
	require.ErrorIs(t, err, context.Canceled)
	release()
	_, err = rfb.NewPicture(t.Context(), drawn("R"), 0)
	require.NoError(t, err)
}
