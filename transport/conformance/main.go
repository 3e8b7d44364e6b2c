//go:build conformance

// Command conformance serves the tools, resources and prompts that the official suite
// (npm @modelcontextprotocol/conformance) asks for, on this module's HTTP transport:
//
//	go run -tags conformance ./transport/conformance -listen 127.0.0.1:8139 &
//	npx @modelcontextprotocol/conformance server --url http://127.0.0.1:8139/mcp
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/transport"
)

const (
	pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	wave  = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8139", "address to serve on")
	flag.Parse()
	m := server.NewMCPServer("conformance", "1", server.WithToolCapabilities(true), server.WithResourceCapabilities(true, true),
		server.WithPromptCapabilities(true), server.WithLogging(), server.WithCompletions(), server.WithElicitation())
	addTools(m)
	addInputTools(m)
	addResources(m)
	addPrompts(m)
	var sessions sync.Map
	addStatelessTools(m, &sessions)
	addInputRequiredTools(m)
	core := transport.New(m, transport.Options{Hooks: transport.Hooks{
		SessionOpened: func(s *transport.Session) { sessions.Store(s, nil) },
		SessionClosed: func(s *transport.Session) { sessions.Delete(s) },
	}})
	mux := http.NewServeMux()
	mux.Handle("/mcp", core.HTTPHandler(transport.HTTPOptions{}))
	log.Fatal(http.ListenAndServe(*listen, mux))
}

func addTools(m *server.MCPServer) {
	content := func(name string, parts ...mcp.Content) {
		m.AddTool(mcp.NewTool(name, mcp.WithDescription(name)), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: parts}, nil
		})
	}
	text := mcp.NewTextContent("This is a simple text response for testing.")
	image := mcp.NewImageContent(pixel, "image/png")
	resource := func(uri, mime, text string) mcp.Content {
		return mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: uri, MIMEType: mime, Text: text})
	}
	content("test_simple_text", text)
	content("test_image_content", image)
	content("test_audio_content", mcp.NewAudioContent(wave, "audio/wav"))
	content("test_embedded_resource", resource("test://embedded-resource", "text/plain", "This is an embedded resource content."))
	content("test_multiple_content_types", mcp.NewTextContent("Multiple content types test:"), image,
		resource("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`))
	m.AddTool(mcp.NewTool("test_error_handling", mcp.WithDescription("test_error_handling")), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("This tool intentionally returns an error for testing"), nil
	})
	m.AddTool(mcp.NewTool("test_tool_with_logging", mcp.WithDescription("test_tool_with_logging")), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for _, said := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			if err := transport.SessionFromContext(ctx).Log(ctx, mcp.LoggingLevelInfo, "conformance", said, nil); err != nil {
				return nil, err
			}
			time.Sleep(50 * time.Millisecond)
		}
		return mcp.NewToolResultText("logged"), nil
	})
	m.AddTool(mcp.NewTool("test_tool_with_progress", mcp.WithDescription("test_tool_with_progress")), func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for _, done := range []int{0, 50, 100} {
			if q.Params.Meta != nil && q.Params.Meta.ProgressToken != nil {
				err := transport.SessionFromContext(ctx).Notify(ctx, "notifications/progress", mcp.ProgressNotificationParams{
					ProgressToken: q.Params.Meta.ProgressToken, Progress: float64(done), Total: 100,
				}, nil)
				if err != nil {
					return nil, err
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		return mcp.NewToolResultText("progressed"), nil
	})
	schema := json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"$defs":{"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"}},"additionalProperties":false}`)
	m.AddTool(mcp.NewToolWithRawSchema("json_schema_2020_12_tool", "json_schema_2020_12_tool", schema), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("ok"), nil
	})
}

// addInputTools adds those that ask the client. In protocols with requests to the client mcp-go bridges them.
func addInputTools(m *server.MCPServer) {
	elicit := func(name, schema string) {
		m.AddTool(mcp.NewTool(name, mcp.WithDescription(name)), func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			if answer := server.ElicitationResponse(q.Params.InputResponses, "answer"); answer != nil {
				return mcp.NewToolResultText(fmt.Sprintf("Elicitation completed: action=%s, content=%v", answer.Action, answer.Content)), nil
			}
			return server.NewInputRequestBuilder("").Elicit("answer", mcp.ElicitationParams{
				Message: q.GetString("message", "Please provide information"), RequestedSchema: json.RawMessage(schema),
			}).ToolResult(), nil
		})
	}
	elicit("test_elicitation", `{"type":"object","properties":{"username":{"type":"string"},"email":{"type":"string"}},"required":["username","email"]}`)
	elicit("test_elicitation_sep1034_defaults", `{"type":"object","properties":{
		"name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},"score":{"type":"number","default":95.5},
		"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},"verified":{"type":"boolean","default":true}}}`)
	elicit("test_elicitation_sep1330_enums", `{"type":"object","properties":{
		"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
		"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First"},{"const":"value2","title":"Second"},{"const":"value3","title":"Third"}]},
		"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],"enumNames":["One","Two","Three"]},
		"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
		"titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First"},{"const":"value2","title":"Second"},{"const":"value3","title":"Third"}]}}}}`)
	m.AddTool(mcp.NewTool("test_sampling", mcp.WithDescription("test_sampling")), func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if answer := server.SamplingResponse(q.Params.InputResponses, "answer"); answer != nil {
			return mcp.NewToolResultText(fmt.Sprintf("LLM response: %v", answer.Content)), nil
		}
		return server.NewInputRequestBuilder("").Sample("answer", mcp.CreateMessageParams{
			MaxTokens: 100, Messages: []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent(q.GetString("prompt", "hello"))}},
		}).ToolResult(), nil
	})
}

