// Package desktop draws a desktop that does not exist, with a terminal on it, and
// serves it over the Remote Framebuffer protocol (VNC): what the simulator puts
// behind a chat's desktop stream.
package desktop

import (
	"image"
	"strings"
	"sync"
)

// Width and Height are the size of every drawn desktop, in pixels.
const (
	Width  = 1024
	Height = 768
)

// Desktop is one drawn desktop: a terminal window that can be moved by its title,
// that a click into focuses and a click beside unfocuses. What is typed stays
// from one viewer to the next.
type Desktop struct {
	mu       sync.Mutex
	terminal terminal
	window   image.Point // the window's upper left corner
	focused  bool
	pointer  image.Point
	pressed  bool         // the left button is down
	grip     *image.Point // the title is held: where, from the window's corner
	control  bool         // a control key is down
}

// New makes a desktop on which nothing has happened yet. Its terminal has the focus.
func New() *Desktop {
	return &Desktop{
		window:  image.Pt(140, 120),
		focused: true,
		pointer: image.Pt(Width/2, Height*3/4),
	}
}

// Text is what the terminal shows: its lines, the one being typed last.
func (d *Desktop) Text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.terminal.visible(), "\n")
}

// point moves the pointer, and does what its left button means where it is.
func (d *Desktop) point(at image.Point, buttons byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pointer = image.Pt(min(at.X, Width-1), min(at.Y, Height-1))
	pressed := buttons&1 != 0
	switch {
	case pressed && !d.pressed:
		d.press()
	case pressed && d.grip != nil:
		d.window = d.pointer.Sub(*d.grip)
	case !pressed:
		d.grip = nil
	}
	d.pressed = pressed
}

func (d *Desktop) press() {
	d.focused = d.pointer.In(windowSize.Add(d.window))
	if d.pointer.In(titleSize.Add(d.window)) {
		grip := d.pointer.Sub(d.window)
		d.grip = &grip
	}
}

// The keysyms that are not characters and mean something here.
const (
	keyBackSpace    = 0xff08
	keyReturn       = 0xff0d
	keyPadEnter     = 0xff8d
	keyControlLeft  = 0xffe3
	keyControlRight = 0xffe4
	keyUnicode      = 0x01000000
)

// key presses or releases a key by its keysym.
func (d *Desktop) key(code uint32, down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if code == keyControlLeft || code == keyControlRight {
		d.control = down
		return
	}
	if !down || !d.focused {
		return
	}
	switch {
	case code == keyReturn || code == keyPadEnter:
		d.terminal.enter()
	case code == keyBackSpace:
		d.terminal.erase()
	case d.control:
		d.terminal.control(rune(code))
	case code >= ' ' && code <= 0xff:
		d.terminal.put(rune(code))
	case code > keyUnicode && code <= keyUnicode+0x10ffff:
		d.terminal.put(rune(code - keyUnicode))
	}
}
