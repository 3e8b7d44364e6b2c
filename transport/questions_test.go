package transport_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

const able = `{"roots":{"listChanged":true},"elicitation":{},"sampling":{}}`

// question reads a request of the server and returns its raw id.
func (p *peer) question(method string) string {
	p.t.Helper()
	var q struct {
		ID     json.RawMessage
		Method string
	}
	require.NoError(p.t, json.Unmarshal([]byte(p.line()), &q))
	require.Equal(p.t, method, q.Method)
	return string(q.ID)
}

func (p *peer) answer(id, body string) {
	p.write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, id, body))
}

func TestRootsAreAskedOnceUntilTheyChange(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(able)
	require.Equal(t, "peer", s.Client().Name)
	require.Equal(t, "2025-11-25", s.ProtocolVersion())
	require.NotNil(t, s.Capabilities().Roots)

	p.write(call(1, "roots", ""))
	p.answer(p.question("roots/list"), `"result":{"roots":[{"uri":"file:///a"}]}`)
	require.Contains(t, p.next().text(), "file:///a")
	p.write(call(2, "roots", ""))
	require.Contains(t, p.next().text(), "file:///a")

	p.write(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, call(3, "roots", ""))
	p.answer(p.question("roots/list"), `"result":{"roots":[]}`)
	require.Equal(t, "[]", p.next().text())

	// A change while the client answers: that answer isn't kept.
	p.write(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, call(4, "roots", ""))
	id := p.question("roots/list")
	p.write(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
	p.answer(id, `"result":{"roots":[{"uri":"file:///old"}]}`)
	require.Contains(t, p.next().text(), "file:///old")
	p.write(call(5, "roots", ""))
	p.answer(p.question("roots/list"), `"error":{"code":-32603,"message":"not now"}`)
	require.Equal(t, "the client refused roots/list: not now", p.next().text())
}

func TestElicitationReachesTheUserAndBack(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(able)
	p.write(call(1, "elicit", ""), call(2, "echo", `"text":"meanwhile"`))
	ids := map[string]string{}
	for range 2 {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		require.NoError(t, json.Unmarshal([]byte(p.line()), &m))
		ids[m.Method] = string(m.ID)
	}
	require.Equal(t, "2", ids[""])
	p.answer(ids["elicitation/create"], `"result":{"action":"accept","content":{}}`)
	require.Equal(t, "accept", p.next().text())

	p.write(call(3, "ask", ""))
	p.answer(p.question("elicitation/create"), `"result":{"action":"decline"}`)
	require.Equal(t, "bridged decline", p.next().text())

	p.write(call(4, "elicit", ""))
	p.answer(p.question("elicitation/create"), `"error":{"code":1}`)
	require.Equal(t, "the client refused elicitation/create", p.next().text())

	p.write(call(5, "elicit", ""))
	p.answer(p.question("elicitation/create"), `"result":[]`)
	require.Contains(t, p.next().text(), "malformed")

	p.write(call(6, "sample", ""))
	p.answer(p.question("sampling/createMessage"), `"result":{"role":"assistant","model":"m","content":{"type":"text","text":"said"}}`)
	require.Equal(t, "said", p.next().text())
}

func TestQuestionIsWithdrawnWhenNobodyWaitsForItsAnswer(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(able)
	p.write(call(1, "elicit", ""))
	id := p.question("elicitation/create")
	p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	withdrawn := p.next()
	require.Equal(t, "notifications/cancelled", withdrawn.Method)
	require.Equal(t, id, string(withdrawn.Params.RequestID))
	p.answer(id, `"result":{"action":"accept"}`) // too late, and ignored
	p.write(ping)
	require.Equal(t, `"ping"`, string(p.next().ID))
}

func TestClientWithoutCapabilitiesIsNotAsked(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(`{}`)
	p.write(call(1, "roots", ""))
	require.Equal(t, "[]", p.next().text())
	p.write(call(2, "ask", ""))
	require.Contains(t, p.next().text(), "the MCP client does not support this")
	p.write(call(3, "sample", ""))
	require.Contains(t, p.next().text(), "sampling: the MCP client does not support this")
	_, err := s.ListRoots(t.Context(), mcp.ListRootsRequest{})
	require.ErrorIs(t, err, transport.ErrUnsupportedByClient)
}

func TestValuesOfASessionAreMadeOnce(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(`{}`)
	type key struct{}
	made := 0
	for range 3 {
		require.Equal(t, 1, s.LoadOrStore(key{}, func() any { made++; return made }))
	}
	require.NotEmpty(t, s.ID())
	require.Equal(t, s.ID(), s.SessionID())
	require.Empty(t, s.Identity())
	require.Nil(t, s.NotificationChannel())
}
