package client

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// UnmarshalJSON decodes a chat and keeps what it does not know in Extra.
func (c *Chat) UnmarshalJSON(data []byte) error {
	type plain Chat
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err
	}
	c.Extra = unknownMembers(data, chatMembers())
	return nil
}

// UnmarshalJSON decodes a message and keeps what it does not know in Extra.
func (m *Message) UnmarshalJSON(data []byte) error {
	type plain Message
	if err := json.Unmarshal(data, (*plain)(m)); err != nil {
		return err
	}
	m.Extra = unknownMembers(data, messageMembers())
	return nil
}

var (
	chatMembers    = sync.OnceValue(func() map[string]bool { return memberNames(reflect.TypeFor[Chat]()) })
	messageMembers = sync.OnceValue(func() map[string]bool { return memberNames(reflect.TypeFor[Message]()) })
)

func memberNames(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

func unknownMembers(data []byte, known map[string]bool) map[string]json.RawMessage {
	var extra map[string]json.RawMessage
	_ = eachMember(data, func(name, value []byte) error {
		if known[string(name)] {
			return nil
		}
		if extra == nil {
			extra = map[string]json.RawMessage{}
		}
		extra[string(name)] = append(json.RawMessage(nil), value...)
		return nil
	})
	return extra
}
