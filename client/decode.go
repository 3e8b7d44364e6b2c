package client

import (
	"bytes"
	"encoding/json"

	"github.com/google/uuid"

	"coder-chats-mcp/jsonscan"
)

// Parts come by the thousand a second, and chats and messages are in almost every answer, so they and the events around them are decoded by hand, in
// one pass: encoding/json would look at each byte four times. Whatever is not plain is left to encoding/json.

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
	inner, plain := jsonscan.Text(value)
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
	inner, plain := jsonscan.Text(value)
	if !plain {
		return uuid.Nil, jsonscan.ErrSyntax
	}
	return uuid.ParseBytes(inner)
}

func setUUID(field *uuid.UUID, value []byte) (err error) {
	if !bytes.Equal(value, null) {
		*field, err = parseID(value)
	}
	return err
}

func setOptionalText(field **string, value []byte) error {
	if bytes.Equal(value, null) {
		*field = nil
		return nil
	}
	*field = new(string)
	return setText(*field, value)
}

func setBool(field *bool, value []byte) error {
	switch string(value) {
	case "true":
		*field = true
	case "false":
		*field = false
	default:
		return json.Unmarshal(value, field)
	}
	return nil
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

// keep puts a member that is not known into extra.
func keep(extra *map[string]json.RawMessage, name, value []byte) {
	if *extra == nil {
		*extra = map[string]json.RawMessage{}
	}
	(*extra)[string(name)] = bytes.Clone(value)
}

// UnmarshalJSON decodes a chat and keeps what it does not know in Extra.
func (c *Chat) UnmarshalJSON(data []byte) error {
	*c = Chat{}
	if bytes.Equal(data, null) {
		return nil
	}
	return jsonscan.EachMember(data, func(name, value []byte) error {
		known, err := c.set(name, value)
		if !known {
			keep(&c.Extra, name, value)
		}
		return err
	})
}

func (c *Chat) set(name, value []byte) (known bool, err error) {
	switch string(name) {
	case "id":
		err = setUUID(&c.ID, value)
	case "organization_id":
		err = setUUID(&c.OrganizationID, value)
	case "owner_id":
		err = setUUID(&c.OwnerID, value)
	case "owner_username":
		err = setText(&c.OwnerUsername, value)
	case "owner_name":
		err = setText(&c.OwnerName, value)
	case "workspace_id":
		err = setID(&c.WorkspaceID, value)
	case "build_id":
		err = setID(&c.BuildID, value)
	case "agent_id":
		err = setID(&c.AgentID, value)
	case "parent_chat_id":
		err = setID(&c.ParentChatID, value)
	case "root_chat_id":
		err = setID(&c.RootChatID, value)
	case "last_model_config_id":
		err = setID(&c.LastModelConfigID, value)
	case "title":
		err = setText(&c.Title, value)
	case "status":
		err = setText(&c.Status, value)
	case "plan_mode":
		err = setText(&c.PlanMode, value)
	case "last_error":
		err = json.Unmarshal(value, &c.LastError)
	case "last_turn_summary":
		err = setOptionalText(&c.LastTurnSummary, value)
	case "summary":
		err = setOptionalText(&c.Summary, value)
	case "diff_status":
		err = json.Unmarshal(value, &c.DiffStatus)
	case "created_at":
		err = c.CreatedAt.UnmarshalJSON(value)
	case "updated_at":
		err = c.UpdatedAt.UnmarshalJSON(value)
	case "archived":
		err = setBool(&c.Archived, value)
	case "shared":
		err = setBool(&c.Shared, value)
	case "pin_order":
		err = setNumber(&c.PinOrder, value)
	case "mcp_server_ids":
		err = json.Unmarshal(value, &c.MCPServerIDs)
	case "labels":
		err = json.Unmarshal(value, &c.Labels)
	case "files":
		err = json.Unmarshal(value, &c.Files)
	case "has_unread":
		err = setBool(&c.HasUnread, value)
	case "client_type":
		err = setText(&c.ClientType, value)
	case "children":
		err = json.Unmarshal(value, &c.Children)
	case "warnings":
		err = json.Unmarshal(value, &c.Warnings)
	case "queued_for_capacity":
		err = setBool(&c.QueuedForCapacity, value)
	case "last_reasoning_effort":
		err = setText(&c.LastReasoningEffort, value)
	default:
		return false, nil
	}
	return true, err
}

// UnmarshalJSON decodes a message and keeps what it does not know in Extra.
func (m *Message) UnmarshalJSON(data []byte) error {
	*m = Message{}
	if bytes.Equal(data, null) {
		return nil
	}
	return jsonscan.EachMember(data, func(name, value []byte) (err error) {
		switch string(name) {
		case "id":
			return setNumber(&m.ID, value)
		case "chat_id":
			return setUUID(&m.ChatID, value)
		case "created_by":
			return setID(&m.CreatedBy, value)
		case "model_config_id":
			return setID(&m.ModelConfigID, value)
		case "created_at":
			return m.CreatedAt.UnmarshalJSON(value)
		case "role":
			return setText(&m.Role, value)
		case "content":
			return setParts(&m.Content, value)
		case "usage":
			return json.Unmarshal(value, &m.Usage)
		}
		keep(&m.Extra, name, value)
		return nil
	})
}

func setParts(field *[]Part, value []byte) error {
	if bytes.Equal(value, null) {
		*field = nil
		return nil
	}
	*field = []Part{}
	return jsonscan.EachElement(value, func(element []byte) error {
		var p Part
		err := p.UnmarshalJSON(element)
		*field = append(*field, p)
		return err
	})
}

// UnmarshalJSON decodes a part and keeps in Extra what it does not know, or knows as something else.
func (p *Part) UnmarshalJSON(data []byte) error {
	*p = Part{}
	if bytes.Equal(data, null) {
		return nil
	}
	return jsonscan.EachMember(data, func(name, value []byte) error {
		if known, err := p.set(name, value); !known || err != nil {
			keep(&p.Extra, name, value)
		}
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
		err = setBool(&p.IsError, value)
	case "provider_executed":
		err = setBool(&p.ProviderExecuted, value)
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
	return jsonscan.EachMember(data, func(name, value []byte) error {
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
	return jsonscan.EachMember(data, func(name, value []byte) (err error) {
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
			e.Message = new(Message)
			return unmarshal(value, e.Message)
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
