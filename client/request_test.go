package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
)

var chatAddress = "/api/experimental/chats/" + chatID.String()

func TestRedirectsToAnotherHostAreRefused(t *testing.T) {
	var leaked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Add(1)
	}))
	defer other.Close()
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
	}
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress:                 away,
		"GET " + chatAddress + "/stream":     away,
		"POST " + chatAddress + "/interrupt": away,
		"POST " + chatAddress + "/messages":  away,
		"DELETE " + chatAddress + "/queue/1": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"GET " + chatAddress + "/diff": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+"/", http.StatusFound)
		},
		"GET " + chatAddress + "/prompts": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "prompts", http.StatusFound) },
		"PATCH " + chatAddress: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(308)
		},
		"PATCH " + chatAddress + "/messages/1": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusFound) },
	})
	c := p.client(t, client.Options{})
	host := strings.TrimPrefix(other.URL, "http://")
	for name, err := range map[string]error{
		"get":       second(c.GetChat(t.Context(), chatID)),
		"interrupt": second(c.InterruptChat(t.Context(), chatID)),
		"stream":    second(c.StreamChat(t.Context(), chatID, client.StreamRequest{})),
		"delete":    c.DeleteQueuedMessage(t.Context(), chatID, 1),
		"send":      second(c.SendMessage(t.Context(), chatID, client.SendMessageRequest{})),
	} {
		e := asError(t, err)
		require.Equal(t, client.KindUnavailable, e.Kind, name)
		require.ErrorContains(t, err, host, name)
	}
	require.Equal(t, 1, p.count("GET "+chatAddress), "not tried again")
	_, err := c.GetDiff(t.Context(), chatID)
	var redirect *client.RedirectError
	require.ErrorAs(t, err, &redirect)
	require.Equal(t, "https://"+strings.TrimPrefix(p.URL, "http://"), redirect.To)
	_, err = c.ListPrompts(t.Context(), chatID, 0)
	require.ErrorContains(t, err, "circle")
	require.Error(t, c.UpdateChat(t.Context(), chatID, client.UpdateChatRequest{}))
	_, err = c.EditMessage(t.Context(), chatID, 1, client.EditMessageRequest{})
	require.Error(t, err)
	require.Zero(t, leaked.Load())
}

func second[T any](_ T, err error) error { return err }

func TestAGetIsFollowedOnTheSameHost(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) },
		"GET /moved":         reply(200, `{"id":"1c3ff024-0450-497b-97d5-a65464216353","title":"here"}`),
	})
	chat, err := p.client(t, client.Options{}).GetChat(t.Context(), chatID)
	require.NoError(t, err)
	require.Equal(t, "here", chat.Title)
	require.Equal(t, token, p.headers["GET /moved"].Get("Coder-Session-Token"))
}

const aChat = `{"id":"1c3ff024-0450-497b-97d5-a65464216353"}`

func TestOnlyGetsAreTriedAgain(t *testing.T) {
	for _, status := range []int{502, 503, 504} {
		p := newPeer(t, map[string]http.HandlerFunc{
			"GET " + chatAddress:                   sequence(reply(status, ""), reply(status, ""), reply(200, aChat)),
			"POST /api/experimental/chats":         reply(status, ""),
			"POST " + chatAddress + "/messages":    reply(status, ""),
			"PATCH " + chatAddress + "/messages/7": reply(status, ""),
			"PATCH " + chatAddress:                 reply(status, ""),
			"DELETE " + chatAddress + "/queue/7":   reply(status, ""),
		})
		c := p.client(t, client.Options{})
		_, err := c.GetChat(t.Context(), chatID)
		require.NoError(t, err)
		require.Equal(t, 3, p.count("GET "+chatAddress))
		_, err = c.CreateChat(t.Context(), client.CreateChatRequest{OrganizationID: chatID})
		require.Error(t, err)
		_, err = c.SendMessage(t.Context(), chatID, client.SendMessageRequest{})
		require.Error(t, err)
		_, err = c.EditMessage(t.Context(), chatID, 7, client.EditMessageRequest{})
		require.Error(t, err)
		require.Error(t, c.UpdateChat(t.Context(), chatID, client.UpdateChatRequest{}))
		require.Error(t, c.DeleteQueuedMessage(t.Context(), chatID, 7))
		for key := range p.answers {
			if !strings.HasPrefix(key, "GET") {
				require.Equal(t, 1, p.count(key), key)
			}
		}
	}
}

