package simulator

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const defaultPage = 50

// listChats serves GET /chats: the caller's own root chats, pinned ones first,
// then the last updated.
func (s *Server) listChats(c *call) *apiError {
	q := c.r.URL.Query()
	limit, wrong := positive32(q, "limit", defaultPage)
	offset, wrongOffset := positive32(q, "offset", 0)
	after, wrongAfter := chatCursor(q)
	if all := slices.Concat(wrongAfter, wrong, wrongOffset); len(all) > 0 {
		return invalidQuery(all...)
	}
	labels, err := labelFilter(q["label"])
	if err != nil {
		return err
	}
	search, bad := s.parseSearch(q.Get("q"))
	if bad != nil {
		return &apiError{status: http.StatusBadRequest, Message: "Invalid chat search query.", Validations: []validation{*bad}}
	}
	if limit == 0 {
		limit = defaultPage
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.matching(c.user, labels, search)
	if after != uuid.Nil {
		i := slices.IndexFunc(found, func(k *chat) bool { return k.id == after })
		if i < 0 {
			i = len(found) - 1 // an unknown cursor has nothing after it
		}
		found = found[i+1:]
	}
	found = found[min(offset, len(found)):]
	page := []*chatJSON{}
	for _, k := range found[:min(limit, len(found))] {
		page = append(page, s.listView(k))
	}
	c.reply(http.StatusOK, page)
	return nil
}

func (s *Server) matching(u *User, labels map[string]string, search *search) []*chat {
	var found []*chat
	for _, k := range s.chats {
		if k.parent == nil && search.mine(k, u) && k.labelled(labels) && search.matches(k) {
			found = append(found, k)
		}
	}
	slices.SortFunc(found, func(a, b *chat) int {
		if a.pin > 0 && b.pin > 0 {
			return cmp.Compare(a.pin, b.pin)
		}
		return cmp.Or(cmp.Compare(b.pin, a.pin), b.updated.Compare(a.updated), cmp.Compare(b.id.String(), a.id.String()))
	})
	return found
}

func chatCursor(q url.Values) (uuid.UUID, []validation) {
	text := q.Get("after_id")
	if text == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, []validation{{"after_id", `Query param "after_id" must be a valid uuid`}}
	}
	return id, nil
}

// labelFilter reads label=k:v; the last value of a key wins, a value may hold colons.
func labelFilter(filters []string) (map[string]string, *apiError) {
	labels := map[string]string{}
	for _, f := range filters {
		k, v, _ := strings.Cut(f, ":")
		if k == "" || v == "" {
			return nil, badRequest(fmt.Sprintf("Invalid label filter: %q (expected format key:value, both must be non-empty)", f), "")
		}
		labels[k] = v
	}
	return labels, nil
}

func (c *chat) labelled(want map[string]string) bool {
	for k, v := range want {
		if c.labels[k] != v {
			return false
		}
	}
	return true
}

// search is a parsed q.
type search struct {
	archived      bool
	unread        *bool
	title, text   string
	diffURL       string
	byMe, shared  bool
	noPullRequest bool // a condition on pull requests: nothing here has one
}

func (q *search) mine(c *chat, u *User) bool {
	return q.byMe && c.owner.ID == u.ID || q.shared && c.owner.ID != u.ID && c.acl[u.ID] != ""
}

func (q *search) matches(c *chat) bool {
	contains := func(in, what string) bool { return strings.Contains(strings.ToLower(in), strings.ToLower(what)) }
	switch {
	case q.noPullRequest, c.archived != q.archived, q.unread != nil && c.unread() != *q.unread,
		!contains(c.title, q.title), q.diffURL != "" && !strings.EqualFold(c.diffStatus().URL, q.diffURL):
		return false
	}
	return q.text == "" || contains(c.title, q.text) || slices.ContainsFunc(c.messages, func(m *message) bool {
		return m.Role == "user" && contains(m.prompt(), q.text)
	})
}

var oldTerms = []string{"archived", "diff_url"}

var newTerms = append([]string{"title", "has_unread", "source", "search", "pr", "pr_status", "pr_title", "repo"}, oldTerms...)

