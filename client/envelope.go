package client

import (
	"encoding/json"
	"errors"
	"net/http"

	"coder-chats-mcp/jsonscan"
)

// eachEvent calls f with each event of a frame: the elements of an array, a single object, or the data of a
// {"type":"ping"|"data"|"error","data":...} envelope. A ping carries none. An error envelope ends it with failed's error.
func eachEvent(frame []byte, f func(event []byte) error, failed func(data []byte) error) error {
	for i := jsonscan.SkipSpace(frame, 0); i < len(frame); i = jsonscan.SkipSpace(frame, i) {
		end := jsonscan.ValueEnd(frame, i)
		if end < 0 {
			return jsonscan.ErrSyntax
		}
		value := frame[i:end]
		i = end
		var err error
		if value[0] == '[' {
			err = jsonscan.EachElement(value, func(element []byte) error { return openEnvelope(element, f, failed) })
		} else {
			err = openEnvelope(value, f, failed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func openEnvelope(value []byte, f, failed func([]byte) error) error {
	kind, data, err := envelope(value)
	switch {
	case err != nil:
		return err
	case kind == "ping":
		return nil
	case kind == "data" && data != nil:
		return eachEvent(data, f, failed)
	case kind == "error" && data != nil:
		return failed(data)
	}
	return f(value)
}

// envelope looks whether an object is one. An event of type error has no data.
func envelope(object []byte) (kind string, data []byte, err error) {
	err = jsonscan.EachMember(object, func(name, value []byte) error {
		switch string(name) {
		case "type":
			switch string(value) {
			case `"ping"`:
				kind = "ping"
			case `"data"`:
				kind = "data"
			case `"error"`:
				kind = "error"
			}
		case "data":
			data = value
		}
		return nil
	})
	return kind, data, err
}

// envelopeError is the API's error that came in an envelope.
func envelopeError(data []byte) *ChatError {
	e := new(ChatError)
	if json.Unmarshal(data, e) != nil || e.Message == "" {
		e.Message = excerpt(data, "")
	}
	return e
}

// envelopeFailed makes the Error of an error envelope, for the sockets that have no event for one.
func (s *socket) envelopeFailed(data []byte) error {
	said := envelopeError(data)
	return &Error{
		Kind: KindUnavailable, Op: s.op, Method: http.MethodGet,
		Message: s.client.redact(said.Message), Detail: s.client.redact(said.Detail),
	}
}

// frameError is err, told as a frame's that can't be read unless it says more.
func (s *socket) frameError(frame []byte, err error) error {
	var said *Error
	if err == nil || errors.As(err, &said) {
		return err
	}
	return s.readError(frame, err)
}
