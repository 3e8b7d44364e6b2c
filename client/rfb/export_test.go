package rfb

import (
	"bytes"
	"image"
	"net"
	"time"
)

// Replay decodes all that a server said in one session, and gives the first whole
// picture that was in it, if there was one, and what ended it.
func Replay(session []byte, password string) (*image.RGBA, error) {
	c := newConn(tape{bytes.NewReader(session)})
	if err := c.handshake(Options{Password: password}); err != nil {
		return nil, err
	}
	l := &look{answer: make(chan progress, 1)}
	c.setLook(l)
	err := c.serve()
	select {
	case p := <-l.answer:
		return p.picture, err
	default:
		return nil, err
	}
}

// tape is a connection to a server that says what it has to say, whatever it is told.
type tape struct{ *bytes.Reader }

func (tape) Write(p []byte) (int, error)      { return len(p), nil }
func (tape) Close() error                     { return nil }
func (tape) LocalAddr() net.Addr              { return nil }
func (tape) RemoteAddr() net.Addr             { return nil }
func (tape) SetDeadline(time.Time) error      { return nil }
func (tape) SetReadDeadline(time.Time) error  { return nil }
func (tape) SetWriteDeadline(time.Time) error { return nil }

// HoldPictures takes all turns to make a picture.
func HoldPictures() (release func()) {
	for range cap(making) {
		making <- struct{}{}
	}
	return func() {
		for range cap(making) {
			<-making
		}
	}
}

// Painted is how many pixels the server painted for the last request, once the connection has ended.
func Painted(c *Conn) int {
	<-c.done
	return c.may.painted
}

// PictureWithin is NewPicture with a limit of its own, in bytes.
func PictureWithin(screenshot *image.RGBA, maxWidth, most int) (Picture, error) {
	return picture(screenshot, maxWidth, most)
}
