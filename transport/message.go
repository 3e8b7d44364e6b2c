package transport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/jsonscan"
)

// message is one JSON-RPC message from a client. Ids stay raw: mcp-go passes them through float64. What is raw is a slice of the message.
type message struct {
	Version string
	ID      json.RawMessage
	Method  string
	Params  json.RawMessage
	Result  json.RawMessage
	Error   json.RawMessage

	raw  json.RawMessage
	meta meta
	odd  bool // something in the params is of another type than it should be
	// lookalike is the name of a member that encoding/json, and with it mcp-go, takes for one of the protocol's, though its case is another.
	lookalike string
}

// meta is what the transport itself reads of the params.
type meta struct {
	RequestID json.RawMessage
	Name      string
	URI       string
	Arguments json.RawMessage

	ProgressToken json.RawMessage
	Version       string // of the protocol; "" in the era that has a handshake
	LogLevel      mcp.LoggingLevel
	Client        mcp.Implementation
	Capabilities  mcp.ClientCapabilities
	Capable       bool // there are Capabilities
	TraceParent   string
	TraceState    string
}

// parse reads one message. Its error is a *Error to answer with; the message then holds the id, if it had a usable one.
func parse(data []byte) (*message, *Error) {
	m := &message{raw: data}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) > 0 && first[0] == '[' {
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "batches of messages are not supported: send them one by one"}
	}
	if !json.Valid(data) {
		var nothing any
		return m, &Error{Code: mcp.PARSE_ERROR, Message: "the message is not valid JSON: " + json.Unmarshal(data, &nothing).Error()}
	}
	if !scan(data, m.set) {
		if !validID(m.ID) {
			m.ID = nil
		}
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "the message is not a JSON-RPC request, notification or response"}
	}
	// A member of the wrong type is reported by whoever needs it.
	m.odd = !scan(m.Params, m.setParam)
	if m.ID != nil && !validID(m.ID) {
		m.ID = nil
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "the id of a message must be a string or a number"}
	}
	if m.Version != mcp.JSONRPC_VERSION {
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: `the message must say "jsonrpc":"2.0"`}
	}
	if m.Method == "" && !m.isResponse() {
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "the message has neither a method nor a result or an error"}
	}
	if m.lookalike != "" {
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: fmt.Sprintf("the message has a member %q: the case of names matters", m.lookalike)}
	}
	return m, nil
}

// scan has set take each member of an object, all of them even if it refuses one, and reports that it took them all. Nothing, or null, is an object
// without members.
func scan(object []byte, set func(name string, value []byte) bool) bool {
	if len(object) == 0 || string(object) == "null" {
		return true
	}
	taken := true
	err := jsonscan.EachMember(object, func(quoted, value []byte) error {
		name := string(quoted)
		if strings.Contains(name, `\`) {
			_ = json.Unmarshal([]byte(`"`+name+`"`), &name)
		}
		taken = set(name, value) && taken
		return nil
	})
	return err == nil && taken
}

func (m *message) set(name string, value []byte) bool {
	switch name {
	case "jsonrpc":
		return setText(&m.Version, value)
	case "id":
		m.ID = value
	case "method":
		return setText(&m.Method, value)
	case "params":
		m.Params = value
	case "result":
		m.Result = value
	case "error":
		m.Error = value
	default:
		m.noteLookalike(name, "jsonrpc", "id", "method", "params", "result", "error")
	}
	return true
}

func (m *message) setParam(name string, value []byte) bool {
	switch name {
	case "_meta":
		return scan(value, m.meta.setMeta)
	case "requestId":
		m.meta.RequestID = value
	case "name":
		return setText(&m.meta.Name, value)
	case "uri":
		return setText(&m.meta.URI, value)
	case "arguments":
		m.meta.Arguments = value
	default:
		m.noteLookalike(name, "_meta", "requestId", "name", "uri", "arguments")
	}
	return true
}

// noteLookalike notes a name that is almost one of ours: what is checked here and what mcp-go reads must not differ.
func (m *message) noteLookalike(name string, ours ...string) {
	if slices.ContainsFunc(ours, func(own string) bool { return strings.EqualFold(own, name) }) {
		m.lookalike = name
	}
}

func (p *meta) setMeta(name string, value []byte) bool {
	switch name {
	case "progressToken":
		p.ProgressToken = value
	case "traceparent":
		return setText(&p.TraceParent, value)
	case "tracestate":
		return setText(&p.TraceState, value)
	case mcp.MetaKeyProtocolVersion:
		return setText(&p.Version, value)
	case mcp.MetaKeyLogLevel:
		return setText(&p.LogLevel, value)
	case mcp.MetaKeyClientInfo:
		return json.Unmarshal(value, &p.Client) == nil
	case mcp.MetaKeyClientCapabilities:
		p.Capable = string(value) != "null" && json.Unmarshal(value, &p.Capabilities) == nil
		return p.Capable
	}
	return true
}

func setText[T ~string](field *T, value []byte) bool {
	if plain, ok := jsonscan.Text(value); ok {
		*field = T(plain)
		return true
	}
	return json.Unmarshal(value, field) == nil
}

func (m *message) isResponse() bool {
	return m.Method == "" && m.ID != nil && (m.Result != nil || m.Error != nil)
}

// listens reports a subscriptions/listen of the era that has it.
func (m *message) listens() bool {
	return m.modern() && m.Method == string(mcp.MethodSubscriptionsListen)
}

func (m *message) modern() bool { return mcp.IsModernProtocol(m.meta.Version) }

// forCore returns the message as mcp-go can read it: a number that float64 can't hold would be a parse error there.
func (m *message) forCore() json.RawMessage {
	if len(m.ID) == 0 || m.ID[0] == '"' || len(m.ID) <= 15 && !bytes.ContainsAny(m.ID, "eE") {
		return m.raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":0,"method":%s`, mustEncode(m.Method))
	if len(m.Params) > 0 {
		b.WriteString(`,"params":`)
		b.Write(m.Params)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func validID(id json.RawMessage) bool {
	return len(id) > 0 && (id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9')
}

// idKey makes two spellings of one id equal.
func idKey(id json.RawMessage) string {
	var s string
	if len(id) > 0 && id[0] == '"' && json.Unmarshal(id, &s) == nil {
		return `"` + s
	}
	return string(id)
}

// leadingID finds the id in the beginning of a message that is too long to be read.
func leadingID(prefix []byte) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(prefix))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		if name == "id" {
			if !validID(value) {
				return nil
			}
			return value
		}
	}
}

// encode is json.Marshal without the escapes for HTML, which cost a reader bytes.
func encode(v any) ([]byte, error) {
	return encodeBetween("", nil, "", v, "")
}

// encodeBetween puts JSON that is there already around an encoded value.
func encodeBetween(head string, id json.RawMessage, middle string, v any, tail string) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer e.free()
	e.buffer.WriteString(head)
	e.buffer.Write(id)
	e.buffer.WriteString(middle)
	if err := e.json.Encode(v); err != nil {
		return nil, err
	}
	e.buffer.Truncate(e.buffer.Len() - len("\n"))
	e.buffer.WriteString(tail)
	return bytes.Clone(e.buffer.Bytes()), nil
}

// encoder is reused: every message to a client goes through one.
type encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buffer)
	e.json.SetEscapeHTML(false)
	return e
}}

