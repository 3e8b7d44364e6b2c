package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// clog fills the outbox of p's session until a producer is held back, and returns the number of messages until then.
func clog(t *testing.T, s *transport.Session) int {
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := s.Notify(ctx, "notifications/clog", map[string]any{"text": strings.Repeat("x", 1000)}, nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return n
		}
		require.NoError(t, err)
	}
}

func TestJoinMergesWhileUnsentAndKeepsTheOrderOfAKey(t *testing.T) {
	p := connect(t, transport.Options{MaxQueued: 256 << 10})
	s := p.hello(`{}`)
	concat := func(part string) *transport.Join {
		return &transport.Join{Key: "chat", Merge: func(queued, next any) (any, bool) {
			was, is := queued.(string), next.(string)
			return was + is, is != "end" && was != "end" && part != "end"
		}}
	}
	clogged := make(chan struct{})
	go func() {
		defer close(clogged)
		// More than one write takes, less than the outbox holds.
		for range 200 {
			_ = s.Notify(t.Context(), "notifications/clog", map[string]any{"text": strings.Repeat("x", 1000)}, nil)
		}
	}()
	<-clogged
	for i := range 1000 {
		require.NoError(t, s.Log(t.Context(), mcp.LoggingLevelInfo, "chat/1", "d", concat("d")), i)
	}
	require.NoError(t, s.Log(t.Context(), mcp.LoggingLevelInfo, "chat/1", "end", concat("end")))
	require.NoError(t, s.Log(t.Context(), mcp.LoggingLevelInfo, "chat/1", "after", concat("after")))
	require.NoError(t, s.Log(t.Context(), mcp.LoggingLevelError, "chat/1", "!", concat("!")))
	require.NoError(t, s.Log(t.Context(), mcp.LoggingLevelInfo, "chat/2", "other", concat("other")))
	require.Equal(t, int64(999), s.Stats().Joined)
	var said []any
	for _, line := range p.rest() {
		if m := decode(t, line); m.Method == "notifications/message" {
			said = append(said, m.Params.Data)
		}
	}
	require.Equal(t, []any{strings.Repeat("d", 1000), "end", "after", "!", "other"}, said)
}

func TestLatestStateReplacesItsLikeInAFullOutboxWithoutWaiting(t *testing.T) {
	p := connect(t, transport.Options{MaxQueued: 96 << 10})
	s := p.hello(`{}`)
	for range 80 {
		require.NoError(t, s.Notify(t.Context(), "notifications/clog", strings.Repeat("x", 1000), nil))
	}
	state := &transport.Join{Key: "k"}
	require.NoError(t, s.Notify(t.Context(), "notifications/state", 0, state))
	clog(t, s)
	held := s.Stats().Held
	for i := range 1000 {
		require.NoError(t, s.Notify(t.Context(), "notifications/state", i+1, state))
	}
	require.Equal(t, held, s.Stats().Held)
	states := 0
	for _, line := range p.rest() {
		if strings.Contains(line, "notifications/state") {
			states++
			require.Contains(t, line, `"params":1000}`)
		}
	}
	require.Equal(t, 1, states)
}

func TestFullOutboxRefusesAtTheEndOfTheContextOnly(t *testing.T) {
	p := connect(t, transport.Options{MaxQueued: 32 << 10})
	s := p.hello(`{}`)
	n := clog(t, s)
	require.Greater(t, n, 30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Notify(ctx, "notifications/x", nil, nil), context.Canceled)
	for range n {
		require.Equal(t, "notifications/clog", p.next().Method)
	}
	require.NoError(t, s.Notify(t.Context(), "notifications/x", nil, nil))
	require.Equal(t, "notifications/x", p.next().Method)
}

func TestNothingIsSentAfterTheEnd(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(`{}`)
	p.rest()
	<-s.Done()
	require.Error(t, s.Context().Err())
	require.ErrorIs(t, s.Notify(t.Context(), "notifications/x", nil, nil), transport.ErrSessionOver)
	s.ResourceUpdated("test://a")
	s.ListChanged("tools")
}

func TestNotificationInTheNameOfAnAnsweredRequestIsRefused(t *testing.T) {
	kept := make(chan context.Context, 1)
	m := newServer()
	m.AddTool(mcp.NewTool("keep"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		kept <- context.WithoutCancel(ctx)
		return mcp.NewToolResultText("kept"), nil
	})
	p := serve(t, m, transport.Options{})
	s := p.hello(`{}`)
	p.write(callWithToken(1, `"t"`, "keep", ""))
	require.Equal(t, "kept", p.next().text())
	ctx := <-kept
	require.ErrorIs(t, s.Notify(ctx, "notifications/x", nil, nil), transport.ErrAnswered)
	transport.Progress(ctx, "too late")
	require.Same(t, s, transport.SessionFromContext(ctx))
	require.NoError(t, s.Notify(s.Context(), "notifications/own", nil, nil))
	require.Equal(t, "notifications/own", p.next().Method)
}

func TestOutsideOfARequestThereIsNoSession(t *testing.T) {
	require.Nil(t, transport.SessionFromContext(t.Context()))
	require.False(t, transport.HasProgress(t.Context()))
	transport.Progress(t.Context(), "nobody")
}

