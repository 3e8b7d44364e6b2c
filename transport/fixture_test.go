package transport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer is an MCP server whose tools do on the wire what a test tells them to.
func newServer() *server.MCPServer {
	m := server.NewMCPServer("fixture", "1",
		server.WithToolCapabilities(true), server.WithResourceCapabilities(true, true), server.WithPromptCapabilities(true),
		server.WithLogging(), server.WithElicitation(), server.WithRoots())
	m.EnableSampling()
	tool := func(name string, handle server.ToolHandlerFunc) {
		m.AddTool(mcp.NewToolWithRawSchema(name, "", json.RawMessage(`{"type":"object"}`)), handle)
	}
	text := mcp.NewToolResultText
	tool("echo", func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return text(q.GetString("text", "")), nil
	})
	tool("length", func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return text(fmt.Sprint(len(q.GetString("text", "")))), nil
	})
	// burst sends n notifications in a row, as an event stream does.
	tool("burst", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		s := transport.SessionFromContext(ctx)
		for i := range q.GetInt("n", 1) {
			if err := s.Notify(ctx, "notifications/burst", map[string]any{"of": q.GetString("text", ""), "i": i}, nil); err != nil {
				return nil, err
			}
		}
		return text("sent"), nil
	})
	tool("wait", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if ms := q.GetInt("ms", 0); ms > 0 {
			select {
			case <-time.After(time.Duration(ms) * time.Millisecond):
				return text("waited"), nil
			case <-ctx.Done():
			}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	// progress reports n times, ms apart, and then returns.
	tool("progress", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if !transport.HasProgress(ctx) {
			transport.Progress(ctx, "nobody listens")
			return text("no token"), nil
		}
		for i := range q.GetInt("n", 1) {
			transport.Progress(ctx, fmt.Sprint("step ", i+1))
			select {
			case <-time.After(time.Duration(q.GetInt("ms", 0)) * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return text("done"), nil
	})
	tool("fail", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, errors.New("the workshop is closed")
	})
	tool("panic", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { panic("on purpose") })
	tool("nothing", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { return nil, nil })
	tool("unencodable", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{StructuredContent: make(chan int)}, nil
	})
	tool("needs_sampling", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, mcp.MissingRequiredClientCapabilityError{Capability: "sampling"}
	})
	tool("own_error", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, fmt.Errorf("wrapped: %w", &transport.Error{Code: -32001, Message: "own", Data: map[string]any{"k": "v"}})
	})
	tool("log", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		s := transport.SessionFromContext(ctx)
		_, asked := s.LogLevelFor(ctx)
		err := s.Log(ctx, mcp.LoggingLevel(q.GetString("level", "info")), "fixture", q.GetString("text", ""), nil)
		return text(fmt.Sprint("asked=", asked)), err
	})
	tool("roots", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		roots, err := transport.SessionFromContext(ctx).Roots(ctx)
		if err != nil {
			return nil, err
		}
		return text(fmt.Sprint(roots)), nil
	})
	tool("elicit", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		if q.GetString("text", "") == "give up" {
			cancel(errors.New("nobody is there"))
		}
		defer cancel(nil)
		answer, err := transport.SessionFromContext(ctx).Elicit(ctx, mcp.ElicitationRequest{Params: mcp.ElicitationParams{
			Message: "really?", RequestedSchema: map[string]any{"type": "object"},
		}})
		if err != nil {
			return nil, err
		}
		return text(string(answer.Action)), nil
	})
	// ask goes the way that serves both eras: mcp-go bridges it to the older one.
	tool("ask", func(_ context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if answer := server.ElicitationResponse(q.Params.InputResponses, "sure"); answer != nil {
			return text("bridged " + string(answer.Action)), nil
		}
		return server.NewInputRequestBuilder("").Elicit("sure", mcp.ElicitationParams{
			Message: "sure?", RequestedSchema: map[string]any{"type": "object"},
		}).ToolResult(), nil
	})
	tool("sample", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		answer, err := transport.SessionFromContext(ctx).RequestSampling(ctx, mcp.CreateMessageRequest{})
		if err != nil {
			return nil, err
		}
		return text(fmt.Sprint(answer.Content.(mcp.TextContent).Text)), nil
	})
	// update touches a resource n times.
	tool("update", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for range q.GetInt("n", 1) {
			transport.SessionFromContext(ctx).ResourceUpdated(q.GetString("text", ""))
		}
		return text("updated"), nil
	})
	tool("change", func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		transport.SessionFromContext(ctx).ListChanged(q.GetString("text", ""))
		return text("changed"), nil
	})
	m.AddResourceTemplate(mcp.NewResourceTemplate("test://{name}", "test"), func(_ context.Context, q mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		switch name := strings.TrimPrefix(q.Params.URI, "test://"); name {
		case "gone":
			return nil, fmt.Errorf("%w: %s", server.ErrResourceNotFound, q.Params.URI)
		case "broken":
			return nil, errors.New("the shelf broke")
		default:
			return []mcp.ResourceContents{mcp.TextResourceContents{URI: q.Params.URI, Text: "<" + name + ">"}}, nil
		}
	})
	m.AddPrompt(mcp.NewPrompt("fail"), func(context.Context, mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return nil, errors.New("no such words")
	})
	return m
}

