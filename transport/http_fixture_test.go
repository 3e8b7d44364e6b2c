package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// site is a transport behind a real HTTP server.
type site struct {
	t       testing.TB
	core    *transport.Core
	handler *transport.HTTPHandler
	url     string
	http    *http.Client
	opened  chan *transport.Session
}

// openSite serves with callers told apart by the header Caller.
func openSite(t testing.TB, o transport.Options, ho transport.HTTPOptions) *site {
	return openSiteOf(t, newServer(), o, ho)
}

func openSiteOf(t testing.TB, m *server.MCPServer, o transport.Options, ho transport.HTTPOptions) *site {
	t.Helper()
	x := &site{t: t, http: &http.Client{Transport: &http.Transport{}}, opened: make(chan *transport.Session, 5000)}
	opened := o.Hooks.SessionOpened
	o.Hooks.SessionOpened = func(s *transport.Session) {
		x.opened <- s
		if opened != nil {
			opened(s)
		}
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	if ho.Identify == nil {
		ho.Identify = func(r *http.Request) (string, context.Context, error) {
			if r.Header.Get("Caller") == "nobody" {
				return "", nil, errors.New("say who you are")
			}
			return r.Header.Get("Caller"), r.Context(), nil
		}
	}
	x.core = transport.New(m, o)
	x.handler = x.core.HTTPHandler(ho)
	web := httptest.NewServer(transport.Deadlines{}.Around(x.handler))
	x.url = web.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = x.handler.Shutdown(ctx)
		x.http.CloseIdleConnections()
		web.Close()
	})
	return x
}

// caller is a client of a session, or of none.
type caller struct {
	*site
	session string
	headers map[string]string
}

func (x *site) send(ctx context.Context, method, body string, headers map[string]string) *http.Response {
	x.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, x.url, strings.NewReader(body))
	require.NoError(x.t, err)
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	response, err := x.http.Do(r)
	require.NoError(x.t, err)
	return response
}

// hello opens a session for the caller named.
func (x *site) hello(name, version, capabilities string) *caller {
	x.t.Helper()
	body := strings.Replace(fmt.Sprintf(initialize, capabilities), "2025-11-25", version, 1)
	r := x.send(x.t.Context(), http.MethodPost, body, map[string]string{"Caller": name})
	answer := readAll(x.t, r)
	require.Equal(x.t, http.StatusOK, r.StatusCode, answer)
	require.Equal(x.t, "application/json", r.Header.Get("Content-Type"))
	c := &caller{site: x, session: r.Header.Get("Mcp-Session-Id")}
	require.NotEmpty(x.t, c.session)
	c.headers = map[string]string{"Mcp-Session-Id": c.session, "Mcp-Protocol-Version": version, "Caller": name}
	r = c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	require.Equal(x.t, http.StatusAccepted, r.StatusCode, readAll(x.t, r))
	return c
}

func (c *caller) post(body string) *http.Response {
	c.t.Helper()
	return c.send(c.t.Context(), http.MethodPost, body, c.headers)
}

// ask posts a request whose answer is a single JSON message.
func (c *caller) ask(body string) reply {
	c.t.Helper()
	r := c.post(body)
	answer := readAll(c.t, r)
	require.Equal(c.t, http.StatusOK, r.StatusCode, answer)
	return decode(c.t, answer)
}

// stream posts a request, or opens a GET with an empty body, and reads its events.
func (c *caller) stream(ctx context.Context, body string, headers ...string) *events {
	c.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	all := map[string]string{}
	for name, value := range c.headers {
		all[name] = value
	}
	for i := 0; i < len(headers); i += 2 {
		all[headers[i]] = headers[i+1]
	}
	r := c.send(ctx, method, body, all)
	if r.StatusCode != http.StatusOK {
		require.Fail(c.t, r.Status, readAll(c.t, r))
	}
	require.Equal(c.t, "text/event-stream", r.Header.Get("Content-Type"))
	return &events{t: c.t, body: r.Body, lines: bufio.NewReader(r.Body)}
}

type events struct {
	t     testing.TB
	body  io.ReadCloser
	lines *bufio.Reader
	last  string // the latest id
}

// raw returns the next event or comment: its data, or the comment with its colon.
func (e *events) raw() (string, error) {
	data := ""
	for {
		line, err := e.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "":
			return data, nil
		case strings.HasPrefix(line, ":"):
			data = line
		case strings.HasPrefix(line, "id: "):
			e.last = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		}
	}
}

// message returns the next message, past comments and events without data.
func (e *events) message() (string, error) {
	for {
		data, err := e.raw()
		if err != nil || data != "" && data[0] != ':' {
			return data, err
		}
	}
}

func (e *events) next() reply {
	e.t.Helper()
	data, err := e.message()
	require.NoError(e.t, err)
	return decode(e.t, data)
}

// ends requires that nothing more comes, and closes the stream.
func (e *events) ends() {
	e.t.Helper()
	data, err := e.message()
	require.ErrorIs(e.t, err, io.EOF, data)
	e.body.Close()
}

func readAll(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	r.Body.Close()
	return string(body)
}

// modernPost sends a request of protocol 2026-07-28 with the headers it needs.
func (x *site) modernHeaders(method, name string) map[string]string {
	return map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name, "Caller": "m"}
}
