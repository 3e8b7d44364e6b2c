package view

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote frames what somebody else said: every line begins with "> ", so nothing inside can pass for a line of ours. All that a reader may take
// for a line break counts as one, and control characters and those that turn the direction of a line become visible.
func Quote(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/32 + 2)
	b.WriteString("> ")
	for i, r := range text {
		switch {
		case r == '\r' && strings.HasPrefix(text[i+1:], "\n"):
		case breaksLine(r):
			b.WriteString("\n> ")
		case r < ' ' && r != '\t':
			b.WriteRune('\u2400' + r)
		case r == 0x7f:
			b.WriteRune('\u2421')
		case r > 0x7f && r < 0xa0, turns(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// turns reports whether r embeds, overrides or isolates a direction of writing: what follows it is shown in another order than it is read.
func turns(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

func breaksLine(r rune) bool {
	switch r {
	case '\n', '\v', '\f', '\r', '\u0085', '\u2028', '\u2029':
		return true
	}
	return false
}

// Inline frames a short foreign text (a title, a tool's name) within a line of ours, cut to at most so many characters.
func Inline(text string, most int) string {
	count := 0
	for at := range text {
		if count == most {
			return strconv.Quote(text[:at]) + "…"
		}
		count++
	}
	return strconv.Quote(text)
}

// Line is a short foreign text as one bare line of at most so many characters, for names and titles that a client shows on its own: no line
// breaks, no control characters, nothing that turns the direction of what stands around it.
func Line(text string, most int) string {
	text, _ = Cut(text, most*2*utf8.UTFMax)
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || breaksLine(r) || unicode.Is(unicode.Bidi_Control, r)
	}), " ")
	if utf8.RuneCountInString(line) > most {
		line = string([]rune(line)[:most]) + "…"
	}
	return strings.ToValidUTF8(line, "\ufffd")
}

// Fit is Cut for a text that takes at most so many bytes both as JSON and quoted, without the frame: line breaks and control characters grow in either.
func Fit(text string, most int) (string, bool) {
	if text == "" {
		return "", true
	}
	cut, whole := Cut(text, most)
	for {
		encoded, _ := json.Marshal(cut) // strings marshal
		size := max(len(encoded), len(Quote(cut))) - len(`""`)
		if size <= most || cut == "" {
			return cut, whole
		}
		cut, whole = Cut(cut, min(len(cut)*most/size, len(cut)-1))
	}
}

// Cut is text up to at most so many bytes, ending at a whole character, and whether that is all of it.
func Cut(text string, most int) (string, bool) {
	if len(text) <= most {
		return text, true
	}
	most = max(most, 0)
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most], false
}
