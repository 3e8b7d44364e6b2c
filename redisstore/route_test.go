package redisstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/redisstore"
	"coder-chats-mcp/transport"
)

// replica is a whole HTTP server on a shared database. Its lease is long, so that the test says when it ends.
type replica struct {
	*database
	name    string
	store   *redisstore.Store
	mortal  *mortal
	handler *transport.HTTPHandler
	web     *httptest.Server
	opened  chan *transport.Session
	hosts   []string      // further ones that it answers to
	cut     chan struct{} // ends the tools, as a killed process does
	release chan struct{} // lets the tool "steps" take a step
}

const path = "/mcp"

// mortal stores nothing any more after death, as a killed process.
type mortal struct {
	*redisstore.Store
	dead atomic.Bool
}

var errDead = errors.New("dead")

func (m *mortal) Save(ctx context.Context, r transport.SessionRecord, ttl time.Duration) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.Save(ctx, r, ttl)
}

func (m *mortal) Append(ctx context.Context, session, stream string, events []transport.Event) ([]string, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Store.Append(ctx, session, stream, events)
}

func (d *database) replica(name string, change func(*redisstore.Options)) *replica {
	d.t.Helper()
	r := &replica{database: d, name: name, opened: make(chan *transport.Session, 1000), cut: make(chan struct{}), release: make(chan struct{})}
	mux := http.NewServeMux()
	r.web = httptest.NewServer(transport.Deadlines{Body: 300 * time.Millisecond}.Around(mux))
	r.store = d.open(func(o *redisstore.Options) {
		o.Address, o.Lease, o.Calm = r.web.URL, time.Hour, time.Nanosecond
		if change != nil {
			change(o)
		}
	})
	r.mortal = &mortal{Store: r.store}
	m := server.NewMCPServer("test", "1", server.WithToolCapabilities(false), server.WithResourceCapabilities(true, true), server.WithLogging())
	m.AddTool(mcp.NewTool("where", mcp.WithReadOnlyHintAnnotation(true)), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(name), nil
	})
	m.AddTool(mcp.NewTool("steps", mcp.WithReadOnlyHintAnnotation(true)), r.steps)
	m.AddTool(mcp.NewTool("write", mcp.WithReadOnlyHintAnnotation(false)), r.steps)
	core := transport.New(m, transport.Options{
		Logger: quiet, ProgressInterval: time.Nanosecond,
		Hooks: transport.Hooks{SessionOpened: func(s *transport.Session) { r.opened <- s }},
		Repeatable: func(tool string, arguments json.RawMessage) bool {
			return tool != "write" || strings.Contains(string(arguments), "again")
		},
	})
	r.handler = core.HTTPHandler(transport.HTTPOptions{
		Sessions: r.mortal, Events: r.mortal,
		Identify: func(q *http.Request) (string, context.Context, error) {
			return q.Header.Get("Caller"), q.Context(), nil
		},
	})
	known := func(q *http.Request) bool { return slices.Contains(r.hosts, q.Host) || r.handler.KnownHost(q) }
	mux.Handle("/", r.store.Route(path, known, r.handler))
	d.t.Cleanup(r.die)
	return r
}

