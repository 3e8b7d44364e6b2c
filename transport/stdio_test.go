package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

func TestBurstOfOneCallArrivesWholeInOrderAndBeforeItsResponse(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(`{}`)
	const n = 100_000
	p.write(call(1, "burst", fmt.Sprint(`"n":`, n)))
	for i := range n {
		if want := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/burst","params":{"i":%d,"of":""}}`, i); p.line() != want {
			t.Fatalf("notification %d is not %s", i, want)
		}
	}
	require.Equal(t, "sent", p.next().text())
	require.Zero(t, p.core.Stats().Joined)
}

func TestNoNotificationFollowsItsResponse(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(`{}`)
	const calls, each = 500, 20
	var lines []string
	for i := range calls {
		lines = append(lines, call(i+1, "burst", fmt.Sprintf(`"n":%d,"text":"%d"`, each, i+1)))
	}
	go p.write(lines...)
	seen := map[string]int{}
	for range calls * (each + 1) {
		m := p.next()
		if m.Method != "" {
			seen[m.Params.Of]++
			continue
		}
		require.Equal(t, each, seen[string(m.ID)], "notifications before the response of call %s", m.ID)
	}
}

func TestCallAndCancelInOneWriteIsNeverAnswered(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(`{}`)
	const n = 200
	var lines []string
	for i := range n {
		lines = append(lines, call(i+1, "wait", ""),
			fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d,"reason":"test"}}`, i+1))
	}
	lines = append(lines, ping)
	go p.write(lines...)
	require.Equal(t, `"ping"`, string(p.next().ID))
	// Every wait ends only by its cancellation: were one lost, the drain would cut it and it would be answered.
	require.Empty(t, p.rest())
}

func TestCancelOfUnknownOrFinishedRequestsIsIgnored(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(`{}`)
	p.write(call(1, "echo", `"text":"x"`))
	require.Equal(t, "x", p.next().text())
	p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled"}`, ping)
	require.Equal(t, `"ping"`, string(p.next().ID))
}

func TestACancellationIsHeardWhileAnAnswerIsStillToBeRead(t *testing.T) {
	p := connect(t, transport.Options{DrainTimeout: 10 * time.Millisecond})
	p.hello(`{}`)
	p.write(call(1, "wait", ""), call(2, "echo", `"text":"x"`))
	// The pipe takes the answer only when somebody reads it, so its writer stands still, and nobody else does.
	p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	answers := p.rest()
	require.Len(t, answers, 1)
	require.Equal(t, "x", decode(t, answers[0]).text())
}

func TestThousandWaitsHoldNothingUp(t *testing.T) {
	p := connect(t, transport.Options{DrainTimeout: 10 * time.Millisecond})
	p.hello(`{}`)
	var lines []string
	for i := range 1000 {
		lines = append(lines, call(i+1, "wait", ""))
	}
	go p.write(append(lines, ping, call(`"echo"`, "echo", `"text":"x"`))...)
	require.ElementsMatch(t, []string{`"ping"`, `"echo"`}, []string{string(p.next().ID), string(p.next().ID)})
	cut := p.rest()
	require.Equal(t, 1000, len(cut))
	require.Contains(t, cut[0], "the server is stopping")
}

func TestEndOfInputAnswersWhatRuns(t *testing.T) {
	p := connect(t, transport.Options{})
	p.hello(`{}`)
	var lines []string
	for i := range 400 {
		lines = append(lines, call(i+1, "wait", `"ms":50`))
	}
	p.write(lines...)
	answers := p.rest()
	require.Equal(t, 400, len(answers))
	for _, a := range answers {
		require.Equal(t, "waited", decode(t, a).text())
	}
}

func TestLastLineMayLackItsEnd(t *testing.T) {
	p := connect(t, transport.Options{})
	_, err := io.WriteString(p.in, "\r\n \n"+ping)
	require.NoError(t, err)
	require.Equal(t, []string{`{"jsonrpc":"2.0","id":"ping","result":{}}`}, p.rest())
}

func TestLineOf8MiBIsServedAndALongerOneRefusedWithItsID(t *testing.T) {
	p := connect(t, transport.Options{})
	frame := call(7, "length", `"text":""`)
	fits := strings.Repeat("x", 8<<20-len(frame))
	go p.write(strings.Replace(frame, `"text":""`, `"text":"`+fits+`"`, 1))
	require.Equal(t, fmt.Sprint(len(fits)), p.next().text())

	go p.write(strings.Replace(frame, `"text":""`, `"text":"`+fits+`x"`, 1), strings.Repeat("[", 9<<20), ping)
	long := p.next()
	require.Equal(t, "7", string(long.ID))
	require.Equal(t, -32600, long.Error.Code)
	require.Contains(t, long.Error.Message, "8388608 bytes")
	require.Equal(t, "null", string(p.next().ID))
	require.Equal(t, `"ping"`, string(p.next().ID))
}

