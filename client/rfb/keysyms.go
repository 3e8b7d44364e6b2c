package rfb

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

//go:embed keysyms.txt
var keysymList string

// keyAliases are what keys are called elsewhere, folded as by foldKey.
var keyAliases = map[string]string{
	"enter": "Return", "esc": "Escape", "bksp": "BackSpace", "del": "Delete", "ins": "Insert",
	"pgup": "Page_Up", "pgdn": "Page_Down", "pgdown": "Page_Down", "spacebar": "space",
	"arrowleft": "Left", "arrowright": "Right", "arrowup": "Up", "arrowdown": "Down",
	"ctrl": "Control_L", "control": "Control_L", "shift": "Shift_L",
	"alt": "Alt_L", "option": "Alt_L", "opt": "Alt_L", "altgr": "ISO_Level3_Shift",
	"meta": "Meta_L", "super": "Super_L", "cmd": "Super_L", "command": "Super_L",
	"win": "Super_L", "windows": "Super_L", "hyper": "Hyper_L",
	"printscreen": "Print", "prtsc": "Print", "prtscn": "Print", "contextmenu": "Menu",
	"volumeup": "XF86AudioRaiseVolume", "volumedown": "XF86AudioLowerVolume", "mute": "XF86AudioMute",
}

// keysyms are X11's names, as written and folded.
var keysyms = sync.OnceValues(func() (exact, folded map[string]uint32) {
	exact, folded = map[string]uint32{}, map[string]uint32{}
	for line := range strings.Lines(keysymList) {
		name, hex, _ := strings.Cut(strings.TrimSpace(line), " ")
		code, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			continue // the comment at the top
		}
		exact[name] = uint32(code)
		// Where only case tells names apart (aacute, Aacute) the small letter is meant.
		if _, taken := folded[foldKey(name)]; !taken || name == strings.ToLower(name) {
			folded[foldKey(name)] = uint32(code)
		}
	}
	return exact, folded
})

// foldKey makes Page_Down, page down, PageDown and page-down the same.
func foldKey(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
}

// keysymOf finds the keysym of a key's name or of a single character.
func keysymOf(key string) (uint32, error) {
	if r, n := utf8.DecodeRuneInString(key); n == len(key) && n > 0 {
		return keysymOfRune(r)
	}
	exact, folded := keysyms()
	if code, ok := exact[key]; ok {
		return code, nil
	}
	name := foldKey(key)
	if alias, ok := keyAliases[name]; ok {
		return exact[alias], nil
	}
	for _, n := range []string{name, "xf86" + name} {
		if code, ok := folded[n]; ok {
			return code, nil
		}
	}
	return 0, fmt.Errorf("%w: there is no key %q; X11's names are known (Return, BackSpace, Page_Down, F5, KP_Enter, dead_acute, XF86AudioMute) and single characters", ErrInput, key)
}

// keysymOfRune finds the keysym that types a character.
func keysymOfRune(r rune) (uint32, error) {
	exact, _ := keysyms()
	switch {
	case r == '\n' || r == '\r':
		return exact["Return"], nil
	case r == '\t':
		return exact["Tab"], nil
	case r == '\b':
		return exact["BackSpace"], nil
	case r == '\x1b':
		return exact["Escape"], nil
	case r == utf8.RuneError:
		return 0, fmt.Errorf("%w: the text is not UTF-8", ErrInput)
	case r < ' ' || r >= 0x7f && r < 0xa0:
		return 0, fmt.Errorf("%w: the control character %U has no key of its own; press it as a chord such as ctrl+c", ErrInput, r)
	case r <= 0xff: // Latin-1 keysyms are the code points
		return uint32(r), nil
	}
	return 0x01000000 + uint32(r), nil
}