// steps reports progress whenever it is released, three times.
func (r *replica) steps(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	for i := range 3 {
		select {
		case <-r.release:
			transport.Progress(ctx, fmt.Sprint(r.name, i))
		case <-r.cut:
			<-ctx.Done() // a killed process says nothing any more
			return nil, ctx.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return mcp.NewToolResultText("done by " + r.name), nil
}

// step lets the tool report once more.
func (r *replica) step() {
	select {
	case r.release <- struct{}{}:
	case <-time.After(20 * time.Second):
		r.t.Error("nobody takes steps on", r.name)
	}
}

// die ends the replica as far as others can see.
func (r *replica) die() {
	select {
	case <-r.cut:
		return
	default:
		r.mortal.dead.Store(true)
		close(r.cut)
	}
	r.web.CloseClientConnections()
	r.web.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.handler.Shutdown(ctx)
}

// endLeases is what time does to replicas that died.
func (d *database) endLeases(living ...*replica) {
	d.t.Helper()
	r := d.client()
	keys, err := r.Keys(context.Background(), "*:replica:*").Result()
	require.NoError(d.t, err)
	for _, key := range keys {
		announced, err := r.Get(context.Background(), key).Result()
		require.NoError(d.t, err)
		alive := false
		for _, one := range living {
			alive = alive || strings.HasSuffix(announced, one.web.URL)
		}
		if !alive {
			require.NoError(d.t, r.Del(context.Background(), key).Err())
		}
	}
}

// client speaks to whichever replica it is told to.
type client struct {
	t      *testing.T
	header http.Header
}

func (c *client) do(to *replica, method, body string, more ...string) *http.Response {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	c.t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, method, to.web.URL+path, strings.NewReader(body))
	require.NoError(c.t, err)
	q.Header = c.header.Clone()
	q.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(more); i += 2 {
		if more[i] == "Host" {
			q.Host = more[i+1]
			continue
		}
		q.Header.Set(more[i], more[i+1])
	}
	response, err := http.DefaultClient.Do(q)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func hello(to *replica, caller string) *client {
	c := &client{t: to.t, header: http.Header{"Caller": {caller}}}
	response := c.do(to, http.MethodPost, initialize)
	require.Equal(to.t, http.StatusOK, response.StatusCode)
	c.header.Set("Mcp-Session-Id", response.Header.Get("Mcp-Session-Id"))
	c.header.Set("Mcp-Protocol-Version", "2025-11-25")
	return c
}

func call(id int, tool string, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{%s},"_meta":{"progressToken":"p%d"}}}`, id, tool, arguments, id)
}

func content(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(body)
}

// stream reads server-sent events.
type stream struct {
	t    *testing.T
	in   *bufio.Scanner
	last string // id
}

func (c *client) stream(to *replica, method, body string, more ...string) *stream {
	c.t.Helper()
	response := c.do(to, method, body, more...)
	if response.StatusCode != http.StatusOK {
		require.Fail(c.t, response.Status, content(c.t, response))
	}
	require.Equal(c.t, "text/event-stream", response.Header.Get("Content-Type"))
	return &stream{t: c.t, in: bufio.NewScanner(response.Body)}
}

// next is the data of the next event that has any; "" at the end.
func (s *stream) next() string {
	for s.in.Scan() {
		if id, ok := strings.CutPrefix(s.in.Text(), "id: "); ok {
			s.last = id
		}
		if data, ok := strings.CutPrefix(s.in.Text(), "data: "); ok && data != "" {
			return data
		}
	}
	return ""
}

func (s *stream) progress() (count int, message string) {
	s.t.Helper()
	var n struct {
		Params struct {
			Progress int
			Message  string
		}
	}
	data := s.next()
	require.NoError(s.t, json.Unmarshal([]byte(data), &n), data)
	return n.Params.Progress, n.Params.Message
}

func TestRequestsReachTheReplicaThatHasTheSession(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	for i, to := range []*replica{a, b, b, a} {
		require.Contains(t, content(t, c.do(to, http.MethodPost, call(i, "where", ""))), `"a"`)
	}
}

func TestStreamsAndCancellationsPassThrough(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	go a.step()
	s := c.stream(b, http.MethodPost, call(1, "steps", ""))
	count, message := s.progress()
	require.Equal(t, 1, count)
	require.Equal(t, "a0", message)
	require.Equal(t, http.StatusAccepted, c.do(b, http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`).StatusCode)
	require.Empty(t, s.next())

	get := c.stream(b, http.MethodGet, "")
	session := <-a.opened
	require.NoError(t, session.Notify(t.Context(), "notifications/test", map[string]any{"i": 1}, nil))
	require.Contains(t, get.next(), `"i":1`)

	stranger := &client{t: t, header: c.header.Clone()}
	stranger.header.Set("Caller", "v")
	require.Equal(t, http.StatusNotFound, stranger.do(b, http.MethodPost, call(1, "where", "")).StatusCode)
	require.Equal(t, http.StatusOK, c.do(b, http.MethodDelete, "").StatusCode)
	require.Empty(t, get.next())
	for _, to := range []*replica{a, b} {
		require.Equal(t, http.StatusNotFound, c.do(to, http.MethodPost, call(2, "where", "")).StatusCode)
	}
}

