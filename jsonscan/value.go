package jsonscan

import "encoding/json"

// Value decodes JSON as encoding/json decodes it into an any, but for numbers: each is a json.Number, as long as it was. Its errors are those of
// encoding/json.
func Value(data []byte) (any, error) {
	if !json.Valid(data) {
		var nothing any
		return nil, json.Unmarshal(data, &nothing)
	}
	v := valid{data: data}
	return v.value(), nil
}

// valid is JSON that is known to be so, and how far it is decoded.
type valid struct {
	data []byte
	at   int
}

// next is the next byte that is no space.
func (v *valid) next() byte {
	v.at = SkipSpace(v.data, v.at)
	return v.data[v.at]
}

func (v *valid) value() any {
	switch v.next() {
	case '{':
		return v.object()
	case '[':
		return v.array()
	case '"':
		return v.text()
	}
	begin := v.at
	v.at = ValueEnd(v.data, v.at)
	switch word := string(v.data[begin:v.at]); word {
	case "null":
		return nil
	case "true", "false":
		return word == "true"
	default:
		return json.Number(word)
	}
}

func (v *valid) object() map[string]any {
	members := map[string]any{}
	for v.at++; v.next() != '}'; {
		if v.data[v.at] == ',' {
			v.at++
			v.next()
		}
		name := v.text()
		v.next()
		v.at++ // the colon
		members[name] = v.value()
	}
	v.at++
	return members
}

func (v *valid) array() []any {
	elements := []any{}
	for v.at++; v.next() != ']'; {
		if v.data[v.at] == ',' {
			v.at++
		}
		elements = append(elements, v.value())
	}
	v.at++
	return elements
}

func (v *valid) text() string {
	begin := v.at
	v.at = stringEnd(v.data, v.at)
	if plain, ok := Text(v.data[begin:v.at]); ok {
		return string(plain)
	}
	var text string
	_ = json.Unmarshal(v.data[begin:v.at], &text)
	return text
}
