package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Message is one message of a chat: what was said, and the names of the tools that were called. Parts, At and Usage are filled in full detail only.
type Message struct {
	ID    int64       `json:"id"`
	Role  client.Role `json:"role"`
	Text  string      `json:"text,omitempty"`
	Tools []string    `json:"tools,omitempty"` // each once: "read_file x2"
	Files []File      `json:"files,omitempty"`
	Cut   int         `json:"cut_bytes,omitempty"` // so many bytes of the text are left out
	At    string      `json:"at,omitempty"`
	Parts []Part      `json:"parts,omitempty"`
	Usage *Usage      `json:"usage,omitempty"`
}

// Part is what a message consists of beside text: reasoning, tool calls with their arguments, results, sources.
type Part struct {
	Type   client.PartType `json:"type"`
	Text   string          `json:"text,omitempty"`
	CallID string          `json:"tool_call_id,omitempty"`
	Tool   string          `json:"tool,omitempty"`
	Args   json.RawMessage `json:"args,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  bool            `json:"is_error,omitempty"`
	File   *File           `json:"file,omitempty"`
	Name   string          `json:"name,omitempty"`
	URL    string          `json:"url,omitempty"`
	Lines  string          `json:"lines,omitempty"`
	Extra  map[string]any  `json:"extra,omitempty"`
}

// Usage is what an answer cost, in tokens.
type Usage struct {
	Input   int64 `json:"input_tokens,omitempty"`
	Output  int64 `json:"output_tokens,omitempty"`
	Context int64 `json:"context_limit,omitempty"`
}

// QueuedMessage is a message that waits for the turn before it to end.
type QueuedMessage struct {
	ID   int64  `json:"id"`
	Text string `json:"text,omitempty"`
	Cut  int    `json:"cut_bytes,omitempty"` // so many bytes of the text are left out
}

// Within is the message with at most so many bytes of text.
func (q QueuedMessage) Within(most int) QueuedMessage {
	q.Cut += shorten(&q.Text, most)
	return q
}

// WholeText is a heading of ours, then the quoted words.
func (q QueuedMessage) WholeText() string {
	text := fmt.Sprintf("queued [%d]\n%s", q.ID, Quote(q.Text))
	if q.Cut > 0 {
		text += fmt.Sprintf("\n(%d bytes of this message left out)", q.Cut)
	}
	return text
}

// PendingCall is a call of a dynamic tool that the chat waits for: submit_tool_results answers it.
type PendingCall struct {
	ID   string `json:"tool_call_id"`
	Name string `json:"tool_name"`
	Args string `json:"args,omitempty"`      // JSON as the model wrote it, valid or not
	Cut  int    `json:"cut_bytes,omitempty"` // so many bytes of the arguments are left out
}

// WholeText is a heading of ours with id and name, then the quoted arguments.
func (p PendingCall) WholeText() string {
	text := fmt.Sprintf("- %s %s", Word(p.ID), Inline(p.Name, 80))
	if p.Args != "" {
		text += "\n" + Quote(p.Args)
	}
	if p.Cut > 0 {
		text += fmt.Sprintf("\n(%d bytes of these arguments left out)", p.Cut)
	}
	return text
}

// CutCalls leaves of the arguments of all calls together at most so many bytes, and tells how many those are; ids and names stay whole. Each call has a
// fair share of what those before it left.
func CutCalls(calls []PendingCall, most int) (bytes int) {
	for i := range calls {
		c := &calls[i]
		c.Cut += shorten(&c.Args, (most-bytes)/(len(calls)-i))
		bytes += len(c.Args)
	}
	return bytes
}

// Said is a message in short: nothing for results of tools and for context files, which nobody said.
func Said(m client.Message) (Message, bool) {
	if m.Role == client.RoleTool || m.IsContextOnly() {
		return Message{}, false
	}
	v := Message{ID: m.ID, Role: m.Role, Text: m.Text()}
	var called []string
	for _, p := range m.Content {
		switch p.Type {
		case client.PartToolCall:
			called = append(called, p.ToolName)
		case client.PartFile:
			v.Files = append(v.Files, *file(p))
		case client.PartFileReference:
			v.Text += fmt.Sprintf("[%s:%d-%d]", p.FileName, p.StartLine, p.EndLine)
		}
	}
	v.Tools = tally(called)
	return v, true
}

// Full is a message with all its parts.
func Full(m client.Message) Message {
	v := Message{ID: m.ID, Role: m.Role, At: stamp(m.CreatedAt)}
	for _, p := range m.Content {
		if last := len(v.Parts) - 1; last >= 0 && p.Type == v.Parts[last].Type && (p.Type == client.PartText || p.Type == client.PartReasoning) {
			v.Parts[last].Text += p.Text // an interrupted answer is a part for every chunk
			continue
		}
		v.Parts = append(v.Parts, part(p))
	}
	if u := m.Usage; u != nil {
		v.Usage = &Usage{Input: u.InputTokens, Output: u.OutputTokens, Context: u.ContextLimit}
	}
	return v
}

func part(p client.Part) Part {
	v := Part{Type: p.Type, Text: p.Text, CallID: p.ToolCallID, Tool: p.ToolName, Args: plainJSON(p.Args), Result: plainJSON(p.Result), Error: p.IsError, URL: p.URL}
	switch p.Type {
	case client.PartFile:
		v.File = file(p)
	case client.PartFileReference:
		v.Name, v.Text, v.Lines = p.FileName, p.Content, fmt.Sprintf("%d-%d", p.StartLine, p.EndLine)
	case client.PartContextFile:
		v.Name = p.ContextFilePath
	case client.PartSkill:
		v.Name = p.SkillName
	case client.PartSource:
		v.Name = p.Title
	}
	for name, value := range p.Extra {
		if v.Extra == nil {
			v.Extra = map[string]any{}
		}
		v.Extra[name] = value
	}
	return v
}

// plainJSON is the same value without the escapes of <, > and & that Go's encoder puts in for the sake of web pages: commands and patches are full of
// them, and each costs a reader five bytes.
func plainJSON(value json.RawMessage) json.RawMessage {
	if !bytes.Contains(value, []byte(`\u00`)) {
		return value
	}
	plain := make(json.RawMessage, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' || i+1 == len(value) {
			plain = append(plain, value[i])
			continue
		}
		if i+6 <= len(value) {
			if c := webEscapes[strings.ToLower(string(value[i:i+6]))]; c != 0 {
				plain = append(plain, c)
				i += 5
				continue
			}
		}
		plain = append(plain, value[i], value[i+1]) // an escaped backslash begins no other escape
		i++
	}
	return plain
}

var webEscapes = map[string]byte{`\u0026`: '&', `\u003c`: '<', `\u003e`: '>'}

func file(p client.Part) *File {
	f := &File{MediaType: p.MediaType, Name: p.Name}
	if p.FileID != nil {
		f.ID = *p.FileID
	}
	if f.Name == "" {
		f.Name = p.FileName
	}
	return f
}

// Calls are the pending calls as results carry them.
func Calls(calls []client.PendingCall) []PendingCall {
	var out []PendingCall
	for _, c := range calls {
		out = append(out, PendingCall{ID: c.ToolCallID, Name: c.ToolName, Args: c.Args})
	}
	return out
}

// Queued are the waiting messages, oldest first.
func Queued(queue []client.QueuedMessage) []QueuedMessage {
	var out []QueuedMessage
	for _, q := range queue {
		m := client.Message{Content: q.Content}
		out = append(out, QueuedMessage{ID: q.ID, Text: m.Text()})
	}
	return out
}

// WholeText is what the message says to a reader of plain text: a heading of ours, then the quoted words.
func (m Message) WholeText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%d] %s", m.ID, wordOf(string(m.Role)))
	if m.At != "" {
		b.WriteString(" " + minute(m.At))
	}
	if len(m.Tools) > 0 {
		b.WriteString(", calls " + strings.Join(m.Tools, ", "))
	}
	for _, f := range m.Files {
		b.WriteString(", file " + f.ID.String())
	}
	if m.Usage != nil {
		fmt.Fprintf(&b, " (%d tokens in, %d out)", m.Usage.Input, m.Usage.Output)
	}
	if m.Text != "" {
		b.WriteString("\n" + Quote(m.Text))
	}
	if m.Cut > 0 {
		fmt.Fprintf(&b, "\n(%d bytes of this message left out)", m.Cut)
	}
	for _, p := range m.Parts {
		b.WriteString("\n" + p.WholeText())
	}
	return b.String()
}

// WholeText is the part with a heading of its own, unless it is plain text.
func (p Part) WholeText() string {
	if p.Type == client.PartText {
		return Quote(p.Text)
	}
	words := []string{"-", wordOf(string(p.Type))}
	for _, word := range []string{wordOf(p.Tool), wordOf(p.CallID), wordOf(p.Name), p.Lines, wordOf(p.URL)} {
		if word != "" {
			words = append(words, word)
		}
	}
	if p.File != nil {
		words = append(words, p.File.ID.String(), wordOf(p.File.Name), wordOf(p.File.MediaType))
	}
	if p.Error {
		words = append(words, "(failed)")
	}
	heading := strings.Join(words, " ")
	for _, body := range []string{p.Text, string(p.Args), string(p.Result)} {
		if body != "" {
			heading += "\n" + Quote(body)
		}
	}
	return heading
}

// tally names each tool once, with how often where it was called more than once.
func tally(names []string) []string {
	count := map[string]int{}
	var order []string
	for _, n := range names {
		if count[n]++; count[n] == 1 {
			order = append(order, n)
		}
	}
	for i, n := range order {
		order[i] = Word(n)
		if count[n] > 1 {
			order[i] += fmt.Sprintf(" x%d", count[n])
		}
	}
	return order
}

// ChatLink is the address of a chat's resource, or of what lies below it ("messages", "diff", "git", "prompts").
func ChatLink(chat uuid.UUID, below string) string {
	if below == "" {
		return "coder://chats/" + chat.String()
	}
	return "coder://chats/" + chat.String() + "/" + below
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Within is the message with at most so many bytes of text; Cut says how many are missing. Parts of full detail are shortened from the longest on, and
// the last ones left out when there are too many of them.
func (m Message) Within(most int) Message {
	if text, whole := Fit(m.Text, most); !whole {
		m.Cut += len(m.Text) - len(text)
		m.Text = text
	}
	total := 0
	for _, p := range m.Parts {
		total += p.size()
	}
	if total <= most || len(m.Parts) == 0 {
		return m
	}
	each := max(most/len(m.Parts), 200)
	parts := slices.Clone(m.Parts)
	for i := range parts {
		p := &parts[i]
		m.Cut += shorten(&p.Text, each) + shortenJSON(&p.Args, each) + shortenJSON(&p.Result, each)
	}
	m.Parts = parts
	total = 0
	for i, p := range parts {
		if total += p.size(); i > 0 && total > most {
			m.Parts = parts[:i]
			for _, left := range parts[i:] {
				m.Cut += left.size()
			}
			break
		}
	}
	return m
}

// size is about how many bytes the part takes in either form.
func (p Part) size() int {
	const frame = 80 // names, ids and punctuation around the words
	return frame + len(p.Text) + len(p.Args) + len(p.Result)
}

func shorten(text *string, most int) int {
	cut, whole := Fit(*text, most)
	if whole {
		return 0
	}
	missing := len(*text) - len(cut)
	*text = cut
	return missing
}

// shortenJSON makes of too long a value a string with its beginning: half a JSON value is none.
func shortenJSON(value *json.RawMessage, most int) int {
	cut, whole := Cut(string(*value), most)
	if whole {
		return 0
	}
	missing := len(*value) - len(cut)
	*value, _ = json.Marshal(cut + "…")
	return missing
}
