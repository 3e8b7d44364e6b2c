package transport_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

func TestOwnerOfTheTransportListsResources(t *testing.T) {
	p := connect(t, transport.Options{ListResources: func(_ context.Context, cursor string) ([]mcp.Resource, string, error) {
		switch cursor {
		case "":
			return []mcp.Resource{mcp.NewResource("test://a", "same"), mcp.NewResource("test://b", "same")}, "two", nil
		case "two":
			return nil, "", nil
		default:
			return nil, "", errors.New("no such page")
		}
	}})
	list := func(params string) string {
		p.write(`{"jsonrpc":"2.0","id":123456789012345678901,"method":"resources/list"` + params + `}`)
		return p.line()
	}
	require.Equal(t, `{"jsonrpc":"2.0","id":123456789012345678901,"result":{"nextCursor":"two","resources":[{"uri":"test://a","name":"same"},{"uri":"test://b","name":"same"}]}}`, list(""))
	require.Contains(t, list(`,"params":{"cursor":"two"}`), `"result":{"resources":[]}`)
	require.Contains(t, list(`,"params":{"cursor":"three"}`), "no such page")
	require.Contains(t, list(`,"params":{"cursor":3}`), "-32602")
	require.Contains(t, list(`,"params":{`+modernMetaPlain+`,"cursor":"two"}`), `"resultType":"complete"`)
}
