package transport

import (
	"context"
	"encoding/json"

	"github.com/mark3labs/mcp-go/mcp"
)

// resourcePage is what Options.ListResources gave; nil where it does not answer.
type resourcePage struct {
	resources []mcp.Resource
	next      string
}

// listResources asks Options.ListResources for the page of a resources/list, and takes the cursor out of the message: mcp-go still makes the
// envelope of the result, and would refuse a cursor that is not its own.
func (c *Core) listResources(ctx context.Context, r *request, m *message) (*resourcePage, *Error) {
	if c.opts.ListResources == nil || m.Method != string(mcp.MethodResourcesList) {
		return nil, nil
	}
	params := map[string]json.RawMessage{}
	var cursor string
	if len(m.Params) > 0 && json.Unmarshal(m.Params, &params) != nil || len(params["cursor"]) > 0 && json.Unmarshal(params["cursor"], &cursor) != nil {
		return nil, &Error{Code: mcp.INVALID_PARAMS, Message: "malformed resources/list: params must be an object, cursor a string"}
	}
	resources, next, err := c.opts.ListResources(ctx, cursor)
	if err != nil {
		return nil, refusal(r, err)
	}
	delete(params, "cursor")
	m.Params = mustEncode(params)
	m.raw = mustEncode(map[string]any{"jsonrpc": mcp.JSONRPC_VERSION, "id": 0, "method": m.Method, "params": params})
	return &resourcePage{resources: resources, next: next}, nil
}

// in is mcp-go's result with the page in place of its own list.
func (p *resourcePage) in(result any) any {
	list, ok := result.(mcp.ListResourcesResult)
	if p == nil || !ok {
		return result
	}
	list.Resources, list.NextCursor = p.resources, mcp.Cursor(p.next)
	if list.Resources == nil {
		list.Resources = []mcp.Resource{}
	}
	return list
}
