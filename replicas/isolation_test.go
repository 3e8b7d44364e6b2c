package replicas

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"coder-chats-mcp/simulator"
)

// sessionsOfEach is how many sessions each of the two callers has.
const sessionsOfEach = 200

// visitor is one session of one of two callers.
type visitor struct {
	fleet   *fleet
	caller  int
	token   string
	session string
	other   *visitor // a session of the other caller
	chats   []string // of the caller

	mu    sync.Mutex
	heard []string // every body and every event
	news  chan struct{}
}

// TestTwoCallersHearNothingOfEachOther has two people work at once in 200 sessions each, mixed over both replicas. Each
// session also tries whatever id it could have stolen of the other's.
func TestTwoCallersHearNothingOfEachOther(t *testing.T) {
	f := openFleet(t, simulator.Options{RateLimit: -1})
	everybody := f.visitors(t)
	secrets := [2][]string{}
	for caller := range 2 {
		first := everybody[caller]
		for n := range 2 {
			secret := fmt.Sprintf("secret-%d-of-caller-%d", n, caller)
			_, body := first.call(t, "create_chat", map[string]any{"prompt": secret})
			var created struct {
				Result struct{ StructuredContent struct{ ID string } }
			}
			require.NoError(t, json.Unmarshal(body, &created), "%s", body)
			require.NotEmpty(t, created.Result.StructuredContent.ID, "%s", body)
			first.chats = append(first.chats, created.Result.StructuredContent.ID)
			secrets[caller] = append(secrets[caller], secret, created.Result.StructuredContent.ID)
		}
	}
	for _, v := range everybody {
		v.chats = everybody[v.caller].chats
	}
	ctx, leave := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	defer listening.Wait()
	defer leave()
	each(t, everybody, func(v *visitor) {
		opened := make(chan struct{})
		listening.Go(func() { v.listen(t, ctx, opened) })
		<-opened
		v.ask(t, "logging/setLevel", map[string]any{"level": "debug"})
		for _, chat := range v.chats {
			_, body := v.ask(t, "resources/subscribe", map[string]any{"uri": "coder://chats/" + chat})
			require.NotContains(t, string(body), `"error"`)
		}
	})
	each(t, everybody, func(v *visitor) { v.work(t) })
	each(t, everybody, func(v *visitor) { v.steal(t) })
	for caller := range 2 {
		for n, chat := range everybody[caller].chats {
			_, body := everybody[caller+2].call(t, "send_chat_message", map[string]any{"chat": chat, "text": fmt.Sprintf("again secret-%d-of-caller-%d", n, caller)})
			require.NotContains(t, string(body), `"isError":true`)
		}
	}
	each(t, everybody, func(v *visitor) {
		for _, chat := range v.chats {
			v.until(t, func(said string) bool {
				return strings.Contains(said, "notifications/resources/updated") && strings.Contains(said, chat)
			})
			v.until(t, func(said string) bool {
				return strings.Contains(said, "notifications/message") && strings.Contains(said, chat)
			})
		}
	})
	for _, v := range everybody {
		v.mu.Lock()
		for _, said := range v.heard {
			for _, secret := range append(secrets[1-v.caller], v.other.session) {
				require.NotContains(t, said, secret, "caller %d heard of the other", v.caller)
			}
		}
		v.mu.Unlock()
	}
}

// visitors opens the sessions, the callers' in turns.
func (f *fleet) visitors(t *testing.T) []*visitor {
	everybody := make([]*visitor, 2*sessionsOfEach)
	for n := range everybody {
		everybody[n] = &visitor{fleet: f, caller: n % 2, token: f.sim.Users()[n%2].Token, news: make(chan struct{})}
	}
	for n, v := range everybody {
		v.other = everybody[n^1]
	}
	each(t, everybody, func(v *visitor) {
		response := v.send(t, t.Context(), http.MethodPost, request("initialize", map[string]any{
			"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "visitor", "version": "1"},
		}))
		v.hear(t, response)
		v.session = response.Header.Get("Mcp-Session-Id")
		require.NotEmpty(t, v.session)
	})
	return everybody
}

// each does something in all sessions, a few at a time.
func each(t *testing.T, everybody []*visitor, do func(*visitor)) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for _, v := range everybody {
		group.Go(func() error { do(v); return nil })
	}
	_ = group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func request(method string, params any) []byte {
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	return body
}