// addStatelessTools adds what the suite probes protocol 2026-07-28 with.
func addStatelessTools(m *server.MCPServer, sessions *sync.Map) {
	tool := func(name string, handle server.ToolHandlerFunc) {
		m.AddTool(mcp.NewTool(name, mcp.WithDescription(name)), handle)
	}
	tool("test_missing_capability", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if transport.SessionFromContext(ctx).Capabilities().Sampling == nil {
			return nil, mcp.MissingRequiredClientCapabilityError{Capability: "sampling"}
		}
		return mcp.NewToolResultText("there"), nil
	})
	tool("test_logging_tool", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("logged"), transport.SessionFromContext(ctx).Log(ctx, mcp.LoggingLevelInfo, "conformance", "said", nil)
	})
	tool("test_streaming_elicitation", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		transport.Progress(ctx, "about to ask")
		return server.NewInputRequestBuilder("").Elicit("answer", mcp.ElicitationParams{
			Message: "Please answer", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`),
		}).ToolResult(), nil
	})
	for tool, list := range map[string]string{"test_trigger_tool_change": "tools", "test_trigger_prompt_change": "prompts"} {
		m.AddTool(mcp.NewTool(tool, mcp.WithDescription(tool)), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			sessions.Range(func(s, _ any) bool { s.(*transport.Session).ListChanged(list); return true })
			return mcp.NewToolResultText("changed"), nil
		})
	}
}

func addResources(m *server.MCPServer) {
	add := func(uri, mime string, contents mcp.ResourceContents) {
		m.AddResource(mcp.NewResource(uri, uri, mcp.WithMIMEType(mime)), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			return []mcp.ResourceContents{contents}, nil
		})
	}
	add("test://static-text", "text/plain", mcp.TextResourceContents{URI: "test://static-text", MIMEType: "text/plain", Text: "This is the content of the static text resource."})
	add("test://static-binary", "image/png", mcp.BlobResourceContents{URI: "test://static-binary", MIMEType: "image/png", Blob: pixel})
	add("test://watched-resource", "text/plain", mcp.TextResourceContents{URI: "test://watched-resource", MIMEType: "text/plain", Text: "watched"})
	m.AddResourceTemplate(mcp.NewResourceTemplate("test://template/{id}/data", "template"), func(_ context.Context, q mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		id := fmt.Sprint(q.Params.Arguments["id"])
		if ids, ok := q.Params.Arguments["id"].([]string); ok && len(ids) == 1 {
			id = ids[0]
		}
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: q.Params.URI, MIMEType: "application/json",
			Text: fmt.Sprintf(`{"id":%q,"templateTest":true,"data":"Data for ID: %s"}`, id, id)}}, nil
	})
}

func addPrompts(m *server.MCPServer) {
	add := func(p mcp.Prompt, messages func(map[string]string) []mcp.PromptMessage) {
		m.AddPrompt(p, func(_ context.Context, q mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: messages(q.Params.Arguments)}, nil
		})
	}
	user := func(c mcp.Content) mcp.PromptMessage { return mcp.NewPromptMessage(mcp.RoleUser, c) }
	add(mcp.NewPrompt("test_simple_prompt", mcp.WithPromptDescription("test_simple_prompt")), func(map[string]string) []mcp.PromptMessage {
		return []mcp.PromptMessage{user(mcp.NewTextContent("This is a simple prompt for testing."))}
	})
	add(mcp.NewPrompt("test_prompt_with_arguments", mcp.WithPromptDescription("test_prompt_with_arguments"), mcp.WithArgument("arg1", mcp.ArgumentDescription("arg1"), mcp.RequiredArgument()), mcp.WithArgument("arg2", mcp.ArgumentDescription("arg2"), mcp.RequiredArgument())),
		func(a map[string]string) []mcp.PromptMessage {
			return []mcp.PromptMessage{user(mcp.NewTextContent(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", a["arg1"], a["arg2"])))}
		})
	add(mcp.NewPrompt("test_prompt_with_embedded_resource", mcp.WithPromptDescription("test_prompt_with_embedded_resource"), mcp.WithArgument("resourceUri", mcp.ArgumentDescription("resourceUri"), mcp.RequiredArgument())),
		func(a map[string]string) []mcp.PromptMessage {
			return []mcp.PromptMessage{
				user(mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: a["resourceUri"], MIMEType: "text/plain", Text: "Embedded resource content for testing."})),
				user(mcp.NewTextContent("Please process the embedded resource above.")),
			}
		})
	add(mcp.NewPrompt("test_prompt_with_image", mcp.WithPromptDescription("test_prompt_with_image")), func(map[string]string) []mcp.PromptMessage {
		return []mcp.PromptMessage{user(mcp.NewImageContent(pixel, "image/png")), user(mcp.NewTextContent("Please analyze the image above."))}
	})
}
