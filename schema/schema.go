// Package schema turns the argument structs of tools into JSON Schema, and the arguments that clients send into those structs.
//
// One struct is the only source of both: what the published schema says is what Decode checks, so the two cannot drift.
package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/invopop/jsonschema"
)

// Formats that Decode checks and normalises. They are not published: the description says what is meant in fewer bytes.
const (
	// FormatChat is a chat: a UUID, or the URL of a chat page (https://HOST/agents/UUID). It decodes as the UUID.
	FormatChat = "chat"
	// FormatUUID is a UUID in any spelling that RFC 9562 knows, upper case included.
	FormatUUID = "uuid"
)

// Arguments is the schema of one argument struct A and the decoder that goes with it.
// The struct's tags say everything: `json:"name,omitempty"` the name (without omitempty it is required) and
// `jsonschema:"description=…,enum=…,minimum=…,maximum=…,minLength=…,minItems=…,maxItems=…,format=…"` and
// `jsonschema_extras:"brief=true"` the rest.
type Arguments[A any] struct {
	checked   *jsonschema.Schema
	published json.RawMessage
	fields    map[string][]int // of A, by argument
}

// For reflects the schema of A, which must be a struct. It panics on a struct that cannot be published: that is a bug of a declaration,
// found by the first test that starts the program.
func For[A any]() *Arguments[A] {
	t := reflect.TypeFor[A]()
	if t.Kind() != reflect.Struct {
		panic("schema: arguments must be a struct, got " + t.String())
	}
	reflector := jsonschema.Reflector{DoNotReference: true, Anonymous: true, ExpandedStruct: true, Mapper: identifier}
	checked := reflector.ReflectFromType(t)
	return arguments[A](checked)
}

func arguments[A any](checked *jsonschema.Schema) *Arguments[A] {
	published, err := json.Marshal(publish(checked))
	if err != nil {
		panic("schema: " + reflect.TypeFor[A]().String() + ": " + err.Error())
	}
	return &Arguments[A]{checked: checked, published: published, fields: fieldsOf(reflect.TypeFor[A]())}
}

// Without is the same without some arguments, which are then unknown ones.
func (a *Arguments[A]) Without(names ...string) *Arguments[A] {
	checked := *a.checked
	checked.Properties = jsonschema.NewProperties()
	for p := a.checked.Properties.Oldest(); p != nil; p = p.Next() {
		if !slices.Contains(names, p.Key) {
			checked.Properties.Set(p.Key, p.Value)
		}
	}
	return arguments[A](&checked)
}

// JSON is the inline schema as a tool list carries it: no $schema, no references, no combinators at the root, unknown names refused.
func (a *Arguments[A]) JSON() json.RawMessage { return a.published }

// Names are the known arguments in the order of the struct.
func (a *Arguments[A]) Names() []string { return propertyNames(a.checked) }

// Required are the arguments that must be there.
func (a *Arguments[A]) Required() []string { return slices.Clone(a.checked.Required) }

// identifier is how a UUID is written: invopop would take its Go type for an array of sixteen integers.
func identifier(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[uuid.UUID]() {
		return &jsonschema.Schema{Type: "string", Format: FormatUUID}
	}
	return nil
}

// brief, as `jsonschema_extras:"brief=true"` on an array of objects, publishes the items in words, for a quarter of the bytes. Decode checks them all the same.
const brief = "brief"

// inWords is an object's fields as a model reads them: "{type: text|file, text?}".
func inWords(s *jsonschema.Schema) string {
	var fields []string
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		field := p.Key
		if !slices.Contains(s.Required, p.Key) {
			field += "?"
		}
		if len(p.Value.Enum) > 0 {
			var values []string
			for _, v := range p.Value.Enum {
				values = append(values, fmt.Sprint(v))
			}
			field += ": " + strings.Join(values, "|")
		}
		fields = append(fields, field)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// aboveOne leaves out the bounds that everybody assumes.
func aboveOne(minimum json.Number) json.Number {
	if minimum == "0" || minimum == "1" {
		return ""
	}
	return minimum
}

// publish is a copy of the schema without what only the decoder needs: every byte of a tool list is paid for in every session, and who trips over
// an unpublished bound is told it.
func publish(s *jsonschema.Schema) *jsonschema.Schema {
	if s == nil {
		return nil
	}
	if raw, err := json.Marshal(s); err == nil && string(raw) == "true" {
		// Raw JSON. Several model providers refuse a whole tool list for the schema `true`.
		return &jsonschema.Schema{Description: "any JSON"}
	}
	out := *s
	out.Version = ""
	if out.Format == FormatChat || out.Format == FormatUUID {
		out.Format = ""
	}
	out.Minimum, out.MinLength, out.MaxLength, out.MinItems = aboveOne(s.Minimum), nil, nil, nil
	if s.Type == "object" && s.Properties == nil {
		out.AdditionalProperties = nil
	}
	if out.Items = publish(s.Items); s.Extras[brief] != nil {
		out.Extras = nil
		out.Items = &jsonschema.Schema{Type: s.Items.Type}
		out.Description = strings.TrimSpace(s.Description + " [" + inWords(s.Items) + "]")
	}
	if s.Properties != nil {
		out.Properties = jsonschema.NewProperties()
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			out.Properties.Set(p.Key, publish(p.Value))
		}
	}
	return &out
}

func propertyNames(s *jsonschema.Schema) []string {
	if s.Properties == nil {
		return nil
	}
	var names []string
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		names = append(names, p.Key)
	}
	return names
}
