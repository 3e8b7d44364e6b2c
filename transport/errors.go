package transport

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Error is a JSON-RPC error. A resource or prompt handler, or a hook, that returns one, wrapped or not, has it sent as
// it is; any other error becomes an internal error with its text, or -32002 if it is a server.ErrResourceNotFound.
type Error struct {
	Code    int
	Message string
	Data    any
}

func (e *Error) Error() string { return e.Message }

// guardHandlers keeps the error a handler returned for readable, and makes a tool's error a result.
func (c *Core) guardHandlers() {
	server.WithToolHandlerMiddleware(func(next server.ToolHandlerFunc) server.ToolHandlerFunc {
		return func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return c.guardTool(ctx, q.Params.Name, func() (*mcp.CallToolResult, error) { return next(ctx, q) })
		}
	})(c.mcp)
	server.WithResourceHandlerMiddleware(func(next server.ResourceHandlerFunc) server.ResourceHandlerFunc {
		return func(ctx context.Context, q mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			contents, err := next(ctx, q)
			keepFailure(ctx, err)
			return contents, err
		}
	})(c.mcp)
	server.WithPromptHandlerMiddleware(func(next server.PromptHandlerFunc) server.PromptHandlerFunc {
		return func(ctx context.Context, q mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			result, err := next(ctx, q)
			keepFailure(ctx, err)
			return result, err
		}
	})(c.mcp)
}

// guardTool makes of a panic, and of an error that is nothing to the client, a result for its model.
func (c *Core) guardTool(ctx context.Context, name string, call func() (*mcp.CallToolResult, error)) (result *mcp.CallToolResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in a tool", "tool", name, "panic", p, "stack", string(debug.Stack()))
			result, err = mcp.NewToolResultError("the tool "+name+" failed inside the server; its log says more"), nil
		}
	}()
	result, err = call()
	if err == nil {
		return result, nil
	}
	keepFailure(ctx, err)
	if isProtocolError(err) {
		return nil, err
	}
	return mcp.NewToolResultError(explain(ctx, err)), nil
}

func keepFailure(ctx context.Context, err error) {
	if r := requestFrom(ctx); r != nil && err != nil {
		r.failure = err
	}
}

// isProtocolError tells the errors that a client acts on, not its model.
func isProtocolError(err error) bool {
	var own *Error
	var url mcp.URLElicitationRequiredError
	return errors.As(err, &own) || errors.As(err, &url) || mcp.IsMissingRequiredClientCapability(err)
}

func explain(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		return cause.Error()
	}
	return err.Error()
}

// readable turns an error of mcp-go into one that says what to do, without Go in it.
func readable(r *request, e mcp.JSONRPCErrorDetails) *Error {
	if r.failure != nil && e.Code == mcp.INTERNAL_ERROR {
		return refusal(r, r.failure)
	}
	out := &Error{Code: e.Code, Message: e.Message, Data: e.Data}
	if bad := unmarshalError.FindStringSubmatch(e.Message); bad != nil {
		out.Code = mcp.INVALID_PARAMS
		out.Message = fmt.Sprintf("malformed %s: %s must not be a JSON %s", r.method, bad[2], bad[1])
	}
	if r.method == string(mcp.MethodResourcesRead) && (e.Code == mcp.RESOURCE_NOT_FOUND || e.Code == mcp.INVALID_PARAMS) {
		out.Message = "there is no resource " + r.uri
		out.Data = map[string]any{"uri": r.uri}
	}
	return out
}

// unmarshalError matches what encoding/json says of a value of the wrong type: the JSON type, and the path from params.
var unmarshalError = regexp.MustCompile(`cannot unmarshal (\w+) (?:\S+ )?into Go struct field [^ .]*\.(\S+) of type`)

// refusal is the JSON-RPC error for the error of a handler or a hook.
func refusal(r *request, err error) *Error {
	var own *Error
	var missing mcp.MissingRequiredClientCapabilityError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &missing):
		return &Error{Code: mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, Message: missing.Error(),
			Data: map[string]any{"requiredCapabilities": map[string]any{missing.Capability: map[string]any{}}}}
	case errors.Is(err, server.ErrResourceNotFound), r.method == string(mcp.MethodResourcesSubscribe):
		return &Error{Code: r.notFoundCode(), Message: err.Error(), Data: map[string]any{"uri": r.uri}}
	case r.method == string(mcp.MethodSubscriptionsListen):
		return &Error{Code: mcp.INVALID_PARAMS, Message: err.Error()}
	default:
		return &Error{Code: mcp.INTERNAL_ERROR, Message: explain(r.ctx, err)}
	}
}

func (r *request) notFoundCode() int {
	if r.modern {
		return mcp.INVALID_PARAMS
	}
	return mcp.RESOURCE_NOT_FOUND
}
