package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// message is one JSON-RPC message from a client. Ids stay raw: mcp-go passes them through float64.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`

	raw  json.RawMessage
	meta meta
}

// meta is what the transport itself reads of the params.
type meta struct {
	Meta struct {
		ProgressToken json.RawMessage        `json:"progressToken"`
		Version       string                 `json:"io.modelcontextprotocol/protocolVersion"`
		LogLevel      mcp.LoggingLevel       `json:"io.modelcontextprotocol/logLevel"`
		Client        mcp.Implementation     `json:"io.modelcontextprotocol/clientInfo"`
		Capabilities  mcp.ClientCapabilities `json:"io.modelcontextprotocol/clientCapabilities"`
		TraceParent   string                 `json:"traceparent"`
		TraceState    string                 `json:"tracestate"`
	} `json:"_meta"`
	RequestID json.RawMessage `json:"requestId"`
	Name      string          `json:"name"`
	URI       string          `json:"uri"`
}

// parse reads one message. Its error is a *Error to answer with; the message then holds the id, if it had a usable one.
func parse(data []byte) (*message, *Error) {
	m := &message{raw: data}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) > 0 && first[0] == '[' {
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "batches of messages are not supported: send them one by one"}
	}
	if err := json.Unmarshal(data, m); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return &message{raw: data}, &Error{Code: mcp.PARSE_ERROR, Message: "the message is not valid JSON: " + err.Error()}
		}
		if !validID(m.ID) {
			m.ID = nil
		}
		return m, &Error{Code: mcp.INVALID_REQUEST, Message: "the message is not a JSON-RPC request, notification or response"}
	}
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
	if len(m.Params) > 0 {
		// A member of the wrong type is reported by whoever needs it.
		_ = json.Unmarshal(m.Params, &m.meta)
	}
	return m, nil
}

func (m *message) isResponse() bool {
	return m.Method == "" && m.ID != nil && (m.Result != nil || m.Error != nil)
}

// listens reports a subscriptions/listen of the era that has it.
func (m *message) listens() bool {
	return m.modern() && m.Method == string(mcp.MethodSubscriptionsListen)
}

func (m *message) modern() bool { return mcp.IsModernProtocol(m.meta.Meta.Version) }

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
	e := encoders.Get().(*encoder)
	defer e.free()
	if err := e.json.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(e.buffer.Bytes(), []byte("\n"))), nil
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
	return encode(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}{mcp.JSONRPC_VERSION, id, inOnePass(result)})
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
