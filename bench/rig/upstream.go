// Package rig is what the benchmarks stand on: a Chats API that says what the benchmark writes, when it writes it, and an MCP client of a built binary.
package rig

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// Upstream is a deployment with one chat. It costs next to nothing, so that what is measured is not hidden behind a simulated agent.
type Upstream struct {
	*httptest.Server
	Chat uuid.UUID

	mu      sync.Mutex
	status  string
	last    int64  // message
	answer  string // the last message, if it is an answer
	updated time.Time
	sockets map[string][]*websocket.Conn // stream and watch
}

// NewUpstream starts one; Close it.
func NewUpstream() *Upstream {
	u := &Upstream{Chat: uuid.New(), status: "waiting", last: 1, answer: "hello", updated: time.Now(), sockets: map[string][]*websocket.Conn{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v2/chats", func(w http.ResponseWriter, _ *http.Request) { reply(w, "["+u.chat()+"]") })
	mux.HandleFunc("GET "+u.path(), func(w http.ResponseWriter, _ *http.Request) { reply(w, u.chat()) })
	mux.HandleFunc("GET "+u.path()+"/messages", func(w http.ResponseWriter, _ *http.Request) { reply(w, `{"messages":[`+u.message()+`]}`) })
	mux.HandleFunc("GET "+u.path()+"/stream", func(w http.ResponseWriter, r *http.Request) { u.accept("stream", w, r) })
	mux.HandleFunc("GET /api/v2/chats/watch", func(w http.ResponseWriter, r *http.Request) { u.accept("watch", w, r) })
	u.Server = httptest.NewServer(mux)
	return u
}

func (u *Upstream) path() string { return "/api/v2/chats/" + u.Chat.String() }

// StreamURL is the address of the chat's stream.
func (u *Upstream) StreamURL() string { return "ws" + u.URL[len("http"):] + u.path() + "/stream" }

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, body)
}

func (u *Upstream) chat() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.chatLocked()
}

func (u *Upstream) chatLocked() string {
	return fmt.Sprintf(`{"id":"%s","title":"A chat","owner_username":"ada","status":"%s","updated_at":"%s"}`, u.Chat, u.status, u.updated.Format(time.RFC3339Nano))
}

func (u *Upstream) message() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.messageLocked()
}

func (u *Upstream) messageLocked() string {
	role, text := "assistant", u.answer
	if text == "" {
		role, text = "user", "go on"
	}
	return fmt.Sprintf(`{"id":%d,"role":"%s","content":[{"type":"text","text":"%s"}]}`, u.last, role, text)
}

func (u *Upstream) accept(kind string, w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	ctx := c.CloseRead(r.Context())
	u.mu.Lock()
	if kind == "stream" {
		_ = c.Write(ctx, websocket.MessageText, []byte("["+u.event(`"type":"status","status":{"status":"%s"}`, u.status)+","+u.event(`"type":"preview_reset"`)+"]"))
	}
	u.sockets[kind] = append(u.sockets[kind], c)
	u.mu.Unlock()
	<-ctx.Done()
}

func (u *Upstream) event(format string, a ...any) string {
	return fmt.Sprintf(`{"chat_id":"%s",`, u.Chat) + fmt.Sprintf(format, a...) + "}"
}

// write sends a frame to every socket of a kind; u.mu is held.
func (u *Upstream) write(kind, frame string) {
	for _, c := range u.sockets[kind] {
		_ = c.Write(context.Background(), websocket.MessageText, []byte(frame))
	}
}

// Begin begins a turn and returns the id of its prompt.
func (u *Upstream) Begin() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status, u.last, u.answer, u.updated = "running", u.last+1, "", time.Now()
	u.write("stream", "["+u.event(`"type":"message","message":%s`, u.messageLocked())+","+u.event(`"type":"status","status":{"status":"running"}`)+","+u.event(`"type":"preview_reset"`)+"]")
	u.write("watch", `{"kind":"status_change","chat":`+u.chatLocked()+`}`)
	return u.last
}

// Delta is a part of the answer that is being written; seq counts from 1 within a turn.
func (u *Upstream) Delta(seq int, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.write("stream", "["+u.event(`"type":"message_part","message_part":{"role":"assistant","part":{"type":"text","text":"%s"},"history_version":%d,"generation_attempt":1,"seq":%d}`, text, u.last, seq)+"]")
}

// End ends the turn on one kind of socket, stream or watch, and returns when the frame was about to be written.
func (u *Upstream) End(kind string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status, u.last, u.answer, u.updated = "waiting", u.last+1, "done", time.Now()
	stream := "[" + u.event(`"type":"message","message":%s`, u.messageLocked()) + "," + u.event(`"type":"status","status":{"status":"waiting"}`) + "]"
	watch := `{"kind":"status_change","chat":` + u.chatLocked() + `}`
	first, second := stream, watch
	other := "watch"
	if kind == "watch" {
		first, second, other = watch, stream, "stream"
	}
	at := time.Now()
	u.write(kind, first)
	u.write(other, second)
	return at
}
