package client_test

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the handshake's own hash
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
)

// wire is the server's end of a WebSocket, frame by frame, so that tests decide about fragments, pings and ends.
type wire struct {
	t  *testing.T
	rw *bufio.ReadWriter
	c  net.Conn
}

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// onWire answers a handshake and gives the test the connection.
func onWire(t *testing.T, serve func(w *wire)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		hash := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
		conn, buffered, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(hash[:]))
		serve(&wire{t, buffered, conn})
	}
}

func (w *wire) frame(opcode byte, fin bool, payload string) {
	head := []byte{opcode}
	if fin {
		head[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	_, _ = w.c.Write(append(head, payload...))
}

func (w *wire) text(payload string) { w.frame(opText, true, payload) }

func (w *wire) end(code uint16, reason string) {
	w.frame(opClose, true, string(binary.BigEndian.AppendUint16(nil, code))+reason)
	_, _ = w.read() // the echo
}

// read gives the next frame of the client; its payload is unmasked.
func (w *wire) read() (opcode byte, payload string) {
	var head [2]byte
	if _, err := io.ReadFull(w.rw, head[:]); err != nil {
		return 0xff, ""
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		_, _ = io.ReadFull(w.rw, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, _ = io.ReadFull(w.rw, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	masked := make([]byte, 4+n)
	if _, err := io.ReadFull(w.rw, masked); err != nil {
		return 0xff, ""
	}
	mask, data := masked[:4], masked[4:]
	for i := range data {
		data[i] ^= mask[i%4]
	}
	return head[0] & 0x0f, string(data)
}

// untilClosed reads until the client is gone.
func (w *wire) untilClosed() {
	for {
		op, payload := w.read()
		if op == opClose {
			w.frame(opClose, true, payload)
		}
		if op == 0xff {
			return
		}
	}
}

func streamOf(t *testing.T, o client.Options, serve func(w *wire)) *client.Stream {
	t.Helper()
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress + "/stream": onWire(t, serve)})
	s, err := p.client(t, o).StreamChat(t.Context(), chatID, client.StreamRequest{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

const statusRunning = `{"type":"status","chat_id":"1c3ff024-0450-497b-97d5-a65464216353","status":{"status":"running"}}`

func TestTheHandshakeHasNoOriginAndNoCompression(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress + "/stream": onWire(t, (*wire).untilClosed)})
	s, err := p.client(t, client.Options{HTTPClient: &http.Client{Timeout: 10 * time.Second}}).
		StreamChat(t.Context(), chatID, client.StreamRequest{AfterID: 42})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	h := p.headers["GET "+chatAddress+"/stream"]
	require.Empty(t, h.Values("Origin"))
	require.Empty(t, h.Get("Sec-WebSocket-Extensions"))
	require.Empty(t, h.Get("Sec-WebSocket-Protocol"))
	require.Equal(t, token, h.Get("Coder-Session-Token"))
	require.Equal(t, "GET "+chatAddress+"/stream?after_id=42", p.last(t))
	_, err = s.Next(t.Context())
	var closed *client.ClosedError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, -1, closed.Code)
	require.ErrorIs(t, err, net.ErrClosed)
	require.NotErrorIs(t, err, io.EOF)
}

func TestRefusedHandshakesAreTheErrorsOfREST(t *testing.T) {
	long := strings.Repeat("x", 3000)
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress + "/stream":         reply(404, `{"message":"Resource not found or you do not have access to this resource","detail":"`+long+`"}`),
		"GET " + chatAddress + "/stream/git":     reply(400, `{"message":"Chat has no workspace to watch."}`),
		"GET " + chatAddress + "/stream/desktop": withHeader("Retry-After", "60", reply(429, limited)),
		"GET /api/experimental/chats/watch":      reply(403, "Origin x is not allowed\n{\"message\":\"Failed to open chat watch stream.\"}"),
	})
	c := p.client(t, client.Options{})
	_, err := c.StreamChat(t.Context(), chatID, client.StreamRequest{})
	require.True(t, client.IsNotFound(err))
	require.Equal(t, long, asError(t, err).Detail, "all of the answer is read")
	_, err = c.WatchGit(t.Context(), chatID)
	require.ErrorContains(t, err, "Chat has no workspace to watch.")
	require.Equal(t, client.KindInvalidArgument, client.KindOf(err))
	_, err = c.Desktop(t.Context(), chatID)
	require.True(t, client.IsRateLimited(err))
	require.Equal(t, time.Minute, asError(t, err).RetryAfter)
	_, err = c.WatchChats(t.Context())
	require.Equal(t, client.KindForbidden, client.KindOf(err))
	require.ErrorContains(t, err, "Failed to open chat watch stream.")
	p.set("GET /api/experimental/chats/watch", reply(200, `{}`))
	_, err = c.WatchChats(t.Context())
	require.ErrorContains(t, err, "proxy")
	p.set("GET /api/experimental/chats/watch", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err = p.client(t, client.Options{HandshakeTimeout: 50 * time.Millisecond}).WatchChats(t.Context())
	require.Equal(t, client.KindTimeout, client.KindOf(err))
}

func TestEveryShapeOfAFrameIsUnderstood(t *testing.T) {
	chat := `"chat_id":"1c3ff024-0450-497b-97d5-a65464216353"`
	s := streamOf(t, client.Options{}, func(w *wire) {
		w.text("[" + statusRunning + `,{"type":"preview_reset",` + chat + "}]\n")
		w.text(statusRunning + "\n")
		w.text(`{"type":"ping"}`)
		w.text(` { "type" : "data" , "data" : [ ` + statusRunning + ` ] } `)
		w.text(`{"data":` + statusRunning + `,"type":"data"}` + "\n" + statusRunning)
		w.text(`{"type":"error","data":{"message":"Failed to stream.","detail":"why"}}`)
		w.text(`{"type":"error","data":"plain words"}`)
		w.text(`[]`)
		w.text(`[{"type":"error",` + chat + `,"error":{"message":"Auth.","kind":"auth","status_code":401}}]`)
		w.text(`[{"type":"queue_update",` + chat + `},{"type":"retry","retry":{"attempt":1,"delay_ms":1000,"error":"e","retrying_at":"2026-11-22T21:05:50.595968802Z"}},
			{"type":"action_required","action_required":{"tool_calls":[{"tool_call_id":"c","tool_name":"t","args":"{\"x\": 42} NOTITLE"}]}},
			{"type":"message","message":{"id":7,"content":null},"status":null},{"type":"quantum","spin":2,"data":{"k":1}}]`)
		w.text(`[{"type":"status","status":"not an object"},{"type":"message_part","message_part":{"part":{"type":"text"},"seq":"x"}}]`)
		w.text("no JSON")
		w.frame(opBinary, true, statusRunning)
		w.untilClosed()
	})
	next := func(n int) []client.StreamEvent {
		t.Helper()
		events, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, events, n)
		return events
	}
	events := next(2)
	require.Equal(t, client.StatusRunning, events[0].Status.Status)
	require.Equal(t, chatID, events[0].ChatID)
	require.Equal(t, statusRunning, string(events[0].Raw))
	require.Equal(t, client.EventPreviewReset, events[1].Type)
	next(1)
	next(1)
	next(2)
	e := next(1)[0]
	require.Equal(t, client.EventError, e.Type)
	require.Equal(t, "Failed to stream.", e.Error.Message)
	require.Equal(t, "plain words", strings.Trim(next(1)[0].Error.Message, `"`))
	require.Equal(t, 401, next(1)[0].Error.StatusCode)
	events = next(5)
	require.Empty(t, events[0].QueuedMessages)
	require.EqualValues(t, 1000, events[1].Retry.DelayMS)
	require.Equal(t, `{"x": 42} NOTITLE`, events[2].ActionRequired.ToolCalls[0].Args)
	require.EqualValues(t, 7, events[3].Message.ID)
	require.Nil(t, events[3].Status)
	require.Equal(t, "quantum", events[4].Type)
	require.JSONEq(t, `{"type":"quantum","spin":2,"data":{"k":1}}`, string(events[4].Raw))
	events = next(2)
	require.Equal(t, client.EventStatus, events[0].Type, "what can't be read in an event does not hide the rest")
	_, err := s.Next(t.Context())
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	require.ErrorContains(t, err, "no JSON")
	next(1)
}

func TestBigAndFragmentedFrames(t *testing.T) {
	big := strings.Repeat("ä", 4<<20)
	s := streamOf(t, client.Options{}, func(w *wire) {
		w.text(`[{"type":"message","message":{"id":1,"role":"user","content":[{"type":"text","text":"` + big + `"}]}}]`)
		w.frame(opText, false, statusRunning)
		w.frame(opPing, true, "1")
		w.frame(opContinuation, true, "")
		w.frame(opText, false, "[")
		for _, c := range statusRunning {
			w.frame(opContinuation, false, string(c))
		}
		w.frame(opContinuation, true, "]\n")
		w.untilClosed()
	})
	events, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(big), len(events[0].Message.Text()))
	for range 2 {
		events, err = s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, client.StatusRunning, events[0].Status.Status)
	}
}

