package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The recorder wrote down what its scripts looked at. How they came there (most creates, many sends, everything of the
// scripts before) is missing, and has to be read off what the server showed: chats, user messages and queued messages
// that no recorded request made.

// call is a request that a recording implies.
type call struct {
	at      float64
	chat    string // recorded id of the chat it makes or sends to
	token   string
	method  string
	path    string
	headers map[string]string
	body    json.RawMessage
	settle  settling
	create  bool
}

// settling says for what a replayer waits around an implied call.
type settling int

const (
	atOnce settling = iota // the chat may be busy
	idleBefore
	idleAfter
)

// traces is what a recording shows of one chat.
type traces struct {
	id       string
	token    string
	first    float64 // when it is first mentioned
	created  bool    // a recorded request made it
	child    bool
	listed   bool           // only lists show it
	snapshot map[string]any // the chat as first shown
	shownAt  float64
	model    string // as first shown, with modelAt
	modelAt  float64
	messages map[int64]trace
	queued   map[int64]trace
	sent     []string // contents that recorded requests brought
	polls    []float64
	asked    []float64 // recorded requests that start a turn
}

type trace struct {
	at      float64
	content []any
}

type historian struct {
	generation string
	recording  Recording
	all        []Recording
	chats      map[string]*traces
}

const apiPrefix = "/api/experimental"

var chatPath = regexp.MustCompile(`(?i)/chats/([0-9a-f]{8}-[0-9a-f-]{27})(?:/|$|\?)`)

// implied lists the calls that a recording implies, in order.
func implied(generation string, all []Recording, r Recording) []call {
	h := &historian{generation: generation, recording: r, all: all, chats: map[string]*traces{}}
	h.readSteps()
	h.readSockets()
	var calls []call
	for _, id := range slices.Sorted(maps.Keys(h.chats)) {
		calls = append(calls, h.callsOf(h.chats[id])...)
	}
	calls = append(calls, h.uploads()...)
	calls = append(calls, h.neighbours()...)
	slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.at, b.at) })
	return calls
}

func (h *historian) chat(id string, at float64) *traces {
	id = strings.ToLower(id)
	t, ok := h.chats[id]
	if !ok {
		t = &traces{id: id, first: at, messages: map[int64]trace{}, queued: map[int64]trace{}}
		h.chats[id] = t
	}
	t.first = min(t.first, at)
	return t
}

func (h *historian) readSteps() {
	for _, s := range h.recording.Steps {
		if s.Kind == "poll" {
			t := h.chat(s.Chat, pollStart(s))
			t.polls = append(t.polls, pollStart(s))
			continue
		}
		body, _ := decode(s.Response.Body)
		token := s.Request.Headers["Coder-Session-Token"]
		ok := s.Response.Status < http.StatusMultipleChoices
		if match := chatPath.FindStringSubmatch(s.Request.Path); match != nil && s.Response.Status != http.StatusNotFound {
			t := h.chat(match[1], s.TMs)
			if t.token == "" && ok {
				t.token = token
			}
			if ok && s.Request.Method != http.MethodGet {
				h.readRequest(t, s)
			}
		}
		if s.Request.Method == http.MethodPost && strings.HasSuffix(s.Request.Path, "/chats") && s.Response.Status == http.StatusCreated {
			object, _ := body.(map[string]any)
			id, _ := object["id"].(string)
			t := h.chat(id, s.TMs)
			t.created, t.token = true, token
			t.sent = append(t.sent, contentKey(s.Request.Body))
			t.asked = append(t.asked, s.TMs)
		}
		h.readAnswer(body, s.TMs)
	}
}

func (h *historian) readRequest(t *traces, s Step) {
	for _, ending := range []string{"/messages", "/tool-results", "/compact"} {
		if strings.HasSuffix(s.Request.Path, ending) || strings.Contains(s.Request.Path, "/messages/") || strings.HasSuffix(s.Request.Path, "/promote") {
			t.asked = append(t.asked, s.TMs)
			t.sent = append(t.sent, contentKey(s.Request.Body))
			return
		}
	}
}

