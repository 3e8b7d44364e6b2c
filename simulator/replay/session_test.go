package replay

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/simulator"
)

// session is one recording being replayed against a simulator of its own.
type session struct {
	t          *testing.T
	generation string
	recording  Recording
	world      world
	host       string
	server     *simulator.Instance
	client     *http.Client
	ids        *identities
	speed      float64
	signed     string // the token of the last signed URL
	soon       string // the status that a chat had a moment after it was looked at
}

func newSession(t *testing.T, generation string, r Recording) *session {
	o := options(generation, r)
	server, err := simulator.Start(o)
	require.NoError(t, err)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	s := &session{
		t: t, generation: generation, recording: r, world: worlds[generation], server: server,
		host:   strings.TrimPrefix(server.URL, "http://"),
		client: &http.Client{Transport: transport, Timeout: 2 * time.Minute},
		ids:    newIdentities(),
		speed:  cmp.Or(o.Speed, 1),
	}
	s.ids.pair(s.world.organization, s.world.organization)
	for _, u := range s.world.users {
		s.ids.pair(u.ID.String(), u.ID.String())
	}
	for _, m := range append(s.world.models, otherModels(s.world, r)...) {
		s.ids.pair(m.ID.String(), m.ID.String())
	}
	return s
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *session) send(method, path string, headers map[string]string, body json.RawMessage) (answer, error) {
	data, err := s.liveBody(body)
	if err != nil {
		return answer{}, err
	}
	request, err := http.NewRequest(method, "http://"+s.host+s.livePath(path), bytes.NewReader(data))
	if err != nil {
		return answer{}, err
	}
	request.Header = s.liveHeader(headers)
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, got}, err
}

func (s *session) liveHeader(headers map[string]string) http.Header {
	live := http.Header{"User-Agent": {"replay"}}
	for name, value := range headers {
		live.Set(name, hostPattern.ReplaceAllLiteralString(s.liveTokens(value), s.host))
	}
	return live
}

// liveTokens puts in the tokens for their placeholders.
func (s *session) liveTokens(text string) string {
	admin := tokenOf("admin")
	text = strings.NewReplacer(
		"<CODER_SESSION_TOKEN-minus-1>", admin[:len(admin)-1],
		"<ADMIN_TOKEN_WITH_WRONG_SECRET>", admin[:len(admin)-1]+"x",
		"<CODER_SESSION_TOKEN>", admin,
		"<SIGNED_JWT>", s.signed,
	).Replace(text)
	for placeholder, username := range s.world.tokens {
		text = strings.ReplaceAll(text, placeholder, tokenOf(username))
	}
	return text
}

var (
	messagePath = regexp.MustCompile(`(/messages/|[?&](?:before|after)_id=)(\d+)`)
	queuePath   = regexp.MustCompile(`(/queue/)(\d+)`)
)

func (s *session) livePath(path string) string {
	path = s.ids.liveText(s.liveTokens(path))
	number := func(pattern *regexp.Regexp, of sequence) {
		path = pattern.ReplaceAllStringFunc(path, func(found string) string {
			match := pattern.FindStringSubmatch(found)
			n, err := strconv.ParseInt(match[2], 10, 64)
			if err != nil {
				return found
			}
			return match[1] + strconv.FormatInt(s.ids.liveInt(of, n), 10)
		})
	}
	if !strings.Contains(path, "/chats?") { // the after_id of the list is a chat
		number(messagePath, messageIDs)
	}
	number(queuePath, queueIDs)
	return path
}

// liveBody makes the bytes of a recorded body: see Request.
func (s *session) liveBody(body json.RawMessage) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	var text string
	if err := json.Unmarshal(body, &text); err == nil && body[0] == '"' {
		return []byte(s.ids.liveText(text)), nil
	}
	v, err := decode(body)
	if err != nil {
		return nil, err
	}
	if object, ok := v.(map[string]any); ok {
		if n, ok := object["_len"].(json.Number); ok {
			length, err := n.Int64()
			return s.filler(int(length)), err
		}
		if n, ok := object["_binary_len"].(json.Number); ok {
			return binaryBody(object, n)
		}
	}
	return marshal(s.liveValue(v))
}

func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

func (s *session) liveValue(v any) any {
	switch v := v.(type) {
	case string:
		return s.ids.liveText(v)
	case []any:
		items := make([]any, len(v))
		for i := range v {
			items[i] = s.liveValue(v[i])
		}
		return items
	case map[string]any:
		object := make(map[string]any, len(v))
		for key := range v {
			object[s.ids.liveText(key)] = s.liveValue(v[key])
		}
		return object
	}
	return v
}

// filler stands in for a body that was too large to record: one long text part, or plain text for an upload of 10 MiB
// and a byte.
func (s *session) filler(length int) []byte {
	const tenMiB = 10 << 20
	if length == tenMiB || length == tenMiB+1 {
		return bytes.Repeat([]byte("a"), length)
	}
	head := fmt.Sprintf(`{"organization_id":%q,"content":[{"type":"text","text":"`, s.world.organization)
	const tail = `"}]}`
	return []byte(head + strings.Repeat("b", length-len(head)-len(tail)) + tail)
}

