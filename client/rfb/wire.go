package rfb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

const (
	maxSide     = 8192     // pixels, of either side of a desktop
	maxPixels   = 9 << 20  // of a whole desktop, which 4096x2160 fits: 36 MiB as RGBA
	maxReason   = 64 << 10 // bytes, of a refusal's reason and of a desktop's name
	maxCutText  = 16 << 20 // bytes, of a clipboard, which is skipped unread
	wireBuffer  = 32 << 10
	pixelBytes  = 4 // of the format asked for, see clientFormat
	cpixelBytes = 3 // of the same in ZRLE, which drops the byte that carries nothing
)

// wire reads what the server sends.
type wire struct{ *bufio.Reader }

// take gives the next n bytes, at most wireBuffer. They are valid until the next read.
func (w wire) take(n int) ([]byte, error) {
	b, err := w.Peek(n)
	if err != nil {
		return nil, unexpected(err)
	}
	_, err = w.Discard(n)
	return b, err
}

// text gives a string of n bytes, read only when n is within the limit.
func (w wire) text(what string, n uint32) (string, error) {
	if n > maxReason {
		return "", fmt.Errorf("%w: a %s of %d bytes, limit %d", ErrTooLarge, what, n, maxReason)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(w, b); err != nil {
		return "", unexpected(err)
	}
	return string(b), nil
}

// skip passes over n bytes without keeping them.
func (w wire) skip(n int64) error {
	_, err := io.CopyN(io.Discard, w, n)
	return unexpected(err)
}

// unexpected tells an end inside a message from one between messages.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
