//go:build conformance

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/transport"
)

// round is one answer of a tool that needs input: it asks under keys, and gives a state to bring back.
type round struct {
	state string
	ask   func(b *server.InputRequestBuilder)
	keys  []string
}

func elicit(key, message, field, kind string) round {
	return round{keys: []string{key}, ask: func(b *server.InputRequestBuilder) {
		b.Elicit(key, mcp.ElicitationParams{Message: message, RequestedSchema: json.RawMessage(
			fmt.Sprintf(`{"type":"object","properties":{%q:{"type":%q}},"required":[%q]}`, field, kind, field))})
	}}
}

func sample(key, prompt string) round {
	return round{keys: []string{key}, ask: func(b *server.InputRequestBuilder) {
		b.Sample(key, mcp.CreateMessageParams{MaxTokens: 100, Messages: []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent(prompt)}}})
	}}
}

func roots(key string) round {
	return round{keys: []string{key}, ask: func(b *server.InputRequestBuilder) { b.Roots(key) }}
}

func together(state string, rounds ...round) round {
	all := round{state: state, ask: func(b *server.InputRequestBuilder) {
		for _, r := range rounds {
			r.ask(b)
		}
	}}
	for _, r := range rounds {
		all.keys = append(all.keys, r.keys...)
	}
	return all
}

// addInputRequiredTools adds the tools of multi round-trip requests.
func addInputRequiredTools(m *server.MCPServer) {
	name := elicit("user_name", "What is your name?", "name", "string")
	for tool, rounds := range map[string][]round{
		"test_input_required_result_elicitation":     {name},
		"test_input_required_result_sampling":        {sample("capital_question", "What is the capital of France?")},
		"test_input_required_result_list_roots":      {roots("client_roots")},
		"test_input_required_result_request_state":   {together("state-1", elicit("confirm", "Please confirm", "ok", "boolean"))},
		"test_input_required_result_tampered_state":  {together("sealed-1", elicit("confirm", "Please confirm", "ok", "boolean"))},
		"test_input_required_result_multiple_inputs": {together("many-1", name, sample("greeting", "Generate a greeting"), roots("client_roots"))},
		"test_input_required_result_multi_round": {
			together("round-1", elicit("step1", "Step 1: What is your name?", "name", "string")),
			together("round-2", elicit("step2", "Step 2: What is your favorite color?", "color", "string")),
		},
	} {
		m.AddTool(mcp.NewTool(tool, mcp.WithDescription(tool)), func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			next, err := nextRound(rounds, q.Params.InputResponses, q.Params.RequestState)
			if err != nil {
				return nil, err
			}
			if next != nil {
				return next.ToolResult(), nil
			}
			said, _ := json.Marshal(q.Params.InputResponses)
			return mcp.NewToolResultText("state-ok " + string(said)), nil
		})
	}
	const capabilities = "test_input_required_result_capabilities"
	m.AddTool(mcp.NewTool(capabilities, mcp.WithDescription(capabilities)), func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		can, b := transport.SessionFromContext(ctx).Capabilities(), server.NewInputRequestBuilder("")
		if can.Sampling != nil {
			sample("sampled", "Hello").ask(b)
		}
		if can.Elicitation != nil {
			name.ask(b)
		}
		return b.ToolResult(), nil
	})
	m.AddPrompt(mcp.NewPrompt("test_input_required_result_prompt", mcp.WithPromptDescription("asks for its context")), func(_ context.Context, q mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		rounds := []round{elicit("user_context", "What context should the prompt use?", "context", "string")}
		next, err := nextRound(rounds, q.Params.InputResponses, q.Params.RequestState)
		if err != nil {
			return nil, err
		}
		if next != nil {
			return next.PromptResult(), nil
		}
		return &mcp.GetPromptResult{Messages: []mcp.PromptMessage{mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent("Use the context given."))}}, nil
	})
}

// nextRound returns what is to be asked now, or nil after the last round. A state that was never given is refused.
func nextRound(rounds []round, answers mcp.InputResponses, state string) (*server.InputRequestBuilder, error) {
	at := slices.IndexFunc(rounds, func(r round) bool { return r.state == state })
	switch {
	case at < 0 && state != "":
		return nil, &transport.Error{Code: mcp.INVALID_PARAMS, Message: "requestState is not one that this server gave"}
	case at < 0:
		at = 0
	case answered(rounds[at], answers):
		at++
	}
	if at == len(rounds) {
		return nil, nil
	}
	b := server.NewInputRequestBuilder(rounds[at].state)
	rounds[at].ask(b)
	return b, nil
}

func answered(r round, answers mcp.InputResponses) bool {
	for _, key := range r.keys {
		if _, ok := answers[key]; !ok {
			return false
		}
	}
	return true
}
