package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/schema"
)

type part struct {
	Type string    `json:"type" jsonschema:"enum=text,enum=file"`
	Text string    `json:"text,omitempty"`
	File uuid.UUID `json:"file,omitzero" jsonschema:"format=uuid"`
}

// everything has an argument of each kind that tools declare.
type everything struct {
	Chat    uuid.UUID         `json:"chat" jsonschema:"format=chat,description=id or URL"`
	ID      uuid.UUID         `json:"id,omitzero" jsonschema:"format=uuid"`
	Chats   []uuid.UUID       `json:"chats,omitempty" jsonschema:"format=chat,minItems=1,maxItems=2"`
	Name    *string           `json:"name,omitempty" jsonschema:"minLength=1,maxLength=5"`
	Key     string            `json:"key,omitempty" jsonschema:"minLength=1"`
	Format  string            `json:"format,omitempty" jsonschema:"enum=patch,enum=stat"`
	Limit   int               `json:"limit,omitempty" jsonschema:"minimum=1,maximum=200"`
	Offset  int64             `json:"offset,omitempty" jsonschema:"minimum=0"`
	Wait    *float64          `json:"wait,omitempty" jsonschema:"minimum=0"`
	Most    float64           `json:"most,omitempty" jsonschema:"maximum=10"`
	Free    int               `json:"free,omitempty"`
	On      *bool             `json:"on,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Content []part            `json:"content,omitempty" jsonschema:"minItems=1" jsonschema_extras:"brief=true"`
	One     *part             `json:"one,omitempty"`
	Output  json.RawMessage   `json:"output,omitempty"`
}

var all = schema.For[everything]()

const id = "1c3ff024-0450-497b-97d5-a65464216353"

// with is arguments that are complete but for one member.
func with(member string) json.RawMessage {
	return json.RawMessage(`{"chat":"` + id + `",` + member + `}`)
}

func TestDecodeAccepts(t *testing.T) {
	chat := uuid.MustParse(id)
	has := func(change func(*everything)) everything {
		want := everything{Chat: chat}
		change(&want)
		return want
	}
	yes, no, name, wait := true, false, "Zürich"[:5], 1.5
	for given, want := range map[string]everything{
		`"id":"` + strings.ToUpper(id) + `"`:                           has(func(e *everything) { e.ID = chat }),
		`"id":" {` + id + `} "`:                                        has(func(e *everything) { e.ID = chat }),
		`"id":null,"limit":null`:                                       has(func(*everything) {}),
		`"chats":["` + id + `","https://c.example/agents/` + id + `"]`: has(func(e *everything) { e.Chats = []uuid.UUID{chat, chat} }),
		`"chats":"[\"` + id + `\"]"`:                                   has(func(e *everything) { e.Chats = []uuid.UUID{chat} }),
		`"name":"` + name + `"`:                                        has(func(e *everything) { e.Name = &name }),
		`"format":"stat"`:                                              has(func(e *everything) { e.Format = "stat" }),
		`"limit":200`:                                                  has(func(e *everything) { e.Limit = 200 }),
		`"limit":"20"`:                                                 has(func(e *everything) { e.Limit = 20 }),
		`"limit":5.0`:                                                  has(func(e *everything) { e.Limit = 5 }),
		`"limit":" 1e2 "`:                                              has(func(e *everything) { e.Limit = 100 }),
		`"offset":9223372036854775807`:                                 has(func(e *everything) { e.Offset = 1<<63 - 1 }),
		`"free":-3`:                                                    has(func(e *everything) { e.Free = -3 }),
		`"wait":"1.5"`:                                                 has(func(e *everything) { e.Wait = &wait }),
		`"wait":1.5,"most":-2`:                                         has(func(e *everything) { e.Wait, e.Most = &wait, -2 }),
		`"on":true`:                                                    has(func(e *everything) { e.On = &yes }),
		`"on":" False "`:                                               has(func(e *everything) { e.On = &no }),
		`"on":"TRUE"`:                                                  has(func(e *everything) { e.On = &yes }),
		`"output":[]`:                                                  has(func(e *everything) { e.Output = json.RawMessage(`[]`) }),
		`"output":[{"a":1.0}],"limit":3`:                               has(func(e *everything) { e.Output, e.Limit = json.RawMessage(`[{"a":1.0}]`), 3 }),
		`"labels":{"a":"b"}`:                                           has(func(e *everything) { e.Labels = map[string]string{"a": "b"} }),
		`"labels":"{\"a\":\"b\"}"`:                                     has(func(e *everything) { e.Labels = map[string]string{"a": "b"} }),
		`"content":[{"type":"text","text":"[not JSON"}]`:               has(func(e *everything) { e.Content = []part{{Type: "text", Text: "[not JSON"}} }),
		`"content":"[\"{\\\"type\\\":\\\"file\\\",\\\"file\\\":\\\"` + id + `\\\"}\"]"`: has(func(e *everything) { e.Content = []part{{Type: "file", File: chat}} }),
		`"one":{"type":"text"}`:                                 has(func(e *everything) { e.One = &part{Type: "text"} }),
		`"output":{"n":12345678901234567890.5,"of":[null,"x"]}`: has(func(e *everything) { e.Output = json.RawMessage(`{"n":12345678901234567890.5,"of":[null,"x"]}`) }),
		`"output":"[1]"`:                                        has(func(e *everything) { e.Output = json.RawMessage(`"[1]"`) }),
	} {
		got, err := all.Decode(with(given), schema.Options{})
		require.NoError(t, err, given)
		require.Equal(t, want, got, given)
	}
}

func TestDecodeReadsChatsFromTheirPages(t *testing.T) {
	for _, page := range []string{
		id, " " + id + "\n", strings.ToUpper(id), "urn:uuid:" + id,
		"https://coder.example.com/agents/" + id, "http://coder.example.com:3000/agents/" + id + "/", "https://c.example/agents/" + id + "/git?tab=diff#x", "https://c.example/base/agents/" + id,
	} {
		got, err := all.Decode(json.RawMessage(fmt.Sprintf(`{"chat":%q}`, page)), schema.Options{})
		require.NoError(t, err, page)
		require.Equal(t, uuid.MustParse(id), got.Chat, page)
	}
}

func TestDecodeAsksWhetherAPageIsKnown(t *testing.T) {
	var asked []string
	o := schema.Options{CheckChatURL: func(u *url.URL) error {
		if asked = append(asked, u.Host); u.Host != "ours.example" {
			return errors.New("that chat is elsewhere")
		}
		return nil
	}}
	_, err := all.Decode(json.RawMessage(`{"chat":"https://ours.example/agents/`+id+`","chats":["`+id+`"]}`), o)
	require.NoError(t, err)
	require.Equal(t, []string{"ours.example"}, asked, "an id alone is of no deployment")
	_, err = all.Decode(json.RawMessage(`{"chat":"https://theirs.example/agents/`+id+`"}`), o)
	require.EqualError(t, err, `"chat": that chat is elsewhere`)
	_, err = all.Decode(json.RawMessage(`{"chat":"`+id+`","chats":["https://theirs.example/agents/`+id+`"]}`), o)
	require.EqualError(t, err, `"chats[0]": that chat is elsewhere`)
}

const aChat = "a chat id (UUID) or the URL of a chat page (https://HOST/agents/UUID)"

func TestDecodeRefusesAndNamesWhatItExpected(t *testing.T) {
	known := "known: chat, id, chats, name, key, format, limit, offset, wait, most, free, on, labels, content, one, output"
	for given, want := range map[string]string{
		`"id":"nonsense"`:                        `"id" must be a UUID, got "nonsense"`,
		`"id":7`:                                 `"id" must be a UUID, got 7`,
		`"id":true`:                              `"id" must be a UUID, got true`,
		`"id":["a","b"]`:                         `"id" must be a UUID, got an array of 2`,
		`"id":{}`:                                `"id" must be a UUID, got an object`,
		`"chats":[]`:                             `"chats" must have 1..2 items, got 0`,
		`"chats":["a","b","c"]`:                  `"chats" must have 1..2 items, got 3`,
		`"chats":["` + id + `",null]`:            `"chats[1]" must be ` + aChat + `, got null`,
		`"chats":"` + id + `"`:                   `"chats" must be an array, each item ` + aChat + `, got "` + id + `"`,
		`"chats":"[broken"`:                      `"chats" must be an array, each item ` + aChat + `, got "[broken"`,
		`"chats":{"0":"x"}`:                      `"chats" must be an array, each item ` + aChat + `, got an object`,
		`"name":""`:                              `"name" must be a string of 1..5 characters, got ""`,
		`"name":"sixsix"`:                        `"name" must be a string of 1..5 characters, got "sixsix"`,
		`"key":""`:                               `"key" must be a non-empty string, got ""`,
		`"format":"Stat"`:                        `"format" must be one of patch, stat, got "Stat"`,
		`"format":1`:                             `"format" must be one of patch, stat, got 1`,
		`"limit":0`:                              `"limit" must be an integer 1..200, got 0`,
		`"limit":201`:                            `"limit" must be an integer 1..200, got 201`,
		`"limit":"many"`:                         `"limit" must be an integer 1..200, got "many"`,
		`"limit":1.5`:                            `"limit" must be an integer 1..200, got 1.5`,
		`"limit":[1]`:                            `"limit" must be an integer 1..200, got an array of 1`,
		`"limit":true`:                           `"limit" must be an integer 1..200, got true`,
		`"limit":1e999999999`:                    `"limit" must be an integer 1..200, got 1e999999999`,
		`"limit":"1e-99999999"`:                  `"limit" must be an integer 1..200, got "1e-99999999"`,
		`"limit":"0x10"`:                         `"limit" must be an integer 1..200, got "0x10"`,
		`"limit":"NaN"`:                          `"limit" must be an integer 1..200, got "NaN"`,
		`"offset":-1`:                            `"offset" must be an integer of at least 0, got -1`,
		`"offset":9223372036854775808`:           `"offset" must be an integer of at least 0, got 9223372036854775808`,
		`"wait":-0.1`:                            `"wait" must be a number of at least 0, got -0.1`,
		`"wait":"soon"`:                          `"wait" must be a number of at least 0, got "soon"`,
		`"most":11`:                              `"most" must be a number of at most 10, got 11`,
		`"free":{}`:                              `"free" must be an integer, got an object`,
		`"on":1`:                                 `"on" must be a boolean, got 1`,
		`"on":"yes"`:                             `"on" must be a boolean, got "yes"`,
		`"labels":{"a":1}`:                       `"labels.a" must be a string, got 1`,
		`"labels":{"a":null}`:                    `"labels.a" must be a string, got null`,
		`"labels":["a"]`:                         `"labels" must be an object of strings, got an array of 1`,
		`"content":[]`:                           `"content" must have at least 1 items, got 0`,
		`"content":[{}]`:                         `missing argument "content[0].type": one of text, file`,
		`"content":["text"]`:                     `"content[0]" must be an object with type, text, file, got "text"`,
		`"content":[{"type":"x"}]`:               `"content[0].type" must be one of text, file, got "x"`,
		`"content":[{"type":"text","texts":""}]`: `unknown argument "content[0].texts"; known: type, text, file`,
		`"one":3`:                                `"one" must be an object with type, text, file, got 3`,
		`"one":{"type":"file","file":"x"}`:       `"one.file" must be a UUID, got "x"`,
		`"limits":3`:                             `unknown argument "limits"; ` + known,
		`"Limit":3`:                              `unknown argument "Limit"; ` + known,
	} {
		_, err := all.Decode(with(given), schema.Options{})
		var refused *schema.Error
		require.ErrorAs(t, err, &refused, given)
		require.Equal(t, want, err.Error(), given)
	}
}

func TestDecodeRefusesChatsThatAreNone(t *testing.T) {
	for _, given := range []string{
		"", "first", "https://coder.example.com/agents", "https://coder.example.com/agents/", "https://coder.example.com/agents/latest",
		"https://coder.example.com/chats/" + id, "ftp://coder.example.com/agents/" + id, "https:///agents/" + id, "/agents/" + id, "https://%zz/agents/" + id,
	} {
		_, err := all.Decode(json.RawMessage(fmt.Sprintf(`{"chat":%q}`, given)), schema.Options{})
		require.ErrorContains(t, err, `"chat" must be `+aChat, given)
	}
}

func TestDecodeRefusesWhatIsNoObject(t *testing.T) {
	for given, want := range map[string]string{
		``:          `missing argument "chat": ` + aChat,
		` `:         `missing argument "chat": ` + aChat,
		`null`:      `missing argument "chat": ` + aChat,
		`{}`:        `missing argument "chat": ` + aChat,
		`[]`:        `arguments must be a JSON object, got an array of 0`,
		`"{}"`:      `arguments must be a JSON object, got "{}"`,
		`{"chat":`:  `arguments are not valid JSON: unexpected end of JSON input`,
		`{} {}`:     `arguments are not valid JSON: invalid character '{' after top-level value`,
		`{chat: 1}`: `arguments are not valid JSON: invalid character 'c' looking for beginning of object key string`,
	} {
		_, err := all.Decode(json.RawMessage(given), schema.Options{})
		require.EqualError(t, err, want, given)
	}
}

func TestDecodeNamesAllProblemsUpToTen(t *testing.T) {
	_, err := all.Decode(json.RawMessage(`{"limit":0,"nope":1,"on":3}`), schema.Options{})
	var refused *schema.Error
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Problems, 4, "two bad values, an unknown name and a missing one")

	var many []string
	for i := range 14 {
		many = append(many, fmt.Sprintf(`"x%02d":1`, i))
	}
	_, err = all.Decode(with(strings.Join(many, ",")), schema.Options{})
	require.ErrorContains(t, err, `"x09"`)
	require.NotContains(t, err.Error(), `"x10"`)
	require.True(t, strings.HasSuffix(err.Error(), "; and 4 more"), err)
}

func TestDecodeQuotesWhatCameInShort(t *testing.T) {
	_, err := all.Decode(with(`"id":"`+strings.Repeat("ü", 5000)+`"`), schema.Options{})
	require.EqualError(t, err, `"id" must be a UUID, got "`+strings.Repeat("ü", 40)+`"… (5000 characters)`)
	_, err = all.Decode(with(`"id":1`+strings.Repeat("0", 5000)), schema.Options{})
	require.EqualError(t, err, `"id" must be a UUID, got 1`+strings.Repeat("0", 39)+"…")
	_, err = all.Decode(with(`"id":"a\u001b[31m\nb"`), schema.Options{})
	require.EqualError(t, err, `"id" must be a UUID, got "a\x1b[31m\nb"`)
}

func TestDecodeOfNoArguments(t *testing.T) {
	none := schema.For[struct{}]()
	_, err := none.Decode(nil, schema.Options{})
	require.NoError(t, err)
	_, err = none.Decode(json.RawMessage(`{"chat":1}`), schema.Options{})
	require.EqualError(t, err, `unknown argument "chat"; none are taken`)
}

// weekday refuses some of what its schema allows, as a type with rules of its own may.
type weekday string

func (d *weekday) UnmarshalJSON(raw []byte) error {
	if string(raw) == `"sunday"` {
		return errors.New("we are closed")
	}
	return json.Unmarshal(raw, (*string)(d))
}

func TestDecodeTellsWhatOnlyTheTypeKnows(t *testing.T) {
	days := schema.For[struct {
		Day weekday `json:"day"`
	}]()
	_, err := days.Decode(json.RawMessage(`{"day":"sunday"}`), schema.Options{})
	require.EqualError(t, err, "we are closed")

	small := schema.For[struct {
		Count int8 `json:"count"`
	}]()
	_, err = small.Decode(json.RawMessage(`{"count":300}`), schema.Options{})
	require.EqualError(t, err, `"count" does not take a JSON number 300`)
}

// FuzzDecode: nothing that a client sends breaks the decoder, refusals are short, and what is accepted is accepted again in the form that it was decoded to.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"chat":"` + id + `"}`, `{"chat":"https://c.example/agents/` + id + `","limit":"20","on":"true"}`, `{"content":"[{\"type\":\"text\"}]"}`,
		`{"labels":{"a":"b"},"wait":1e3,"output":[1,{"x":null}]}`, `null`, `[`, `{"limit":1e-400,"most":-0.0}`, `{"chat":"` + id + `","name":"\ud800","key":"\u0000"}`,
	} {
		f.Add([]byte(seed))
		f.Add([]byte(with(`"one":` + seed)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := all.Decode(raw, schema.Options{})
		if err != nil {
			var refused *schema.Error
			require.ErrorAs(t, err, &refused)
			require.NotEmpty(t, refused.Problems)
			return
		}
		encoded, err := json.Marshal(first)
		require.NoError(t, err)
		second, err := all.Decode(encoded, schema.Options{})
		require.NoError(t, err, "%s was accepted, %s is not", raw, encoded)
		again, err := json.Marshal(second)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(again))
	})
}