func TestAFrameAboveTheLimitEndsTheStream(t *testing.T) {
	s := streamOf(t, client.Options{MaxResponse: 4096}, func(w *wire) {
		w.text(`["` + strings.Repeat("x", 5000) + `"]`)
		w.untilClosed()
	})
	_, err := s.Next(t.Context())
	require.ErrorContains(t, err, "larger than 4096 bytes")
	require.NotErrorIs(t, err, io.EOF)
}

func TestPingsAreAnsweredWhileNobodyReads(t *testing.T) {
	pong := make(chan string, 1)
	s := streamOf(t, client.Options{}, func(w *wire) {
		w.text(statusRunning)
		w.text(statusRunning)
		w.frame(opPing, true, "1")
		op, payload := w.read()
		require.EqualValues(t, opPong, op)
		pong <- payload
		w.untilClosed()
	})
	require.Equal(t, "1", <-pong)
	for range 2 {
		_, err := s.Next(t.Context())
		require.NoError(t, err)
	}
}

func TestCloseCodes(t *testing.T) {
	for code, normal := range map[uint16]bool{1000: true, 1001: true, 1008: false, 1011: false, 4000: false} {
		s := streamOf(t, client.Options{}, func(w *wire) {
			w.text(statusRunning)
			w.end(code, "because")
		})
		_, err := s.Next(t.Context())
		require.NoError(t, err, "what came before the end is handed out")
		for range 2 {
			_, err = s.Next(t.Context())
			var closed *client.ClosedError
			require.ErrorAs(t, err, &closed)
			require.Equal(t, int(code), closed.Code)
			require.Equal(t, "because", closed.Reason)
			require.Equal(t, normal, errors.Is(err, io.EOF))
			require.ErrorContains(t, err, fmt.Sprint(code))
		}
	}
}

