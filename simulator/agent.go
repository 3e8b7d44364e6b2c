package simulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reply is what the scripted model answers once.
type reply struct {
	deltas iter.Seq2[time.Duration, part] // a pause, then a part
	calls  []part                         // tool calls, in the order of their results
	usage  *usage                         // instead of the counted one
	fail   *failure                       // after the deltas
	spoken int                            // parts, as output tokens
}

// failure is a provider's error.
type failure struct {
	chatError
	retryable bool
	after     time.Duration // wait before the retry; 0: the usual back-off
}

// content is the message that the parts of a successful attempt make.
func (r *reply) content(parts []part) []part {
	said := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.Type == "tool-call" })
	content := merge(said)
	at := now()
	for i := range content {
		if content[i].Type == "reasoning" {
			content[i].CreatedAt, content[i].CompletedAt = &at, &at
		}
	}
	r.spoken = len(said) + len(r.calls)
	return append(content, r.calls...)
}

func (r *reply) cost(limit int) *usage {
	u := usage{InputTokens: 10, OutputTokens: r.spoken}
	if r.usage != nil {
		u = *r.usage
	}
	u.TotalTokens, u.ContextLimit = u.InputTokens+u.OutputTokens, limit
	return &u
}

// think asks the script: the first line of the prompt is an order, a tool's
// result is repeated, anything else is a story or an echo. The lock is held.
func (s *Server) think(c *chat, t *turn) *reply {
	s.modelCalls++
	c.requests++
	prompt, results := c.lastExchange()
	o := parseOrder(prompt, s.options.RawToolArgs)
	if o.verb == "" && s.options.Story {
		return s.tell(c, prompt, results)
	}
	if len(results) > 0 {
		return s.say("tool result was: " + s.readResult(results[len(results)-1].Content[0]))
	}
	if c.resume != "" {
		text := c.resume
		c.resume = ""
		return s.say("echo: " + text)
	}
	return s.obey(c, t, o, prompt)
}

// lastExchange is the last prompt and the tool rows since.
func (c *chat) lastExchange() (prompt string, results []*message) {
	for _, m := range slices.Backward(c.messages) {
		if m.Role == "tool" && m.Content[0].ToolName != summarized {
			results = append(results, m)
		}
		if m.Role == "user" && !m.contextRow() {
			prompt = flatten(m.Content, imageNote)
			break
		}
	}
	slices.Reverse(results)
	return prompt, results
}

// imageNote is how the recorded model told of a file: an image by the length
// of its data URL, all else it could not read (08/062).
func imageNote(p part) string {
	if strings.HasPrefix(p.MediaType, "image/") {
		encoded := len("data:"+p.MediaType+";base64,") + base64.StdEncoding.EncodedLen(p.size)
		return fmt.Sprintf("[image %s %db64]", p.MediaType, encoded)
	}
	return "[file undefined]"
}

// readResult is what the model makes of a tool's result: its error, if it has
// one, else the JSON as the server gave it.
func (s *Server) readResult(p part) string {
	var failed struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(p.Result, &failed) == nil && failed.Error != "" {
		return failed.Error
	}
	if s.gen.jsonbText || p.CreatedAt == nil { // or came from the database, as a client's does
		return jsonbText(p.Result)
	}
	return string(p.Result)
}

// order is the first line of a prompt, read as a command.
type order struct {
	verb string
	args []string // of the line, NOTITLE left out
	rest string   // the line after the verb
}

var verbs = []string{
	"SLOW", "LONG", "BURST", "TOOL", "TOOLS", "TEXTTOOL", "REASON", "ERR", "RETRYAFTER", "MIDERR", "HANG", "EMPTY", "USAGE", "ASK",
}

func parseOrder(prompt string, raw bool) order {
	line, _, _ := strings.Cut(prompt, "\n")
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !slices.Contains(verbs, verb) {
		return order{}
	}
	if !raw || !strings.Contains(verb, "TOOL") {
		rest = strings.TrimSpace(strings.ReplaceAll(rest, "NOTITLE", ""))
	}
	return order{verb: verb, args: strings.Fields(rest), rest: rest}
}