func TestRetriesEnd(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress: reply(503, `{"message":"Starting."}`)})
	_, err := p.client(t, client.Options{Retries: 2}).GetChat(t.Context(), chatID)
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	require.Equal(t, 3, p.count("GET "+chatAddress))
	_, err = p.client(t, client.Options{Retries: -1}).GetChat(t.Context(), chatID)
	require.ErrorContains(t, err, "Starting.")
	require.Equal(t, 4, p.count("GET "+chatAddress))
	p.set("GET "+chatAddress, reply(500, `{"message":"Failed."}`))
	_, err = p.client(t, client.Options{}).GetChat(t.Context(), chatID)
	require.Error(t, err)
	require.Equal(t, 5, p.count("GET "+chatAddress), "a 500 is an answer")
}

const limited = `{"message":"You've been rate limited for sending more than 512 requests in 1m0s."}`

func TestRetryAfterIsHonouredUpToTheMaximum(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress: sequence(withHeader("Retry-After", "1", reply(429, limited)), reply(200, aChat)),
	})
	began := time.Now()
	_, err := p.client(t, client.Options{}).GetChat(t.Context(), chatID)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), time.Second)

	p.set("GET "+chatAddress, withHeader("Retry-After", "60", reply(429, limited)))
	_, err = p.client(t, client.Options{MaxRetryWait: 5 * time.Second}).GetChat(t.Context(), chatID)
	e := asError(t, err)
	require.True(t, client.IsRateLimited(err))
	require.Equal(t, time.Minute, e.RetryAfter)
	require.ErrorContains(t, err, "Wait 1m0s")
	require.Equal(t, 3, p.count("GET "+chatAddress))

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = p.client(t, client.Options{MaxRetryWait: time.Hour}).GetChat(ctx, chatID)
	require.True(t, client.IsRateLimited(err), "a wait beyond the deadline is not begun")
}

func TestRetryAfterAsADateAndTheReset(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		headers map[string]string
		want    time.Duration
	}{
		"date":               {map[string]string{"Retry-After": now.Add(30 * time.Second).Format(http.TimeFormat)}, 30 * time.Second},
		"past date":          {map[string]string{"Retry-After": now.Add(-time.Hour).Format(http.TimeFormat)}, 0},
		"the reset alone":    {map[string]string{"X-Ratelimit-Reset": fmt.Sprint(now.Add(17 * time.Second).Unix())}, 17 * time.Second},
		"the reset is exact": {map[string]string{"Retry-After": "60", "X-Ratelimit-Reset": fmt.Sprint(now.Add(9 * time.Second).Unix())}, 9 * time.Second},
		"nonsense":           {map[string]string{"Retry-After": "soon", "X-Ratelimit-Reset": "x"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", now.Format(http.TimeFormat))
				for k, v := range c.headers {
					w.Header().Set(k, v)
				}
				reply(429, limited)(w, r)
			}})
			_, err := p.client(t, client.Options{Retries: -1}).GetChat(t.Context(), chatID)
			require.Equal(t, c.want, asError(t, err).RetryAfter)
			require.ErrorContains(t, err, "Wait")
		})
	}
}

func TestTheTwo429sAreToldApart(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"POST " + chatAddress + "/messages": withHeader("X-Ratelimit-Reset", fmt.Sprint(time.Now().Add(time.Minute).Unix()),
			reply(429, `{"message":"Message queue is full.","detail":"Maximum 20 messages can be queued."}`)),
	})
	_, err := p.client(t, client.Options{}).SendMessage(t.Context(), chatID, client.SendMessageRequest{})
	e := asError(t, err)
	require.True(t, client.IsQueueFull(err))
	require.False(t, client.IsRateLimited(err))
	require.Zero(t, e.RetryAfter)
	require.Equal(t, "Maximum 20 messages can be queued.", e.Detail)
	require.ErrorContains(t, err, "delete one")
}

