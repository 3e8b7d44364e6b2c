package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/transport"
)

// working is a chat that runs for longer than any test, and how it stands.
func working(t *testing.T, sim *simulator.Instance) (chat uuid.UUID, status func() client.Status) {
	t.Helper()
	c, err := client.New(sim.URL, sim.Users()[0].Token, client.Options{})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	created, err := c.CreateChat(t.Context(), client.CreateChatRequest{Content: []client.InputPart{client.TextPart("SLOW 20000 20")}})
	require.NoError(t, err)
	return created.ID, func() client.Status {
		found, err := c.GetChat(t.Context(), created.ID)
		require.NoError(t, err)
		return found.Status
	}
}

// heldWait is a call over HTTP that waits for the chat and interrupts it when it is cancelled; it has begun to wait.
type heldWait struct {
	hangUp context.CancelFunc
	answer chan string // all that came
}

func (g *gateway) wait(header http.Header, chat uuid.UUID, meta object) heldWait {
	g.t.Helper()
	params := object{"name": "stream_chat", "arguments": object{"chat": chat, "wait_seconds": 60, "interrupt_on_cancel": true}, "_meta": meta}
	body, err := json.Marshal(object{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
	require.NoError(g.t, err)
	ctx, cancel := context.WithCancel(g.t.Context())
	g.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+server.Path, bytes.NewReader(body))
	require.NoError(g.t, err)
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	answer := make(chan string, 1)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		all, _ := io.ReadAll(response.Body)
		answer <- string(all)
	}()
	require.Eventually(g.t, func() bool { return g.sim.SocketsOf("stream") > 0 }, patience, time.Millisecond)
	return heldWait{cancel, answer}
}

// modernly are the headers and the metadata of a call of protocol 2026-07-28.
func modernly(header http.Header) (http.Header, object) {
	header = header.Clone()
	header.Set(mcp.HeaderProtocolVersion, mcp.ProtocolVersion20260728)
	header.Set("Mcp-Method", "tools/call")
	header.Set("Mcp-Name", "stream_chat")
	return header, object{mcp.MetaKeyProtocolVersion: mcp.ProtocolVersion20260728, mcp.MetaKeyClientInfo: object{"name": "t", "version": "1"}, mcp.MetaKeyClientCapabilities: object{}}
}

func TestAServerThatStopsInterruptsNobodysWork(t *testing.T) {
	for _, modern := range []bool{false, true} {
		g := newGateway(t, server.HTTPOptions{})
		chat, status := working(t, g.sim)
		header, meta := g.token(0), object{}
		if modern {
			header, meta = modernly(header)
		} else {
			header = g.session(header)
		}
		wait := g.wait(header, chat, meta)
		cut, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		require.ErrorIs(t, g.Shutdown(cut), context.DeadlineExceeded)
		stop()
		answer := <-wait.answer
		require.Contains(t, answer, `"timed_out":true`, "an answer gets out")
		require.Contains(t, answer, "the wait is over (timed_out)")
		require.Equal(t, client.StatusRunning, status())
	}
}

func TestTheEndOfASessionInterruptsNobodysWork(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	chat, status := working(t, g.sim)
	header := g.session(g.token(0))
	wait := g.wait(header, chat, object{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, g.url+server.Path, nil)
	require.NoError(t, err)
	r.Header = header
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	<-wait.answer
	require.Eventually(t, func() bool { return g.sim.SocketsOf("stream") == 0 }, patience, time.Millisecond, "the call is over")
	require.Equal(t, client.StatusRunning, status())

	p := connect(t, g.sim, func(o *server.Options) { o.Transport = transport.Options{DrainTimeout: 50 * time.Millisecond} })
	ended := p.call("stream_chat", object{"chat": chat, "wait_seconds": 60, "interrupt_on_cancel": true})
	p.eventually("it waits", func() bool { return p.sim.SocketsOf("stream") == 1 })
	require.NoError(t, p.in.Close())
	require.Equal(t, true, p.result(ended)["timed_out"], "an answer gets out")
	require.Equal(t, client.StatusRunning, status())
}

func TestACallThatItsClientCancelsInterruptsTheChat(t *testing.T) {
	t.Run("notifications/cancelled", func(t *testing.T) {
		g := newGateway(t, server.HTTPOptions{})
		chat, status := working(t, g.sim)
		header := g.session(g.token(0))
		wait := g.wait(header, chat, object{})
		body := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+server.Path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		r.Header = header.Clone()
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		<-wait.answer
		require.Eventually(t, func() bool { return status() == client.StatusWaiting }, patience, time.Millisecond)
	})
	t.Run("the stream of protocol 2026-07-28", func(t *testing.T) {
		g := newGateway(t, server.HTTPOptions{})
		chat, status := working(t, g.sim)
		header, meta := modernly(g.token(0))
		wait := g.wait(header, chat, meta)
		wait.hangUp()
		<-wait.answer
		require.Eventually(t, func() bool { return status() == client.StatusWaiting }, patience, time.Millisecond)
	})
}
