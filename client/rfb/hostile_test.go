package rfb_test

import (
	"bytes"
	"context"
	"image"
	"slices"
	"strings"
	"testing"
	"time"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/require"
)

// A few bytes can stand for all pixels of a desktop, and an update holds up to 65535 rectangles.
func TestAServerThatPaintsForEverIsCutOff(t *testing.T) {
	size := image.Pt(2048, 1024)
	all := image.Rectangle{Max: size}
	subrects := slices.Concat([]byte{2 | 8}, pixels(4, "R"), []byte{255}, bytes.Repeat([]byte{0, 0xff}, 255))
	solids := bytes.Repeat([]byte{1, 0, 0, 0}, size.X/64*size.Y/64)
	var stream deflater
	for name, next := range map[string]func() []byte{
		"CopyRect": func() []byte { return rectangle(all, rfb.CopyRect, u16(0, 0)) },
		"Hextile":  func() []byte { return rectangle(image.Rect(0, 0, 16, 16), rfb.Hextile, subrects) },
		"ZRLE":     func() []byte { return rectangle(all, rfb.ZRLE, stream.chunk(solids)) },
		"sizes": func() []byte {
			return slices.Concat(rectangle(all, desktopSize), rectangle(image.Rect(0, 0, 2047, 1024), desktopSize))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := connected(t, size, func(p *peer) {
				p.hear(10)
				p.say([]byte{0, 0}, u16(65535))
				for {
					p.say(next())
				}
			})
			_, err := c.Screenshot(within(t))
			require.ErrorIs(t, err, rfb.ErrTooLarge)
			require.NotErrorIs(t, err, rfb.ErrProtocol)
			require.ErrorContains(t, err, "painted for one request")
		})
	}
}

// What nobody asked for does not keep a processor busy for as long as the connection is kept.
func TestUpdatesUnaskedForAreHeededWithinReason(t *testing.T) {
	size := image.Pt(2048, 1024)
	c := connected(t, size, func(p *peer) {
		for {
			p.say(update(rectangle(image.Rectangle{Max: size}, rfb.CopyRect, u16(0, 0))))
		}
	})
	<-c.Done()
	require.ErrorIs(t, c.Type(within(t), "a"), rfb.ErrTooLarge)
}

func TestEachRequestMayPaintAnew(t *testing.T) {
	size := image.Pt(1024, 1024)
	all := image.Rectangle{Max: size}
	c := connected(t, size, func(p *peer) {
		for {
			p.hear(10)
			p.say(update(rectangle(all, rfb.CopyRect, u16(0, 0)), rectangle(all, rfb.CopyRect, u16(0, 0))))
		}
	})
	for range 20 { // 40 Mi pixels, of which one request may paint 26
		_, err := c.Screenshot(within(t))
		require.NoError(t, err)
	}
}

func TestClosingDoesNotWaitForThePainting(t *testing.T) {
	size := image.Pt(4096, 2048)
	solids := bytes.Repeat([]byte{1, 0, 0, 0}, size.X/64*size.Y/64)
	painting := make(chan struct{})
	c := connected(t, size, func(p *peer) {
		var stream deflater
		p.hear(10)
		rectangles := make([][]byte, 9) // as many as are allowed, in so few bytes that they are here at once
		for i := range rectangles {
			rectangles[i] = rectangle(image.Rectangle{Max: size}, rfb.ZRLE, stream.chunk(solids))
		}
		p.say([]byte{0, 0}, u16(65535), slices.Concat(rectangles...))
		close(painting)
		p.untilGone()
	})
	go func() { _, _ = c.Screenshot(t.Context()) }()
	<-painting
	require.NoError(t, c.Close())
	require.Less(t, rfb.Painted(c), 9*size.X*size.Y, "of what had come")
}

// A server that answers every request with nothing would be asked as fast as it can answer.
func TestAServerThatShowsNothingIsAskedNowAndThen(t *testing.T) {
	for name, nothing := range map[string][]byte{
		"no rectangle":       update(),
		"one pixel":          update(rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "R"))),
		"the size it has":    update(rectangle(image.Rect(0, 0, 100, 100), desktopSize)),
		"an empty rectangle": update(rectangle(image.Rectangle{}, rfb.Raw)),
	} {
		t.Run(name, func(t *testing.T) {
			requests := make(chan int, 1)
			c := connected(t, image.Pt(100, 100), func(p *peer) {
				asked := 0
				defer func() { requests <- asked }()
				for {
					p.hear(10)
					asked++
					p.say(nothing)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := c.Screenshot(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, c.Close())
			require.LessOrEqual(t, <-requests, 10)
		})
	}
}

func TestCharactersThatTheUSLayoutLacksAreCounted(t *testing.T) {
	c := connected(t, image.Pt(1, 1), func(p *peer) { p.untilGone() })
	require.NoError(t, c.Type(within(t), "The quick Brown FOX, ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./\n\t"))
	for _, key := range []string{"Return", "ctrl+c", "F5", "XF86AudioMute", "dead_acute"} {
		require.NoError(t, c.Key(within(t), key))
	}
	require.Zero(t, c.Foreign())
	require.NoError(t, c.Type(within(t), "кот, кот, été"))
	require.NoError(t, c.Key(within(t), "ctrl+ю"))
	require.NoError(t, c.Key(within(t), "Cyrillic_a"))
	require.Equal(t, 6, c.Foreign(), "к о т é ю and the key that X11 names")
	var many strings.Builder
	for r := '一'; r < '一'+500; r++ {
		many.WriteRune(r)
	}
	require.NoError(t, c.Type(within(t), many.String()))
	require.Equal(t, 100, c.Foreign())
}

func TestWhatCannotBeSentIsKnownBefore(t *testing.T) {
	require.NoError(t, rfb.CheckKey("ctrl+shift+t"))
	require.ErrorIs(t, rfb.CheckKey("nonsense"), rfb.ErrInput)
	require.NoError(t, rfb.CheckText("кот\n"))
	require.ErrorIs(t, rfb.CheckText("a\x01"), rfb.ErrInput)
	require.ErrorIs(t, rfb.CheckText(strings.Repeat("a", rfb.MaxText+1)), rfb.ErrInput)
	require.NoError(t, rfb.CheckScroll(-1000, 1000))
	const least = -1 << 63
	for _, by := range []image.Point{{X: 1001}, {Y: -1001}, {X: least}, {Y: least}} {
		require.ErrorIs(t, rfb.CheckScroll(by.X, by.Y), rfb.ErrInput)
	}
}
