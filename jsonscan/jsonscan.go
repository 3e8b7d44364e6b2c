// Package jsonscan walks over JSON text without decoding it, so that text is looked at once where encoding/json looks several times.
package jsonscan

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// ErrSyntax refuses text in which a member, an element or the end of a value is not found. Text that is to be valid JSON is checked with
// json.Valid.
var ErrSyntax = errors.New("this is not valid JSON")

// EachMember calls f with the name (as written, without its quotes) and the value of each member of the JSON object in
// data, until f returns an error, which it then returns. Values are slices of data. What a value consists of is not checked beyond finding its end.
func EachMember(data []byte, f func(name, value []byte) error) error {
	i := SkipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return ErrSyntax
	}
	i = SkipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return nil
	}
	for {
		end := stringEnd(data, i)
		if end < 0 {
			return ErrSyntax
		}
		name := data[i+1 : end-1]
		if i = SkipSpace(data, end); i >= len(data) || data[i] != ':' {
			return ErrSyntax
		}
		i = SkipSpace(data, i+1)
		if end = ValueEnd(data, i); end < 0 {
			return ErrSyntax
		}
		if err := f(name, data[i:end]); err != nil {
			return err
		}
		if i = SkipSpace(data, end); i >= len(data) {
			return ErrSyntax
		}
		switch data[i] {
		case '}':
			return nil
		case ',':
			i = SkipSpace(data, i+1)
		default:
			return ErrSyntax
		}
	}
}

// EachElement calls f with each element of the JSON array in data, as EachMember does.
func EachElement(data []byte, f func(value []byte) error) error {
	i := SkipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return ErrSyntax
	}
	i = SkipSpace(data, i+1)
	if i < len(data) && data[i] == ']' {
		return nil
	}
	for {
		end := ValueEnd(data, i)
		if end < 0 {
			return ErrSyntax
		}
		if err := f(data[i:end]); err != nil {
			return err
		}
		if i = SkipSpace(data, end); i >= len(data) {
			return ErrSyntax
		}
		switch data[i] {
		case ']':
			return nil
		case ',':
			i = SkipSpace(data, i+1)
		default:
			return ErrSyntax
		}
	}
}

// SkipSpace is the index of the first byte from i on that is no space; len(data) when all are.
func SkipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index after the string that begins at i, -1 when none does or it does not end.
func stringEnd(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	for i++; i < len(data); i++ {
		quote := bytes.IndexByte(data[i:], '"')
		if quote < 0 {
			return -1
		}
		i += quote
		backslashes := 0
		for data[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return i + 1
		}
	}
	return -1
}

// ValueEnd is the index after the value that begins at i, -1 when none does or it does not end.
func ValueEnd(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"':
		return stringEnd(data, i)
	case '{', '[':
		return nestedEnd(data, i)
	case ',', ':', ']', '}':
		return -1
	}
	for i < len(data) {
		switch data[i] {
		case ',', ']', '}', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

func nestedEnd(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			if i = stringEnd(data, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// Text is what is between the quotes of a JSON string; false when something in it is escaped or it is no string of valid UTF-8.
func Text(value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 || !utf8.Valid(value) {
		return nil, false
	}
	return value[1 : len(value)-1], true
}