func TestABareEndAndAReset(t *testing.T) {
	s := streamOf(t, client.Options{}, func(*wire) {})
	_, err := s.Next(t.Context())
	require.ErrorIs(t, err, io.EOF)
	var closed *client.ClosedError
	require.ErrorAs(t, err, &closed)
	require.Equal(t, -1, closed.Code)

	s = streamOf(t, client.Options{}, func(w *wire) { w.frame(7, true, "an opcode that does not exist") })
	_, err = s.Next(t.Context())
	require.ErrorAs(t, err, &closed)
	require.NotErrorIs(t, err, io.EOF)
	require.Equal(t, -1, closed.Code)
}

func TestASilentConnectionIsDead(t *testing.T) {
	s := streamOf(t, client.Options{PingTimeout: 800 * time.Millisecond}, func(w *wire) {
		for range 10 { // pings keep it alive beyond the time-out, which a busy machine must not reach between two of them
			time.Sleep(100 * time.Millisecond)
			w.frame(opPing, true, "1")
		}
		w.text(statusRunning)
		w.untilClosed()
	})
	_, err := s.Next(t.Context())
	require.NoError(t, err)
	_, err = s.Next(t.Context())
	require.ErrorContains(t, err, "no frame and no ping for 800ms")
	require.NotErrorIs(t, err, io.EOF)
}

