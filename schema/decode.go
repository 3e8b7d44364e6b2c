package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/invopop/jsonschema"

	"coder-chats-mcp/jsonscan"
)

// maxProblems bounds an Error: a caller that got ten things wrong has lost the thread, not a comma.
const maxProblems = 10

// Error is why arguments were refused: every problem found, each naming its argument and what was expected there.
type Error struct{ Problems []string }

func (e *Error) Error() string {
	shown := e.Problems
	more := ""
	if len(shown) > maxProblems {
		more = fmt.Sprintf("; and %d more", len(shown)-maxProblems)
		shown = shown[:maxProblems]
	}
	return strings.Join(shown, "; ") + more
}

// Options adjust Decode to a caller.
type Options struct {
	// CheckChatURL refuses the URL of a chat page, for example one of another deployment. Nil accepts every http and https URL.
	CheckChatURL func(*url.URL) error
}

// Decode checks raw against the schema and decodes it. A missing or null raw counts as {}. Accepted beyond the letter of the schema,
// because models write it: integers, numbers and booleans as strings, integers as 5.0, arrays and objects as JSON text, null for absent.
// Everything else (unknown names, wrong types, missing or out-of-range values) is an *Error that names all problems at once.
func (a *Arguments[A]) Decode(raw json.RawMessage, o Options) (A, error) {
	var args A
	value, err := parse(raw)
	if err != nil {
		return args, &Error{Problems: []string{err.Error()}}
	}
	d := decoder{options: o}
	normal := d.object(a.checked, "", value)
	if len(d.problems) > 0 {
		return args, &Error{Problems: d.problems}
	}
	if a.fill(reflect.ValueOf(&args).Elem(), normal) {
		return args, nil
	}
	args = *new(A)
	body, err := json.Marshal(normal)
	if err != nil {
		return args, &Error{Problems: []string{"arguments cannot be encoded: " + err.Error()}}
	}
	if err := json.Unmarshal(body, &args); err != nil {
		return args, &Error{Problems: []string{readable(err)}}
	}
	return args, nil
}

func parse(raw json.RawMessage) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return map[string]any{}, nil
	}
	value, err := jsonscan.Value(raw)
	if err != nil {
		return nil, fmt.Errorf("arguments are not valid JSON: %w", err)
	}
	if value == nil {
		return map[string]any{}, nil
	}
	return value, nil
}

type decoder struct {
	options  Options
	problems []string
}

func (d *decoder) refuse(format string, args ...any) any {
	d.problems = append(d.problems, fmt.Sprintf(format, args...))
	return nil
}

func (d *decoder) object(s *jsonschema.Schema, path string, value any) any {
	fields, ok := value.(map[string]any)
	if !ok {
		if path == "" {
			return d.refuse("arguments must be a JSON object, got %s", describe(value))
		}
		return d.wrong(path, s, value)
	}
	known := propertyNames(s)
	out := make(map[string]any, len(fields))
	for _, name := range sortedKeys(fields) {
		if fields[name] == nil {
			continue
		}
		at := join(path, name)
		if property, ok := s.Properties.Get(name); ok {
			out[name] = d.value(property, at, fields[name])
			continue
		}
		if len(known) == 0 {
			d.refuse("unknown argument %q; none are taken", at)
			continue
		}
		d.refuse("unknown argument %q; known: %s", at, strings.Join(known, ", "))
	}
	for _, name := range s.Required {
		if fields[name] == nil {
			property, _ := s.Properties.Get(name)
			d.refuse("missing argument %q: %s", join(path, name), expectation(property))
		}
	}
	return out
}

func (d *decoder) value(s *jsonschema.Schema, path string, value any) any {
	switch s.Type {
	case "string":
		return d.text(s, path, value)
	case "integer":
		return d.integer(s, path, value)
	case "number":
		return d.number(s, path, value)
	case "boolean":
		return d.boolean(s, path, value)
	case "array":
		return d.array(s, path, fromText(value))
	case "object":
		if s.Properties != nil && s.Properties.Len() > 0 {
			return d.object(s, path, fromText(value))
		}
		return d.stringMap(s, path, fromText(value))
	}
	return value
}