// parseSearch reads q: terms of the form name:value, values with spaces or
// colons in quotes.
func (s *Server) parseSearch(text string) (*search, *validation) {
	q := &search{byMe: true}
	values, free, bad := splitTerms(text)
	if bad != nil {
		return nil, bad
	}
	if free != "" {
		return nil, &validation{"q", fmt.Sprintf("unsupported search term: %q", free)}
	}
	known := oldTerms
	if s.gen.moreSearchTerms {
		known = newTerms
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, &validation{name, fmt.Sprintf("%q is not a valid query param", name)}
		}
		if n := len(values[name]); n > 1 {
			return nil, &validation{name, fmt.Sprintf("Query param %q provided more than once, found %d times. Only provide 1 instance of this query param.", name, n)}
		}
		if detail := q.set(name, values[name][0]); detail != "" {
			return nil, &validation{name, detail}
		}
	}
	for _, other := range []string{"title", "pr", "pr_title"} {
		if values["search"] != nil && values[other] != nil {
			return nil, &validation{"search", fmt.Sprintf(`"search" cannot be combined with %q`, other)}
		}
	}
	return q, nil
}

func (q *search) set(name, value string) (detail string) {
	switch name {
	case "archived":
		q.archived, detail = boolean(name, value)
	case "has_unread":
		var b bool
		b, detail = boolean(name, value)
		q.unread = &b
	case "title":
		q.title = value
	case "search":
		q.text = value
	case "diff_url":
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			scheme := ""
			if err == nil {
				scheme = u.Scheme
			}
			return fmt.Sprintf("diff_url must use http or https scheme, got %q", scheme)
		}
		q.diffURL = value
	case "source":
		q.byMe, q.shared = false, false
		for _, v := range strings.Split(value, ",") {
			switch v {
			case "created_by_me":
				q.byMe = true
			case "shared_with_me":
				q.shared = true
			default:
				return fmt.Sprintf("Query param %q has invalid values: %q is not a valid value", name, v)
			}
		}
	case "pr":
		if n, err := strconv.Atoi(value); err != nil || n < 1 {
			return fmt.Sprintf("%q is not a valid positive integer", value)
		}
		q.noPullRequest = true
	case "pr_status":
		for _, v := range strings.Split(value, ",") {
			if !slices.Contains([]string{"draft", "open", "merged", "closed"}, v) {
				return fmt.Sprintf("Query param %q has invalid values: %q is not a valid value", name, v)
			}
		}
		q.noPullRequest = true
	case "pr_title", "repo":
		q.noPullRequest = true
	}
	return detail
}

func boolean(name, value string) (bool, string) {
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Sprintf("Query param %q must be a valid boolean: %s", name, err)
	}
	return b, ""
}

func splitTerms(text string) (values map[string][]string, free string, bad *validation) {
	values = map[string][]string{}
	var loose []string
	for _, e := range splitQuoted(text) {
		name, value, term := strings.Cut(e, ":")
		switch {
		case !term:
			loose = append(loose, e)
			continue
		case name == "" || value == "":
			return nil, "", &validation{"q", fmt.Sprintf("Query element %q cannot start or end with ':'", e)}
		case !strings.HasPrefix(value, `"`) && strings.Contains(value, ":"):
			return nil, "", &validation{"q", fmt.Sprintf("Query element %q can only contain 1 ':'", e)}
		}
		name = strings.ToLower(name)
		values[name] = append(values[name], strings.Trim(value, `"`))
	}
	return values, strings.Join(loose, " "), nil
}

// splitQuoted splits at spaces outside of quotes.
func splitQuoted(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

// chatsByWorkspace serves GET /chats/by-workspace: the last chat of each workspace.
func (s *Server) chatsByWorkspace(c *call) *apiError {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	for _, text := range strings.FieldsFunc(strings.Join(c.r.URL.Query()["workspace_ids"], ","), func(r rune) bool { return r == ',' }) {
		id, err := uuid.Parse(text)
		if err != nil {
			return badRequest(fmt.Sprintf("Invalid workspace ID %q: %s", text, err), "")
		}
		for _, k := range s.matching(c.user, nil, &search{byMe: true}) {
			if k.workspace != nil && k.workspace.id == id {
				found[id.String()] = k.id.String()
				break
			}
		}
	}
	c.reply(http.StatusOK, found)
	return nil
}