func TestAContextThatEndsLeavesTheStreamOpen(t *testing.T) {
	send := make(chan struct{})
	s := streamOf(t, client.Options{}, func(w *wire) {
		<-send
		w.text(statusRunning)
		w.untilClosed()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	close(send)
	_, err = s.Next(t.Context())
	require.NoError(t, err)
}

func TestTheQueueOfAStreamThatNobodyReadsIsBounded(t *testing.T) {
	const frames = 40 // of 1 MiB
	written := make(chan int, frames)
	s := streamOf(t, client.Options{PingTimeout: 100 * time.Millisecond}, func(w *wire) {
		frame := `[{"type":"filler","x":"` + strings.Repeat("x", 1<<20) + `"}]`
		for i := range frames {
			w.text(frame)
			written <- i
		}
		w.untilClosed()
	})
	settled := 0
	for quiet := time.NewTimer(500 * time.Millisecond); ; {
		select {
		case <-written:
			settled++
			quiet.Reset(500 * time.Millisecond)
			continue
		case <-quiet.C:
		}
		break
	}
	require.Less(t, settled, frames, "the server is held back, and not taken for dead meanwhile")
	for range frames {
		events, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, events, 1)
	}
}

func TestCloseWhileTheQueueIsFull(t *testing.T) {
	full := make(chan struct{})
	s := streamOf(t, client.Options{}, func(w *wire) {
		frame := `[{"type":"filler","x":"` + strings.Repeat("x", 1<<20) + `"}]`
		for i := range 12 {
			if i == 9 {
				close(full)
			}
			w.text(frame)
		}
		w.untilClosed()
	})
	<-full
	require.NoError(t, s.Close())
}

func TestEventsRangeOverTheStream(t *testing.T) {
	serve := func(w *wire) {
		w.text("[" + statusRunning + "," + statusRunning + "]")
		w.text("[" + statusRunning + "]")
		w.end(1000, "")
	}
	n := 0
	for _, err := range streamOf(t, client.Options{}, serve).Events(t.Context()) {
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		n++
	}
	require.Equal(t, 3, n)
	for _, err := range streamOf(t, client.Options{}, serve).Events(t.Context()) {
		require.NoError(t, err)
		break
	}
}

func TestWatch(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET /api/experimental/chats/watch": onWire(t, func(w *wire) {
		w.text(`{"kind":"created","chat":{"id":"` + chatID.String() + `","status":"pending","new":1}}` + "\n")
		w.text(`[{"kind":"action_required","chat":{"id":"` + chatID.String() + `"},"tool_calls":[{"tool_call_id":"c","tool_name":"t","args":"{}"}]},{"kind":"teleported","chat":{"id":"` + chatID.String() + `"}}]`)
		w.text(`{"type":"data","data":{"kind":"deleted","chat":{}}}{"type":"ping"}`)
		w.text(`{"kind":"title_change","chat":7}`)
		w.text(`{"type":"error","data":{"message":"Failed to watch.","detail":"d"}}`)
		w.text(`{`)
		w.text(`{"kind":"status_change","chat":{}}`)
		w.end(1000, "")
	})})
	c := p.client(t, client.Options{})
	watch, err := c.WatchChats(t.Context())
	require.NoError(t, err)
	defer watch.Close()
	var kinds []string
	var failures int
	for i := 0; ; i++ {
		event, err := watch.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failures++
			require.Equal(t, client.KindUnavailable, client.KindOf(err))
			continue
		}
		kinds = append(kinds, event.Kind)
		require.True(t, json.Valid(event.Raw))
		switch event.Kind {
		case client.KindCreated:
			require.Equal(t, chatID, event.Chat.ID)
			require.Contains(t, event.Chat.Extra, "new")
		case client.KindActionRequired:
			require.Equal(t, "t", event.ToolCalls[0].ToolName)
		}
	}
	require.Equal(t, []string{"created", "action_required", "teleported", "deleted", "title_change", "status_change"}, kinds)
	require.Equal(t, 2, failures)

	watch, err = c.WatchChats(t.Context())
	require.NoError(t, err)
	for event, err := range watch.Events(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, client.KindCreated, event.Kind)
		break
	}
	require.NoError(t, watch.Close())
}

func TestGit(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress + "/stream/git": onWire(t, func(w *wire) {
		op, payload := w.read()
		require.EqualValues(t, opText, op)
		require.JSONEq(t, `{"type":"refresh"}`, payload)
		w.frame(opText, false, `{"type":"changes","scanned_at":"2026-11-22T21:18:54.391938776Z","repositories":[{"repo_root":"/r","branch":"b","unified_diff":"d"}]}`)
		w.frame(opContinuation, true, "")
		w.text(`{"type":"changes","scanned_at":"2026-11-22T21:18:57.481519325Z"}`)
		w.text(`{"type":"error","message":"unknown message type"}`)
		w.text(`{"type":"changes","scanned_at":"never"}`)
		w.end(1001, "")
	})})
	git, err := p.client(t, client.Options{}).WatchGit(t.Context(), chatID)
	require.NoError(t, err)
	require.NoError(t, git.Refresh(t.Context()))
	m, err := git.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/r", m.Repositories[0].RepoRoot)
	m, err = git.Next(t.Context())
	require.NoError(t, err)
	require.Empty(t, m.Repositories)
	var messages []client.GitMessage
	var errs []error
	for m, err := range git.Messages(t.Context()) {
		messages, errs = append(messages, m), append(errs, err)
	}
	require.Equal(t, "unknown message type", messages[0].Message)
	require.Equal(t, client.KindUnavailable, client.KindOf(errs[1]))
	_, err = git.Next(t.Context())
	require.ErrorIs(t, err, io.EOF)
	require.Error(t, git.Refresh(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, git.Refresh(ctx), context.Canceled)
	require.NoError(t, git.Close())
}

