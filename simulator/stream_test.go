package simulator_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func TestALateStreamGetsTheAnswerSoFar(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("SLOW 20 20 NOTITLE")
		early := w.dial(0, "/"+id+"/stream")
		for range 3 {
			early.take(func(o object) bool { return o["type"] == "message_part" })
		}
		s := w.dial(0, "/"+id+"/stream")
		if g == simulator.May2026 {
			seen := s.n(4)
			require.Equal(t, []string{"status running", "part text chunk-0001", "part text chunk-0002", "part text chunk-0003"}, seen)
			return
		}
		require.Equal(t, []string{"message user: SLOW 20 20 NOTITLE", "status running", "preview_reset"}, s.n(3))
		for i := range 20 {
			p := s.next()["message_part"].(object)
			require.Equal(t, float64(i+1), p["seq"])
			require.Equal(t, 1., p["history_version"])
			require.Equal(t, 1., p["generation_attempt"])
		}
	})
}

func TestAfterIDLeavesOutTheHistory(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("hello")
	w.until(id, "waiting")
	require.Equal(t, []string{"status waiting", "preview_reset"}, w.dial(0, "/"+id+"/stream?after_id=9223372036854775807").n(2))
	a := w.call(0, "GET", "/"+id+"/stream?after_id=1.5", nil)
	require.Equal(t, 400, a.status)
	require.Equal(t, `strconv.ParseInt: parsing "1.5": invalid syntax`, a.object(t)["detail"])
}

func TestALiveTurnOfMay(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.May2026})
	id, _ := w.newChat("one NOTITLE")
	w.until(id, "waiting")
	s := w.dial(0, "/"+id+"/stream")
	require.Equal(t, []string{"status waiting", "message user: one NOTITLE", "message assistant: echo: one NOTITLE"}, s.n(3))
	w.send(id, "two")
	require.Equal(t, []string{
		"message user: two", "status pending", "status pending", "status running", "status running",
		"part text echo:", "part text two", "message assistant: echo: two", "status waiting", "status waiting",
	}, s.n(10))
}

func TestABurstReachesAllAndASlowReaderDelaysNobody(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("warm up NOTITLE")
		w.until(id, "waiting")
		slow, resp, err := websocket.Dial(t.Context(), w.URL+w.chats+"/"+id+"/stream", &websocket.DialOptions{
			HTTPClient: w.http, HTTPHeader: http.Header{"Coder-Session-Token": {"simulator-user-1"}},
		})
		require.NoError(t, err, "%v", resp)
		defer func() { _ = slow.CloseNow() }()
		s := w.dial(0, "/"+id+"/stream")
		const n = 10_000
		w.send(id, "BURST 10000")
		w.until(id, "waiting")
		parts := 0
		for o := s.next(); !strings.HasPrefix(brief(o), "message assistant: tok"); o = s.next() {
			if o["type"] == "message_part" {
				parts++
			}
		}
		if g == simulator.May2026 {
			require.LessOrEqual(t, parts, n)
		} else {
			require.Equal(t, n, parts)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g, Speed: 150})
		id, _ := w.newChat("hello")
		pings := make(chan string, 100)
		dial := func(pong bool) *websocket.Conn {
			conn, resp, err := websocket.Dial(t.Context(), w.URL+w.chats+"/"+id+"/stream", &websocket.DialOptions{
				HTTPClient: w.http, HTTPHeader: http.Header{"Coder-Session-Token": {"simulator-user-1"}},
				OnPingReceived: func(_ context.Context, payload []byte) bool {
					pings <- string(payload)
					return pong
				},
			})
			require.NoError(t, err, "%v", resp)
			return conn
		}
		alive := dial(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, _, err := alive.Read(ctx); err != nil {
					return
				}
			}
		}()
		require.Equal(t, "1", <-pings)
		require.Equal(t, "2", <-pings)
		cancel()
		<-done
		mute := dial(false)
		var err error
		for err == nil {
			_, _, err = mute.Read(t.Context())
		}
		require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
		require.Contains(t, err.Error(), map[bool]string{true: "Ping failed", false: "liveness probe failed"}[g == simulator.May2026])
		eventually(t, "no sockets", func() bool { return w.Sockets() == 0 })
	})
}

