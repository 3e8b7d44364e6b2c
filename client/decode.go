package client

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Parts come by the thousand a second, so they and the events around them are decoded by hand, in one pass: encoding/json
// would look at each byte four times. Whatever is not plain is left to encoding/json.

var null = []byte("null")

// words are the strings that come with every event; each is allocated once.
var words = func() map[string]string {
	m := map[string]string{}
	for _, w := range []string{
		EventStatus, EventMessage, EventMessagePart, EventQueueUpdate, EventRetry, EventError, EventActionRequired,
		EventPreviewReset, EventHistoryReset,
		string(PartText), string(PartReasoning), string(PartToolCall), string(PartToolResult), string(PartSource),
		string(PartFile), string(PartFileReference), string(PartContextFile), string(PartSkill),
		string(RoleUser), string(RoleAssistant), string(RoleTool),
	} {
		m[w] = w
	}
	return m
}()

func setText[T ~string](field *T, value []byte) error {
	inner, plain := plainText(value)
	if !plain {
		var s string
		err := json.Unmarshal(value, &s)
		*field = T(s)
		return err
	}
	if word, ok := words[string(inner)]; ok {
		*field = T(word)
		return nil
	}
	*field = T(inner)
	return nil
}

// plainText is what is between the quotes of a JSON string in which nothing is escaped.
func plainText(value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 || !utf8.Valid(value) {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

func setID(field **uuid.UUID, value []byte) error {
	if bytes.Equal(value, null) {
		*field = nil
		return nil
	}
	id, err := parseID(value)
	if err != nil {
		return err
	}
	*field = &id
	return nil
}

func parseID(value []byte) (uuid.UUID, error) {
	inner, plain := plainText(value)
	if !plain {
		return uuid.Nil, errSyntax
	}
	return uuid.ParseBytes(inner)
}

func setNumber[T int | int64](field *T, value []byte) error {
	if len(value) == 0 || len(value) > 18 {
		return json.Unmarshal(value, field)
	}
	var n T
	for _, digit := range value {
		if digit < '0' || digit > '9' {
			return json.Unmarshal(value, field)
		}
		n = n*10 + T(digit-'0')
	}
	*field = n
	return nil
}

func setRaw(field *json.RawMessage, value []byte) error {
	*field = bytes.Clone(value)
	return nil
}

// UnmarshalJSON decodes a part and keeps in Extra what it does not know, or knows as something else.
func (p *Part) UnmarshalJSON(data []byte) error {
	*p = Part{}
	if bytes.Equal(data, null) {
		return nil
	}
	return eachMember(data, func(name, value []byte) error {
		known, err := p.set(name, value)
		if known && err == nil {
			return nil
		}
		if p.Extra == nil {
			p.Extra = map[string]json.RawMessage{}
		}
		p.Extra[string(name)] = bytes.Clone(value)
		return nil
	})
}

func (p *Part) set(name, value []byte) (known bool, err error) {
	switch string(name) {
	case "type":
		err = setText(&p.Type, value)
	case "text":
		err = setText(&p.Text, value)
	case "tool_call_id":
		err = setText(&p.ToolCallID, value)
	case "tool_name":
		err = setText(&p.ToolName, value)
	case "args":
		err = setRaw(&p.Args, value)
	case "args_delta":
		err = setText(&p.ArgsDelta, value)
	case "result":
		err = setRaw(&p.Result, value)
	case "result_delta":
		err = setText(&p.ResultDelta, value)
	case "is_error":
		err = json.Unmarshal(value, &p.IsError)
	case "provider_executed":
		err = json.Unmarshal(value, &p.ProviderExecuted)
	case "url":
		err = setText(&p.URL, value)
	case "media_type":
		err = setText(&p.MediaType, value)
	case "file_name":
		err = setText(&p.FileName, value)
	case "name":
		err = setText(&p.Name, value)
	case "title":
		err = setText(&p.Title, value)
	case "file_id":
		err = setID(&p.FileID, value)
	case "start_line":
		err = setNumber(&p.StartLine, value)
	case "end_line":
		err = setNumber(&p.EndLine, value)
	case "content":
		err = setText(&p.Content, value)
	case "context_file_path":
		err = setText(&p.ContextFilePath, value)
	case "skill_name":
		err = setText(&p.SkillName, value)
	case "source_id":
		err = setText(&p.SourceID, value)
	case "mcp_server_config_id":
		err = setID(&p.MCPServerConfigID, value)
	case "context_file_agent_id":
		err = setID(&p.ContextFileAgentID, value)
	case "created_at":
		err = json.Unmarshal(value, &p.CreatedAt)
	case "completed_at":
		err = json.Unmarshal(value, &p.CompletedAt)
	default:
		return false, nil
	}
	return true, err
}

// UnmarshalJSON decodes a part event.
func (e *PartEvent) UnmarshalJSON(data []byte) error {
	*e = PartEvent{}
	return eachMember(data, func(name, value []byte) error {
		switch string(name) {
		case "role":
			return setText(&e.Role, value)
		case "part":
			return e.Part.UnmarshalJSON(value)
		case "history_version":
			return setNumber(&e.HistoryVersion, value)
		case "generation_attempt":
			return setNumber(&e.GenerationAttempt, value)
		case "seq":
			return setNumber(&e.Seq, value)
		}
		return nil
	})
}

// UnmarshalJSON decodes a stream event. Raw is a slice of data.
func (e *StreamEvent) UnmarshalJSON(data []byte) error {
	*e = StreamEvent{Raw: data}
	return eachMember(data, func(name, value []byte) (err error) {
		if bytes.Equal(value, null) {
			return nil
		}
		switch string(name) {
		case "type":
			return setText(&e.Type, value)
		case "chat_id":
			e.ChatID, err = parseID(value)
			return err
		case "message_part":
			e.MessagePart = new(PartEvent)
			return e.MessagePart.UnmarshalJSON(value)
		case "status":
			return json.Unmarshal(value, &e.Status)
		case "message":
			return json.Unmarshal(value, &e.Message)
		case "queued_messages":
			return json.Unmarshal(value, &e.QueuedMessages)
		case "retry":
			return json.Unmarshal(value, &e.Retry)
		case "error":
			return json.Unmarshal(value, &e.Error)
		case "action_required":
			return json.Unmarshal(value, &e.ActionRequired)
		}
		return nil
	})
}