var quiet = slog.New(slog.DiscardHandler)

// peer is a client on a stdio connection that speaks in raw lines.
type peer struct {
	t       testing.TB
	core    *transport.Core
	in      *io.PipeWriter
	out     *bufio.Reader
	pipe    *io.PipeReader
	served  chan error
	session chan *transport.Session
	ended   sync.Once
}

func connect(t testing.TB, o transport.Options) *peer { return serve(t, newServer(), o) }

func serve(t testing.TB, m *server.MCPServer, o transport.Options) *peer {
	t.Helper()
	sessions := make(chan *transport.Session, 1)
	opened := o.Hooks.SessionOpened
	o.Hooks.SessionOpened = func(s *transport.Session) {
		sessions <- s
		if opened != nil {
			opened(s)
		}
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	core := transport.New(m, o)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &peer{t: t, core: core, in: inW, out: bufio.NewReaderSize(outR, 1<<20), pipe: outR, served: make(chan error, 1), session: sessions}
	go func() {
		p.served <- core.ServeStdio(context.Background(), inR, outW)
		outW.Close()
		inR.Close()
	}()
	t.Cleanup(p.hangUp)
	return p
}

// hangUp ends the input, reads what is left, and returns how many lines that were.
func (p *peer) hangUp() {
	p.ended.Do(func() {
		p.in.Close()
		_, _ = io.Copy(io.Discard, p.out)
		require.NoError(p.t, <-p.served)
	})
}

// rest ends the input and returns all lines that still come.
func (p *peer) rest() []string {
	var lines []string
	p.ended.Do(func() {
		p.in.Close()
		for {
			line, err := p.out.ReadString('\n')
			if err != nil {
				break
			}
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		require.NoError(p.t, <-p.served)
	})
	return lines
}

func (p *peer) write(lines ...string) {
	p.t.Helper()
	_, err := io.WriteString(p.in, strings.Join(lines, "\n")+"\n")
	require.NoError(p.t, err)
}

func (p *peer) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err)
	return strings.TrimSuffix(line, "\n")
}

// reply is any message of the server, as a test looks at it.
type reply struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		URI           string          `json:"uri"`
		Of            string          `json:"of"`
		I             int             `json:"i"`
		Progress      int             `json:"progress"`
		ProgressToken json.RawMessage `json:"progressToken"`
		Message       string          `json:"message"`
		Data          any             `json:"data"`
		RequestID     json.RawMessage `json:"requestId"`
		Meta          struct {
			Subscription json.RawMessage `json:"io.modelcontextprotocol/subscriptionId"`
		} `json:"_meta"`
	} `json:"params"`
	Result *struct {
		IsError bool `json:"isError"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		ResultType string `json:"resultType"`
	} `json:"result"`
	Error *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

func (r reply) text() string {
	if r.Result == nil || len(r.Result.Content) == 0 {
		return ""
	}
	return r.Result.Content[0].Text
}

func decode(t testing.TB, line string) reply {
	t.Helper()
	var r reply
	require.NoError(t, json.Unmarshal([]byte(line), &r), line)
	return r
}

func (p *peer) next() reply { p.t.Helper(); return decode(p.t, p.line()) }

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":%s,"clientInfo":{"name":"peer","version":"1"}}}`

// hello performs the handshake of the older protocols and returns the session it opens.
func (p *peer) hello(capabilities string) *transport.Session {
	p.t.Helper()
	p.write(fmt.Sprintf(initialize, capabilities))
	require.Contains(p.t, p.line(), `"protocolVersion":"2025-11-25"`)
	p.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return <-p.session
}

// call is a tools/call line; args are the members of its arguments.
func call(id any, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"method":"tools/call","params":{"name":%q,"arguments":{%s}}}`, id, tool, args)
}

func callWithToken(id any, token, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"method":"tools/call","params":{"name":%q,"arguments":{%s},"_meta":{"progressToken":%s}}}`, id, tool, args, token)
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"modern","version":"2"},"io.modelcontextprotocol/clientCapabilities":{}%s}`

// modern is a request of protocol 2026-07-28; params are its members besides _meta.
func modern(id any, method, params string) string {
	if params != "" {
		params += ","
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"method":%q,"params":{%s%s}}`, id, method, params, fmt.Sprintf(modernMeta, ""))
}

const ping = `{"jsonrpc":"2.0","id":"ping","method":"ping"}`

var modernMetaPlain = fmt.Sprintf(modernMeta, "")