func (e *encoder) free() {
	if e.buffer.Cap() > 64<<10 {
		return // one long message should not stay in memory for good
	}
	e.buffer.Reset()
	encoders.Put(e)
}

// mustEncode is for values of our own making, which always encode.
func mustEncode(v any) json.RawMessage {
	data, err := encode(v)
	if err != nil {
		panic(err)
	}
	return data
}

func encodeNotification(method string, params any) ([]byte, error) {
	data, err := encode(struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{mcp.JSONRPC_VERSION, method, params})
	if err != nil {
		return nil, fmt.Errorf("encoding the params of %s: %w", method, err)
	}
	return data, nil
}

func encodeRequest(id int64, method string, params any) ([]byte, error) {
	return encode(struct {
		Version string `json:"jsonrpc"`
		ID      int64  `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params,omitempty"`
	}{mcp.JSONRPC_VERSION, id, method, params})
}

func encodeResult(id json.RawMessage, result any) ([]byte, error) {
	return encodeBetween(`{"jsonrpc":"`+mcp.JSONRPC_VERSION+`","id":`, id, `,"result":`, inOnePass(result), `}`)
}

// inOnePass makes of the result of a tool what encodes at once. mcp-go's own goes through a map, is copied after that, and escapes every < and >.
func inOnePass(result any) any {
	r, ok := result.(*mcp.CallToolResult)
	if !ok || r == nil {
		return result
	}
	one := callResult{r.Meta, r.Content, r.InputRequests, r.IsError, r.RequestState, r.ResultType, r.StructuredContent}
	if len(r.RawStructuredContent) > 0 {
		one.Structured = json.RawMessage(r.RawStructuredContent)
	}
	if one.Content == nil {
		one.Content = []mcp.Content{}
	}
	return one
}

type callResult struct {
	Meta          *mcp.Meta         `json:"_meta,omitempty"`
	Content       []mcp.Content     `json:"content"`
	InputRequests mcp.InputRequests `json:"inputRequests,omitempty"`
	IsError       bool              `json:"isError,omitempty"`
	RequestState  string            `json:"requestState,omitempty"`
	Type          mcp.ResultType    `json:"resultType,omitempty"`
	Structured    any               `json:"structuredContent,omitempty"`
}

// encodeError answers id, or nobody in particular (null) if it is nil.
func encodeError(id json.RawMessage, e *Error) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	type body struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}
	reply := func(data any) ([]byte, error) {
		return encode(struct {
			Version string          `json:"jsonrpc"`
			ID      json.RawMessage `json:"id"`
			Error   body            `json:"error"`
		}{mcp.JSONRPC_VERSION, id, body{e.Code, e.Message, data}})
	}
	if data, err := reply(e.Data); err == nil {
		return data
	}
	data, err := reply(nil)
	if err != nil {
		panic(err)
	}
	return data
}
