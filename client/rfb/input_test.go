package rfb_test

import (
	"context"
	"fmt"
	"image"
	"strings"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keys gives the key events of a list such as "+ffe3 +63 -63 -ffe3".
func keys(list string) (b []byte) {
	for _, event := range strings.Fields(list) {
		var code int64
		_, _ = fmt.Sscanf(event[1:], "%x", &code)
		down := byte(0)
		if event[0] == '+' {
			down = 1
		}
		b = append(append(b, 4, down, 0, 0), u32(code)...)
	}
	return b
}

// sends checks what an action sends: all of it, and nothing after it but the next one.
func sends(t *testing.T, want []byte, act func(ctx context.Context, c *rfb.Conn) error) {
	t.Helper()
	c := connected(t, image.Pt(400, 300), func(p *peer) {
		p.expect(want)
		p.expect(keys("+2e -2e"))
		p.untilGone()
	})
	require.NoError(t, act(within(t), c))
	require.NoError(t, c.Key(within(t), "."))
}

func TestKey(t *testing.T) {
	for chord, want := range map[string]string{
		"Return": "+ff0d -ff0d", "enter": "+ff0d -ff0d", "ESC": "+ff1b -ff1b",
		"page_down": "+ff56 -ff56", "PgUp": "+ff55 -ff55", "Page Up": "+ff55 -ff55", "Prior": "+ff55 -ff55",
		"F1": "+ffbe -ffbe", "f35": "+ffe0 -ffe0", "KP_Enter": "+ff8d -ff8d", "kp_0": "+ffb0 -ffb0",
		"dead_acute": "+fe51 -fe51", "ISO_Left_Tab": "+fe20 -fe20",
		"XF86AudioMute": "+1008ff12 -1008ff12", "audioplay": "+1008ff14 -1008ff14",
		"XF86KbdLcdMenu5": "+100812bc -100812bc",
		"Aacute":          "+c1 -c1", "aacute": "+e1 -e1", "AACUTE": "+e1 -e1", "EuroSign": "+20ac -20ac",
		"a": "+61 -61", "A": "+41 -41", "é": "+e9 -e9", "€": "+10020ac -10020ac", "space": "+20 -20", " ": "+20 -20",
		"+": "+2b -2b", "\t": "+ff09 -ff09",
		"ctrl+c": "+ffe3 +63 -63 -ffe3", "Ctrl+C": "+ffe3 +63 -63 -ffe3", "ctrl++": "+ffe3 +2b -2b -ffe3",
		"ctrl+shift+t": "+ffe3 +ffe1 +54 -54 -ffe1 -ffe3", "shift+1": "+ffe1 +21 -21 -ffe1",
		"alt+F4": "+ffe9 +ffc1 -ffc1 -ffe9", "cmd+space": "+ffeb +20 -20 -ffeb",
		"Control_R+Alt_R+Delete": "+ffe4 +ffea +ffff -ffff -ffea -ffe4",
	} {
		t.Run(chord, func(t *testing.T) {
			sends(t, keys(want), func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, chord) })
		})
	}
}

func TestType(t *testing.T) {
	for text, want := range map[string]string{
		"aB": "+61 -61 +42 -42", "1\r\n2\n": "+31 -31 +ff0d -ff0d +32 -32 +ff0d -ff0d",
		"\t\b\x1b": "+ff09 -ff09 +ff08 -ff08 +ff1b -ff1b", "ÿ": "+ff -ff", "Ā": "+1000100 -1000100", "😀": "+101f600 -101f600",
		"": "",
	} {
		t.Run(text, func(t *testing.T) {
			sends(t, keys(want), func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, text) })
		})
	}
}

// mouse gives pointer events: buttons, x, y of each.
func mouse(events ...[3]int) (b []byte) {
	for _, e := range events {
		b = append(append(b, 5, byte(e[0])), u16(e[1], e[2])...)
	}
	return b
}