func (d *decoder) text(s *jsonschema.Schema, path string, value any) any {
	text, ok := value.(string)
	if !ok {
		return d.wrong(path, s, value)
	}
	switch s.Format {
	case FormatUUID:
		id, err := uuid.Parse(strings.TrimSpace(text))
		if err != nil {
			return d.wrong(path, s, value)
		}
		return id.String()
	case FormatChat:
		return d.chat(s, path, text)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, any(text)) {
		return d.wrong(path, s, value)
	}
	length := uint64(utf8.RuneCountInString(text))
	if (s.MinLength != nil && length < *s.MinLength) || (s.MaxLength != nil && length > *s.MaxLength) {
		return d.wrong(path, s, value)
	}
	return text
}

// chat reads a UUID or the address of a chat page. Pages below the chat's own (a tab, a fragment) are the same chat.
func (d *decoder) chat(s *jsonschema.Schema, path, text string) any {
	text = strings.TrimSpace(text)
	if id, err := uuid.Parse(text); err == nil {
		return id.String()
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return d.wrong(path, s, text)
	}
	elements := strings.Split(u.Path, "/")
	at := slices.Index(elements, "agents")
	if at < 0 || at+1 >= len(elements) {
		return d.wrong(path, s, text)
	}
	id, err := uuid.Parse(elements[at+1])
	if err != nil {
		return d.wrong(path, s, text)
	}
	if d.options.CheckChatURL != nil {
		if err := d.options.CheckChatURL(u); err != nil {
			return d.refuse("%q: %s", path, err)
		}
	}
	return id.String()
}

func (d *decoder) integer(s *jsonschema.Schema, path string, value any) any {
	digits, ok := numeral(value)
	if !ok {
		return d.wrong(path, s, value)
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok || !n.IsInt() || !n.Num().IsInt64() || !within(s, n) {
		return d.wrong(path, s, value)
	}
	return n.Num().Int64()
}

func (d *decoder) number(s *jsonschema.Schema, path string, value any) any {
	digits, ok := numeral(value)
	if !ok {
		return d.wrong(path, s, value)
	}
	f, err := strconv.ParseFloat(digits, 64)
	n := new(big.Rat).SetFloat64(f)
	if err != nil || n == nil || !within(s, n) {
		return d.wrong(path, s, value)
	}
	return f
}

// numeral is the digits of a JSON number or of a string that holds one. It is bounded, because 1e999999999 is nine bytes as text and a gigabyte as an integer.
func numeral(value any) (string, bool) {
	var digits string
	switch v := value.(type) {
	case json.Number:
		digits = v.String()
	case string:
		digits = strings.TrimSpace(v)
	default:
		return "", false
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f > 1e19 || f < -1e19 || len(digits) > 64 || strings.ContainsAny(digits, "xXpP_iInN") {
		return "", false
	}
	return digits, true
}

func within(s *jsonschema.Schema, n *big.Rat) bool {
	bound := func(limit json.Number) *big.Rat {
		r, ok := new(big.Rat).SetString(limit.String())
		if !ok {
			return nil
		}
		return r
	}
	if low := bound(s.Minimum); low != nil && n.Cmp(low) < 0 {
		return false
	}
	if high := bound(s.Maximum); high != nil && n.Cmp(high) > 0 {
		return false
	}
	return true
}

func (d *decoder) boolean(s *jsonschema.Schema, path string, value any) any {
	switch v := value.(type) {
	case bool:
		return v
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true":
			return true
		case "false":
			return false
		}
	}
	return d.wrong(path, s, value)
}

func (d *decoder) array(s *jsonschema.Schema, path string, value any) any {
	items, ok := value.([]any)
	if !ok {
		return d.wrong(path, s, value)
	}
	count := uint64(len(items))
	if (s.MinItems != nil && count < *s.MinItems) || (s.MaxItems != nil && count > *s.MaxItems) {
		return d.refuse("%q must have %s items, got %d", path, strings.TrimPrefix(span(number(s.MinItems), number(s.MaxItems)), "of "), count)
	}
	out := make([]any, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			d.wrong(at, s.Items, item)
			continue
		}
		out[i] = d.value(s.Items, at, item)
	}
	return out
}