func TestSlowReaderHoldsTheProducerBackAndLosesNothing(t *testing.T) {
	p := connect(t, transport.Options{MaxQueued: 64 << 10})
	s := p.hello(`{}`)
	const n = 20_000
	p.write(call(1, "burst", fmt.Sprint(`"n":`, n)))
	require.Eventually(t, func() bool { return s.Stats().Held > 0 }, 10*time.Second, time.Millisecond)
	// 64 KiB queued or being written; each message is about 70 bytes.
	require.Less(t, s.Stats().Queued, int64(2000))
	p.write(ping) // and still no message waits for the reader
	pinged := false
	for i := 0; i < n; {
		m := p.next()
		if m.Method == "" {
			pinged = string(m.ID) == `"ping"`
			continue
		}
		require.Equal(t, i, m.Params.I)
		i++
	}
	require.True(t, pinged)
	require.Equal(t, "sent", p.next().text())
}

func TestClientThatSendsWithoutReadingIsNotReadAnyFurther(t *testing.T) {
	p := connect(t, transport.Options{MaxQueued: 4 << 10})
	const n = 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			p.write(ping)
		}
	})
	require.Never(t, func() bool { return p.core.Stats().Queued == n }, 200*time.Millisecond, 5*time.Millisecond)
	for range n {
		require.Equal(t, `"ping"`, string(p.next().ID))
	}
	wg.Wait()
}

func TestMoreRequestsThanTheBoundAreRefused(t *testing.T) {
	p := connect(t, transport.Options{MaxConcurrent: 3, DrainTimeout: 10 * time.Millisecond})
	p.hello(`{}`)
	p.write(call(1, "wait", ""), call(2, "wait", ""), call(3, "wait", ""), call(4, "wait", ""), ping)
	refused := p.next()
	require.Equal(t, "4", string(refused.ID))
	require.Equal(t, -32000, refused.Error.Code)
	require.Contains(t, refused.Error.Message, "3 requests are running")
	require.Equal(t, `"ping"`, string(p.next().ID))
	require.Len(t, p.rest(), 3)
}

func TestIDInUseIsRefused(t *testing.T) {
	p := connect(t, transport.Options{DrainTimeout: 10 * time.Millisecond})
	p.write(call(`"a"`, "wait", ""), call(`"\u0061"`, "wait", ""))
	require.Contains(t, p.next().Error.Message, "still running")
	require.Len(t, p.rest(), 1)
}

func TestCallThatIgnoresItsEndDoesNotHoldUpTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newServer()
		m.AddTool(mcp.NewTool("stubborn"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			transport.Progress(ctx, "begun")
			time.Sleep(10 * time.Second)
			return mcp.NewToolResultText("done"), nil
		})
		p := serve(t, m, transport.Options{DrainTimeout: time.Second})
		p.hello(`{}`)
		p.write(callWithToken(1, "1", "stubborn", ""))
		p.next()
		start := time.Now()
		p.rest()
		require.Equal(t, 2*time.Second, time.Since(start))
		time.Sleep(time.Minute) // the stubborn call ends
	})
}

func TestEndOfContextDrains(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	core := transport.New(newServer(), transport.Options{Logger: quiet})
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- core.ServeStdio(ctx, inR, outW); outW.Close() }()
	_, err := io.WriteString(inW, call(1, "wait", `"ms":50`)+"\n"+ping+"\n")
	require.NoError(t, err)
	buffer := make([]byte, 4096)
	n, err := outR.Read(buffer)
	require.NoError(t, err)
	require.Contains(t, string(buffer[:n]), "ping")
	cancel()
	answer, err := io.ReadAll(outR)
	require.NoError(t, err)
	require.Contains(t, string(answer), "waited")
	require.ErrorIs(t, <-served, context.Canceled)
	inW.Close()
}

func TestErrorsOfThePipesEndTheService(t *testing.T) {
	core := transport.New(newServer(), transport.Options{Logger: quiet})
	broken := errors.New("broken")

	inR, inW := io.Pipe()
	inW.CloseWithError(broken)
	require.ErrorIs(t, core.ServeStdio(t.Context(), inR, io.Discard), broken)

	inR, inW = io.Pipe()
	outR, outW := io.Pipe()
	outR.CloseWithError(broken)
	go io.WriteString(inW, ping+"\n")
	require.ErrorIs(t, core.ServeStdio(t.Context(), inR, outW), broken)
	inW.Close()
}

func TestClientThatNeverReadsIsLeftAfterTheDrain(t *testing.T) {
	core := transport.New(newServer(), transport.Options{Logger: quiet, DrainTimeout: 20 * time.Millisecond})
	outR, outW := io.Pipe()
	require.NoError(t, core.ServeStdio(t.Context(), strings.NewReader(ping+"\n"), outW))
	outR.Close()
}
