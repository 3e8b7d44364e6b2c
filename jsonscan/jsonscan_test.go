package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/jsonscan"
)

var errEnough = errors.New("enough")

func TestMembersAndElementsAreFound(t *testing.T) {
	var names, values []string
	member := func(name, value []byte) error {
		names, values = append(names, string(name)), append(values, string(value))
		return nil
	}
	require.NoError(t, jsonscan.EachMember([]byte(` {"a" : 1,"b\"c":"x\\\"}","d":{"e":[1,"]"]}, "f":[ {} ] ,"g":null}`), member))
	require.Equal(t, []string{"a", `b\"c`, "d", "f", "g"}, names)
	require.Equal(t, []string{"1", `"x\\\"}"`, `{"e":[1,"]"]}`, `[ {} ]`, "null"}, values)

	values = nil
	element := func(value []byte) error {
		values = append(values, string(value))
		return nil
	}
	require.NoError(t, jsonscan.EachElement([]byte(`[1, "a,b" ,[2],{"c":3},true ]`), element))
	require.Equal(t, []string{"1", `"a,b"`, "[2]", `{"c":3}`, "true"}, values)

	values = nil
	require.NoError(t, jsonscan.EachMember([]byte(`{ }`), member))
	require.NoError(t, jsonscan.EachElement([]byte(`[ ]`), element))
	require.Empty(t, values)
}

func TestTheFirstErrorEndsTheWalk(t *testing.T) {
	calls := 0
	require.Equal(t, errEnough, jsonscan.EachMember([]byte(`{"a":1,"b":2}`), func(_, _ []byte) error { calls++; return errEnough }))
	require.Equal(t, errEnough, jsonscan.EachElement([]byte(`[1,2]`), func([]byte) error { calls++; return errEnough }))
	require.Equal(t, 2, calls)
}

func TestWhatEndsTooEarlyIsRefused(t *testing.T) {
	for _, text := range []string{``, ` `, `{`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":"x`, `{"a":"x\"`, `{"a":[1`, `{"a" 1}`, `{a:1}`, `{"a":1;`, `{"a":}`, `7`, `"a"`, `[1]`} {
		require.ErrorIs(t, jsonscan.EachMember([]byte(text), func(_, _ []byte) error { return nil }), jsonscan.ErrSyntax, text)
	}
	for _, text := range []string{``, `[`, `[1`, `[1,`, `["a`, `[{`, `[,]`, `[1;`, `{}`, `7`} {
		require.ErrorIs(t, jsonscan.EachElement([]byte(text), func([]byte) error { return nil }), jsonscan.ErrSyntax, text)
	}
}

func TestPlainTextIsToldFromWhatNeedsDecoding(t *testing.T) {
	text, plain := jsonscan.Text([]byte(`"grün"`))
	require.True(t, plain)
	require.Equal(t, "grün", string(text))
	for _, value := range []string{``, `"`, `7`, `null`, `"a\n"`, "\"\xff\""} {
		_, plain := jsonscan.Text([]byte(value))
		require.False(t, plain, value)
	}
}

// FuzzEachMember: of valid JSON the walk finds what encoding/json finds, and no text whatever makes it panic.
func FuzzEachMember(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x\\\"}","c":{"d":[1,"]"]},"e":[{}],"f":null}`))
	f.Add([]byte(`[{"a":[]},"b"]`))
	f.Add([]byte(`{"a":"\`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found := map[string]json.RawMessage{}
		err := jsonscan.EachMember(text, func(name, value []byte) error {
			found[string(name)] = bytes.Clone(value)
			return nil
		})
		_ = jsonscan.EachElement(text, func([]byte) error { return nil })
		var expected map[string]json.RawMessage
		if json.Unmarshal(text, &expected) != nil || expected == nil || strings.Contains(string(text), `\`) || !bytes.Equal(text, bytes.ToValidUTF8(text, nil)) {
			return
		}
		require.NoError(t, err)
		require.Equal(t, expected, found)
	})
}

func TestValuesAreThoseOfEncodingJSON(t *testing.T) {
	for _, text := range []string{
		`{"a" : [1, -2.50e3 ,true,false,null,"x\\\"y\u00fc",[ ],{ }],"b":{"c":{"a":[[[]]]}}, "a2":"ü"}`, ` 7 `, `"x"`, `null`, `[]`, `{}`, `{"a":1,"a":2}`, `["\ud800"]`,
		``, `{`, `[1,]`, `{"a":1,}`, `{} {}`, `{a:1}`, `01`, "\"\xff\"", `[` + strings.Repeat("[", 20_000),
	} {
		sameValue(t, []byte(text))
	}
}

func sameValue(t *testing.T, text []byte) {
	t.Helper()
	var expected any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&expected)
	got, err := jsonscan.Value(text)
	var nothing any
	require.Equal(t, json.Unmarshal(text, &nothing), err, "%s", text)
	if err == nil {
		require.Equal(t, expected, got, "%s", text)
	}
}

func FuzzValue(f *testing.F) {
	f.Add([]byte(`{"a" : [1, -2.50e3 ,true,false,null,"x\\\"y\u00fc",[ ],{ }],"b":{"c":{"a":[[[]]]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) { sameValue(t, text) })
}
