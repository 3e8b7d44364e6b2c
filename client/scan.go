package client

import (
	"bytes"
	"errors"
)

var errSyntax = errors.New("this is not valid JSON")

// eachMember calls f with the name (as written, without its quotes) and the value of each member of the JSON object in
// data. Values are slices of data. What a value consists of is not checked beyond finding its end.
func eachMember(data []byte, f func(name, value []byte) error) error {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return errSyntax
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return nil
	}
	for {
		end := stringEnd(data, i)
		if end < 0 {
			return errSyntax
		}
		name := data[i+1 : end-1]
		if i = skipSpace(data, end); i >= len(data) || data[i] != ':' {
			return errSyntax
		}
		i = skipSpace(data, i+1)
		if end = valueEnd(data, i); end < 0 {
			return errSyntax
		}
		if err := f(name, data[i:end]); err != nil {
			return err
		}
		if i = skipSpace(data, end); i >= len(data) {
			return errSyntax
		}
		switch data[i] {
		case '}':
			return nil
		case ',':
			i = skipSpace(data, i+1)
		default:
			return errSyntax
		}
	}
}

// eachElement calls f with each element of the JSON array in data; elements are slices of data.
func eachElement(data []byte, f func(value []byte) error) error {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return errSyntax
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == ']' {
		return nil
	}
	for {
		end := valueEnd(data, i)
		if end < 0 {
			return errSyntax
		}
		if err := f(data[i:end]); err != nil {
			return err
		}
		if i = skipSpace(data, end); i >= len(data) {
			return errSyntax
		}
		switch data[i] {
		case ']':
			return nil
		case ',':
			i = skipSpace(data, i+1)
		default:
			return errSyntax
		}
	}
}

func skipSpace(data []byte, i int) int {
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

// valueEnd is the index after the value that begins at i, -1 when none does or it does not end.
func valueEnd(data []byte, i int) int {
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