func desktopOf(t *testing.T, serve func(w *wire)) net.Conn {
	t.Helper()
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress + "/stream/desktop": onWire(t, serve)})
	conn, err := p.client(t, client.Options{}).Desktop(t.Context(), chatID)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func TestDesktopIsAConnection(t *testing.T) {
	conn := desktopOf(t, func(w *wire) {
		w.frame(opBinary, true, "RFB 003")
		w.frame(opBinary, true, "")
		w.frame(opBinary, true, ".008\n")
		for {
			op, payload := w.read()
			if op != opBinary {
				return
			}
			w.frame(opBinary, true, "echo "+payload)
			if payload == "bye" {
				w.end(1000, "")
				return
			}
		}
	})
	require.Equal(t, "websocket", conn.RemoteAddr().Network())
	require.Contains(t, conn.RemoteAddr().String(), "http://127.0.0.1")
	require.NotNil(t, conn.LocalAddr())
	buf := make([]byte, 12)
	_, err := io.ReadFull(conn, buf)
	require.NoError(t, err)
	require.Equal(t, "RFB 003.008\n", string(buf))
	n, err := conn.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)

	require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = conn.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Millisecond)))
	_, err = conn.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, conn.SetDeadline(time.Time{}))

	_, err = conn.Write([]byte("bye"))
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "echo bye", string(all))
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(-time.Second)))
	_, err = conn.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestADesktopThatIsClosedEndsItsReader(t *testing.T) {
	conn := desktopOf(t, (*wire).untilClosed)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	require.NoError(t, conn.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)
	_, err := conn.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)

	conn = desktopOf(t, func(w *wire) { w.end(1011, "broken") })
	_, err = conn.Read(make([]byte, 1))
	var closed *client.ClosedError
	require.ErrorAs(t, err, &closed)
}

func part(i int) string {
	return fmt.Sprintf(`{"type":"message_part","chat_id":"1c3ff024-0450-497b-97d5-a65464216353","message_part":{"role":"assistant","part":{"type":"text","text":"chunk-%04d ","mcp_server_config_id":null,"url":"","media_type":"","file_id":null,"file_name":"","start_line":0,"end_line":0,"content":"","context_file_path":"","context_file_agent_id":null,"skill_name":""},"history_version":1,"generation_attempt":2,"seq":%d}}`, i, i)
}

func TestPartsAreDecodedWhole(t *testing.T) {
	var e client.StreamEvent
	require.NoError(t, json.Unmarshal([]byte(part(7)), &e))
	require.Equal(t, client.PartEvent{
		Role: client.RoleAssistant, Part: client.Part{Type: client.PartText, Text: "chunk-0007 "}, HistoryVersion: 1, GenerationAttempt: 2, Seq: 7,
	}, *e.MessagePart)
	require.Empty(t, e.MessagePart.Part.Extra)
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{part(1), "[" + statusRunning + "]", `{"type":"data","data":[]}`, `{"a":"\\"`, `[{"a":`, `{"a" "b"}`, `[1 2]`, `{1:2}`, `{"a":,}`, `[,]`, ` `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e client.StreamEvent
		_ = e.UnmarshalJSON(data)
		var p client.Part
		if err := p.UnmarshalJSON(data); json.Valid(data) && len(data) > 0 && strings.TrimSpace(string(data))[0] == '{' {
			require.NoError(t, err)
		}
	})
}

func BenchmarkDecodeParts(b *testing.B) {
	raw := []byte(part(1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var e client.StreamEvent
		if err := e.UnmarshalJSON(raw); err != nil {
			b.Fatal(err)
		}
	}
}
