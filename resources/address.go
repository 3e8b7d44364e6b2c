package resources

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/view"
)

// NotFoundError says that an address names nothing: it is none of ours, or what it names is missing or somebody else's.
type NotFoundError struct {
	URI     string
	Message string
	cause   error
}

func (e *NotFoundError) Error() string { return e.Message }

// Unwrap gives the API's error when the address is good.
func (e *NotFoundError) Unwrap() error { return e.cause }

func notFound(uri, format string, args ...any) *NotFoundError {
	return &NotFoundError{URI: uri, Message: fmt.Sprintf(format, args...)}
}

// parse finds out what uri names.
func parse(uri string) (kind, target, error) {
	path, query, _ := strings.Cut(uri, "?")
	elements := strings.Split(path, "/")
	for _, k := range kinds {
		values, ok := match(strings.Split(k.address, "/"), elements)
		if !ok {
			continue
		}
		t, err := k.target(uri, values, query)
		return k, t, err
	}
	var known []string
	for _, k := range kinds {
		known = append(known, k.address)
	}
	return kind{}, target{}, notFound(uri, "there is no resource %s; there are %s", view.Inline(uri, 200), strings.Join(known, ", "))
}

// match compares element by element; those in braces are variables.
func match(pattern, elements []string) (values map[string]string, ok bool) {
	if len(pattern) != len(elements) {
		return nil, false
	}
	values = map[string]string{}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, "{"):
			values[strings.Trim(p, "{}")] = elements[i]
		case p != elements[i]:
			return nil, false
		}
	}
	return values, true
}

func (k kind) target(uri string, values map[string]string, query string) (target, error) {
	t := target{uri: uri}
	for name, id := range map[string]*uuid.UUID{"chat": &t.chat, "file": &t.file} {
		value, named := values[name]
		if !named {
			continue
		}
		// The canonical form alone: one thing has one address.
		parsed, err := uuid.Parse(value)
		if err != nil || len(value) != len(parsed.String()) {
			return t, notFound(uri, "%s is not the id of a %s, which is a UUID; %s", view.Inline(value, 100), name, whereIDs)
		}
		*id = parsed
	}
	if query == "" {
		return t, nil
	}
	name, value, _ := strings.Cut(query, "=")
	path, err := url.PathUnescape(value) // RFC 6570 writes a space as %20, and + is itself
	if k.query == "" || name != k.query || err != nil || strings.Contains(value, "&") {
		return t, notFound(uri, "%s takes no %s; only coder://chats/{chat}/diff?file=PATH has something behind the question mark, the path percent-encoded", k.address, view.Inline("?"+query, 100))
	}
	if path == "" {
		return t, notFound(uri, "%s names no file: %s=PATH has the path, percent-encoded, and the address without a question mark is that of the whole", view.Inline(uri, 200), k.query)
	}
	t.path = path
	return t, nil
}

const whereIDs = "coder://chats has the ids of the chats, and coder://chats/{chat} those of a chat's files"
