// Package rfb looks at a desktop and works its pointer and keyboard over the
// Remote Framebuffer protocol (VNC, RFC 6143), on any [net.Conn].
//
// It is what "Connect to chat workspace desktop via WebSockets" carries: the
// server's side of that WebSocket is a bare RFB server.
//
// Every byte of the peer is taken for hostile: sizes are checked before memory
// is taken for them, and malformed data ends the connection with an error.
package rfb