func TestParamsThatDoNotEncodeAreTheProducersError(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(`{}`)
	require.ErrorContains(t, s.Notify(t.Context(), "notifications/x", make(chan int), nil), "notifications/x")
	// What only a Merge makes unsendable is told to the client.
	bad := &transport.Join{Key: "k", Merge: func(any, any) (any, bool) { return make(chan int), true }}
	for range 300 {
		require.NoError(t, s.Notify(t.Context(), "notifications/clog", strings.Repeat("x", 1000), nil))
	}
	require.NoError(t, s.Notify(t.Context(), "notifications/x", 1, bad))
	require.NoError(t, s.Notify(t.Context(), "notifications/x", 2, bad))
	lines := p.rest()
	require.Contains(t, lines[len(lines)-1], "lost joined notifications/x")
}

func TestProgressIsAtMostFourASecondRisingAndNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, transport.Options{})
		p.hello(`{}`)
		start := time.Now()
		p.write(callWithToken(1, `"t"`, "progress", `"n":99,"ms":10`))
		var steps, counts []string
		var at []time.Duration
		for {
			m := p.next()
			if m.Method == "" {
				break
			}
			require.Equal(t, `"t"`, string(m.Params.ProgressToken))
			steps, counts = append(steps, m.Params.Message), append(counts, fmt.Sprint("step ", m.Params.Progress))
			at = append(at, time.Since(start))
		}
		// The response comes at 0.99 s: what waits then is moot.
		require.Equal(t, []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond}, at)
		require.Equal(t, counts, steps)
	})
}

func TestSubscriptionsOfBothErasCallTheHooksOncePerURI(t *testing.T) {
	var notes notes
	p := connect(t, transport.Options{Hooks: hooksOf(&notes)})
	s := p.hello(`{}`)
	subscribe := `{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"test://%s"}}`
	answered := func(lines ...string) {
		t.Helper()
		p.write(lines...)
		for range lines {
			require.Nil(t, p.next().Error)
		}
	}
	answered(fmt.Sprintf(subscribe, 1, "subscribe", "a"), fmt.Sprintf(subscribe, 2, "subscribe", "a"))
	require.Equal(t, []string{"+test://a"}, notes.all())

	p.write(modern(3, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a","test://b"]}`))
	require.Equal(t, "notifications/subscriptions/acknowledged", p.next().Method)
	require.Equal(t, []string{"+test://a", "+test://b"}, notes.all())
	require.ElementsMatch(t, []string{"test://a", "test://b"}, s.Subscriptions())

	// One update reaches both, each in its own way.
	p.write(call(4, "update", `"text":"test://a"`))
	legacy, listen := p.next(), p.next()
	require.Equal(t, "test://a", legacy.Params.URI)
	require.Empty(t, legacy.Params.Meta.Subscription)
	require.Equal(t, "3", string(listen.Params.Meta.Subscription))
	require.Equal(t, "updated", p.next().text())

	answered(fmt.Sprintf(subscribe, 5, "unsubscribe", "a"), fmt.Sprintf(subscribe, 6, "unsubscribe", "a"), fmt.Sprintf(subscribe, 7, "unsubscribe", "never"))
	require.Equal(t, []string{"+test://a", "+test://b"}, notes.all(), "the listen still wants it")
	p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
	require.Eventually(t, func() bool { return len(notes.all()) == 4 }, 5*time.Second, time.Millisecond)
	require.ElementsMatch(t, []string{"-test://a", "-test://b"}, notes.all()[2:])

	answered(fmt.Sprintf(subscribe, 8, "subscribe", "c"))
	p.rest()
	require.Equal(t, []string{"+test://c", "-test://c", "closed"}, notes.all()[4:])
}

func TestSubscribeAndUnsubscribeInOneWriteKeepTheirOrder(t *testing.T) {
	var notes notes
	p := connect(t, transport.Options{Hooks: hooksOf(&notes)})
	s := p.hello(`{}`)
	const rounds = 100
	var lines []string
	for i := range rounds {
		for j, what := range []string{"subscribe", "unsubscribe"} {
			lines = append(lines, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"resources/%s","params":{"uri":"test://a"}}`, 2*i+j, what))
		}
	}
	go p.write(lines...)
	for i := range 2 * rounds {
		require.Equal(t, fmt.Sprint(i), string(p.next().ID))
	}
	require.Empty(t, s.Subscriptions())
	require.Equal(t, 2*rounds, len(notes.all()))
}

func TestQueuedUpdatesOfOneURIAreOne(t *testing.T) {
	p := connect(t, transport.Options{})
	s := p.hello(`{}`)
	p.write(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"test://a"}}`)
	p.next()
	p.write(call(2, "update", `"text":"test://a","n":10000`))
	updates := 0
	for p.next().Method == "notifications/resources/updated" {
		updates++
	}
	require.Less(t, updates, 10000)
	require.Equal(t, int64(10000), s.Stats().Joined+int64(updates))
	p.write(call(3, "change", `"text":"resources"`))
	require.Equal(t, "notifications/resources/list_changed", p.next().Method)
}
