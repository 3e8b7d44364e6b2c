package rfb

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// MaxText is how many bytes [Conn.Type] takes at a time.
const MaxText = 64 << 10

const maxChord = 8 // keys held at the same time

// Type types text as a person would, each character as its Unicode keysym, a
// newline as Return and a tab as Tab. It sends all of the text, at most
// [MaxText] bytes, or on [ErrInput] nothing.
func (c *Conn) Type(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	codes, err := textKeysyms(text)
	if err != nil {
		return err
	}
	m := make([]byte, 0, 2*keyEventBytes*len(codes))
	for _, code := range codes {
		m = keyEvent(m, true, code)
		m = keyEvent(m, false, code)
	}
	c.note(codes)
	return c.send(ctx, m)
}

// CheckText says, as Type would, why a text cannot be typed; nil for one that can.
func CheckText(text string) error {
	_, err := textKeysyms(text)
	return err
}

func textKeysyms(text string) ([]uint32, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("%w: a text of %d bytes, limit %d; type it in pieces", ErrInput, len(text), MaxText)
	}
	var codes []uint32
	for _, r := range strings.ReplaceAll(text, "\r\n", "\n") {
		code, err := keysymOfRune(r)
		if err != nil {
			return nil, err
		}
		codes = append(codes, code)
	}
	return codes, nil
}

// Key presses a key or a chord of keys joined by "+", such as "Return", "a" or
// "ctrl+shift+t", in order, and releases them in reverse. Names are X11's, in
// any case, with the usual aliases (enter, esc, pgup, ctrl, alt, cmd, win).
//
// A letter's case within a chord does not matter: Ctrl+C is ctrl+c, and shift
// is pressed only where it is named.
func (c *Conn) Key(ctx context.Context, chord string) error {
	codes, err := chordKeysyms(chord)
	if err != nil {
		return err
	}
	var m []byte
	for _, code := range codes {
		m = keyEvent(m, true, code)
	}
	for _, code := range slices.Backward(codes) {
		m = keyEvent(m, false, code)
	}
	c.note(codes)
	return c.send(ctx, m)
}

// CheckKey says, as Key would, why a chord cannot be pressed; nil for one that can.
func CheckKey(chord string) error {
	_, err := chordKeysyms(chord)
	return err
}

// ForeignRoom is how many different characters that the US layout lacks can be typed safely. A server gives each a key that is free, and Xtigervnc,
// which has some twenty, says nothing of those that find none: they are lost.
const ForeignRoom = 15

const maxForeign = 100 // are counted

// Foreign is how many different characters that the US layout lacks were typed over this connection. It counts to a hundred.
func (c *Conn) Foreign() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.foreign)
}

func (c *Conn) note(codes []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, code := range codes {
		if !foreign(code) || len(c.foreign) == maxForeign {
			continue
		}
		if c.foreign == nil {
			c.foreign = map[uint32]struct{}{}
		}
		c.foreign[code] = struct{}{}
	}
}

// foreign tells keysyms that are neither ASCII nor keys without a character: those are from 0xfd00 on, and the makers' own from 0x10000000.
func foreign(code uint32) bool {
	return code > 0x7e && code < 0xfd00 || code >= 0x01000000 && code < 0x10000000
}

func chordKeysyms(chord string) ([]uint32, error) {
	keys := splitChord(chord)
	if len(keys) > maxChord {
		return nil, fmt.Errorf("%w: %d keys at once, limit %d", ErrInput, len(keys), maxChord)
	}
	shifted := slices.ContainsFunc(keys, func(key string) bool {
		return slices.Contains([]string{"shift", "shiftl", "shiftr"}, foldKey(key))
	})
	codes := make([]uint32, len(keys))
	for i, key := range keys {
		if len(keys) > 1 {
			key = levelled(key, shifted)
		}
		code, err := keysymOf(key)
		if err != nil {
			return nil, err
		}
		codes[i] = code
	}
	return codes, nil
}

// splitChord cuts at each "+" that is not a key itself, as in "ctrl++".
func splitChord(chord string) []string {
	if chord == "+" {
		return []string{"+"}
	}
	if modifiers, ok := strings.CutSuffix(chord, "++"); ok {
		return append(strings.Split(modifiers, "+"), "+")
	}
	return strings.Split(chord, "+")
}

// What shift makes of the keys that are no letters, on the US layout.
const (
	unshifted = "`1234567890-=[]\\;',./"
	shiftedUS = "~!@#$%^&*()_+{}|:\"<>?"
)

// levelled gives the character that a key shows while shift is as said. A server
// that is sent another one lets go of shift, or presses it, to make it right,
// and so spoils the chord.
func levelled(key string, shifted bool) string {
	if len([]rune(key)) > 1 {
		return key
	}
	if !shifted {
		return strings.ToLower(key)
	}
	if i := strings.Index(unshifted, key); i >= 0 && key != "" {
		return shiftedUS[i : i+1]
	}
	return strings.ToUpper(key)
}

const keyEventBytes = 8

func keyEvent(m []byte, down bool, code uint32) []byte {
	m = append(m, 4, 0, 0, 0)
	if down {
		m[len(m)-3] = 1
	}
	return binary.BigEndian.AppendUint32(m, code)
}