func TestErrorsOfTheAPI(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		kind    client.Kind
		message string
		says    []string
	}{
		{400, `{"message":"Query parameters have invalid values.","validations":[{"field":"limit","detail":"Query param \"limit\" must be positive"},{"field":"x","detail":"y"}]}`,
			client.KindInvalidArgument, "Query parameters have invalid values.", []string{`[limit: Query param "limit" must be positive]`, "[x: y]"}},
		{401, `{"message":"You are signed out or your session has expired. Please sign in again to continue.","detail":"Cookie \"coder_session_token\" or query parameter must be provided."}`,
			client.KindUnauthorized, "You are signed out or your session has expired. Please sign in again to continue.", []string{"coder login", "Cookie"}},
		{403, `{"message":"Forbidden.","detail":"You don't have permission to view this content."}`, client.KindForbidden, "Forbidden.", []string{"administrator"}},
		{404, `{"message":"Resource not found or you do not have access to this resource"}`, client.KindNotFound,
			"Resource not found or you do not have access to this resource", []string{"another user"}},
		{405, ``, client.KindUnsupported, "This address does not take GET.", []string{"lacks this operation"}},
		{409, `{"message":"Chat is not in an interruptible state."}`, client.KindConflict, "Chat is not in an interruptible state.", nil},
		{410, `{"message":"Gone."}`, client.KindUnsupported, "Gone.", nil},
		{413, `{"message":"Request body too large."}`, client.KindTooLarge, "Request body too large.", nil},
		{400, `{"message":"Request body must be valid JSON.","detail":"http: request body too large"}`, client.KindTooLarge, "Request body must be valid JSON.", nil},
		{400, "Something is wrong with your CSRF token. Please refresh the page.\n", client.KindInvalidArgument, "Something is wrong with your CSRF token. Please refresh the page.", nil},
		{428, "Bypass header not allowed.\n", client.KindInvalidArgument, "Bypass header not allowed.", []string{"428 Precondition Required"}},
		{426, "WebSocket protocol violation: Connection header \"\" does not contain Upgrade\n{\"message\":\"Failed to open chat watch stream.\",\"detail\":\"d\"}\n",
			client.KindInvalidArgument, "Failed to open chat watch stream.", []string{"(d)"}},
		{408, "", client.KindTimeout, "It gave no reason.", nil},
		{500, `<!DOCTYPE html><html><head><title>Internal
			Error</title></head><body>` + strings.Repeat("<p>secret</p>", 10000) + `</body></html>`,
			client.KindUnavailable, "an HTML page titled “Internal Error”, not the API's JSON (a proxy in between?)", nil},
		{500, `<html>` + strings.Repeat("x", 70000), client.KindUnavailable, "an HTML page, not the API's JSON (a proxy in between?)", nil},
		{500, `<html><title><b></title>`, client.KindUnavailable, "an HTML page, not the API's JSON (a proxy in between?)", nil},
		{500, "line one\x00\x1b[31m\r\nline two " + strings.Repeat("ä", 500), client.KindUnavailable, "", []string{"line one [31m line two ä", "…"}},
		{500, `{"message":"token ` + token + ` was refused"}`, client.KindUnavailable, "token [token] was refused", nil},
		{400, `{"message":"m","validations":[{"field":"` + token + `","detail":"value ` + token + ` is bad"}]}`, client.KindInvalidArgument, "m", []string{"[[token]: value [token] is bad]"}},
		{500, `[1,2]`, client.KindUnavailable, "[1,2]", nil},
	} {
		t.Run(fmt.Sprintf("%d %.40s", c.status, c.body), func(t *testing.T) {
			p := newPeer(t, map[string]http.HandlerFunc{
				"GET " + chatAddress: withHeader("X-Coder-Request-Id", "be58e58c", reply(c.status, c.body)),
			})
			_, err := p.client(t, client.Options{}).GetChat(t.Context(), chatID)
			e := asError(t, err)
			require.Equal(t, c.kind, e.Kind)
			require.Equal(t, c.status, e.Status)
			require.Equal(t, "be58e58c", e.RequestID)
			require.Equal(t, chatAddress, e.Path)
			if c.message != "" {
				require.Equal(t, c.message, e.Message)
			}
			for _, s := range append(c.says, "get chat: ", fmt.Sprint(c.status)) {
				require.Contains(t, err.Error(), s)
			}
			require.Less(t, len(err.Error()), 700)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "secret<")
		})
	}
}

