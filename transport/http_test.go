package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

var legacyVersions = []string{"2025-03-26", "2025-06-18", "2025-11-25"}

func TestHTTPSessionFromInitializeToDelete(t *testing.T) {
	for _, version := range legacyVersions {
		t.Run(version, func(t *testing.T) {
			var notes notes
			x := openSite(t, transport.Options{Hooks: hooksOf(&notes)}, transport.HTTPOptions{})
			c := x.hello("a", version, `{}`)
			s := <-x.opened
			require.Equal(t, c.session, s.ID())
			require.Equal(t, "a", s.Identity())
			require.Equal(t, version, s.ProtocolVersion())
			require.Equal(t, "x", c.ask(call(`"one"`, "echo", `"text":"x"`)).text())
			require.Equal(t, -32602, c.ask(call(2, "unknown", "")).Error.Code)
			require.Nil(t, c.ask(`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"test://a"}}`).Error)

			r := c.send(t.Context(), http.MethodDelete, "", c.headers)
			require.Equal(t, http.StatusOK, r.StatusCode, readAll(t, r))
			<-s.Done()
			require.Equal(t, []string{"+test://a", "-test://a", "closed"}, notes.all())
			r = c.post(ping)
			require.Equal(t, http.StatusNotFound, r.StatusCode, readAll(t, r))
		})
	}
}

func TestNotificationsOfACallComeOnItsOwnStreamAndBeforeItsResponse(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-06-18", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	get := c.stream(ctx, "")
	waiting := c.stream(ctx, call(1, "wait", ""))

	var wg sync.WaitGroup
	for n := range 200 {
		if n%20 == 0 {
			wg.Wait()
		}
		wg.Go(func() {
			own := c.stream(t.Context(), call(100+n, "burst", fmt.Sprintf(`"n":50,"text":"%d"`, n)))
			for i := range 50 {
				m := own.next()
				require.Equal(t, i, m.Params.I)
				require.Equal(t, fmt.Sprint(n), m.Params.Of)
			}
			require.Equal(t, "sent", own.next().text())
			own.ends()
		})
	}
	wg.Wait()
	cancel()
	for _, other := range []*events{get, waiting} {
		data, err := other.message()
		require.ErrorIs(t, err, context.Canceled, data)
	}
}

func TestLongCallOpensItsStreamWithACommentAndKeepsItAlive(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: 5 * time.Millisecond, KeepAlive: 5 * time.Millisecond})
	c := x.hello("a", "2025-11-25", `{}`)
	e := c.stream(t.Context(), call(1, "wait", `"ms":100`))
	primed, err := e.raw()
	require.NoError(t, err)
	require.Empty(t, primed, "an event without data")
	require.NotEmpty(t, e.last, "to resume from")
	for range 3 {
		comment, err := e.raw()
		require.NoError(t, err)
		require.Equal(t, ": still here", comment)
	}
	require.Equal(t, "waited", e.next().text())
	e.ends()
}

