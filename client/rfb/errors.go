package rfb

import "errors"

// The ways in which a desktop can fail, for [errors.Is]. The error that wraps
// one says what happened, with the server's own reason, quoted, where it gave one.
var (
	// ErrPasswordRequired: the server wants a VNC password and none was given.
	ErrPasswordRequired = errors.New("rfb: the desktop asks for a VNC password")
	// ErrPasswordWrong: the server turned the VNC password down.
	ErrPasswordWrong = errors.New("rfb: the desktop turned the VNC password down")
	// ErrRefused: the server refused the connection before or after the security handshake.
	ErrRefused = errors.New("rfb: the desktop refused the connection")
	// ErrSecurity: the server offers no security type that this client speaks (None and VNC password).
	ErrSecurity = errors.New("rfb: the desktop offers no security type that is supported")
	// ErrProtocol: the server sent what RFB does not allow.
	ErrProtocol = errors.New("rfb: the desktop broke the RFB protocol")
	// ErrTooLarge: the server announced more than this client takes.
	ErrTooLarge = errors.New("rfb: the desktop sent more than is accepted")
	// ErrClosed: the connection has ended. What ended it is wrapped along.
	ErrClosed = errors.New("rfb: the desktop connection is closed")
	// ErrInput: a key, a text or a position that cannot be sent. Nothing was sent.
	ErrInput = errors.New("rfb: input cannot be sent")
)
