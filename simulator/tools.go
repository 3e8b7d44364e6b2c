package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// outcome is what a tool gave back.
type outcome struct {
	result  json.RawMessage
	isError bool
}

func failed(format string, args ...any) outcome {
	return outcome{encode(map[string]string{"error": fmt.Sprintf(format, args...)}), true}
}

type tool func(*Server, *chat, json.RawMessage) outcome

// builtin finds one of the tools that the agent has in every chat. They win
// over dynamic tools of the same name (05/033).
func builtin(name string) tool {
	switch name {
	case "list_templates":
		return func(s *Server, _ *chat, _ json.RawMessage) outcome {
			return outcome{result: json.RawMessage(s.gen.noTemplates)}
		}
	case "read_template":
		return readTemplate
	case "ask_user_question":
		return func(_ *Server, _ *chat, args json.RawMessage) outcome { return outcome{result: args} }
	case "spawn_agent":
		return (*Server).spawnAgent
	case "read_file":
		return inWorkspace((*workspace).readFile)
	case "write_file":
		return inWorkspace((*workspace).writeFile)
	case "edit_file":
		return inWorkspace((*workspace).editFile)
	case "execute":
		return inWorkspace((*workspace).execute)
	}
	return nil
}

func readTemplate(_ *Server, _ *chat, args json.RawMessage) outcome {
	var a struct {
		TemplateID string `json:"template_id"`
	}
	if json.Unmarshal(args, &a); a.TemplateID == "" {
		return failed("template_id is required")
	}
	return failed("template %s not found", a.TemplateID)
}

func inWorkspace(use func(*workspace, json.RawMessage) outcome) tool {
	return func(_ *Server, c *chat, args json.RawMessage) outcome {
		if c.workspace == nil {
			return failed("no workspace is associated with this chat. Use the create_workspace tool to create one")
		}
		if c.workspace.state != "connected" {
			return failed("workspace has no running agent: the workspace is likely stopped. Use the start_workspace tool to start it")
		}
		return use(c.workspace, args)
	}
}

// spawnAgent starts a child chat.
func (s *Server) spawnAgent(parent *chat, args json.RawMessage) outcome {
	var a struct{ Type, Title, Prompt string }
	if json.Unmarshal(args, &a); strings.TrimSpace(a.Prompt) == "" {
		return failed("prompt is required")
	}
	at := now()
	c := &chat{
		id: uuid.New(), organization: parent.organization, owner: parent.owner, parent: parent, model: parent.model,
		title: cmp.Or(a.Title, firstTitle([]part{textPart(a.Prompt)})), created: at, updated: at, clientType: parent.clientType,
		hidden: map[int64]bool{}, version: 1, feeds: map[*feed]struct{}{}, status: s.gen.started, workspace: parent.workspace,
	}
	s.chats[c.id] = c
	parent.children = append(parent.children, c)
	c.hide(s, 2)
	s.addMessage(c, "user", &c.owner.ID, []part{textPart(a.Prompt)})
	s.announce("created", c)
	s.startTurn(c)
	return outcome{result: encode(map[string]string{"chat_id": c.id.String(), "status": c.status, "title": c.title, "type": cmp.Or(a.Type, "general")})}
}

// runTools runs the built-in ones of a step's calls and stores their results;
// when dynamic ones remain, the client has to answer. The lock is held.
func (s *Server) runTools(c *chat, t *turn, calls []part) verdict {
	var dynamic, mine []part
	for _, p := range calls {
		if builtin(p.ToolName) == nil && c.offers(p.ToolName) {
			dynamic = append(dynamic, p)
		} else {
			mine = append(mine, p)
		}
	}
	s.storeResults(c, t, mine, len(dynamic) > 0 && !s.gen.parsedCalls)
	switch {
	case len(dynamic) > 0:
		s.requireAction(c, dynamic)
		return left
	case slices.ContainsFunc(mine, func(p part) bool { return p.ToolName == "ask_user_question" && p.Args != nil }):
		return over
	}
	return goOn
}

// offers says whether the model may call a dynamic tool: plan mode has none (05/007).
func (c *chat) offers(name string) bool {
	return c.planMode == "" && slices.ContainsFunc(c.tools, func(t dynamicTool) bool { return t.Name == name })
}

// storeResults runs built-in tools and stores what they gave, undated beside
// dynamic calls of May (05/034).
func (s *Server) storeResults(c *chat, t *turn, calls []part, undated bool) {
	if len(calls) == 0 {
		return
	}
	t.attempt, t.seq, t.version = 1, 0, c.version
	c.publish(s.reset(c)...)
	var results []part
	for _, p := range calls {
		o := s.runTool(c, p)
		at := now()
		results = append(results, part{
			Type: "tool-result", ToolCallID: p.ToolCallID, ToolName: p.ToolName, Result: o.result, IsError: o.isError, CreatedAt: &at,
		})
		s.emit(c, t, "tool", results[len(results)-1])
		if undated {
			results[len(results)-1].CreatedAt = nil
		}
	}
	t.preview = nil
	var events []event
	for _, p := range results {
		events = append(events, c.messageEvent(s.addMessage(c, "tool", nil, []part{p})))
	}
	c.version += 2
	c.publish(append(events, s.reset(c)...)...)
	s.workspaceChanged(c)
}

func (s *Server) runTool(c *chat, p part) outcome {
	use := builtin(p.ToolName)
	if use == nil {
		return failed("Tool not active in this turn: %s", p.ToolName)
	}
	if p.Args == nil {
		var any json.RawMessage
		return failed("invalid parameters: %v", json.Unmarshal([]byte(p.rawArgs), &any))
	}
	return use(s, c, p.Args)
}

// jsonbText prints JSON as the database does: keys by length, then by letters,
// a space after colons and commas (08/018).
func jsonbText(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(raw)
	}
	var b strings.Builder
	writeJSONB(&b, v)
	return b.String()
}

func writeJSONB(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteString(", ")
			}
			b.Write(encode(k))
			b.WriteString(": ")
			writeJSONB(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeJSONB(b, e)
		}
		b.WriteByte(']')
	default:
		b.Write(encode(v))
	}
}
