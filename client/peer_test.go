package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
)

const token = "s3cret-Token-do-not-leak"

var chatID = uuid.MustParse("1c3ff024-0450-497b-97d5-a65464216353")

// peer is a server that answers by "METHOD /path" and remembers what it was asked. It has the addresses of May unless a
// test gives others.
type peer struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []string
	headers map[string]http.Header
	bodies  map[string]string
}

func newPeer(t *testing.T, answers map[string]http.HandlerFunc) *peer {
	t.Helper()
	p := &peer{answers: answers, headers: map[string]http.Header{}, bodies: map[string]string{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.EscapedPath()
	var body []byte
	if r.Header.Get("Upgrade") == "" {
		body, _ = io.ReadAll(r.Body)
	}
	p.mu.Lock()
	p.asked = append(p.asked, key+query(r))
	p.headers[key], p.bodies[key] = r.Header.Clone(), string(body)
	answer := p.answers[key]
	p.mu.Unlock()
	w.Header().Set("X-Coder-Build-Version", "v2.99.0-test")
	switch {
	case answer != nil:
		answer(w, r)
	case key == "GET /api/experimental/chats":
		reply(200, `[]`)(w, r)
	default:
		reply(404, `{"message":"Route not found."}`)(w, r)
	}
}

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.RawQuery
}

func (p *peer) set(key string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[key] = answer
}

func (p *peer) count(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, a := range p.asked {
		if a == key || strings.HasPrefix(a, key+"?") {
			n++
		}
	}
	return n
}

func (p *peer) last(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotEmpty(t, p.asked)
	return p.asked[len(p.asked)-1]
}

func (p *peer) client(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	if o.RetryBase == 0 {
		o.RetryBase = time.Millisecond
	}
	c, err := client.New(p.URL, token, o)
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	return c
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if json.Valid([]byte(body)) && body != "" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// sequence answers each call with the next of answers, the last one for ever.
func sequence(answers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	i := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[min(i, len(answers)-1)]
		i++
		mu.Unlock()
		answer(w, r)
	}
}

func withHeader(name, value string, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(name, value)
		answer(w, r)
	}
}

func asError(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.NotContains(t, err.Error(), token)
	return e
}
