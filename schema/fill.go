package schema

import (
	"reflect"
	"strings"

	"github.com/google/uuid"
)

func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = f.Index
		}
	}
	return fields
}

// fill puts checked arguments into their fields, as encoding/json would, which takes several times as long for a small call. It reports whether it
// could: encoding/json is left what is neither a UUID, a string, a number or a boolean nor a list of those.
func (a *Arguments[A]) fill(args reflect.Value, checked any) bool {
	values, ok := checked.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range values {
		if index, ok := a.fields[name]; !ok || !assign(args.FieldByIndex(index), value) {
			return false
		}
	}
	return true
}

func assign(field reflect.Value, value any) bool {
	if field.Kind() == reflect.Pointer {
		to := reflect.New(field.Type().Elem())
		field.Set(to)
		return assign(to.Elem(), value)
	}
	switch to := field.Addr().Interface().(type) {
	case *uuid.UUID:
		text, ok := value.(string)
		id, err := uuid.Parse(text)
		*to = id
		return ok && err == nil
	case *string:
		return set(to, value)
	case *bool:
		return set(to, value)
	case *int64:
		return set(to, value)
	case *float64:
		return set(to, value)
	case *int:
		n, ok := value.(int64)
		*to = int(n)
		return ok && int64(*to) == n
	}
	elements, ok := value.([]any)
	if !ok || field.Kind() != reflect.Slice || field.Type().Elem().Kind() == reflect.Uint8 { // raw JSON stays as it is
		return false
	}
	field.Set(reflect.MakeSlice(field.Type(), len(elements), len(elements)))
	for i, element := range elements {
		if !assign(field.Index(i), element) {
			return false
		}
	}
	return true
}

func set[T any](to *T, value any) bool {
	v, ok := value.(T)
	*to = v
	return ok
}