func TestAReadGoesOnAfterItsReplicaDied(t *testing.T) {
	for tool, arguments := range map[string]string{"steps": "", "write": `"again":true`} {
		t.Run(tool, func(t *testing.T) {
			d := openDatabase(t)
			a, b := d.replica("a", nil), d.replica("b", nil)
			c := hello(a, "u")
			go a.step()
			s := c.stream(b, http.MethodPost, call(1, tool, arguments))
			s.progress()
			seen := s.last
			a.step()
			count, _ := s.progress()
			require.Equal(t, 2, count)
			a.die()
			require.Empty(t, s.next())
			d.endLeases(b)

			s = c.stream(b, http.MethodGet, "", "Last-Event-ID", seen)
			for want, from := range []string{"a1", "b0", "b1", "b2"} {
				if want > 0 {
					b.step()
				}
				count, message := s.progress()
				require.Equal(t, want+2, count)
				require.Equal(t, from, message)
			}
			answer := s.next()
			require.Contains(t, answer, "done by b")
			require.Contains(t, answer, `"id":1`)
			require.Empty(t, s.next())
			require.Contains(t, content(t, c.do(b, http.MethodPost, call(2, "where", ""))), `"b"`)
			// It can be resumed again, and was answered once.
			s = c.stream(b, http.MethodGet, "", "Last-Event-ID", seen)
			for range 4 {
				s.progress()
			}
			require.Equal(t, answer, s.next())
			require.Empty(t, s.next())
		})
	}
}

func TestAWriteIsAnsweredAfterItsReplicaDied(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	go a.step()
	s := c.stream(a, http.MethodPost, call(1, "write", ""))
	s.progress()
	a.die()
	require.Empty(t, s.next())
	d.endLeases(b)
	last := s.last
	for range 2 {
		s = c.stream(b, http.MethodGet, "", "Last-Event-ID", last)
		answer := s.next()
		require.Contains(t, answer, "look before you repeat it")
		require.Contains(t, answer, `"isError":true`)
		require.Empty(t, s.next())
	}
}

func TestWithoutRedisOnlySessionsAreRefused(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	d.stop()
	for _, request := range []*http.Response{
		c.do(a, http.MethodPost, call(1, "where", "")), c.do(b, http.MethodPost, call(1, "where", "")), c.do(b, http.MethodGet, ""),
		(&client{t: t, header: http.Header{}}).do(a, http.MethodPost, initialize),
	} {
		require.Equal(t, http.StatusServiceUnavailable, request.StatusCode)
		require.NotEmpty(t, request.Header.Get("Retry-After"))
		require.Contains(t, content(t, request), "store of MCP sessions")
	}
	modern := &client{t: t, header: http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"where"}}}
	response := modern.do(b, http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"where","arguments":{},"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, content(t, response), `"b"`)
	d.start()
	require.Equal(t, http.StatusNotFound, c.do(a, http.MethodPost, call(1, "where", "")).StatusCode, "a database that forgot everything")
}

func TestAReplicaOutOfReachIsWaitedForUntilItsLeaseEnds(t *testing.T) {
	d := openDatabase(t)
	short := func(o *redisstore.Options) { o.Lease = 100 * time.Millisecond }
	a := d.replica("a", func(o *redisstore.Options) { short(o); o.Address = "http://127.0.0.1:1" }) // nothing listens there
	b := d.replica("b", short)
	c := hello(a, "u")
	response := c.do(b, http.MethodPost, call(1, "where", ""))
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Contains(t, content(t, response), "can't be reached")
	a.store.Leave()
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(1, "where", ""))), `"b"`, "with the body that could not be sent before")
}