func (v *visitor) send(t *testing.T, ctx context.Context, method string, body []byte, headers ...string) *http.Response {
	r, err := http.NewRequestWithContext(ctx, method, v.fleet.url+"/mcp", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+v.token)
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	if v.session != "" {
		r.Header.Set("Mcp-Session-Id", v.session)
		r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	return response
}

func (v *visitor) hear(t *testing.T, response *http.Response) (status int, body []byte) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	v.remember(string(body))
	return response.StatusCode, body
}

func (v *visitor) remember(said string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heard = append(v.heard, said)
	close(v.news)
	v.news = make(chan struct{})
}

func (v *visitor) ask(t *testing.T, method string, params any) (status int, body []byte) {
	return v.hear(t, v.send(t, t.Context(), http.MethodPost, request(method, params)))
}

func (v *visitor) call(t *testing.T, tool string, arguments map[string]any) (status int, body []byte) {
	return v.ask(t, "tools/call", map[string]any{"name": tool, "arguments": arguments})
}

func (v *visitor) listen(t *testing.T, ctx context.Context, opened chan struct{}) {
	response := v.send(t, ctx, http.MethodGet, nil)
	defer response.Body.Close()
	close(opened)
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if data, found := strings.CutPrefix(lines.Text(), "data: "); found && data != "" {
			v.remember(data)
		}
	}
}

func (v *visitor) until(t *testing.T, wanted func(string) bool) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := 0; ; {
		v.mu.Lock()
		for ; n < len(v.heard); n++ {
			if wanted(v.heard[n]) {
				v.mu.Unlock()
				return
			}
		}
		news := v.news
		v.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			require.Fail(t, "a session did not hear of its own chat")
		}
	}
}

// work uses what is the caller's own.
func (v *visitor) work(t *testing.T) {
	_, body := v.call(t, "list_chats", nil)
	for _, chat := range v.chats {
		require.Contains(t, string(body), chat)
	}
	_, body = v.ask(t, "resources/read", map[string]any{"uri": "coder://chats/" + v.chats[0]})
	require.Contains(t, string(body), v.chats[0])
	_, body = v.ask(t, "resources/list", nil)
	require.Contains(t, string(body), v.chats[1])
}

// steal tries the other caller's sessions, streams and chats. What it sends does not count as heard.
func (v *visitor) steal(t *testing.T) {
	for _, attempt := range []struct {
		method string
		body   []byte
		more   []string
	}{
		{http.MethodPost, request("tools/list", nil), nil},
		{http.MethodPost, []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`), nil},
		{http.MethodGet, nil, nil},
		{http.MethodGet, nil, []string{"Last-Event-ID", "0_1"}},
		{http.MethodDelete, nil, nil},
	} {
		headers := append([]string{"Mcp-Session-Id", v.other.session}, attempt.more...)
		status, body := v.hear(t, v.send(t, t.Context(), attempt.method, attempt.body, headers...))
		require.Equal(t, http.StatusNotFound, status, "%s %s: %s", attempt.method, attempt.body, body)
	}
	theirs := v.other.chats[0]
	for _, body := range [][]byte{
		second(v.call(t, "get_chat", map[string]any{"chat": theirs})),
		second(v.call(t, "send_chat_message", map[string]any{"chat": theirs, "text": "let me in"})),
		second(v.call(t, "stream_chat", map[string]any{"chat": theirs, "wait_seconds": 1})),
		second(v.ask(t, "resources/read", map[string]any{"uri": "coder://chats/" + theirs})),
		second(v.ask(t, "resources/subscribe", map[string]any{"uri": "coder://chats/" + theirs})),
	} {
		require.True(t, bytes.Contains(body, []byte(`"isError":true`)) || bytes.Contains(body, []byte(`"error":`)), "%s", body)
		require.NotContains(t, string(body), "invalid_argument", "it must be refused for whom it belongs to")
		v.forget(theirs, string(body))
	}
}

func second(_ int, body []byte) []byte { return body }

// forget takes the id that the session itself asked for out of the answer.
func (v *visitor) forget(id, said string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for n, one := range v.heard {
		if one == said {
			v.heard[n] = strings.ReplaceAll(said, id, "")
		}
	}
}
