package transport_test

import (
	"context"
	"io"
	"strings"
	"testing"

	mcpclient "github.com/mark3labs/mcp-go/client"
	mcptransport "github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// TestClientOfMCPGo talks to us with a client that isn't ours, in both eras.
func TestClientOfMCPGo(t *testing.T) {
	for _, version := range []string{mcp.LATEST_LEGACY_PROTOCOL_VERSION, mcp.LATEST_PROTOCOL_VERSION} {
		t.Run("stdio "+version, func(t *testing.T) {
			inR, inW := io.Pipe()
			outR, outW := io.Pipe()
			served := make(chan error, 1)
			go func() {
				served <- transport.New(newServer(), transport.Options{Logger: quiet}).ServeStdio(context.Background(), inR, outW)
				outW.Close()
			}()
			c := mcpclient.NewClient(mcptransport.NewIO(outR, inW, io.NopCloser(strings.NewReader(""))))
			useClient(t, c, version)
			inW.Close()
			require.NoError(t, <-served)
			c.Close()
		})
		t.Run("http "+version, func(t *testing.T) {
			x := openSite(t, transport.Options{}, transport.HTTPOptions{})
			c, err := mcpclient.NewStreamableHttpClient(x.url)
			require.NoError(t, err)
			useClient(t, c, version)
			c.Close()
		})
	}
}

func useClient(t *testing.T, c *mcpclient.Client, version string) {
	t.Helper()
	heard := make(chan string, 100)
	c.OnNotification(func(n mcp.JSONRPCNotification) { heard <- n.Method })
	require.NoError(t, c.Start(t.Context()))
	q := mcp.InitializeRequest{}
	q.Params.ProtocolVersion, q.Params.ClientInfo = version, mcp.Implementation{Name: "other", Version: "1"}
	hello, err := c.Initialize(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, version, hello.ProtocolVersion)
	tools, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	require.NoError(t, err)
	require.NotEmpty(t, tools.Tools)
	burst := mcp.CallToolRequest{}
	burst.Params.Name, burst.Params.Arguments = "burst", map[string]any{"n": 3}
	result, err := c.CallTool(t.Context(), burst)
	require.NoError(t, err)
	require.Equal(t, "sent", result.Content[0].(mcp.TextContent).Text)
	for range 3 {
		require.Equal(t, "notifications/burst", <-heard)
	}
}