// readAnswer notes the chats and messages that an answer shows.
func (h *historian) readAnswer(v any, at float64) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			h.readAnswer(item, at)
		}
	case map[string]any:
		if root, ok := v["root_chat_id"].(string); ok {
			h.readChat(v, root, at)
		}
		if chat, ok := v["chat_id"].(string); ok {
			h.readMessage(chat, v, at)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			h.readAnswer(v[key], at)
		}
	}
}

func (h *historian) readChat(v map[string]any, root string, at float64) {
	id, _ := v["id"].(string)
	if h.onlyLists() && root == id {
		h.chat(id, beforeAll(v)).listed = true
	}
	if t, ok := h.chats[id]; ok {
		t.child = t.child || root != id
		if t.snapshot == nil {
			t.show(v, at)
		}
	}
}

// onlyLists is true of scripts that look at the chats of scripts before.
func (h *historian) onlyLists() bool {
	return !slices.ContainsFunc(h.recording.Steps, func(s Step) bool {
		return s.Kind == "poll" || !strings.Contains(s.Request.Path, "/chats?")
	})
}

// beforeAll puts a chat before the recording, in the order in which the chats were last changed.
func beforeAll(chat map[string]any) float64 {
	text, _ := chat["updated_at"].(string)
	changed, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return -1
	}
	return float64(changed.UnixMilli()) - 1e15
}

// state brings a chat of an earlier script into the state in which a list shows it.
func (h *historian) state(t *traces) []call {
	var calls []call
	patch := func(at float64, body map[string]any) {
		data, _ := json.Marshal(body)
		calls = append(calls, call{
			at: at, chat: t.id, token: t.token, method: http.MethodPatch, path: apiPrefix + "/chats/" + t.id, body: data, settle: idleBefore,
		})
	}
	if order, _ := t.snapshot["pin_order"].(json.Number); order != "" && order != "0" {
		n, _ := order.Float64()
		patch(n-1e6, map[string]any{"pin_order": order})
	}
	if t.snapshot["archived"] == true {
		patch(-1, map[string]any{"archived": true})
	}
	return calls
}

func (t *traces) show(chat map[string]any, at float64) {
	t.snapshot, t.shownAt = chat, at
	model, _ := chat["last_model_config_id"].(string)
	t.showModel(model, at)
	if owner, _ := chat["owner_id"].(string); owners[owner] != "" {
		t.token = owners[owner]
	}
}

func (t *traces) showModel(model string, at float64) {
	if t.model == "" || at < t.modelAt {
		t.model, t.modelAt = model, at
	}
}

func (h *historian) readMessage(chat string, v map[string]any, at float64) {
	t, ok := h.chats[chat]
	if !ok {
		return
	}
	content, _ := v["content"].([]any)
	id, _ := v["id"].(json.Number)
	n, err := id.Int64()
	if err != nil || content == nil {
		return
	}
	model, _ := v["model_config_id"].(string)
	t.showModel(model, at)
	into := t.messages
	if role, ok := v["role"]; ok {
		if _, byUser := v["created_by"]; role != "user" || !byUser {
			return
		}
	} else {
		into = t.queued
	}
	if old, ok := into[n]; !ok || at < old.at {
		into[n] = trace{at, content}
	}
}

func (h *historian) readSockets() {
	for _, s := range h.recording.WebSockets {
		if match := chatPath.FindStringSubmatch(s.Request.Path); match != nil && s.Handshake.Status != http.StatusNotFound {
			t := h.chat(match[1], s.TConnectMs)
			if t.token == "" && s.Handshake.Status == http.StatusSwitchingProtocols {
				t.token = s.Request.Headers["Coder-Session-Token"]
			}
		}
	}
	for _, s := range h.recording.WebSockets {
		for i, f := range s.Frames {
			v, err := decode([]byte(f.Data))
			if f.Dir != "recv" || f.Opcode != "text" || err != nil {
				continue
			}
			at := f.TMs
			if i == 0 && strings.HasSuffix(strings.Split(s.Request.Path, "?")[0], "/stream") {
				at = s.TConnectMs // the snapshot shows what was there before
			}
			if event, ok := v.(map[string]any); ok && event["kind"] == "created" {
				chat, _ := event["chat"].(map[string]any)
				if id, _ := chat["id"].(string); h.chats[id] != nil {
					t := h.chats[id]
					t.first = min(t.first, at)
					if chat["root_chat_id"] == id && !t.created {
						t.show(chat, at)
					}
				}
			}
			h.readAnswer(v, at)
		}
	}
}