func (o order) number(i, otherwise int) int {
	if i < len(o.args) {
		if n, err := strconv.Atoi(o.args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

func (s *Server) obey(c *chat, t *turn, o order, prompt string) *reply {
	switch o.verb {
	case "SLOW":
		return s.numbered("chunk-%04d ", o.number(0, 10), s.scaled(time.Duration(o.number(1, 100))*time.Millisecond))
	case "LONG", "BURST":
		return s.numbered("tok%05d ", o.number(0, 1000), 0)
	case "TOOL", "TEXTTOOL", "TOOLS":
		return s.callTools(o)
	case "REASON":
		return s.reason("Let me think about it.", "answer: "+o.rest)
	case "ERR":
		return s.refuse(o.number(0, 500), t.failures, o.number(1, math.MaxInt), 0, fmt.Sprintf("recovered after %d", t.failures))
	case "RETRYAFTER":
		return s.refuse(429, t.failures, o.number(1, 1), time.Duration(o.number(0, 1))*time.Second, "recovered")
	case "MIDERR":
		return s.breakOff(o.number(0, 3), t.failures, o.number(1, 1))
	case "HANG":
		r := s.say("done after hanging")
		r.deltas = delayed(s.scaled(time.Duration(o.number(0, 60))*time.Second), r.deltas)
		return r
	case "EMPTY":
		return &reply{}
	case "USAGE":
		r := s.say("usage set")
		r.usage = &usage{InputTokens: o.number(0, 10), OutputTokens: o.number(1, 10)}
		return r
	case "ASK":
		return s.ask(o.rest)
	}
	return s.say("echo: " + prompt)
}

// say answers with a text, word by word.
func (s *Server) say(text string) *reply { return &reply{deltas: s.words("text", text)} }

func (s *Server) reason(thought, text string) *reply {
	return &reply{deltas: chain(s.words("reasoning", thought), s.words("text", text))}
}

func (s *Server) words(kind, text string) iter.Seq2[time.Duration, part] {
	return func(yield func(time.Duration, part) bool) {
		for _, w := range strings.SplitAfter(text, " ") {
			if w != "" && !yield(s.options.TokenDelay, part{Type: kind, Text: w}) {
				return
			}
		}
	}
}

func (s *Server) numbered(format string, n int, wait time.Duration) *reply {
	return &reply{deltas: func(yield func(time.Duration, part) bool) {
		for i := range n {
			if !yield(wait, textPart(fmt.Sprintf(format, i+1))) {
				return
			}
		}
	}}
}

func chain(all ...iter.Seq2[time.Duration, part]) iter.Seq2[time.Duration, part] {
	return func(yield func(time.Duration, part) bool) {
		for _, one := range all {
			for wait, p := range one {
				if !yield(wait, p) {
					return
				}
			}
		}
	}
}

// delayed waits once before everything.
func delayed(wait time.Duration, deltas iter.Seq2[time.Duration, part]) iter.Seq2[time.Duration, part] {
	return func(yield func(time.Duration, part) bool) {
		for d, p := range deltas {
			if !yield(wait+d, p) {
				return
			}
			wait = 0
		}
	}
}

// refuse answers with a provider's error as often as asked for.
func (s *Server) refuse(code, failed, times int, after time.Duration, recovered string) *reply {
	if failed >= times {
		return s.say(recovered)
	}
	return &reply{fail: s.providerError(code, after)}
}

func (s *Server) providerError(code int, after time.Duration) *failure {
	f := &failure{retryable: code == 429 || code >= 500, after: after}
	f.Provider, f.StatusCode, f.Kind = "openai-compat", code, "generic"
	f.Message = "OpenAI Compatible returned an unexpected error."
	switch code {
	case 401, 403:
		f.Kind, f.Message = "auth", s.gen.authFailed
	case 429:
		f.Kind, f.Message = "rate_limit", "OpenAI Compatible is rate limiting requests."
		if after == 0 {
			f.after = s.gen.rateLimitBackoff
		}
	case 529:
		f.Kind, f.Message = "overloaded", "OpenAI Compatible is temporarily overloaded."
	}
	if !f.retryable {
		f.Detail = fmt.Sprintf("fake provider error %d (call 1)", code)
	}
	if code == 401 && s.gen.keyCooldown {
		f.StatusCode, f.Detail = 502, "all configured keys failed authentication. Contact your Administrator"
	}
	return f
}

// breakOff drops the connection after n parts.
func (s *Server) breakOff(n, failed, times int) *reply {
	if failed >= times {
		return s.say("recovered after mid-stream error")
	}
	r := s.numbered("mid%d ", n, s.scaled(20*time.Millisecond))
	r.fail = &failure{retryable: true, chatError: chatError{
		Message: "OpenAI Compatible is temporarily unavailable.", Kind: "timeout", Provider: "openai-compat",
	}}
	return r
}

// callTools calls one tool, one after a text, or several with the same arguments.
func (s *Server) callTools(o order) *reply {
	r := &reply{}
	names := o.rest
	args := "{}"
	if i := strings.IndexByte(o.rest, '{'); i >= 0 {
		names, args = o.rest[:i], strings.TrimSpace(o.rest[i:])
	}
	list := strings.Fields(names)
	if o.verb != "TOOLS" && len(list) > 1 {
		list = list[:1]
	}
	var text iter.Seq2[time.Duration, part] = func(func(time.Duration, part) bool) {}
	if o.verb == "TEXTTOOL" {
		text = func(yield func(time.Duration, part) bool) {
			_ = yield(s.options.TokenDelay, textPart("I will call ")) && yield(s.options.TokenDelay, textPart("a tool."))
		}
	}
	for _, name := range list {
		s.addCall(r, name, args)
	}
	r.deltas = chain(text, s.callDeltas(r.calls))
	return r
}

// addCall adds a tool call with its id; args that are no JSON leave no args in
// the stored part (05/024).
func (s *Server) addCall(r *reply, name, args string) {
	at := now()
	p := part{
		Type: "tool-call", ToolCallID: fmt.Sprintf("call_%d_%d", s.modelCalls, len(r.calls)+1), ToolName: name,
		CreatedAt: &at, rawArgs: args,
	}
	if json.Valid([]byte(args)) {
		p.Args = json.RawMessage(args)
	}
	if s.gen.parsedCalls && name == "execute" {
		p.ParsedCommands = parseCommands(p.Args)
	}
	r.calls = append(r.calls, p)
}

func parseCommands(args json.RawMessage) [][]string {
	var a struct {
		Command string `json:"command"`
	}
	if json.Unmarshal(args, &a) != nil {
		return nil
	}
	var commands [][]string
	for _, one := range strings.FieldsFunc(a.Command, func(r rune) bool { return r == ';' || r == '\n' }) {
		for _, c := range strings.Split(one, "&&") {
			if words := strings.Fields(c); len(words) > 0 {
				commands = append(commands, words)
			}
		}
	}
	return commands
}

// callDeltas sends each call's arguments in three pieces, then each call whole.
func (s *Server) callDeltas(calls []part) iter.Seq2[time.Duration, part] {
	return func(yield func(time.Duration, part) bool) {
		for _, p := range calls {
			size := max(1, (utf8.RuneCountInString(p.rawArgs)+2)/3)
			runes := []rune(p.rawArgs)
			for len(runes) > 0 {
				n := min(size, len(runes))
				d := part{Type: p.Type, ToolCallID: p.ToolCallID, ToolName: p.ToolName, ArgsDelta: string(runes[:n])}
				runes = runes[n:]
				if !yield(s.options.TokenDelay, d) {
					return
				}
			}
		}
		for _, p := range calls {
			if !yield(0, p) {
				return
			}
		}
	}
}

// ask ends a turn with a question to the user, as plan mode does.
func (s *Server) ask(question string) *reply {
	if question == "" {
		question = "Which way shall I go?"
	}
	r := &reply{}
	args := encode(map[string]any{"questions": []any{map[string]any{
		"header": "Decision", "question": question,
		"options": []any{
			map[string]string{"label": "Yes", "description": "Go ahead as described"},
			map[string]string{"label": "No", "description": "Leave it as it is"},
		},
	}}})
	s.addCall(r, "ask_user_question", string(args))
	r.deltas = s.callDeltas(r.calls)
	return r
}