func TestClientsMayNotSpeak(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("hello")
	for _, path := range []string{"/watch", "/" + id + "/stream"} {
		s := w.dial(0, path)
		require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte("hi")))
		err := s.gone()
		require.Equal(t, websocket.StatusPolicyViolation, websocket.CloseStatus(err), "%v", err)
		require.Contains(t, err.Error(), "unexpected data message")
	}
	s := w.dial(0, "/"+id+"/stream/parts")
	require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte("nonsense")))
	require.Equal(t, websocket.StatusInvalidFramePayloadData, websocket.CloseStatus(s.gone()))
}

func TestStreamPartsFollowsAnEpisode(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("SLOW 5 30")
	early := w.dial(0, "/"+id+"/stream")
	early.take(func(o object) bool { return o["type"] == "message_part" })
	s := w.dial(0, "/"+id+"/stream/parts")
	require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte(`{"history_version":1,"generation_attempt":1}`)))
	require.Equal(t, []string{"part text chunk-0001", "part text chunk-0002", "part text chunk-0003"}, s.n(3))
}

func TestSocketsAreCountedAndClosed(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("hello")
		stream, watch := w.dial(0, "/"+id+"/stream"), w.dial(0, "/watch")
		eventually(t, "two sockets", func() bool { return w.Sockets() == 2 })
		require.Equal(t, []int{1, 1, 0}, []int{w.SocketsOf("stream"), w.SocketsOf("watch"), w.SocketsOf("git")})
		w.CloseSockets("stream", 1001)
		require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(stream.gone()))
		w.CloseSockets("watch", 0)
		require.Equal(t, websocket.StatusCode(-1), websocket.CloseStatus(watch.gone()), "a bare EOF")
		eventually(t, "no sockets", func() bool { return w.Sockets() == 0 })
		require.Equal(t, 1, w.Requests()["GET /chats/{chat}/stream"])
		require.Equal(t, 1, w.Requests()["GET /chats/watch"])
		require.Equal(t, 1, w.Requests()["POST /chats"])
		stream, watch = w.dial(0, "/"+id+"/stream"), w.dial(0, "/watch")
		eventually(t, "two sockets again", func() bool { return w.Sockets() == 2 })
		w.Instance.Close()
		want := websocket.StatusCode(-1)
		if g == simulator.May2026 {
			want = websocket.StatusNormalClosure
		}
		require.Equal(t, want, websocket.CloseStatus(stream.gone()))
		require.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(watch.gone()))
		require.Zero(t, w.Sockets())
	})
}

func TestStreamsMarkTheChatRead(t *testing.T) {
	w := start(t, simulator.Options{Speed: 100})
	id, _ := w.newChat("hello")
	w.until(id, "waiting")
	unread := func() bool { return w.call(0, "GET", "", nil).list(t)[0]["has_unread"].(bool) }
	require.True(t, unread())
	require.Equal(t, false, w.get("/" + id)["has_unread"], "only lists compute it")
	s := w.dial(0, "/"+id+"/stream")
	s.n(1)
	require.False(t, unread())
	w.send(id, "more")
	s.take(func(o object) bool { return strings.HasPrefix(brief(o), "message assistant: echo: more") })
	require.True(t, unread(), "not while connected")
	require.NoError(t, s.conn.Close(websocket.StatusNormalClosure, ""))
	eventually(t, "read at the next ping", func() bool { return !unread() })
}

func TestPlainRequestsAndForeignOriginsAreRefused(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("hello")
	a := w.call(0, "GET", "/"+id+"/stream", nil)
	require.Equal(t, 426, a.status)
	require.Equal(t, "WebSocket protocol violation: Connection header \"\" does not contain Upgrade\n"+
		`{"message":"Failed to open chat stream.","detail":"failed to accept WebSocket connection: WebSocket protocol violation: Connection header \"\" does not contain Upgrade"}`+"\n", string(a.body))
	a = w.call(0, "GET", "/watch", nil, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Origin", "http://evil.example")
	require.Equal(t, 403, a.status)
	require.Contains(t, string(a.body), `request Origin "evil.example" is not authorized for Host`)
}

func TestWatchTellsOnlyTheOwner(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		ada, bob := w.dial(0, "/watch"), w.dial(1, "/watch")
		eventually(t, "both watch", func() bool { return w.SocketsOf("watch") == 2 })
		id, _ := w.newChat("hello NOTITLE")
		seen := ada.take(func(o object) bool { return o["kind"] == "summary_change" })
		require.Equal(t, []string{"created " + map[bool]string{true: "pending", false: "running"}[g == simulator.May2026], "status_change waiting", "summary_change waiting"}, seen)
		require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"title": "renamed"}).status)
		require.Equal(t, "title_change waiting", brief(ada.next()))
		require.Empty(t, bob.in)
	})
}