func TestKindsOfOtherErrors(t *testing.T) {
	require.Empty(t, client.KindOf(errors.New("x")))
	require.Empty(t, client.KindOf(nil))
	require.True(t, client.IsConflict(&client.Error{Kind: client.KindConflict}))
	require.True(t, client.IsNotFound(fmt.Errorf("while: %w", &client.Error{Kind: client.KindNotFound})))
}

func TestADeadServerIsUnavailable(t *testing.T) {
	p := newPeer(t, nil)
	c := p.client(t, client.Options{Retries: 1})
	_, err := c.Generation(t.Context())
	require.NoError(t, err)
	p.Close()
	_, err = c.GetChat(t.Context(), chatID)
	e := asError(t, err)
	require.Equal(t, client.KindUnavailable, e.Kind)
	require.Zero(t, e.Status)
	require.ErrorContains(t, err, p.URL)
	require.ErrorContains(t, err, "refused")
	var network *net.OpError
	require.ErrorAs(t, err, &network)
	_, err = c.SendMessage(t.Context(), chatID, client.SendMessageRequest{})
	require.ErrorContains(t, err, "look before you repeat it")
	_, err = c.StreamChat(t.Context(), chatID, client.StreamRequest{})
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
}

func TestACertificateThatIsNotTrustedIsUnavailable(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Config.ErrorLog = nil
	defer server.Close()
	c, err := client.New(server.URL, token, client.Options{RetryBase: time.Minute})
	require.NoError(t, err)
	defer c.Host().Close()
	_, err = c.Generation(t.Context()) // would wait a minute for a second try
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	require.ErrorContains(t, err, "certificate")
}

