package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"coder-chats-mcp/simulator"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// world is one simulator and a client for each of its users.
type world struct {
	*simulator.Instance
	t     *testing.T
	chats string // path of the chats
	http  *http.Client
}

func start(t *testing.T, o simulator.Options) *world {
	t.Helper()
	if o.TokenDelay == 0 {
		o.TokenDelay = time.Millisecond
	}
	i, err := simulator.Start(o)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		i.Close()
	})
	chats := "/api/experimental/chats"
	if o.Generation == "" || o.Generation == simulator.V238 {
		chats = "/api/v2/chats"
	}
	return &world{Instance: i, t: t, chats: chats, http: &http.Client{Transport: transport}}
}

// each runs a test against all generations.
func each(t *testing.T, f func(t *testing.T, g simulator.Generation)) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026, simulator.V238} {
		t.Run(string(g), func(t *testing.T) { f(t, g) })
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) object(t *testing.T) object {
	t.Helper()
	var o object
	require.NoError(t, json.Unmarshal(a.body, &o), "%s", a.body)
	return o
}

func (a answer) list(t *testing.T) []object {
	t.Helper()
	var o []object
	require.NoError(t, json.Unmarshal(a.body, &o), "%s", a.body)
	return o
}

// call sends a request as the n-th user; a path without /api is below the chats.
func (w *world) call(n int, method, path string, body any, headers ...string) answer {
	w.t.Helper()
	if !strings.HasPrefix(path, "/api") {
		path = w.chats + path
	}
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		require.NoError(w.t, err)
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, r)
	require.NoError(w.t, err)
	if n >= 0 {
		req.Header.Set("Coder-Session-Token", w.Users()[n].Token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.http.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answer{resp.StatusCode, resp.Header, b}
}

func (w *world) get(path string) object {
	w.t.Helper()
	a := w.call(0, "GET", path, nil)
	require.Equal(w.t, 200, a.status, "%s", a.body)
	return a.object(w.t)
}

func text(s string) []object { return []object{{"type": "text", "text": s}} }

func (w *world) newChat(prompt string, more ...object) (id string, chat object) {
	w.t.Helper()
	body := object{"organization_id": w.Users()[0].OrganizationID, "content": text(prompt)}
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	a := w.call(0, "POST", "", body)
	require.Equal(w.t, 201, a.status, "%s", a.body)
	chat = a.object(w.t)
	return chat["id"].(string), chat
}

func (w *world) send(id, prompt string, more ...object) object {
	w.t.Helper()
	body := object{"content": text(prompt)}
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	a := w.call(0, "POST", "/"+id+"/messages", body)
	require.Equal(w.t, 200, a.status, "%s", a.body)
	return a.object(w.t)
}

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 3*time.Millisecond, what)
}

// until waits for a status and returns the chat.
func (w *world) until(id, status string) (chat object) {
	w.t.Helper()
	eventually(w.t, "status "+status, func() bool {
		chat = w.get("/" + id)
		return chat["status"] == status
	})
	return chat
}

// transcript is role: text of each message, oldest first.
func (w *world) transcript(id string) []string {
	w.t.Helper()
	var lines []string
	for _, m := range w.get("/" + id + "/messages?limit=200")["messages"].([]any) {
		lines = append([]string{told(m.(object))}, lines...)
	}
	return lines
}

func told(m object) string {
	s := fmt.Sprint(m["role"], ":")
	for _, p := range m["content"].([]any) {
		switch p := p.(object); p["type"] {
		case "text", "reasoning":
			s += " " + p["text"].(string)
		case "tool-result":
			raw, _ := json.Marshal(p["result"])
			s += " " + string(raw)
		default:
			s += fmt.Sprint(" <", p["type"], ">")
		}
	}
	return s
}

// socket is a client's WebSocket whose events arrive flattened, in order.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
	in   chan object
	end  error // once in is closed
}

func (w *world) dial(n int, path string) *socket {
	w.t.Helper()
	conn, resp, err := websocket.Dial(w.t.Context(), w.URL+w.chats+path, &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: http.Header{"Coder-Session-Token": {w.Users()[n].Token}},
	})
	require.NoError(w.t, err, "%v", resp)
	conn.SetReadLimit(-1)
	s := &socket{t: w.t, conn: conn, in: make(chan object, 100_000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.t.Cleanup(func() {
		cancel()
		_ = conn.CloseNow()
		<-done
	})
	go func() {
		defer close(done)
		defer close(s.in)
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				s.end = err
				return
			}
			var many []object
			if json.Unmarshal(b, &many) != nil {
				var one object
				_ = json.Unmarshal(b, &one)
				many = []object{one}
			}
			for _, o := range many {
				s.in <- o
			}
		}
	}()
	return s
}

func (s *socket) next() object {
	s.t.Helper()
	select {
	case o, ok := <-s.in:
		if !ok {
			require.Fail(s.t, "the socket ended", "%v", s.end)
		}
		return o
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "no event came")
		return nil
	}
}

// take reads events until f is true for one, and returns them in short form.
func (s *socket) take(f func(object) bool) []string {
	s.t.Helper()
	var seen []string
	for {
		o := s.next()
		seen = append(seen, brief(o))
		if f(o) {
			return seen
		}
	}
}

// gone waits for the end of the socket and returns its error.
func (s *socket) gone() error {
	s.t.Helper()
	for {
		select {
		case _, ok := <-s.in:
			if !ok {
				return s.end
			}
		case <-time.After(20 * time.Second):
			require.Fail(s.t, "the socket stays open")
		}
	}
}

func brief(o object) string {
	if k, ok := o["kind"]; ok {
		return fmt.Sprint(k, " ", o["chat"].(object)["status"])
	}
	switch o["type"] {
	case "status":
		return "status " + o["status"].(object)["status"].(string)
	case "message":
		return "message " + told(o["message"].(object))
	case "message_part":
		p := o["message_part"].(object)["part"].(object)
		return strings.TrimSpace(fmt.Sprint("part ", p["type"], " ", p["text"]))
	case "queue_update":
		q, _ := o["queued_messages"].([]any)
		return fmt.Sprint("queue ", len(q))
	}
	return o["type"].(string)
}

func isStatus(want string) func(object) bool {
	return func(o object) bool { return brief(o) == "status "+want }
}

// n reads n events in short form.
func (s *socket) n(n int) []string {
	s.t.Helper()
	var seen []string
	for range n {
		seen = append(seen, brief(s.next()))
	}
	return seen
}

func uuidOf(n byte) uuid.UUID { return uuid.UUID{15: n} }

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
