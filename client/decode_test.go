package client_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator/replay"
)

// The types as encoding/json decodes them, by their tags.
type (
	taggedChat    client.Chat
	taggedMessage client.Message
)

func sameChat(t *testing.T, object map[string]any) {
	t.Helper()
	sameDecoded(t, object, func(c *taggedChat, extra map[string]json.RawMessage) client.Chat {
		c.Extra = extra
		return client.Chat(*c)
	})
}

func sameMessage(t *testing.T, object map[string]any) {
	t.Helper()
	sameDecoded(t, object, func(m *taggedMessage, extra map[string]json.RawMessage) client.Message {
		m.Extra = extra
		return client.Message(*m)
	})
}

// sameDecoded decodes an object by the tags of Tagged and by the code of Own.
func sameDecoded[Tagged, Own any](t *testing.T, object map[string]any, own func(*Tagged, map[string]json.RawMessage) Own) {
	t.Helper()
	text, err := json.Marshal(object)
	require.NoError(t, err)
	var byTags Tagged
	var byHand Own
	expected, err := json.Unmarshal(text, &byTags), json.Unmarshal(text, &byHand)
	require.Equal(t, expected == nil, err == nil, "%s: by its tags: %v, by hand: %v", text, expected, err)
	if err != nil {
		return
	}
	var extra map[string]json.RawMessage
	for name, value := range object {
		if !slices.Contains(memberNames[Own](), name) {
			if extra == nil {
				extra = map[string]json.RawMessage{}
			}
			extra[name], err = json.Marshal(value)
			require.NoError(t, err)
		}
	}
	require.Equal(t, own(&byTags, extra), byHand, "%s", text)
}

func memberNames[T any]() (names []string) {
	of := reflect.TypeFor[T]()
	for i := range of.NumField() {
		if name := of.Field(i).Tag.Get("json"); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// TestRecordedChatsAndMessagesAreDecodedAsTheirTagsSay: all that real servers sent.
func TestRecordedChatsAndMessagesAreDecodedAsTheirTagsSay(t *testing.T) {
	chats, messages := 0, 0
	var look func(value any)
	look = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, element := range v {
				look(element)
			}
		case map[string]any:
			switch {
			case has(v, "owner_id", "title", "status"):
				chats++
				sameChat(t, v)
			case has(v, "chat_id", "role", "content"):
				messages++
				sameMessage(t, v)
			}
			for _, member := range v {
				look(member)
			}
		case string: // a body, or a frame
			if strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[") {
				if inner, err := numbersKept([]byte(v)); err == nil {
					look(inner)
				}
			}
		}
	}
	for _, generation := range []string{"2026-05", "2026-08"} {
		recordings, err := replay.Load("../simulator/testdata/recordings-" + generation + ".json.gz")
		require.NoError(t, err)
		text, err := json.Marshal(recordings)
		require.NoError(t, err)
		all, err := numbersKept(text)
		require.NoError(t, err)
		look(all)
	}
	t.Logf("%d chats, %d messages", chats, messages)
	require.Greater(t, chats, 500)
	require.Greater(t, messages, 500)
}

func has(object map[string]any, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := object[name]; return !ok })
}

func numbersKept(text []byte) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&value)
	return value, err
}

// TestEveryMemberIsDecodedAsItsTagSays, alone, with values that fit it and values that do not.
func TestEveryMemberIsDecodedAsItsTagSays(t *testing.T) {
	id := "00000000-0000-4000-8000-000000000001"
	values := []any{
		nil, true, false, 0, 7, -3, 1.5, 1e30, "", "word", `with "quotes" and ü`, "2026-08-01T10:00:00.5Z", id,
		[]any{}, []any{"word"}, []any{id}, []any{7}, []any{map[string]any{"id": id}},
		map[string]any{}, map[string]any{"word": "word"}, map[string]any{"word": 7}, map[string]any{"message": "it failed", "additions": 3},
	}
	for _, value := range values {
		for _, name := range append(memberNames[client.Chat](), "unknown") {
			sameChat(t, map[string]any{name: value})
		}
		for _, name := range append(memberNames[client.Message](), "unknown") {
			sameMessage(t, map[string]any{name: value})
		}
	}
	for _, text := range []string{`7`, `[]`, `"chat"`, `{`, `{"id"}`, `{"id":}`, `null`} {
		require.Equal(t, json.Unmarshal([]byte(text), new(taggedChat)) == nil, json.Unmarshal([]byte(text), new(client.Chat)) == nil, text)
		require.Equal(t, json.Unmarshal([]byte(text), new(taggedMessage)) == nil, json.Unmarshal([]byte(text), new(client.Message)) == nil, text)
	}
}