func TestASlowServerAndACanceledCall(t *testing.T) {
	arrived := make(chan struct{}, 8)
	slow := func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress: slow,
		"GET " + chatAddress + "/diff": func(w http.ResponseWriter, r *http.Request) { // headers, then nothing
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			slow(w, r)
		},
	})
	c := p.client(t, client.Options{Timeout: 50 * time.Millisecond, Retries: -1})
	_, err := c.GetChat(t.Context(), chatID)
	require.Equal(t, client.KindTimeout, client.KindOf(err))
	_, err = c.GetDiff(t.Context(), chatID)
	require.Equal(t, client.KindTimeout, client.KindOf(err))

	c = p.client(t, client.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.GetChat(ctx, chatID)
	require.Equal(t, client.KindTimeout, client.KindOf(err))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	for len(arrived) > 0 {
		<-arrived
	}
	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err = c.GetChat(ctx, chatID)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTheConnectionThatBreaksInTheMiddleOfAnAnswer(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress: sequence(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"id":`)
	}, reply(200, `{"id":"1c3ff024-0450-497b-97d5-a65464216353","title":"whole"}`))})
	chat, err := p.client(t, client.Options{}).GetChat(t.Context(), chatID)
	require.NoError(t, err)
	require.Equal(t, "whole", chat.Title)
}

func TestAnswersAreBounded(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET " + chatAddress:           reply(200, `{"title":"`+strings.Repeat("x", 5000)+`"}`),
		"GET " + chatAddress + "/diff": reply(200, `<html><title>Sign in</title></html>`),
	})
	c := p.client(t, client.Options{MaxResponse: 4096})
	_, err := c.GetChat(t.Context(), chatID)
	require.Equal(t, client.KindTooLarge, client.KindOf(err))
	require.ErrorContains(t, err, "4096 bytes")
	_, err = c.GetDiff(t.Context(), chatID)
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	require.ErrorContains(t, err, "Sign in")
}

func TestWhatAnUpdateSends(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"PATCH " + chatAddress: reply(204, "")})
	c := p.client(t, client.Options{})
	title, archived, pin, mode, workspace := "t", false, 0, "", uuid.Nil
	for want, r := range map[string]client.UpdateChatRequest{
		`{}`:                               {},
		`{"title":"t"}`:                    {Title: &title},
		`{"archived":false,"pin_order":0}`: {Archived: &archived, PinOrder: &pin},
		`{"labels":{},"plan_mode":"","workspace_id":"00000000-0000-0000-0000-000000000000"}`: {
			Labels: map[string]string{}, PlanMode: &mode, WorkspaceID: &workspace},
	} {
		require.NoError(t, c.UpdateChat(t.Context(), chatID, r))
		require.JSONEq(t, want, p.bodies["PATCH "+chatAddress])
	}
	require.Equal(t, "application/json", p.headers["PATCH "+chatAddress].Get("Content-Type"))
}

func TestWhatAListAsks(t *testing.T) {
	p := newPeer(t, nil)
	c := p.client(t, client.Options{})
	archived := true
	_, err := c.ListChats(t.Context(), client.ListChatsRequest{
		Query: `title:"x y"`, Labels: map[string]string{"env": "a b", "team": "x:y"}, Archived: &archived, Limit: 20, Offset: 5, AfterID: chatID,
	})
	require.NoError(t, err)
	require.Equal(t, "GET /api/experimental/chats?after_id="+chatID.String()+
		"&label=env%3Aa+b&label=team%3Ax%3Ay&limit=20&offset=5&q=title%3A%22x+y%22+archived%3Atrue", sortLabels(p.last(t)))
}

func sortLabels(s string) string {
	return strings.Replace(s, "label=team%3Ax%3Ay&label=env%3Aa+b", "label=env%3Aa+b&label=team%3Ax%3Ay", 1)
}

func TestMessagesOfARecording(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress + "/messages": reply(200, `{"messages":[
		{"id":12,"chat_id":"`+chatID.String()+`","model_config_id":"02d96fea-9507-4cbd-901e-d40dc5bfeea7","created_at":"2026-11-22T20:56:35.941047Z","role":"assistant","mood":"new",
		 "content":[{"type":"text","text":"a","file_id":null,"start_line":0},{"type":"text","text":"\u00e9\n"},
		  {"type":"tool-call","tool_call_id":"c1","tool_name":"execute","args":{"command":"ls"},"parsed_commands":[["ls"]]},
		  {"type":"tool-call","tool_call_id":"c2","tool_name":"bad"},
		  {"type":"hologram","depth":3,"text":7,"start_line":-2,"end_line":1e2,"is_error":true,"file_id":"02d96fea-9507-4cbd-901e-d40dc5bfeea7","created_at":"2026-11-22T20:56:35Z"}],
		 "usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3,"context_limit":200000}},
		{"id":11,"role":"user","content":[{"type":"context-file","context_file_path":"/AGENTS.md"},{"type":"skill","skill_name":"x"}]}],
		"queued_messages":[{"id":1,"content":[{"type":"text","text":"later"}]}],"has_more":true}`)})
	c := p.client(t, client.Options{})
	page, err := c.ListMessages(t.Context(), chatID, client.ListMessagesRequest{BeforeID: 99, AfterID: 3, Limit: 2})
	require.NoError(t, err)
	require.Contains(t, p.last(t), "?after_id=3&before_id=99&limit=2")
	require.True(t, page.HasMore)
	require.Len(t, page.Queued, 1)
	m := page.Messages[0]
	require.Equal(t, "aé\n", m.Text())
	require.EqualValues(t, 3, m.Usage.TotalTokens)
	require.JSONEq(t, `"new"`, string(m.Extra["mood"]))
	calls := m.ToolCalls()
	require.Len(t, calls, 2)
	require.JSONEq(t, `{"command":"ls"}`, string(calls[0].Args))
	require.JSONEq(t, `[["ls"]]`, string(calls[0].Extra["parsed_commands"]))
	require.Nil(t, calls[1].Args)
	strange := m.Content[4]
	require.Equal(t, client.PartType("hologram"), strange.Type)
	require.Equal(t, -2, strange.StartLine)
	require.True(t, strange.IsError)
	require.NotNil(t, strange.FileID)
	require.NotNil(t, strange.CreatedAt)
	require.Equal(t, map[string]json.RawMessage{"depth": json.RawMessage("3"), "text": json.RawMessage("7"), "end_line": json.RawMessage("1e2")}, strange.Extra)
	require.False(t, m.IsContextOnly())
	require.True(t, page.Messages[1].IsContextOnly())
	require.False(t, (&client.Message{}).IsContextOnly())
}

func TestChatKeepsWhatItDoesNotKnow(t *testing.T) {
	var chat client.Chat
	require.NoError(t, json.Unmarshal([]byte(`{"id":"`+chatID.String()+`","status":"dreaming","workspace_id":null,"context":{"a":[1,"}"]},
		"children":[{"title":"c","novelty":true}],"last_turn_summary":null,"labels":{}}`), &chat))
	require.Equal(t, client.Status("dreaming"), chat.Status)
	require.False(t, chat.Status.Idle() || chat.Status.Busy())
	require.JSONEq(t, `{"a":[1,"}"]}`, string(chat.Extra["context"]))
	require.Len(t, chat.Extra, 1)
	require.JSONEq(t, `true`, string(chat.Children[0].Extra["novelty"]))
	require.Nil(t, chat.WorkspaceID)
	require.True(t, client.StatusWaiting.Idle() && client.StatusError.Idle() && client.StatusInterrupting.Busy() && client.StatusPending.Busy())
	require.False(t, client.StatusRequiresAction.Idle() || client.StatusRequiresAction.Busy())
	require.Error(t, json.Unmarshal([]byte(`{"id":7}`), &chat))
	require.Error(t, json.Unmarshal([]byte(`{"id":"x"}`), new(client.Message)))
	var part client.Part
	require.NoError(t, json.Unmarshal([]byte(`null`), &part))
	require.Error(t, json.Unmarshal([]byte(`[]`), &part))
}

func TestASuccessWithoutWhatItIsAboutIsNone(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"POST /api/experimental/chats":         reply(201, `{}`),
		"GET " + chatAddress:                   reply(200, `{}`),
		"POST " + chatAddress + "/messages":    reply(200, `{"queued":false}`),
		"PATCH " + chatAddress + "/messages/9": reply(200, `{"messages":[]}`),
	})
	c := p.client(t, client.Options{})
	_, created := c.CreateChat(t.Context(), client.CreateChatRequest{OrganizationID: chatID})
	_, got := c.GetChat(t.Context(), chatID)
	_, sent := c.SendMessage(t.Context(), chatID, client.SendMessageRequest{})
	_, edited := c.EditMessage(t.Context(), chatID, 9, client.EditMessageRequest{})
	for _, err := range []error{created, got, sent, edited} {
		e := asError(t, err)
		require.Equal(t, client.KindUnavailable, e.Kind)
		require.Contains(t, e.Message, "lacks")
		require.Equal(t, e.Method == http.MethodGet, e.Unsent())
	}
}

func TestAWriteThatNeverLeftIsToldFromOneThatMayHaveArrived(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c, err := client.New(gone.URL, token, client.Options{Retries: -1})
	require.NoError(t, err)
	require.True(t, asError(t, c.UpdateChat(t.Context(), chatID, client.UpdateChatRequest{})).Unsent(), "nobody listens")

	p := newPeer(t, map[string]http.HandlerFunc{"PATCH " + chatAddress: func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	}})
	require.False(t, asError(t, p.client(t, client.Options{}).UpdateChat(t.Context(), chatID, client.UpdateChatRequest{})).Unsent(), "the connection broke")
}

func TestSendEditAndQueue(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"POST " + chatAddress + "/messages":         reply(200, `{"queued_message":{"id":3},"messages":[{"id":9}],"queued":true,"warnings":["w"]}`),
		"PATCH " + chatAddress + "/messages/9":      reply(200, `{"message":{"id":12},"deleted_message_ids":[9,10]}`),
		"DELETE " + chatAddress + "/queue/3":        reply(204, ""),
		"POST " + chatAddress + "/queue/3/promote":  reply(202, `{"message":"Promoted."}`),
		"POST " + chatAddress + "/tool-results":     reply(204, ""),
		"POST " + chatAddress + "/title/regenerate": reply(200, `{"id":"1c3ff024-0450-497b-97d5-a65464216353","title":"new"}`),
		"POST /api/experimental/chats":              reply(201, `{"id":"1c3ff024-0450-497b-97d5-a65464216353","status":"pending"}`),
		"GET " + chatAddress + "/prompts":           reply(200, `{"prompts":[{"id":9,"text":"hi"}]}`),
		"GET " + chatAddress + "/diff":              reply(200, `{"chat_id":"`+chatID.String()+`","branch":"b","diff":"d"}`),
	})
	c := p.client(t, client.Options{})
	sent, err := c.SendMessage(t.Context(), chatID, client.SendMessageRequest{
		Content: []client.InputPart{client.TextPart("hi")}, BusyBehavior: "interrupt", MCPServerIDs: []uuid.UUID{},
	})
	require.NoError(t, err)
	require.True(t, sent.Queued)
	require.EqualValues(t, 9, sent.Messages[0].ID)
	require.Nil(t, sent.Message)
	require.JSONEq(t, `{"content":[{"type":"text","text":"hi"}],"busy_behavior":"interrupt","mcp_server_ids":[]}`, p.bodies["POST "+chatAddress+"/messages"])
	edited, err := c.EditMessage(t.Context(), chatID, 9, client.EditMessageRequest{Content: []client.InputPart{{Type: "file", FileID: &chatID}}, ModelConfigID: chatID})
	require.NoError(t, err)
	require.Equal(t, []int64{9, 10}, edited.DeletedMessageIDs)
	require.NoError(t, c.DeleteQueuedMessage(t.Context(), chatID, 3))
	require.NoError(t, c.PromoteQueuedMessage(t.Context(), chatID, 3))
	require.NoError(t, c.SubmitToolResults(t.Context(), chatID, []client.ToolResult{{ToolCallID: "c", Output: json.RawMessage(`{"x":1}`)}}))
	require.JSONEq(t, `{"results":[{"tool_call_id":"c","output":{"x":1}}]}`, p.bodies["POST "+chatAddress+"/tool-results"])
	require.NoError(t, c.SubmitToolResults(t.Context(), chatID, nil))
	require.JSONEq(t, `{"results":[]}`, p.bodies["POST "+chatAddress+"/tool-results"])
	err = c.SubmitToolResults(t.Context(), chatID, []client.ToolResult{{Output: json.RawMessage(`{`)}})
	require.Equal(t, client.KindInvalidArgument, client.KindOf(err))
	chat, err := c.RegenerateChatTitle(t.Context(), chatID)
	require.NoError(t, err)
	require.Equal(t, "new", chat.Title)
	chat, err = c.CreateChat(t.Context(), client.CreateChatRequest{OrganizationID: chatID, DynamicTools: []client.DynamicTool{{Name: "n", InputSchema: json.RawMessage(`{}`)}}})
	require.NoError(t, err)
	require.Equal(t, client.StatusPending, chat.Status)
	require.JSONEq(t, `{"organization_id":"`+chatID.String()+`","content":[],"unsafe_dynamic_tools":[{"name":"n","input_schema":{}}]}`, p.bodies["POST /api/experimental/chats"])
	prompts, err := c.ListPrompts(t.Context(), chatID, 5)
	require.NoError(t, err)
	require.Equal(t, "hi", prompts[0].Text)
	diff, err := c.GetDiff(t.Context(), chatID)
	require.NoError(t, err)
	require.Equal(t, "b", diff.Branch)
}

func TestUploadStreamsWithItsName(t *testing.T) {
	id := uuid.New()
	type upload struct {
		disposition, contentType string
		length                   int64
		chunked                  bool
		bytes                    int
	}
	uploads := make(chan upload, 1)
	p := &peer{answers: map[string]http.HandlerFunc{}, headers: map[string]http.Header{}, bodies: map[string]string{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/experimental/chats/files" {
			p.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		uploads <- upload{r.Header.Get("Content-Disposition"), r.Header.Get("Content-Type"), r.ContentLength, len(r.TransferEncoding) > 0, len(body)}
		reply(201, `{"id":"`+id.String()+`"}`)(w, r)
	}))
	defer p.Close()
	c := p.client(t, client.Options{})
	org := uuid.New()
	for _, u := range []struct {
		r    client.UploadFileRequest
		want upload
	}{
		{client.UploadFileRequest{Name: `a "b".txt`, MediaType: "text/plain", Body: strings.NewReader("hello")},
			upload{`attachment; filename="a \"b\".txt"`, "text/plain", 5, false, 5}},
		{client.UploadFileRequest{Name: "übung.md", Body: io.LimitReader(zeros{}, 1<<20)},
			upload{"attachment; filename*=utf-8''%C3%BCbung.md", "", -1, true, 1 << 20}},
		{client.UploadFileRequest{Name: "big", Body: io.LimitReader(zeros{}, 1<<20), Size: 1 << 20},
			upload{"attachment; filename=big", "", 1 << 20, false, 1 << 20}},
		{client.UploadFileRequest{Name: "empty.txt", Body: bytes.NewReader(nil)}, upload{"attachment; filename=empty.txt", "", 0, false, 0}},
	} {
		u.r.OrganizationID = org
		got, err := c.UploadFile(t.Context(), u.r)
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.Equal(t, u.want, <-uploads)
	}
	for _, name := range []string{"", strings.Repeat("x", 256)} {
		_, err := c.UploadFile(t.Context(), client.UploadFileRequest{OrganizationID: org, Name: name})
		require.Equal(t, client.KindInvalidArgument, client.KindOf(err))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// pieces serves a download that goes on only when the test says so.
func pieces(more <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Content-Disposition", `inline; filename*=utf-8''%C3%BC.png`)
		w.Header().Set("Content-Length", "6")
		for {
			w.(http.Flusher).Flush()
			select {
			case piece, ok := <-more:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, piece)
			case <-r.Context().Done():
				return
			}
		}
	}
}

func TestADownloadThatMovesOutlastsTheTimeout(t *testing.T) {
	const timeout = 300 * time.Millisecond
	more := make(chan string)
	id := uuid.New()
	p := newPeer(t, map[string]http.HandlerFunc{"GET /api/experimental/chats/files/" + id.String(): pieces(more)})
	c := p.client(t, client.Options{Timeout: timeout})
	f, err := c.GetFile(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "ü.png", f.Name)
	require.Equal(t, "image/png", f.MediaType)
	require.EqualValues(t, 6, f.Size)
	began := time.Now()
	var body []byte
	for _, piece := range []string{"ab", "cd", "ef"} {
		time.AfterFunc(timeout/2, func() { more <- piece })
		two := make([]byte, 2)
		_, err := io.ReadFull(f.Body, two)
		require.NoError(t, err)
		body = append(body, two...)
	}
	require.Greater(t, time.Since(began), timeout)
	require.Equal(t, "abcdef", string(body))
	close(more)
	n, err := f.Body.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, f.Body.Close())
	_, err = c.GetFile(t.Context(), uuid.New())
	require.Error(t, err)
}

func TestADownloadThatStallsTimesOut(t *testing.T) {
	more := make(chan string, 1)
	id := uuid.New()
	p := newPeer(t, map[string]http.HandlerFunc{"GET /api/experimental/chats/files/" + id.String(): pieces(more)})
	c := p.client(t, client.Options{Timeout: 100 * time.Millisecond})
	f, err := c.GetFile(t.Context(), id)
	require.NoError(t, err)
	more <- "ab"
	body, err := io.ReadAll(f.Body)
	require.Equal(t, "ab", string(body))
	e := asError(t, err)
	require.Equal(t, client.KindTimeout, e.Kind)
	require.ErrorContains(t, err, "stopped in the middle of its answer: nothing came for 100ms")
	require.NoError(t, f.Body.Close())
}

func TestARateLimitIsToldAtOnceToWhoAsksForIt(t *testing.T) {
	limited := withHeader("Retry-After", "1", reply(429, `{"message":"You have been rate limited."}`))
	p := newPeer(t, map[string]http.HandlerFunc{"GET " + chatAddress: sequence(reply(503, ""), limited)})
	c := p.client(t, client.Options{MaxRetryWait: time.Minute})
	_, err := c.GetChat(client.TellLimit(t.Context()), chatID)
	require.True(t, client.IsRateLimited(err))
	require.Equal(t, time.Second, asError(t, err).RetryAfter)
	require.Equal(t, 2, p.count("GET "+chatAddress), "tried again after the 503, not after the 429")
}