func pollStart(s Step) float64 {
	if len(s.Statuses) == 0 {
		return s.TMs
	}
	at, _ := s.Statuses[0][0].(float64)
	return at
}

func pollEnd(s Step) (float64, string) {
	if len(s.Statuses) == 0 {
		return s.TMs, ""
	}
	last := s.Statuses[len(s.Statuses)-1]
	at, _ := last[0].(float64)
	status, _ := last[1].(string)
	return at, status
}

// contentKey makes the contents of requests and of messages comparable: the texts, as the server stores them.
func contentKey(body json.RawMessage) string {
	v, _ := decode(body)
	object, _ := v.(map[string]any)
	content, _ := object["content"].([]any)
	return partsKey(content)
}

func partsKey(content []any) string {
	var key strings.Builder
	for _, p := range content {
		part, _ := p.(map[string]any)
		text, _ := part["text"].(string)
		kind, _ := part["type"].(string)
		fmt.Fprintf(&key, "%s:%s\n", strings.ToLower(strings.TrimSpace(kind)), strings.TrimSpace(text))
	}
	return key.String()
}

// justBefore places an implied call in front of what shows it.
const justBefore = 0.25

func (h *historian) callsOf(t *traces) []call {
	if t.child || t.token == "" {
		return nil
	}
	sent := slices.Clone(t.sent)
	take := func(content []any) bool {
		i := slices.Index(sent, partsKey(content))
		if i < 0 {
			return false
		}
		sent = slices.Delete(sent, i, i+1)
		return true
	}
	var calls []call
	for _, id := range slices.Sorted(maps.Keys(t.queued)) {
		q := t.queued[id]
		if take(q.content) {
			sent = append(sent, partsKey(q.content)) // it comes again as a message
			continue
		}
		q.at = h.beforeLater(t.id, id, q.at)
		calls = append(calls, h.send(t, q, atOnce))
		sent = append(sent, partsKey(q.content))
	}
	var unsent []trace
	for _, id := range slices.Sorted(maps.Keys(t.messages)) {
		if m := t.messages[id]; !take(m.content) {
			unsent = append(unsent, m)
		}
	}
	if !t.created {
		earlier, ok := h.earlier(t)
		switch {
		case ok:
			if len(unsent) > 0 {
				unsent = unsent[1:]
			}
			calls = append(calls, earlier)
		case len(unsent) > 0:
			calls = append(calls, h.create(t, unsent[0].content))
			unsent = unsent[1:]
		default:
			calls = append(calls, h.create(t, []any{map[string]any{"type": "text", "text": h.titleText(t)}}))
		}
	}
	orphans := t.orphanPolls()
	for i, m := range unsent {
		if len(orphans) == len(unsent) {
			m.at = orphans[i]
		}
		calls = append(calls, h.send(t, m, idleBefore))
	}
	if t.listed {
		calls[0].settle = idleAfter
		calls = append(calls, h.state(t)...)
	}
	return calls
}

// neighbours are chats of earlier scripts that a script relies on without naming them.
func (h *historian) neighbours() []call {
	const first = -1e7
	_, script, _ := strings.Cut(h.recording.Name, "-")
	hello := call{
		at: first, chat: firstChat, token: "<ADMIN_TOKEN>", method: http.MethodPost, path: apiPrefix + "/chats", settle: idleAfter, create: true,
		body: json.RawMessage(fmt.Sprintf(`{"organization_id":%q,"content":[{"type":"text","text":"hello world"}]}`, worlds[h.generation].organization)),
	}
	switch script {
	case "edit-message": // edits message 3, which is another chat's
		return []call{hello}
	case "patch-while-running": // pins a second chat
		pin := call{
			at: first + 1, chat: hello.chat, token: hello.token, method: http.MethodPatch, path: apiPrefix + "/chats/" + hello.chat,
			body: json.RawMessage(`{"pin_order":1}`),
		}
		return []call{hello, pin}
	}
	return nil
}

