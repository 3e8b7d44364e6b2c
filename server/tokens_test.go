package server_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/server"
)

// knock asks for something that needs nothing but an accepted token.
func (g *gateway) knock(ctx context.Context, token string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+server.Path, nil)
	require.NoError(g.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

const (
	letIn     = http.StatusBadRequest // for want of a session
	turnedOff = http.StatusUnauthorized
)

func (g *gateway) requireStatus(want int, token string) {
	g.t.Helper()
	status, err := g.knock(g.t.Context(), token)
	require.NoError(g.t, err)
	require.Equal(g.t, want, status)
}

// asked counts the questions whether a token is good.
func (g *gateway) asked() int { return g.sim.Requests()["GET /chats"] }

func TestATokenThatIsNoneIsNotAskedFor(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	g.requireStatus(turnedOff, strings.Repeat("x", 513))
	require.Zero(t, g.asked())
	g.requireStatus(turnedOff, strings.Repeat("x", 512))
	require.NotZero(t, g.asked())
}

func TestARefusalIsBelievedForAWhile(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Refused: time.Hour}})
	g.requireStatus(letIn, g.sim.Users()[0].Token) // which finds the API, too
	before := g.asked()
	for range 5 {
		g.requireStatus(turnedOff, "guess")
		g.requireStatus(letIn, g.sim.Users()[0].Token)
	}
	require.Equal(t, before+1, g.asked())
	again := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Refused: time.Nanosecond}})
	again.requireStatus(turnedOff, "guess")
	before = again.asked()
	again.requireStatus(turnedOff, "guess")
	require.Equal(t, before+1, again.asked())
}

func TestGuessesLeaveNothingBehind(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{})
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	guess := func(from, to int) {
		for n := from; n < to; n++ {
			g.requireStatus(turnedOff, fmt.Sprint("guess-", n))
		}
	}
	guess(0, 1100) // fills what remembers refusals
	before := heap()
	guess(1100, 3100)
	require.Less(t, heap()-before, 1<<20)
}

func TestWhatWasNoAnswerIsAskedForAgain(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Again: time.Nanosecond}})
	for _, failure := range []int{http.StatusBadGateway, http.StatusTooManyRequests, http.StatusForbidden, http.StatusNotFound} {
		g.sim.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(failure)
			return true
		})
		g.requireStatus(letIn, "guess")
	}
	g.sim.Intercept(nil)
	g.requireStatus(turnedOff, "guess")
	g.requireStatus(letIn, g.sim.Users()[0].Token)
}

func TestACheckOutlivesWhoeverAskedForIt(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Timeout: time.Minute}})
	g.requireStatus(letIn, g.sim.Users()[0].Token)
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	g.sim.Intercept(func(http.ResponseWriter, *http.Request) bool {
		began <- struct{}{}
		<-goOn
		return false
	})
	before := g.asked()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := g.knock(ctx, "guess")
		left <- err
	}()
	<-began
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	answered := make(chan int)
	for range 3 {
		go func() {
			status, _ := g.knock(t.Context(), "guess")
			answered <- status
		}()
	}
	close(goOn)
	for range 3 {
		require.Equal(t, turnedOff, <-answered)
	}
	require.Equal(t, before+1, g.asked())
}

func TestASlowCoderHoldsUpNobody(t *testing.T) {
	hang := func(g *gateway) {
		silent := make(chan struct{})
		t.Cleanup(func() { close(silent) })
		g.sim.Intercept(func(http.ResponseWriter, *http.Request) bool {
			<-silent
			return true
		})
	}
	known := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Accepted: time.Nanosecond, Timeout: time.Hour}})
	known.requireStatus(letIn, known.sim.Users()[0].Token)
	hang(known)
	for range 3 { // asked for again meanwhile
		known.requireStatus(letIn, known.sim.Users()[0].Token)
	}

	unknown := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Timeout: 50 * time.Millisecond}})
	hang(unknown)
	unknown.requireStatus(letIn, unknown.sim.Users()[0].Token)
}

func TestATokenThatWasWithdrawnIsNoticed(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Accepted: time.Nanosecond, Refused: time.Hour}})
	ada := g.session(g.token(0))
	g.sim.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	require.Eventually(t, func() bool {
		status, _, _ := g.post(ada, "tools/list", nil)
		return status == turnedOff
	}, patience, time.Millisecond)
}

func TestTokensAreAskedForAFewAtOnce(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{AtOnce: 2, Timeout: 100 * time.Millisecond}})
	g.requireStatus(letIn, g.sim.Users()[0].Token)
	var now, most atomic.Int32
	g.sim.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		most.Store(max(most.Load(), now.Add(1)))
		<-r.Context().Done()
		now.Add(-1)
		return true
	})
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			status, err := g.knock(t.Context(), fmt.Sprint("guess-", n))
			if err != nil || status != letIn && status != http.StatusServiceUnavailable {
				t.Error(status, err)
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int32(2+1), "one that was given up may still be there")
	g.requireStatus(letIn, g.sim.Users()[0].Token)
}

func TestOnlySoManyAreLetInUnasked(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{Checks: server.TokenChecks{Again: time.Hour}})
	g.requireStatus(letIn, g.sim.Users()[0].Token)
	g.sim.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	for n := range 256 {
		g.requireStatus(letIn, fmt.Sprint("guess-", n))
	}
	g.requireStatus(http.StatusServiceUnavailable, "guess-256")
	g.requireStatus(letIn, "guess-7")
	g.requireStatus(letIn, g.sim.Users()[0].Token)
}

func TestATokenIsBroughtInOneWayOrTwiceTheSame(t *testing.T) {
	g := newGateway(t, server.HTTPOptions{OAuth: true, PublicURL: "https://mcp.example"})
	ada, bob := g.sim.Users()[0].Token, g.sim.Users()[1].Token
	list := func(h http.Header) (int, http.Header) {
		status, header, _ := g.post(h, "tools/list", nil)
		return status, header
	}
	for _, h := range []http.Header{
		{"Authorization": {"Bearer " + ada}, "Coder-Session-Token": {ada}}, {"Authorization": {"bearer   " + ada + " "}},
		{"Authorization": {"Basic eA==", "Bearer " + ada}}, {"Authorization": {"Bearer "}, "Coder-Session-Token": {ada}},
	} {
		status, _ := list(h)
		require.Equal(t, letIn, status, "%v", h)
	}
	for _, h := range []http.Header{
		{"Authorization": {"Bearer " + ada}, "Coder-Session-Token": {bob}}, {"Authorization": {"Bearer " + ada, "Bearer " + bob}},
		{"Coder-Session-Token": {ada, bob}},
	} {
		status, header := list(h)
		require.Equal(t, http.StatusBadRequest, status, "%v", h)
		require.Empty(t, header.Get("WWW-Authenticate"))
	}
	status, header := list(http.Header{"Authorization": {"Bearer guess"}})
	require.Equal(t, turnedOff, status)
	require.Equal(t, `Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", error="invalid_token"`, header.Get("WWW-Authenticate"))
}
