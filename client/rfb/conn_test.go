package rfb_test

import (
	"context"
	"image"
	"io"
	"net"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// request is a FramebufferUpdateRequest for a whole desktop.
func request(incremental byte, size image.Point) []byte {
	return append([]byte{3, incremental, 0, 0, 0, 0}, u16(size.X, size.Y)...)
}

func TestScreenshotWaitsForTheWholePicture(t *testing.T) {
	size := image.Pt(2, 2)
	c := connected(t, size, func(p *peer) {
		p.expect(request(0, size))
		p.say([]byte{2}, update(rectangle(image.Rect(0, 0, 2, 1), rfb.Raw, pixels(4, "RG"))))
		p.expect(request(1, size)) // the rest
		p.say(update(rectangle(image.Rect(1, 1, 2, 2), rfb.Raw, pixels(4, "W"))))
		p.expect(request(1, size))
		p.say(update(rectangle(image.Rect(0, 1, 1, 2), rfb.Raw, pixels(4, "B"))))
		p.expect(request(0, size)) // another look, all new
		p.say(plain(size, "G"))
	})
	img, err := c.Screenshot(within(t))
	require.NoError(t, err)
	require.Equal(t, drawn("RG", "BW"), img)
	again, err := c.Screenshot(within(t))
	require.NoError(t, err)
	require.Equal(t, drawn("GG", "GG"), again)
	require.Equal(t, drawn("RG", "BW"), img, "a screenshot given is not touched any more")
}

func TestScreenshotFollowsAChangeOfSize(t *testing.T) {
	before, after := image.Pt(2, 2), image.Pt(3, 1)
	c := connected(t, before, func(p *peer) {
		p.expect(request(0, before))
		p.say(update(rectangle(image.Rectangle{Max: after}, desktopSize)))
		p.expect(request(0, after))
		p.say(plain(after, "B"))
		p.untilGone()
	})
	img, err := c.Screenshot(within(t))
	require.NoError(t, err)
	require.Equal(t, drawn("BBB"), img)
	require.Equal(t, after, c.Size())
}

// The picture that nobody waits for any more is not taken for the next one's.
func TestScreenshotAfterOneGivenUpIsNewer(t *testing.T) {
	size := image.Pt(2, 1)
	ctx, cancel := context.WithCancel(t.Context())
	c := connected(t, size, func(p *peer) {
		p.expect(request(0, size))
		cancel()
		p.expect([]byte{4, 1, 0, 0, 0, 0, 0, 'a', 4, 0, 0, 0, 0, 0, 0, 'a'})
		p.say(update(rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "R")))) // half, and late
		p.expect(request(1, size))
		p.say(plain(size, "R"))
		p.expect(request(0, size))
		p.say(plain(size, "G"))
		p.untilGone()
	})
	_, err := c.Screenshot(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Key(within(t), "a"))
	img, err := c.Screenshot(within(t))
	require.NoError(t, err)
	require.Equal(t, drawn("GG"), img)
}

func TestUpdatesUnaskedForAreHeeded(t *testing.T) {
	size := image.Pt(2, 1)
	heeded := make(chan struct{})
	c := connected(t, size, func(p *peer) {
		p.say(plain(size, "R"), update(rectangle(image.Rect(1, 0, 2, 1), rfb.Raw, pixels(4, "W"))))
		p.say([]byte{2}) // read only after what was said before has been worked through
		close(heeded)
		p.expect(request(0, size))
		p.say(update(rectangle(image.Rect(0, 0, 1, 1), rfb.CopyRect, u16(1, 0)), rectangle(image.Rect(1, 0, 2, 1), rfb.Raw, pixels(4, "B"))))
		p.untilGone()
	})
	<-heeded
	img, err := c.Screenshot(within(t))
	require.NoError(t, err)
	require.Equal(t, drawn("WB"), img)
}

func TestTheEndOfAConnection(t *testing.T) {
	for name, try := range map[string]struct {
		end  func(c *rfb.Conn, p *peer)
		want error
		says string
	}{
		"the server closes":          {func(*rfb.Conn, *peer) {}, rfb.ErrClosed, "the desktop's side closed it"},
		"the server closes midway":   {func(_ *rfb.Conn, p *peer) { p.say([]byte{0, 0}) }, io.ErrUnexpectedEOF, "closed"},
		"the server sends nonsense":  {func(_ *rfb.Conn, p *peer) { p.say([]byte{200}) }, rfb.ErrProtocol, "200"},
		"the client closes meantime": {func(c *rfb.Conn, _ *peer) { _ = c.Close() }, rfb.ErrClosed, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			handover := make(chan *rfb.Conn, 1)
			c := connected(t, image.Pt(1, 1), func(p *peer) {
				p.hear(10)
				try.end(<-handover, p)
			})
			handover <- c
			_, err := c.Screenshot(within(t))
			require.ErrorIs(t, err, rfb.ErrClosed)
			require.ErrorIs(t, err, try.want)
			require.ErrorContains(t, err, try.says)

			<-c.Done()
			_, err = c.Screenshot(within(t))
			require.ErrorIs(t, err, rfb.ErrClosed)
			require.ErrorIs(t, c.Type(within(t), "a"), rfb.ErrClosed)
			require.NoError(t, c.Close())
		})
	}
}

func TestAContextThatHasEndedLeavesTheConnectionAlone(t *testing.T) {
	c := connected(t, image.Pt(1, 1), func(p *peer) { p.untilGone() })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Type(ended, "a"), context.Canceled)
	_, err := c.Screenshot(ended)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Type(within(t), "a"))
}

func TestAServerThatDoesNotReadHoldsNobody(t *testing.T) {
	writing := make(chan struct{})
	stuck := make(chan struct{})
	conn := &announcing{Conn: scripted(t, func(p *peer) {
		p.greet(image.Pt(1, 1))
		<-stuck
	}), writing: writing}
	c, err := rfb.New(within(t), conn, rfb.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	t.Cleanup(func() { close(stuck) })

	conn.armed = true
	ctx, cancel := context.WithCancelCause(t.Context())
	typed := make(chan error, 1)
	go func() { typed <- c.Type(ctx, "a") }()
	<-writing

	// Who waits for its turn to write goes by its own context.
	impatient, giveUp := context.WithCancelCause(t.Context())
	giveUp(io.ErrNoProgress)
	require.ErrorIs(t, c.Type(impatient, "b"), io.ErrNoProgress)

	cancel(assert.AnError)
	require.ErrorIs(t, <-typed, assert.AnError)
	<-c.Done()
	require.ErrorIs(t, c.Type(within(t), "c"), rfb.ErrClosed, "half a message may be on its way")
}

// announcing tells when it is written to.
type announcing struct {
	net.Conn
	armed   bool
	writing chan struct{}
}

func (a *announcing) Write(p []byte) (int, error) {
	if a.armed {
		a.armed = false
		close(a.writing)
	}
	return a.Conn.Write(p)
}