func TestGetReceivesUpdatesAndANewerOneTakesOver(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("a", "2025-06-18", `{}`)
	s := <-x.opened
	first := c.stream(t.Context(), "")
	require.Nil(t, c.ask(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://a"}}`).Error)
	s.ResourceUpdated("test://a")
	require.Equal(t, "test://a", first.next().Params.URI)
	second := c.stream(t.Context(), "")
	first.ends()
	s.ListChanged("resources")
	require.Equal(t, "notifications/resources/list_changed", second.next().Method)
	r := c.send(t.Context(), http.MethodDelete, "", c.headers)
	readAll(t, r)
	second.ends()
}

func TestLostGetResumesWithNothingLostOrDoubled(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("a", "2025-06-18", `{}`)
	s := <-x.opened
	ctx, cancel := context.WithCancel(t.Context())
	e := c.stream(ctx, "")
	const n = 300
	go func() {
		for i := range n {
			_ = s.Notify(context.Background(), "notifications/burst", map[string]any{"i": i}, nil)
		}
	}()
	for i := range n {
		require.Equal(t, i, e.next().Params.I)
		if i%50 == 25 {
			cancel()
			last := e.last
			ctx, cancel = context.WithCancel(t.Context())
			e = c.stream(ctx, "", "Last-Event-ID", last)
		}
	}
	cancel()
}

func TestLostCallGoesOnAndItsStreamIsResumedDuringAndAfterIt(t *testing.T) {
	release := make(chan struct{})
	m := newServer()
	m.AddTool(mcp.NewTool("steps"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		s := transport.SessionFromContext(ctx)
		for i := range 4 {
			if i > 0 {
				<-release
			}
			if err := s.Notify(ctx, "notifications/burst", map[string]any{"i": i}, nil); err != nil {
				return nil, err
			}
		}
		return mcp.NewToolResultText("done"), ctx.Err()
	})
	x := openSiteOf(t, m, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("a", "2025-06-18", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	e := c.stream(ctx, call(1, "steps", ""))
	require.Equal(t, 0, e.next().Params.I)
	first := e.last
	cancel()

	release <- struct{}{}
	ctx, cancel = context.WithCancel(t.Context())
	e = c.stream(ctx, "", "Last-Event-ID", first)
	require.Equal(t, 1, e.next().Params.I)
	second := e.last
	cancel()

	release <- struct{}{}
	release <- struct{}{}
	// The call ends with nobody connected; the rest is in the log.
	require.Eventually(t, func() bool {
		e := c.stream(t.Context(), "", "Last-Event-ID", second)
		defer e.body.Close()
		return e.next().Params.I == 2 && e.next().Params.I == 3 && e.next().text() == "done"
	}, 5*time.Second, 10*time.Millisecond)
	e = c.stream(t.Context(), "", "Last-Event-ID", first)
	for i := range 3 {
		require.Equal(t, i+1, e.next().Params.I)
	}
	require.Equal(t, "done", e.next().text())
	e.ends()
}

func TestForgottenEventsAndThoseOfOthersAreNotResumed(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{Events: transport.NewMemoryEvents(1000)})
	a, b := x.hello("a", "2025-06-18", `{}`), x.hello("b", "2025-06-18", `{}`)
	e := a.stream(t.Context(), call(1, "burst", `"n":1`))
	e.next()
	first := e.last
	require.Equal(t, "sent", e.next().text())
	e.ends()
	readAll(t, a.post(call(2, "burst", `"n":50`)))
	for name, headers := range map[string]map[string]string{
		"forgotten":         {"Last-Event-ID": first},
		"nonsense":          {"Last-Event-ID": "x"},
		"never was":         {"Last-Event-ID": "0_zzz"},
		"another session":   {"Last-Event-ID": first, "Mcp-Session-Id": b.session, "Caller": "b"},
		"of the own stream": {"Last-Event-ID": "0_1"},
	} {
		all := map[string]string{"Mcp-Session-Id": a.session, "Caller": "a"}
		for k, v := range headers {
			all[k] = v
		}
		r := x.send(t.Context(), http.MethodGet, "", all)
		require.Equal(t, http.StatusBadRequest, r.StatusCode, "%s: %s", name, readAll(t, r))
	}
}

func TestAnUnknownEventLeavesTheStreamToWhoeverHasIt(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-11-25", `{}`)
	own, waiting := c.stream(t.Context(), ""), c.stream(t.Context(), call(1, "wait", ""))
	_, err := waiting.raw()
	require.NoError(t, err)
	name, _, _ := strings.Cut(waiting.last, "_")
	for _, id := range []string{"0_nonsense", name + "_nonsense", name + "_zzz"} {
		r := c.send(t.Context(), http.MethodGet, "", map[string]string{"Mcp-Session-Id": c.session, "Caller": "a", "Last-Event-ID": id})
		require.Equal(t, http.StatusBadRequest, r.StatusCode, readAll(t, r))
	}
	(<-x.opened).ListChanged("tools")
	require.Equal(t, "notifications/tools/list_changed", own.next().Method)
	readAll(t, c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
	waiting.ends()
	readAll(t, c.send(t.Context(), http.MethodDelete, "", c.headers))
	own.ends()
}

func TestCancelledCallEndsItsStreamWithoutAResponse(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-06-18", `{}`)
	stranger := x.hello("b", "2025-06-18", `{}`)
	e := c.stream(t.Context(), call(1, "wait", `"ms":300`))
	again := c.stream(t.Context(), call(2, "wait", ""))
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`
	readAll(t, stranger.post(fmt.Sprintf(cancel, 1)))
	readAll(t, x.send(t.Context(), http.MethodPost, strings.Replace(fmt.Sprintf(cancel, 1), `"requestId"`, fmt.Sprintf(modernMeta, "")+`,"requestId"`, 1), x.modernHeaders("notifications/cancelled", "")))
	readAll(t, c.post(fmt.Sprintf(cancel, 2)))
	again.ends()
	require.Equal(t, "waited", e.next().text())
	e.ends()
}

func TestQuestionToTheClientTravelsOnTheStreamOfItsCall(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("a", "2025-06-18", able)
	e := c.stream(t.Context(), call(1, "elicit", ""))
	question := e.next()
	require.Equal(t, "elicitation/create", question.Method)
	r := c.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept"}}`, question.ID))
	require.Equal(t, http.StatusAccepted, r.StatusCode, readAll(t, r))
	require.Equal(t, "accept", e.next().text())
	e.ends()
}

func TestModernRequestsStandAlone(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	post := func(body string, headers map[string]string) (*http.Response, reply) {
		t.Helper()
		r := x.send(t.Context(), http.MethodPost, body, headers)
		return r, decode(t, readAll(t, r))
	}
	r, m := post(modern(1, "tools/call", `"name":"echo","arguments":{"text":"x"}`), x.modernHeaders("tools/call", "echo"))
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "x", m.text())
	require.Equal(t, "complete", m.Result.ResultType)
	require.Empty(t, r.Header.Get("Mcp-Session-Id"))
	s := <-x.opened
	<-s.Done()
	require.Equal(t, "m", s.Identity())
	require.Equal(t, "modern", s.Client().Name)

	r, m = post(modern(2, "ping", ""), x.modernHeaders("ping", ""))
	require.Equal(t, http.StatusNotFound, r.StatusCode)
	require.Equal(t, -32601, m.Error.Code)
	r, m = post(modern(3, "resources/read", `"uri":"test://gone"`), x.modernHeaders("resources/read", "test://gone"))
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
	require.Equal(t, -32602, m.Error.Code)
	r, m = post(modern(4, "tools/call", `"name":"needs_sampling"`), x.modernHeaders("tools/call", "needs_sampling"))
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
	require.Equal(t, -32021, m.Error.Code)

	headers := x.modernHeaders("tools/call", "burst")
	e := (&caller{site: x, headers: headers}).stream(t.Context(), modern(5, "tools/call", `"name":"burst","arguments":{"n":3}`))
	for i := range 3 {
		require.Equal(t, i, e.next().Params.I)
	}
	require.Empty(t, e.last, "nothing to resume")
	require.Equal(t, "sent", e.next().text())
	e.ends()
}

// watching is a server with a tool that runs until its call ends, and says why it did.
func watching() (m *server.MCPServer, ended chan error) {
	m, ended = newServer(), make(chan error, 1)
	m.AddTool(mcp.NewTool("watch"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	return m, ended
}

func TestModernCallEndsWithItsConnection(t *testing.T) {
	m, ended := watching()
	x := openSiteOf(t, m, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	(&caller{site: x, headers: x.modernHeaders("tools/call", "watch")}).stream(ctx, modern(1, "tools/call", `"name":"watch"`))
	cancel()
	require.ErrorIs(t, <-ended, transport.ErrCancelled)
	<-(<-x.opened).Done()
}

func TestAConnectionThatEndsWhileTheServerStopsCancelsNothing(t *testing.T) {
	m, ended := watching()
	x := openSiteOf(t, m, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	(&caller{site: x, headers: x.modernHeaders("tools/call", "watch")}).stream(ctx, modern(1, "tools/call", `"name":"watch"`))
	stopped := make(chan error, 1)
	go func() { stopped <- x.handler.Shutdown(t.Context()) }()
	require.Eventually(t, func() bool {
		r := x.send(t.Context(), http.MethodPost, fmt.Sprintf(initialize, `{}`), nil)
		readAll(t, r)
		return r.StatusCode == http.StatusServiceUnavailable
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorContains(t, <-ended, "the server is stopping")
	require.NoError(t, <-stopped)
}

func TestTheEndOfASessionCancelsNothing(t *testing.T) {
	m, ended := watching()
	x := openSiteOf(t, m, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-06-18", `{}`)
	c.stream(t.Context(), call(1, "watch", ""))
	readAll(t, x.send(t.Context(), http.MethodDelete, "", c.headers))
	require.ErrorIs(t, <-ended, transport.ErrSessionOver)
	c = x.hello("a", "2025-06-18", `{}`)
	c.stream(t.Context(), call(2, "watch", ""))
	readAll(t, c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`))
	require.ErrorIs(t, <-ended, transport.ErrCancelled)
}

// TestWhoDoesNotTakeItsAnswerHasNotCancelledTheCall, over either version of HTTP.
func TestWhoDoesNotTakeItsAnswerHasNotCancelledTheCall(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		m, ended := newServer(), make(chan error, 1)
		m.AddTool(mcp.NewTool("flood"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			word := strings.Repeat("x", 256<<10)
			for ctx.Err() == nil {
				_ = transport.SessionFromContext(ctx).Notify(ctx, "notifications/word", map[string]any{"word": word}, nil)
			}
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
		h := transport.New(m, transport.Options{Logger: quiet}).HTTPHandler(transport.HTTPOptions{FirstByte: time.Millisecond})
		web := httptest.NewUnstartedServer(transport.Deadlines{Write: 50 * time.Millisecond}.Around(h))
		web.EnableHTTP2 = http2
		web.StartTLS()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL, strings.NewReader(modern(1, "tools/call", `"name":"flood"`)))
		require.NoError(t, err)
		for name, value := range (&site{}).modernHeaders("tools/call", "flood") {
			r.Header.Set(name, value)
		}
		r.Header.Set("Content-Type", "application/json")
		response, err := web.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, http2, response.ProtoMajor == 2)
		require.ErrorContains(t, <-ended, "the client did not take the answer in time")
		_ = response.Body.Close()
		require.NoError(t, h.Shutdown(t.Context()))
		web.Close()
	}
}

func TestModernListenOverHTTP(t *testing.T) {
	var notes notes
	x := openSite(t, transport.Options{Hooks: hooksOf(&notes)}, transport.HTTPOptions{})
	listener := &caller{site: x, headers: x.modernHeaders("subscriptions/listen", "")}
	ctx, cancel := context.WithCancel(t.Context())
	e := listener.stream(ctx, modern(`"L"`, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"],"toolsListChanged":true}`))
	require.Equal(t, "notifications/subscriptions/acknowledged", e.next().Method)
	s := <-x.opened
	s.ResourceUpdated("test://a")
	s.ResourceUpdated("test://b")
	s.ListChanged("prompts")
	s.ListChanged("tools")
	update := e.next()
	require.Equal(t, "test://a", update.Params.URI)
	require.Equal(t, `"L"`, string(update.Params.Meta.Subscription))
	require.Equal(t, "notifications/tools/list_changed", e.next().Method)
	cancel()
	<-s.Done()
	require.Eventually(t, func() bool { return len(notes.all()) == 3 }, 5*time.Second, time.Millisecond)
	require.Equal(t, []string{"+test://a", "-test://a", "closed"}, notes.all())

	r := x.send(t.Context(), http.MethodPost, modern(2, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://refused"]}`), listener.headers)
	require.Contains(t, readAll(t, r), "no such chat")
	require.Equal(t, http.StatusBadRequest, r.StatusCode)
	r = x.send(t.Context(), http.MethodPost, modern(3, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://b","test://gone"]}`), listener.headers)
	require.JSONEq(t, `{"uri":"test://gone"}`, string(decode(t, readAll(t, r)).Error.Data), "the one that is refused")
}

func TestShutdownEndsListensThenStreamsThenDrainsCalls(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c := x.hello("a", "2025-06-18", `{}`)
	get := c.stream(t.Context(), "")
	running := c.stream(t.Context(), call(1, "wait", `"ms":200`))
	endless := c.stream(t.Context(), call(2, "wait", ""))
	modernCall := &caller{site: x, headers: x.modernHeaders("tools/call", "wait")}
	modernEndless := modernCall.stream(t.Context(), modern(3, "tools/call", `"name":"wait"`))
	listen := (&caller{site: x, headers: x.modernHeaders("subscriptions/listen", "")}).stream(t.Context(),
		modern(7, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	require.Equal(t, "notifications/subscriptions/acknowledged", listen.next().Method)

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- x.handler.Shutdown(ctx) }()
	end := listen.next()
	require.Equal(t, "7", string(end.ID))
	require.Equal(t, "complete", end.Result.ResultType)
	listen.ends()
	get.ends()
	r := c.post(call(9, "echo", ""))
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode, readAll(t, r))
	require.True(t, r.Close, "the next connection may reach another server")
	require.Equal(t, "waited", running.next().text())
	require.Contains(t, endless.next().text(), "the server is stopping")
	require.Contains(t, modernEndless.next().text(), "the server is stopping")
	require.ErrorIs(t, <-stopped, context.DeadlineExceeded)
	running.ends()
	endless.ends()
	modernEndless.ends()
	r = x.send(t.Context(), http.MethodPost, fmt.Sprintf(initialize, `{}`), nil)
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode, readAll(t, r))
}

func TestWhileItDrainsAServerHearsTheSessionsThatItHas(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{FirstByte: time.Millisecond})
	c, other := x.hello("a", "2025-06-18", able), x.hello("a", "2025-06-18", `{}`)
	asking := c.stream(t.Context(), call(1, "elicit", ""))
	question := asking.next()
	waiting := c.stream(t.Context(), call(2, "wait", ""))
	get := c.stream(t.Context(), "")
	stopped := make(chan error, 1)
	go func() { stopped <- x.handler.Shutdown(t.Context()) }()
	get.ends() // so it has begun

	require.Nil(t, c.ask(ping).Error)
	status := func(c *caller, method, body string) int {
		r := c.send(t.Context(), method, body, c.headers)
		readAll(t, r)
		return r.StatusCode
	}
	require.Equal(t, http.StatusServiceUnavailable, status(c, http.MethodGet, ""))
	require.Equal(t, http.StatusServiceUnavailable, status(c, http.MethodPost, call(3, "echo", "")))
	require.Equal(t, http.StatusNotFound, status(&caller{site: x, headers: map[string]string{"Mcp-Session-Id": c.session, "Caller": "b"}}, http.MethodPost, ping))
	require.Equal(t, http.StatusServiceUnavailable, status(&caller{site: x, headers: map[string]string{"Mcp-Session-Id": "unknown"}}, http.MethodPost, ping))
	require.Equal(t, http.StatusAccepted, status(c, http.MethodPost, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept"}}`, question.ID)))
	require.Equal(t, "accept", asking.next().text())
	asking.ends()
	require.Equal(t, http.StatusOK, status(other, http.MethodDelete, ""))
	require.Equal(t, http.StatusAccepted, status(c, http.MethodPost, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`))
	waiting.ends()
	require.NoError(t, <-stopped)
}

func TestIdleSessionsExpireAndBusyOnesDoNot(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{IdleTimeout: 100 * time.Millisecond})
	idle, busy := x.hello("a", "2025-06-18", `{}`), x.hello("a", "2025-06-18", `{}`)
	s := <-x.opened
	get := busy.stream(t.Context(), "")
	<-s.Done()
	r := idle.post(ping)
	require.Equal(t, http.StatusNotFound, r.StatusCode, readAll(t, r))
	require.Nil(t, busy.ask(ping).Error)
	get.body.Close()
	<-(<-x.opened).Done()
	// The sweeper rests without sessions and starts again with the next one.
	x.hello("a", "2025-06-18", `{}`)
	<-(<-x.opened).Done()
}

func TestSessionsAreCapped(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{MaxSessions: 3, MaxSessionsPerCaller: 2, IdleTimeout: time.Minute})
	refused := func(name, method, body string, headers map[string]string) {
		t.Helper()
		headers["Caller"] = name
		r := x.send(t.Context(), method, body, headers)
		require.Equal(t, http.StatusTooManyRequests, r.StatusCode, readAll(t, r))
		require.Equal(t, "15", r.Header.Get("Retry-After"))
	}
	first := x.hello("a", "2025-06-18", `{}`)
	x.hello("a", "2025-06-18", `{}`)
	refused("a", http.MethodPost, fmt.Sprintf(initialize, `{}`), map[string]string{})
	x.hello("b", "2025-06-18", `{}`)
	refused("c", http.MethodPost, modern(1, "subscriptions/listen", `"notifications":{"toolsListChanged":true}`), x.modernHeaders("subscriptions/listen", ""))
	readAll(t, x.send(t.Context(), http.MethodDelete, "", first.headers))
	x.hello("c", "2025-06-18", `{}`)
}

func TestReplicasShareASessionThroughTheStores(t *testing.T) {
	sessions, log := transport.NewMemorySessions(), transport.NewMemoryEvents(0)
	open := func(notes *notes) *site {
		return openSite(t, transport.Options{Hooks: hooksOf(notes)}, transport.HTTPOptions{Sessions: sessions, Events: log})
	}
	var notesA, notesB notes
	a, b := open(&notesA), open(&notesB)
	c := a.hello("u", "2025-06-18", able)
	require.Nil(t, c.ask(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://a"}}`).Error)
	require.Nil(t, c.ask(`{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"warning"}}`).Error)
	ctx, cancel := context.WithCancel(t.Context())
	e := c.stream(ctx, "")
	s := <-a.opened
	s.ResourceUpdated("test://a")
	require.Equal(t, "test://a", e.next().Params.URI)
	seen := e.last
	require.NoError(t, s.Notify(t.Context(), "notifications/burst", map[string]any{"i": 7}, nil))
	require.Equal(t, 7, e.next().Params.I)
	cancel()
	require.NoError(t, a.handler.Shutdown(t.Context()))

	// The other replica knows the session, its subscriptions, its level, and what the lost stream had said.
	onB := &caller{site: b, session: c.session, headers: c.headers}
	e = onB.stream(t.Context(), "", "Last-Event-ID", seen)
	require.Equal(t, 7, e.next().Params.I)
	adopted := <-b.opened
	require.Equal(t, []string{"+test://a"}, notesB.all())
	level, _ := adopted.LogLevel()
	require.Equal(t, mcp.LoggingLevelWarning, level)
	require.NotNil(t, adopted.Capabilities().Roots)
	require.True(t, adopted.Resumed())
	require.Equal(t, "test://a", e.next().Params.URI, "nobody watched in between")
	adopted.ResourceUpdated("test://a")
	require.Equal(t, "test://a", e.next().Params.URI)

	// A stranger doesn't; and its end is the end everywhere.
	headers := map[string]string{"Mcp-Session-Id": c.session, "Caller": "other"}
	r := b.send(t.Context(), http.MethodPost, ping, headers)
	require.Equal(t, http.StatusNotFound, r.StatusCode, readAll(t, r))
	third := open(&notes{})
	readAll(t, third.send(t.Context(), http.MethodDelete, "", c.headers))
	r = onB.post(ping)
	require.Equal(t, http.StatusNotFound, r.StatusCode, readAll(t, r))
	e.ends()
}

// slowEvents holds up the first After.
type slowEvents struct {
	transport.EventStore
	asked, goOn chan struct{}
	once        sync.Once
}

func (e *slowEvents) After(ctx context.Context, session, stream, id string) ([]transport.Event, error) {
	e.once.Do(func() {
		close(e.asked)
		<-e.goOn
	})
	return e.EventStore.After(ctx, session, stream, id)
}

func TestWhoeverFindsASessionBeingTakenOverWaitsForItsStreams(t *testing.T) {
	sessions, log := transport.NewMemorySessions(), transport.NewMemoryEvents(0)
	a := openSite(t, transport.Options{DrainTimeout: time.Millisecond}, transport.HTTPOptions{Sessions: sessions, Events: log})
	c := a.hello("u", "2025-11-25", `{}`)
	lost, hangUp := context.WithCancel(t.Context())
	wait := strings.Replace(call(1, "progress", `"n":1,"ms":60000`), `"params":{`, `"params":{"_meta":{"progressToken":1},`, 1)
	e := c.stream(lost, wait)
	require.Equal(t, 1, e.next().Params.Progress)
	hangUp()

	slow := &slowEvents{EventStore: log, asked: make(chan struct{}), goOn: make(chan struct{})}
	b := openSite(t, transport.Options{}, transport.HTTPOptions{Sessions: sessions, Events: slow})
	onB := &caller{site: b, session: c.session, headers: c.headers}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		onB.stream(t.Context(), "").body.Close()
	}()
	<-slow.asked
	told := make(chan string)
	go func() {
		data, _ := onB.stream(t.Context(), "", "Last-Event-ID", e.last).message()
		told <- data
	}()
	select {
	case early := <-told:
		require.Fail(t, "answered before the session was taken over", early)
	case <-time.After(200 * time.Millisecond):
	}
	close(slow.goOn)
	answer := decode(t, <-told)
	require.True(t, answer.Result.IsError)
	require.Contains(t, answer.text(), "look before you repeat it")
	<-opened
	readAll(t, c.post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
}

func TestAResumedStreamSaysFirstWhereItGoesOn(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	c := x.hello("u", "2025-11-25", `{}`)
	ctx, hangUp := context.WithCancel(t.Context())
	e := c.stream(ctx, "")
	require.NoError(t, (<-x.opened).Notify(t.Context(), "notifications/burst", map[string]any{"i": 7}, nil))
	require.Equal(t, 7, e.next().Params.I)
	hangUp()
	ctx, hangUp = context.WithCancel(t.Context())
	again := c.stream(ctx, "", "Last-Event-ID", e.last)
	data, err := again.raw()
	require.NoError(t, err)
	require.Empty(t, data)
	require.Equal(t, e.last, again.last)
	hangUp()
}

type failingStore struct{ *transport.MemorySessions }

func (failingStore) Load(context.Context, string) (transport.SessionRecord, error) {
	return transport.SessionRecord{}, errors.New("down")
}

func (failingStore) Save(context.Context, transport.SessionRecord, time.Duration) error {
	return errors.New("down")
}

func (failingStore) Delete(context.Context, string) error { return errors.New("down") }

type failingEvents struct{ *transport.MemoryEvents }

func (failingEvents) Append(context.Context, string, string, []transport.Event) ([]string, error) {
	return nil, errors.New("down")
}

func TestFailingStoresAreToldFromMissingSessions(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{Sessions: failingStore{}})
	r := x.send(t.Context(), http.MethodPost, ping, map[string]string{"Mcp-Session-Id": "x"})
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode, readAll(t, r))

	// Without its event log a stream still flows; it just can't be resumed.
	x = openSite(t, transport.Options{}, transport.HTTPOptions{Events: failingEvents{transport.NewMemoryEvents(0)}})
	e := x.hello("a", "2025-11-25", `{}`).stream(t.Context(), call(1, "burst", `"n":2`))
	require.Equal(t, 0, e.next().Params.I)
	require.Empty(t, e.last)
	e.body.Close()
}

func TestBroadcastToThousandSessionsArrivesWhole(t *testing.T) {
	x := openSite(t, transport.Options{}, transport.HTTPOptions{})
	clients, updates := 1000, 200
	if testing.Short() {
		clients = 100
	}
	streams := make([]*events, clients)
	for i := range streams {
		streams[i] = x.hello(fmt.Sprint(i), "2025-06-18", `{}`).stream(t.Context(), "")
	}
	var wg sync.WaitGroup
	for range clients {
		s := <-x.opened
		wg.Go(func() {
			for u := range updates {
				if s.Notify(context.Background(), "notifications/burst", map[string]any{"i": u}, nil) != nil {
					return
				}
			}
		})
	}
	for _, e := range streams {
		for u := range updates {
			data, err := e.message()
			if want := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/burst","params":{"i":%d}}`, u); err != nil || data != want {
				t.Fatalf("%v %s instead of %s", err, data, want)
			}
		}
		e.body.Close()
	}
	wg.Wait()
}