func TestPointer(t *testing.T) {
	at := image.Pt(10, 299)
	for name, try := range map[string]struct {
		act  func(ctx context.Context, c *rfb.Conn) error
		want []byte
	}{
		"pointer": {
			func(ctx context.Context, c *rfb.Conn) error { return c.Pointer(ctx, at, 5) },
			mouse([3]int{5, 10, 299}),
		},
		"move": {
			func(ctx context.Context, c *rfb.Conn) error { return c.Move(ctx, at) },
			mouse([3]int{0, 10, 299}),
		},
		"double click": {
			func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, at, rfb.RightButton, 2) },
			mouse([3]int{0, 10, 299}, [3]int{4, 10, 299}, [3]int{0, 10, 299}, [3]int{4, 10, 299}, [3]int{0, 10, 299}),
		},
		"scroll down and left": {
			func(ctx context.Context, c *rfb.Conn) error { return c.Scroll(ctx, at, -1, 2) },
			mouse([3]int{0, 10, 299}, [3]int{16, 10, 299}, [3]int{0, 10, 299}, [3]int{16, 10, 299}, [3]int{0, 10, 299},
				[3]int{32, 10, 299}, [3]int{0, 10, 299}),
		},
		"scroll up and right": {
			func(ctx context.Context, c *rfb.Conn) error { return c.Scroll(ctx, at, 1, -1) },
			mouse([3]int{0, 10, 299}, [3]int{8, 10, 299}, [3]int{0, 10, 299}, [3]int{64, 10, 299}, [3]int{0, 10, 299}),
		},
	} {
		t.Run(name, func(t *testing.T) { sends(t, try.want, try.act) })
	}
}

func TestDragPassesThePlacesBetween(t *testing.T) {
	want := mouse([3]int{0, 0, 160})
	for i := range 17 {
		want = append(want, mouse([3]int{1, 20 * i, 160 - 10*i})...)
	}
	want = append(want, mouse([3]int{0, 320, 0})...)
	sends(t, want, func(ctx context.Context, c *rfb.Conn) error {
		return c.Drag(ctx, image.Pt(0, 160), image.Pt(320, 0), rfb.LeftButton)
	})
}

func TestInputThatCannotBeSent(t *testing.T) {
	on := image.Pt(1, 1)
	for name, try := range map[string]struct {
		act  func(ctx context.Context, c *rfb.Conn) error
		says string
	}{
		"an unknown key":       {func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, "ctrl+anykey") }, `"anykey"`},
		"no key":               {func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, "") }, `""`},
		"a chord without end":  {func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, "ctrl+") }, `""`},
		"too many keys":        {func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, "a+b+c+d+e+f+g+h+i") }, "9 keys"},
		"a control character":  {func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, "ok\x03") }, "U+0003"},
		"no UTF-8":             {func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, "ok\xff") }, "UTF-8"},
		"a text too long":      {func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, strings.Repeat("a", rfb.MaxText+1)) }, "65537 bytes"},
		"a place to the right": {func(ctx context.Context, c *rfb.Conn) error { return c.Move(ctx, image.Pt(400, 0)) }, "400x300"},
		"a place to the left":  {func(ctx context.Context, c *rfb.Conn) error { return c.Move(ctx, image.Pt(-1, 0)) }, "(-1,0)"},
		"a drag from beyond":   {func(ctx context.Context, c *rfb.Conn) error { return c.Drag(ctx, image.Pt(0, 300), on, 1) }, "(0,300)"},
		"a drag beyond":        {func(ctx context.Context, c *rfb.Conn) error { return c.Drag(ctx, on, image.Pt(0, 300), 1) }, "(0,300)"},
		"a drag by a wheel":    {func(ctx context.Context, c *rfb.Conn) error { return c.Drag(ctx, on, on, 4) }, "button 4"},
		"no button":            {func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, on, 0, 1) }, "button 0"},
		"no click":             {func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, on, 1, 0) }, "0 clicks"},
		"too many clicks":      {func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, on, 1, 11) }, "11 clicks"},
		"too far a scroll":     {func(ctx context.Context, c *rfb.Conn) error { return c.Scroll(ctx, on, 0, -1001) }, "1001"},
	} {
		t.Run(name, func(t *testing.T) {
			sends(t, nil, func(ctx context.Context, c *rfb.Conn) error {
				err := try.act(ctx, c)
				assert.ErrorIs(t, err, rfb.ErrInput)
				assert.ErrorContains(t, err, try.says)
				return nil
			})
		})
	}
}
