package rfb

import (
	"crypto/des"
	"encoding/binary"
	"fmt"
	"image"
	"math/bits"
	"slices"
)

const (
	securityNone     = 1
	securityPassword = 2
)

// clientFormat is the pixel format asked for: 32 bits, little endian, 8 bits each
// of red at 16, green at 8 and blue at 0. Nearly every server has it natively.
var clientFormat = [16]byte{32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0}

// handshake takes the connection from the greeting to where updates may be asked for.
func (c *Conn) handshake(o Options) error {
	minor, err := c.agreeVersion()
	if err != nil {
		return err
	}
	kind, err := c.agreeSecurity(minor, o.Password != "")
	if err != nil {
		return err
	}
	if kind == securityPassword {
		if err := c.answerChallenge(o.Password); err != nil {
			return err
		}
	}
	// Before 3.8 a server without authentication says nothing more about it.
	if kind == securityPassword || minor >= 8 {
		if err := c.securityResult(minor, kind); err != nil {
			return err
		}
	}
	return c.initialise(o)
}

// agreeVersion answers the server's version with the highest that both know: 3, 7 or 8.
func (c *Conn) agreeVersion() (minor int, err error) {
	b, err := c.in.take(12)
	if err != nil {
		return 0, err
	}
	greeting := string(b)
	var major int
	n, err := fmt.Sscanf(greeting, "RFB %03d.%03d\n", &major, &minor)
	if n != 2 || err != nil || major < 3 || minor < 0 {
		return 0, fmt.Errorf("%w: it greets with %q, which is no RFB version that is known", ErrProtocol, greeting)
	}
	switch {
	case major > 3 || minor >= 8: // also Apple's 003.889 and RealVNC's 004.001, 005.000
		minor = 8
	case minor != 7: // RFC 6143 7.1.1: any other number means 3.3
		minor = 3
	}
	_, err = fmt.Fprintf(c.conn, "RFB 003.%03d\n", minor)
	return minor, err
}

// agreeSecurity settles the security type: None where the server has it, else the password.
func (c *Conn) agreeSecurity(minor int, password bool) (byte, error) {
	offered, err := c.offeredSecurity(minor)
	if err != nil {
		return 0, err
	}
	kind := byte(securityNone)
	if !slices.Contains(offered, kind) {
		kind = securityPassword
	}
	if !slices.Contains(offered, kind) {
		return 0, fmt.Errorf("%w: it offers the types %d; None (1) and VNC password (2) are supported", ErrSecurity, offered)
	}
	if kind == securityPassword && !password {
		return 0, ErrPasswordRequired
	}
	if minor == 3 {
		return kind, nil // the server has decided, it wants no answer
	}
	_, err = c.conn.Write([]byte{kind})
	return kind, err
}

func (c *Conn) offeredSecurity(minor int) ([]byte, error) {
	if minor == 3 {
		b, err := c.in.take(4)
		if err != nil {
			return nil, err
		}
		kind := binary.BigEndian.Uint32(b)
		if kind == 0 {
			return nil, c.refusal(ErrRefused)
		}
		return []byte{byte(min(kind, 255))}, nil
	}
	b, err := c.in.take(1)
	if err != nil {
		return nil, err
	}
	if b[0] == 0 {
		return nil, c.refusal(ErrRefused)
	}
	b, err = c.in.take(int(b[0]))
	return slices.Clone(b), err
}

// answerChallenge proves the password: the server's 16 bytes, encrypted with it.
func (c *Conn) answerChallenge(password string) error {
	challenge, err := c.in.take(16)
	if err != nil {
		return err
	}
	_, err = c.conn.Write(encrypt(password, challenge))
	return err
}

// encrypt is VNC's DES: the key is 8 bytes of password, each with its bits reversed.
func encrypt(password string, plain []byte) []byte {
	var key [8]byte
	copy(key[:], password)
	for i, b := range key {
		key[i] = bits.Reverse8(b)
	}
	block, err := des.NewCipher(key[:])
	if err != nil {
		panic(err) // only a key that is not of 8 bytes
	}
	out := make([]byte, len(plain))
	for i := 0; i < len(plain); i += des.BlockSize {
		block.Encrypt(out[i:], plain[i:])
	}
	return out
}

func (c *Conn) securityResult(minor int, kind byte) error {
	b, err := c.in.take(4)
	if err != nil {
		return err
	}
	result := binary.BigEndian.Uint32(b)
	if result == 0 {
		return nil
	}
	failure := ErrRefused
	if kind == securityPassword {
		failure = ErrPasswordWrong
	}
	if minor >= 8 {
		return c.refusal(failure)
	}
	if result == 2 {
		return fmt.Errorf("%w: too many attempts, it says; wait before the next", failure)
	}
	return failure
}

// refusal reads the server's reason and gives it with the failure.
func (c *Conn) refusal(failure error) error {
	b, err := c.in.take(4)
	if err != nil {
		return fmt.Errorf("%w, its reason was cut off: %w", failure, err)
	}
	reason, err := c.in.text("reason", binary.BigEndian.Uint32(b))
	if err != nil {
		return fmt.Errorf("%w, its reason cannot be read: %w", failure, err)
	}
	return fmt.Errorf("%w: %q", failure, reason)
}

// initialise learns the desktop's size and name, and says how it is to be drawn.
func (c *Conn) initialise(o Options) error {
	shared := byte(1)
	if o.Exclusive {
		shared = 0
	}
	if _, err := c.conn.Write([]byte{shared}); err != nil {
		return err
	}
	b, err := c.in.take(24)
	if err != nil {
		return err
	}
	width, height := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	nameLength := binary.BigEndian.Uint32(b[20:])
	if c.name, err = c.in.text("name", nameLength); err != nil {
		return err
	}
	if err := c.resize(image.Pt(int(width), int(height))); err != nil {
		return err
	}
	_, err = c.conn.Write(preferences(o.Encodings))
	return err
}

// preferences is SetPixelFormat and SetEncodings.
func preferences(offered []Encoding) []byte {
	if len(offered) == 0 {
		offered = []Encoding{ZRLE, Hextile, CopyRect, Raw}
	}
	offered = append(slices.Clone(offered), desktopSize, extendedDesktopSize)
	m := append([]byte{0, 0, 0, 0}, clientFormat[:]...)
	m = append(m, 2, 0)
	m = binary.BigEndian.AppendUint16(m, uint16(len(offered)))
	for _, e := range offered {
		m = binary.BigEndian.AppendUint32(m, uint32(e))
	}
	return m
}
