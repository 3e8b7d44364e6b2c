package transport_test

import (
	"bufio"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

func TestStreamsThatCanBeResumedSayHowSoonToComeBack(t *testing.T) {
	for version, first := range map[string]string{"2025-11-25": "retry: 1000\n", "2025-06-18": ": still here\n"} {
		t.Run(version, func(t *testing.T) {
			x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
			c := x.hello("a", version, `{}`)
			r := c.send(t.Context(), http.MethodPost, call(1, "wait", `"ms":50`), c.headers)
			defer r.Body.Close()
			line, err := bufio.NewReader(r.Body).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, first, line)
		})
	}
}