func binaryBody(object map[string]any, length json.Number) ([]byte, error) {
	n, err := length.Int64()
	if err != nil {
		return nil, err
	}
	prefix, _ := object["_b64_prefix"].(string)
	data, err := base64.StdEncoding.DecodeString(prefix)
	if err != nil {
		return nil, err
	}
	return append(data, make([]byte, int(n)-len(data))...), nil
}

// compare tells whether an answer is the recorded one. Ids that it learns are kept when the answers match.
func (s *session) compare(step Step, got answer) error {
	c := s.comparer()
	c.looking = step.Request.Method == http.MethodGet
	c.soon = s.soon
	if err := c.answer(step.Response, got); err != nil {
		return err
	}
	s.ids = c.ids
	return nil
}

func (s *session) comparer() *comparer {
	return &comparer{generation: s.generation, ids: s.ids.clone(), host: s.host}
}

func (c *comparer) answer(want *Response, got answer) error {
	if want.Status != got.status {
		return fmt.Errorf("want status %d, got %d %s", want.Status, got.status, brief(string(got.body)))
	}
	for _, name := range comparedHeaders {
		recorded, live := want.Headers[name], strings.Join(got.header.Values(name), ", ")
		if recorded == "" && name != "Content-Type" && name != "Retry-After" {
			continue
		}
		if !c.pattern(recorded, live) {
			return fmt.Errorf("want %s %q, got %q", name, recorded, live)
		}
	}
	return c.body(want.Body, got)
}

func (c *comparer) body(want json.RawMessage, got answer) error {
	if want == nil {
		return nil // a text that is not kept
	}
	recorded, err := decode(want)
	if err != nil {
		return err
	}
	switch recorded := recorded.(type) {
	case nil:
		if len(got.body) > 0 {
			return fmt.Errorf("want no body, got %s", brief(string(got.body)))
		}
		return nil
	case string:
		if !c.pattern(recorded, string(got.body)) {
			return fmt.Errorf("want %s, got %s", brief(recorded), brief(string(got.body)))
		}
		return nil
	case map[string]any:
		if _, cut := recorded["_len"]; cut {
			return nil
		}
		if n, binary := recorded["_binary_len"]; binary {
			if n != json.Number(strconv.Itoa(len(got.body))) {
				return fmt.Errorf("want %v bytes, got %d", n, len(got.body))
			}
			return nil
		}
	}
	live, err := decode(got.body)
	if err != nil {
		return fmt.Errorf("not JSON: %s", brief(string(got.body)))
	}
	if list, ok := recorded.([]any); ok {
		recorded, live = c.known(list, live)
	}
	return c.json(recorded, live)
}

// known leaves chats of earlier recordings out of a list: they are not there in a replay. When a list shows some, its
// live counterpart may in turn hold chats that the limit had cut off.
func (c *comparer) known(recorded []any, live any) (any, any) {
	liveItems, ok := live.([]any)
	if !ok || len(recorded) == 0 {
		return recorded, live
	}
	wanted := map[string]bool{}
	kept := []any{}
	for _, item := range recorded {
		chat, _ := item.(map[string]any)
		id, _ := chat["id"].(string)
		if _, isChat := chat["root_chat_id"]; !isChat {
			return recorded, live
		}
		if known, ok := c.ids.text[id]; ok {
			wanted[known] = true
			kept = append(kept, item)
		}
	}
	if len(kept) == len(recorded) {
		return recorded, live
	}
	liveKept := []any{}
	for _, item := range liveItems {
		chat, _ := item.(map[string]any)
		if id, _ := chat["id"].(string); wanted[id] {
			liveKept = append(liveKept, item)
		}
	}
	return kept, liveKept
}

// learn takes what ids it can from an answer that did not match, so that one mismatch does not spoil what follows.
func (s *session) learn(want *Response, got answer) {
	recorded, err := decode(want.Body)
	if err != nil || want.Status != got.status {
		return
	}
	if live, err := decode(got.body); err == nil {
		s.ids.learn(messageIDs, "", recorded, live)
	}
}

func (ids *identities) learn(of sequence, key string, recorded, live any) {
	switch recorded := recorded.(type) {
	case map[string]any:
		object, _ := live.(map[string]any)
		for key, v := range recorded {
			next := place{sequence: of}.child(key).sequence
			ids.learn(next, key, v, object[key])
		}
	case []any:
		items, _ := live.([]any)
		for i := range min(len(recorded), len(items)) {
			ids.learn(of, key, recorded[i], items[i])
		}
	case string:
		other, _ := live.(string)
		isID := uuidPattern.MatchString(recorded) && uuidPattern.MatchString(other) && len(recorded) == len(nilUUID) && recorded != nilUUID
		if isID || key == "tool_call_id" && other != "" {
			ids.pair(recorded, other)
		}
	case json.Number:
		other, _ := live.(json.Number)
		r, errR := recorded.Int64()
		l, errL := other.Int64()
		if key == "id" && errR == nil && errL == nil {
			ids.pairInt(of, r, l)
		}
	}
}