// stringMap reads an object without fixed names. Maps of strings check their values; free objects (a JSON Schema, say) pass as they are.
func (d *decoder) stringMap(s *jsonschema.Schema, path string, value any) any {
	fields, ok := value.(map[string]any)
	if !ok {
		return d.wrong(path, s, value)
	}
	if s.AdditionalProperties == nil || s.AdditionalProperties.Type == "" {
		return fields
	}
	out := make(map[string]any, len(fields))
	for _, name := range sortedKeys(fields) {
		out[name] = d.value(s.AdditionalProperties, join(path, name), fields[name])
	}
	return out
}

// fromText undoes what some clients do to arrays and objects: send them as a string of JSON.
func fromText(value any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	if text = strings.TrimSpace(text); !strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "{") {
		return value
	}
	parsed, err := jsonscan.Value([]byte(text))
	if err != nil {
		return value
	}
	return parsed
}

func (d *decoder) wrong(path string, s *jsonschema.Schema, got any) any {
	return d.refuse("%q must be %s, got %s", path, expectation(s), describe(got))
}

// expectation says in a few words what a property takes.
func expectation(s *jsonschema.Schema) string {
	switch {
	case s == nil:
		return "a value"
	case s.Format == FormatUUID:
		return "a UUID"
	case s.Format == FormatChat:
		return "a chat id (UUID) or the URL of a chat page (https://HOST/agents/UUID)"
	case len(s.Enum) > 0:
		names := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			names[i] = fmt.Sprint(v)
		}
		return "one of " + strings.Join(names, ", ")
	case s.Type == "string" && (s.MinLength != nil || s.MaxLength != nil):
		if s.MaxLength == nil && *s.MinLength == 1 {
			return "a non-empty string"
		}
		return "a string of " + span(number(s.MinLength), number(s.MaxLength)) + " characters"
	case s.Type == "integer" || s.Type == "number":
		article := map[string]string{"integer": "an integer", "number": "a number"}[s.Type]
		if limits := span(s.Minimum.String(), s.Maximum.String()); limits != "" {
			return article + " " + limits
		}
		return article
	case s.Type == "array" && s.Items != nil:
		return "an array, each item " + expectation(s.Items)
	case s.Type == "object" && s.Properties != nil && s.Properties.Len() > 0:
		return "an object with " + strings.Join(propertyNames(s), ", ")
	case s.Type == "object" && s.AdditionalProperties != nil && s.AdditionalProperties.Type == "string":
		return "an object of strings"
	case s.Type == "object" || s.Type == "array":
		return "an " + s.Type
	case s.Type == "":
		return "any JSON value"
	}
	return "a " + s.Type
}

func span(low, high string) string {
	switch {
	case low != "" && high != "":
		return low + ".." + high
	case low != "":
		return "of at least " + low
	case high != "":
		return "of at most " + high
	}
	return ""
}

func number(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}

// describe shows what came instead, short enough to quote and never whole: it may be a file.
func describe(value any) string {
	const most = 40
	switch v := value.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return fmt.Sprintf("an array of %d", len(v))
	case string:
		if utf8.RuneCountInString(v) > most {
			return fmt.Sprintf("%q… (%d characters)", string([]rune(v)[:most]), utf8.RuneCountInString(v))
		}
		return strconv.Quote(v)
	}
	text := fmt.Sprint(value)
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// readable takes encoding/json's type names out of an error that only a custom UnmarshalJSON can still cause.
func readable(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return fmt.Sprintf("%q does not take a JSON %s", wrongType.Field, wrongType.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
