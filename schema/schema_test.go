package schema_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/schema"
)

func TestPublishedSchemaIsInlineAndShort(t *testing.T) {
	require.JSONEq(t, `{
		"type": "object", "additionalProperties": false, "required": ["chat"],
		"properties": {
			"chat": {"type": "string", "description": "id or URL"},
			"id": {"type": "string"},
			"chats": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
			"name": {"type": "string"},
			"key": {"type": "string"},
			"format": {"type": "string", "enum": ["patch", "stat"]},
			"limit": {"type": "integer", "maximum": 200},
			"offset": {"type": "integer"},
			"wait": {"type": "number"},
			"most": {"type": "number", "maximum": 10},
			"free": {"type": "integer"},
			"on": {"type": "boolean"},
			"labels": {"type": "object"},
			"content": {"type": "array", "items": {"type": "object"}, "description": "[{type: text|file, text?, file?}]"},
			"one": {"type": "object", "additionalProperties": false, "required": ["type"], "properties": {
				"type": {"type": "string", "enum": ["text", "file"]}, "text": {"type": "string"}, "file": {"type": "string"}
			}},
			"output": {"description": "any JSON"}
		}
	}`, string(all.JSON()))
}

func TestABoundAboveOneIsPublished(t *testing.T) {
	bounded := schema.For[struct {
		Width int `json:"width,omitempty" jsonschema:"minimum=64"`
	}]()
	require.JSONEq(t, `{"type": "object", "additionalProperties": false, "properties": {"width": {"type": "integer", "minimum": 64}}}`, string(bounded.JSON()))
}

func TestNamesKeepTheOrderOfTheStruct(t *testing.T) {
	require.Equal(t, []string{"chat", "id", "chats", "name", "key", "format", "limit", "offset", "wait", "most", "free", "on", "labels", "content", "one", "output"}, all.Names())
	require.Equal(t, []string{"chat"}, all.Required())
	all.Required()[0] = "changed"
	require.Equal(t, []string{"chat"}, all.Required())

	none := schema.For[struct{}]()
	require.Empty(t, none.Names())
	require.Empty(t, none.Required())
	require.JSONEq(t, `{"type": "object", "additionalProperties": false, "properties": {}}`, string(none.JSON()))
}

func TestArgumentsThatAreNoStructAreABug(t *testing.T) {
	require.PanicsWithValue(t, "schema: arguments must be a struct, got string", func() { schema.For[string]() })
}

func TestAFreeObjectPassesAsItIs(t *testing.T) {
	free := schema.For[struct {
		Any map[string]any `json:"any"`
	}]()
	got, err := free.Decode(json.RawMessage(`{"any":"{\"type\":\"object\",\"n\":1}"}`), schema.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"type": "object", "n": 1.0}, got.Any)
	_, err = free.Decode(json.RawMessage(`{"any":3}`), schema.Options{})
	require.EqualError(t, err, `"any" must be an object, got 3`)
}
