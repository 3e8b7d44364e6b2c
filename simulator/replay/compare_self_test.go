package replay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A recording matches itself, with ids learned from it.
func TestRecordingsMatchThemselves(t *testing.T) {
	for _, generation := range []string{may, august} {
		recordings, err := Load(filepath.Join(testdata, "recordings-"+generation+".json.gz"))
		require.NoError(t, err)
		for _, r := range recordings {
			c := &comparer{generation: generation, ids: newIdentities(), host: ""}
			for _, s := range r.Steps {
				if s.Kind == "http" {
					c.host = recordedHost(s.Response)
					assert.NoError(t, c.answer(s.Response, recordedAnswer(s.Response)), "%s/%s#%d", generation, r.Name, s.Index)
				}
			}
			for i := range r.WebSockets {
				ws := &r.WebSockets[i]
				assert.NoError(t, c.socket(ws, recordedMessages(ws)), "%s/%s~%s", generation, r.Name, ws.ID)
			}
		}
	}
}

// recordedHost is where the recorded server listened: several did.
func recordedHost(response *Response) string {
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(fmt.Sprint(string(response.Body), response.Headers))
}

func recordedAnswer(response *Response) answer {
	got := answer{status: response.Status, header: http.Header{}}
	for name, value := range response.Headers {
		got.header.Set(name, value)
	}
	var text *string
	switch err := json.Unmarshal(response.Body, &text); {
	case err != nil:
		got.body = response.Body
		var cut struct {
			BinaryLen int `json:"_binary_len"`
		}
		if json.Unmarshal(response.Body, &cut) == nil && cut.BinaryLen > 0 {
			got.body = make([]byte, cut.BinaryLen)
		}
	case text != nil:
		got.body = []byte(*text)
	}
	return got
}

// What differs is found: keys, types, constants, lengths, statuses and headers.
func TestComparisonFindsDifferences(t *testing.T) {
	const chat = `{"id":"1c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"2026-11-22T20:54:22.264646Z","n":1,"list":[1]}`
	for name, live := range map[string]string{
		"a missing key":      `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"2027-11-22T20:54:22Z","n":1}`,
		"a key too many":     `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"2027-11-22T20:54:22Z","n":1,"list":[1],"x":1}`,
		"another type":       `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":null,"created_at":"2027-11-22T20:54:22Z","n":1,"list":[1]}`,
		"another text":       `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"u","created_at":"2027-11-22T20:54:22Z","n":1,"list":[1]}`,
		"another number":     `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"2027-11-22T20:54:22Z","n":2,"list":[1]}`,
		"another length":     `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"2027-11-22T20:54:22Z","n":1,"list":[]}`,
		"no time":            `{"id":"9c3ff024-0450-497b-97d5-a65464216353","title":"t","created_at":"yesterday","n":1,"list":[1]}`,
		"no id":              `{"id":"x","title":"t","created_at":"2027-11-22T20:54:22Z","n":1,"list":[1]}`,
		"not even an object": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := &comparer{generation: may, ids: newIdentities(), host: "h"}
			want := &Response{Status: 200, Body: json.RawMessage(chat)}
			assert.Error(t, c.answer(want, answer{status: 200, header: http.Header{}, body: []byte(live)}))
		})
	}
	want := &Response{Status: 429, Headers: map[string]string{"Retry-After": "60"}, Body: json.RawMessage(`{"message":"m"}`)}
	c := &comparer{generation: may, ids: newIdentities(), host: "h"}
	assert.NoError(t, c.answer(want, answer{status: 429, header: http.Header{"Retry-After": {"60"}}, body: []byte(`{"message":"m"}`)}))
	assert.Error(t, c.answer(want, answer{status: 429, header: http.Header{}, body: []byte(`{"message":"m"}`)}))
	assert.Error(t, c.answer(want, answer{status: 500, header: http.Header{"Retry-After": {"60"}}, body: []byte(`{"message":"m"}`)}))
}

// An id once met keeps its meaning.
func TestIdentitiesAreConsistent(t *testing.T) {
	ids := newIdentities()
	assert.True(t, ids.pair("a", "x"))
	assert.True(t, ids.pair("a", "x"))
	assert.False(t, ids.pair("a", "y"), "a is x")
	assert.False(t, ids.pair("b", "x"), "x is a")
	ids.pairInt(messageIDs, 309, 10)
	assert.EqualValues(t, 10, ids.liveInt(messageIDs, 309))
	assert.EqualValues(t, 9, ids.liveInt(messageIDs, 308), "the hidden row before the first message")
	assert.EqualValues(t, 99999999, ids.liveInt(messageIDs, 99999999), "no such message")
	assert.EqualValues(t, 309, ids.liveInt(queueIDs, 309), "another sequence")
}