// beforeLater moves a queued message before the recorded request that queued a later one.
func (h *historian) beforeLater(chat string, id int64, at float64) float64 {
	for _, s := range h.recording.Steps {
		if s.Kind != "http" || !strings.HasSuffix(s.Request.Path, chat+"/messages") || s.Request.Method != http.MethodPost {
			continue
		}
		var answer struct {
			Queued *struct{ ID int64 } `json:"queued_message"`
		}
		if json.Unmarshal(s.Response.Body, &answer) == nil && answer.Queued != nil && answer.Queued.ID > id {
			at = min(at, s.TMs)
		}
	}
	return at
}

// orphanPolls are the waits for a turn that no recorded request started.
func (t *traces) orphanPolls() []float64 {
	var orphans []float64
	started := !t.created
	last := -1.0
	for _, at := range t.polls {
		for _, asked := range t.asked {
			started = started || asked > last && asked <= at
		}
		if !started {
			orphans = append(orphans, at)
		}
		started, last = false, at
	}
	return orphans
}

func (h *historian) titleText(t *traces) string {
	title, _ := t.snapshot["title"].(string)
	if title = strings.TrimPrefix(title, "Fake title: "); title != "" {
		return title
	}
	return "hello NOTITLE"
}

func (h *historian) send(t *traces, m trace, settle settling) call {
	body, _ := json.Marshal(map[string]any{"content": inputParts(m.content)})
	return call{
		at: m.at - justBefore, chat: t.id, token: t.token, method: http.MethodPost,
		path: apiPrefix + "/chats/" + t.id + "/messages", body: body, settle: settle,
	}
}

func (h *historian) create(t *traces, content []any) call {
	body := map[string]any{"organization_id": worlds[h.generation].organization, "content": inputParts(content)}
	if tools := h.dynamicTools(content); len(tools) > 0 {
		body["unsafe_dynamic_tools"] = tools
	}
	for _, key := range []string{"plan_mode", "labels", "workspace_id"} {
		if v, ok := t.snapshot[key]; ok && h.fromCreate(t, key, t.shownAt) {
			body[key] = v
		}
	}
	if t.model != "" && t.model != worlds[h.generation].models[0].ID.String() && h.fromCreate(t, "model_config_id", t.modelAt) {
		body["model_config_id"] = t.model
	}
	data, _ := json.Marshal(body)
	return call{
		at: t.first - justBefore, chat: t.id, token: t.token, method: http.MethodPost, path: apiPrefix + "/chats",
		body: data, create: true,
	}
}

// fromCreate tells whether a property of a chat can only come from its create: no request set it before it was shown.
func (h *historian) fromCreate(t *traces, key string, shownAt float64) bool {
	for _, s := range h.recording.Steps {
		if s.Kind == "http" && s.TMs < shownAt && s.Response.Status < http.StatusMultipleChoices && s.Request.Method != http.MethodGet && strings.Contains(s.Request.Path, t.id) && strings.Contains(string(s.Request.Body), `"`+key) {
			return false
		}
	}
	return true
}

var toolWord = regexp.MustCompile(`\b(my_tool|other_tool)\b`)

// dynamicTools are the tools that a script must have given to its chat, by the names that its orders call.
func (h *historian) dynamicTools(content []any) []any {
	seen := map[string]bool{}
	texts := partsKey(content)
	for _, s := range h.recording.Steps {
		if s.Kind == "http" {
			texts += string(s.Request.Body)
		}
	}
	for _, name := range toolWord.FindAllString(texts, -1) {
		seen[name] = true
	}
	if strings.Contains(h.recording.Name, "collision") {
		seen["list_templates"] = true
	}
	var tools []any
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		tools = append(tools, map[string]any{"name": name, "description": name, "input_schema": map[string]any{"type": "object"}})
	}
	return tools
}

