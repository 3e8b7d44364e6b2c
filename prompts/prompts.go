// Package prompts is ready workflows on the tools: what a person picks from a menu so that the model works with agents the way that costs least.
// A prompt names only tools that are switched on, and is not offered where it cannot work.
package prompts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/view"
)

// Available reports whether a tool is switched on.
type Available func(tool string) bool

// Prompt is one workflow.
type Prompt struct {
	Name, Title, Description string
	Arguments                []Argument

	needs [][]string // of each group one tool must be there
	write func(*text, values)
}

// Argument is one argument of a prompt. Those named chat are checked and completed as chats.
type Argument struct {
	Name, Description string
	Required          bool
}

// All are the prompts, in the order in which they are listed.
func All() []*Prompt { return []*Prompt{&delegate, &check, &reviewDiff, &fanOut} }

// MCP is the prompt as prompts/list has it.
func (p *Prompt) MCP() mcp.Prompt {
	m := mcp.Prompt{Name: p.Name, Title: p.Title, Description: p.Description}
	for _, a := range p.Arguments {
		m.Arguments = append(m.Arguments, mcp.PromptArgument{Name: a.Name, Description: a.Description, Required: a.Required})
	}
	return m
}

// Offered reports whether the prompt can work with the tools that there are.
func (p *Prompt) Offered(available Available) bool {
	for _, group := range p.needs {
		if !slices.ContainsFunc(group, available) {
			return false
		}
	}
	return true
}

// Messages is the prompt filled in. Its error is an *ArgumentError, or says which tools are missing.
func (p *Prompt) Messages(available Available, args map[string]string) ([]mcp.PromptMessage, error) {
	if !p.Offered(available) {
		return nil, fmt.Errorf("the prompt %s cannot work: it needs %s, which this server does not offer", p.Name, p.missing(available))
	}
	v, err := p.check(args)
	if err != nil {
		return nil, err
	}
	t := &text{available: available}
	p.write(t, v)
	return []mcp.PromptMessage{mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent(strings.TrimSpace(t.String())))}, nil
}

func (p *Prompt) missing(available Available) string {
	var groups []string
	for _, group := range p.needs {
		if !slices.ContainsFunc(group, available) {
			groups = append(groups, strings.Join(group, " or "))
		}
	}
	return strings.Join(groups, " and ")
}

// ArgumentError says what is wrong with the arguments of a prompt.
type ArgumentError struct {
	Prompt, Message string
}

func (e *ArgumentError) Error() string { return "prompt " + e.Prompt + ": " + e.Message }

// values are the arguments that were given.
type values map[string]string

func (p *Prompt) check(args map[string]string) (values, error) {
	refuse := func(format string, a ...any) error {
		return &ArgumentError{Prompt: p.Name, Message: fmt.Sprintf(format, a...) + "; it takes " + p.usage()}
	}
	v := values{}
	for name, value := range args {
		if !slices.ContainsFunc(p.Arguments, func(a Argument) bool { return a.Name == name }) {
			return nil, refuse("there is no argument %s", view.Inline(name, 60))
		}
		if value = strings.TrimSpace(value); value != "" {
			v[name] = value
		}
	}
	for _, a := range p.Arguments {
		if a.Required && v[a.Name] == "" {
			return nil, refuse("the argument %s is missing", a.Name)
		}
	}
	if v["chat"] != "" {
		id, err := chatID(v["chat"])
		if err != nil {
			return nil, refuse("%s", err)
		}
		v["chat"] = id
	}
	return v, nil
}

func (p *Prompt) usage() string {
	var words []string
	for _, a := range p.Arguments {
		word := a.Name
		if !a.Required {
			word += " (optional)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// text is a prompt as it is written. Lines are left out where no tool can do what they ask for.
type text struct {
	strings.Builder
	available Available
	steps     int
}

// line adds a line of ours.
func (t *text) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// given adds what the user gave, framed.
func (t *text) given(what, words string) { t.line("\n%s:\n%s\n", what, view.Quote(words)) }

// step adds the first of the numbered ways whose tool is there, and none when no tool is.
func (t *text) step(ways ...way) {
	for _, w := range ways {
		if w.tool == "" || t.available(w.tool) {
			t.steps++
			t.line("%d. %s", t.steps, strings.ReplaceAll(w.say, "{}", "`"+w.tool+"`"))
			return
		}
	}
}

// way is a step by a certain tool, which stands as {} in what is said; without a tool it is always possible.
type way struct{ tool, say string }

// note adds a sentence when all its tools are there.
func (t *text) note(say string, tools ...string) {
	for _, tool := range tools {
		if !t.available(tool) {
			return
		}
	}
	t.line("%s", say)
}
