package rfb

import (
	"fmt"
	"image"
	"net"
	"sync/atomic"
)

const (
	// maxRepaints is how often a server may paint the whole desktop for one request. A few bytes can stand for all of its pixels, so that bytes
	// bound nothing.
	maxRepaints = 8
	// spare is for a desktop that has become smaller since, in pixels.
	spare = 2 * maxPixels
	// littlePaint is an update that is hardly worth the request that it answers, in pixels.
	littlePaint = 64 * 64
)

// allowance is what a server may still have painted, and whether it is of use to anybody. All but ask and close are the reading goroutine's alone.
type allowance struct {
	asked, closed atomic.Bool

	painted int // pixels, since the last request
	update  int // pixels, of the update that is being read
}

// ask allows as much anew: a request goes out.
func (a *allowance) ask() { a.asked.Store(true) }

// close ends the painting that is under way.
func (a *allowance) close() { a.closed.Store(true) }

// paint takes the pixels of r, which is to be painted on a desktop of the given size.
func (a *allowance) paint(r image.Rectangle, desktop image.Point) error {
	if a.closed.Load() {
		return net.ErrClosed
	}
	if a.asked.Load() {
		a.asked.Store(false)
		a.painted = 0
	}
	pixels, limit := r.Dx()*r.Dy(), maxRepaints*desktop.X*desktop.Y+spare
	a.update += pixels
	if a.painted += pixels; a.painted > limit {
		return fmt.Errorf("%w: %d pixels painted for one request, limit %d", ErrTooLarge, a.painted, limit)
	}
	return nil
}