func TestOnlyReplicasWithTheKeyAreTrusted(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a forged address was believed") }))
	defer thief.Close()
	r := d.client()
	keys, err := r.Keys(t.Context(), "*:replica:*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		announced, err := r.Get(t.Context(), key).Result()
		require.NoError(t, err)
		mac, _, _ := strings.Cut(announced, " ")
		require.NoError(t, r.Set(t.Context(), key, mac+" "+thief.URL, time.Hour).Err())
	}
	require.Contains(t, content(t, c.do(b, http.MethodPost, call(1, "where", ""))), `"b"`)
}

func TestARequestIsPassedOnOnce(t *testing.T) {
	d := openDatabase(t)
	b := d.replica("b", nil)
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a's requests go to b
		asked.Add(1)
		b.web.Config.Handler.ServeHTTP(w, r)
	}))
	defer web.Close()
	a := d.replica("a", func(o *redisstore.Options) { o.Address = web.URL })
	c := d.replica("c", func(o *redisstore.Options) { o.Lease = 100 * time.Millisecond })
	response := hello(a, "u").do(c, http.MethodPost, call(1, "where", ""))
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NotZero(t, asked.Load())
	require.Less(t, asked.Load(), int32(10_000), "again and again by c, but not by b")
}

func TestOnlyAReplicaCanSayThatItPassesARequestOn(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	for _, forged := range []string{"x", "x y", " "} {
		response := c.do(b, http.MethodPost, call(1, "where", ""), "X-Coder-Chats-Mcp-Forwarded", forged)
		require.Contains(t, content(t, response), `"a"`)
		for _, to := range []*replica{a, b} {
			response = c.do(to, http.MethodPost, call(1, "where", ""), "X-Coder-Chats-Mcp-Forwarded", forged, "Host", "evil.example")
			require.Equal(t, http.StatusForbidden, response.StatusCode)
		}
	}
}

func TestTheHostIsCheckedWhereTheClientCame(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", func(o *redisstore.Options) { o.Address += "#" })
	b.hosts = []string{"replica-b.example"}
	response := hello(a, "u").do(b, http.MethodPost, call(1, "where", ""), "Host", "replica-b.example")
	require.Equal(t, http.StatusOK, response.StatusCode, "a does not know that name, and need not")
	require.Contains(t, content(t, response), `"a"`)
}

func TestABodyThatIsWithheldIsGivenUpOnItsWayToAnotherReplica(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	for length, sent := range map[int]string{100: "{", 4 << 20: strings.Repeat(" ", 1<<20)} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(b.web.URL, "http://"))
		require.NoError(t, err)
		defer connection.Close()
		go fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: localhost\r\nCaller: u\r\nContent-Type: application/json\r\nMcp-Session-Id: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, c.header.Get("Mcp-Session-Id"), length, sent)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestTimeout, response.StatusCode)
		require.True(t, response.Close)
	}
}

func TestLongMessagesArePassedOnWhole(t *testing.T) {
	d := openDatabase(t)
	a, b := d.replica("a", nil), d.replica("b", nil)
	c := hello(a, "u")
	for _, size := range []int{10, 256 << 10, 1 << 20} {
		text := strings.Repeat("x", size)
		require.Contains(t, content(t, c.do(b, http.MethodPost, call(1, "where", fmt.Sprintf(`"text":%q`, text)))), `"a"`)
	}
}

func TestTheSuccessorAtAnAddressHasItsSessions(t *testing.T) {
	d := openDatabase(t)
	a := d.replica("a", nil)
	c := hello(a, "u")
	again := d.replica("a again", func(o *redisstore.Options) { o.Address = a.web.URL })
	require.Contains(t, content(t, c.do(again, http.MethodPost, call(1, "where", ""))), `"a again"`)
	require.Contains(t, content(t, c.do(again, http.MethodPost, call(2, "where", ""))), `"a again"`)
}

func TestALostRequestIsToldFromARefusedOne(t *testing.T) {
	d := openDatabase(t)
	b := d.replica("b", nil)
	dead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	}))
	defer dead.Close()
	a := d.replica("a", func(o *redisstore.Options) { o.Address = dead.URL })
	c := hello(a, "u")
	response := c.do(b, http.MethodPost, call(1, "write", ""))
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Contains(t, content(t, response), "look before you repeat it")
}
