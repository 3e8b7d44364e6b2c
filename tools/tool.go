// Package tools is every chat operation as an MCP tool, one declaration each. A declaration names the operation, its effects and its
// argument struct; the schema, the README's table, toolset membership, annotations and snapshots follow from it.
package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/schema"
)

// Toolset is a group of tools that is switched on or off as one.
type Toolset string

// The toolsets, in the order in which they are listed.
const (
	Chats         Toolset = "chats"
	Messages      Toolset = "messages"
	Files         Toolset = "files"
	Models        Toolset = "models"
	Workspace     Toolset = "workspace"
	Orchestration Toolset = "orchestration"
)

// Toolsets are all of them, in order.
func Toolsets() []Toolset {
	return []Toolset{Chats, Messages, Files, Models, Workspace, Orchestration}
}

// Effect is what a call can do to the caller's chats.
type Effect int

// Reads changes nothing; Writes adds or changes; Destroys may remove what was there.
const (
	Reads Effect = iota
	Writes
	Destroys
)

// Spec is what a declaration says about its tool beside its arguments.
type Spec struct {
	Name        string
	Title       string
	Description string
	Operation   string // the operation of the API reference, or "" for one beyond it
	Toolset     Toolset
	Effect      Effect
	Idempotent  bool // the same call twice has the effect of one
	// LocalArguments are about this machine's files: callers from elsewhere do not have them.
	LocalArguments []string
	// WritingArguments make a tool that reads change something after all: nobody has them who may only read.
	WritingArguments []string
}

// Tool is one declared tool.
type Tool struct {
	Spec
	schema    json.RawMessage
	arguments []string
	required  []string
	call      func(context.Context, *Session, json.RawMessage) (*Result, error)
	without   func(arguments []string) *Tool
}

// Remote is the tool for callers that are not on this machine.
func (t *Tool) Remote() *Tool { return t.less(t.LocalArguments) }

// ReadOnly is the tool for callers that may only read.
func (t *Tool) ReadOnly() *Tool { return t.less(t.WritingArguments) }

// less is the tool without some of its arguments.
func (t *Tool) less(names []string) *Tool {
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(t.arguments, name) }) {
		return t
	}
	return t.without(names)
}

// Schema is the tool's input schema, inline.
func (t *Tool) Schema() json.RawMessage { return t.schema }

// Arguments are the names of the arguments, in order; Required those that must be there.
func (t *Tool) Arguments() []string { return t.arguments }

// Required are the names of the arguments that must be there.
func (t *Tool) Required() []string { return t.required }

// MCP is the tool as tools/list has it.
func (t *Tool) MCP() mcp.Tool {
	reads, destroys, open := t.Effect == Reads, t.Effect == Destroys, true
	return mcp.Tool{
		Name: t.Name, Title: t.Title, Description: t.Description, RawInputSchema: t.schema,
		Annotations: mcp.ToolAnnotation{ReadOnlyHint: &reads, DestructiveHint: &destroys, IdempotentHint: &t.Idempotent, OpenWorldHint: &open},
	}
}

// Call runs the tool. Every failure is a result that says so: bad arguments, the API's errors, a panic in the tool itself.
func (t *Tool) Call(ctx context.Context, s *Session, arguments json.RawMessage) (result *mcp.CallToolResult) {
	defer func() {
		if cause := recover(); cause != nil {
			s.Config.logger().Error("tool panicked", "tool", t.Name, "panic", cause)
			result = failed(&Failure{Kind: "internal", Message: t.Name + " failed because of a bug in this server", Next: after(t.Spec, nil, "try again, or use another tool; the server's log has the details")})
		}
	}()
	answer, err := t.call(ctx, s, arguments)
	if err != nil {
		return failed(explain(t.Spec, s, s.ended(ctx, err)))
	}
	return answer.mcp()
}

var declared []*Tool

// declare adds a tool. A is its argument struct; see package schema for the tags.
func declare[A any](spec Spec, handle func(context.Context, *Session, A) (*Result, error)) *Tool {
	t := tool(spec, schema.For[A](), handle)
	declared = append(declared, t)
	return t
}

func tool[A any](spec Spec, arguments *schema.Arguments[A], handle func(context.Context, *Session, A) (*Result, error)) *Tool {
	t := &Tool{Spec: spec, schema: arguments.JSON(), arguments: arguments.Names(), required: arguments.Required()}
	t.without = func(names []string) *Tool { return tool(spec, arguments.Without(names...), handle) }
	t.call = func(ctx context.Context, s *Session, raw json.RawMessage) (*Result, error) {
		if err := s.usable(); err != nil {
			return nil, err
		}
		args, err := arguments.Decode(raw, schema.Options{CheckChatURL: s.checkChatURL})
		if err != nil {
			return nil, err
		}
		return handle(ctx, s, args)
	}
	return t
}

// All are the declared tools by toolset, then name.
func All() []*Tool {
	order := Toolsets()
	all := slices.Clone(declared)
	slices.SortFunc(all, func(a, b *Tool) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Toolset), slices.Index(order, b.Toolset)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (e Effect) String() string {
	return [...]string{"reads", "writes", "destructive"}[e]
}