// earlier finds the create of a chat in an earlier recording.
func (h *historian) earlier(t *traces) (call, bool) {
	for _, r := range h.all {
		for _, s := range r.Steps {
			if s.Kind != "http" || s.Request.Method != http.MethodPost || !strings.HasSuffix(s.Request.Path, "/chats") || s.Response.Status != http.StatusCreated {
				continue
			}
			v, _ := decode(s.Response.Body)
			if answer, _ := v.(map[string]any); answer["id"] == t.id {
				return call{
					at: t.first - justBefore, chat: t.id, token: s.Request.Headers["Coder-Session-Token"], method: s.Request.Method,
					path: s.Request.Path, body: s.Request.Body, settle: idleAfter, create: true,
				}, true
			}
		}
	}
	return call{}, false
}

var filePath = regexp.MustCompile(`/chats/files/([0-9a-f]{8}-[0-9a-f-]{27})`)

// uploads brings the files that earlier recordings uploaded.
func (h *historian) uploads() []call {
	known := map[string]bool{}
	var calls []call
	for _, s := range h.recording.Steps {
		if s.Kind != "http" {
			continue
		}
		if id, ok := uploaded(s); ok {
			known[id] = true
		}
		wanted := uuidPattern.FindAllString(string(s.Request.Body), -1)
		if match := filePath.FindStringSubmatch(s.Request.Path); match != nil {
			wanted = append(wanted, match[1])
		}
		for _, id := range wanted {
			if known[id] {
				continue
			}
			known[id] = true
			upload, ok := h.upload(id)
			if !ok {
				upload, ok = h.shownFile(id)
			}
			if ok {
				upload.at = s.TMs - justBefore
				calls = append(calls, upload)
			}
		}
	}
	return calls
}

func uploaded(s Step) (string, bool) {
	if s.Kind != "http" || s.Request.Method != http.MethodPost || !strings.Contains(s.Request.Path, "/chats/files?") || s.Response.Status != http.StatusCreated {
		return "", false
	}
	v, _ := decode(s.Response.Body)
	answer, _ := v.(map[string]any)
	id, ok := answer["id"].(string)
	return id, ok
}

func (h *historian) upload(id string) (call, bool) {
	for _, r := range h.all {
		for _, s := range r.Steps {
			if got, ok := uploaded(s); ok && got == id {
				return call{
					chat: id, token: s.Request.Headers["Coder-Session-Token"], method: s.Request.Method, path: s.Request.Path,
					headers: s.Request.Headers, body: s.Request.Body, create: true,
				}, true
			}
		}
	}
	return call{}, false
}

// shownFile makes a file that no script uploaded on record, from what a chat's list of files shows of it.
func (h *historian) shownFile(id string) (call, bool) {
	for _, s := range h.recording.Steps {
		if s.Kind != "http" {
			continue
		}
		var chat struct {
			Files []struct {
				ID        string
				Name      string
				SizeBytes int    `json:"size_bytes"`
				Owner     string `json:"owner_id"`
			}
		}
		_ = json.Unmarshal(s.Response.Body, &chat)
		for _, f := range chat.Files {
			if f.ID != id {
				continue
			}
			body, _ := json.Marshal(strings.Repeat("x", f.SizeBytes))
			return call{
				chat: id, token: owners[f.Owner], method: http.MethodPost, create: true, body: body,
				path: apiPrefix + "/chats/files?organization=" + worlds[h.generation].organization,
				headers: map[string]string{
					"Content-Type": "text/plain", "Content-Disposition": fmt.Sprintf("attachment; filename=%q", f.Name),
					"Coder-Session-Token": owners[f.Owner], "X-Coder-Bypass-Ratelimit": "true",
				},
			}, true
		}
	}
	return call{}, false
}

// inputParts turns the parts of a stored message into those of a request.
func inputParts(content []any) []any {
	var parts []any
	for _, p := range content {
		part, _ := p.(map[string]any)
		input := map[string]any{}
		for key, v := range part {
			if v != nil && v != "" && v != json.Number("0") {
				input[key] = v
			}
		}
		parts = append(parts, input)
	}
	return parts
}

// firstChat stands for the id of a chat that a recording relies on without naming it.
const firstChat = "f1f1f1f1-0000-4000-8000-000000000001"
