package rfb

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"slices"
)

// Button is one of the pointer's buttons, counted as X11 does.
type Button int

// The buttons a pointer has. The wheel's four belong to [Conn.Scroll].
const (
	LeftButton   Button = 1
	MiddleButton Button = 2
	RightButton  Button = 3

	wheelUp    Button = 4
	wheelDown  Button = 5
	wheelLeft  Button = 6
	wheelRight Button = 7
)

const (
	maxClicks = 10   // of one Click
	maxScroll = 1000 // steps of one Scroll, each way
	dragSteps = 16   // places a drag passes, so that programs see it move
)

// Pointer puts the pointer at a place with the buttons of the mask down and all
// others up: bit 0 is the left button, 1 the middle, 2 the right, 3 to 6 the wheel.
func (c *Conn) Pointer(ctx context.Context, at image.Point, buttons uint8) error {
	return c.point(ctx, pointerEvent(nil, at, buttons), at)
}

// Move moves the pointer, all buttons up.
func (c *Conn) Move(ctx context.Context, to image.Point) error {
	return c.Pointer(ctx, to, 0)
}

// Click moves to a place and presses and releases a button there, count times (2 is a double click, at most 10).
func (c *Conn) Click(ctx context.Context, at image.Point, button Button, count int) error {
	if err := checkButton(button); err != nil {
		return err
	}
	if count < 1 || count > maxClicks {
		return fmt.Errorf("%w: %d clicks; from 1 to %d", ErrInput, count, maxClicks)
	}
	return c.point(ctx, press(pointerEvent(nil, at, 0), at, button, count), at)
}

// Drag presses a button at one place, moves to another and releases it there.
func (c *Conn) Drag(ctx context.Context, from, to image.Point, button Button) error {
	if err := checkButton(button); err != nil {
		return err
	}
	m := pointerEvent(nil, from, 0)
	for i := range dragSteps + 1 {
		at := from.Add(to.Sub(from).Mul(i).Div(dragSteps))
		m = pointerEvent(m, at, button.mask())
	}
	return c.point(ctx, pointerEvent(m, to, 0), from, to)
}

// Scroll turns the wheel at a place by steps: dx to the right, dy down, negative
// the other way, at most 1000 each.
func (c *Conn) Scroll(ctx context.Context, at image.Point, dx, dy int) error {
	if err := CheckScroll(dx, dy); err != nil {
		return err
	}
	m := pointerEvent(nil, at, 0)
	m = press(m, at, wheelDown, dy)
	m = press(m, at, wheelUp, -dy)
	m = press(m, at, wheelRight, dx)
	m = press(m, at, wheelLeft, -dx)
	return c.point(ctx, m, at)
}

// CheckScroll says, as Scroll would, why the wheel cannot be turned so far; nil when it can.
func CheckScroll(dx, dy int) error {
	if max(dx, dy) > maxScroll || min(dx, dy) < -maxScroll {
		return fmt.Errorf("%w: a scroll by %d, %d steps, limit %d", ErrInput, dx, dy, maxScroll)
	}
	return nil
}

// point sends pointer events, if the places they touch are on the desktop.
func (c *Conn) point(ctx context.Context, events []byte, places ...image.Point) error {
	size := c.Size()
	outside := func(p image.Point) bool { return !p.In(image.Rectangle{Max: size}) }
	if i := slices.IndexFunc(places, outside); i >= 0 {
		return fmt.Errorf("%w: %v is not on the desktop of %dx%d pixels", ErrInput, places[i], size.X, size.Y)
	}
	return c.send(ctx, events)
}

func checkButton(b Button) error {
	if b < LeftButton || b > RightButton {
		return fmt.Errorf("%w: there is no button %d; 1 is left, 2 middle, 3 right", ErrInput, b)
	}
	return nil
}

// mask is the button's bit in a pointer event.
func (b Button) mask() uint8 { return 1 << (b - 1) }

// press adds count presses and releases.
func press(m []byte, at image.Point, b Button, count int) []byte {
	for range count {
		m = pointerEvent(m, at, b.mask())
		m = pointerEvent(m, at, 0)
	}
	return m
}

func pointerEvent(m []byte, at image.Point, buttons uint8) []byte {
	m = append(m, 5, buttons)
	m = binary.BigEndian.AppendUint16(m, uint16(at.X))
	return binary.BigEndian.AppendUint16(m, uint16(at.Y))
}
