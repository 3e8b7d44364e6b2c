package transport_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/transport"
)

// inMemory serves h over pipes, which hold nothing back, in a bubble where time passes when everybody waits. dial makes a
// connection to it.
func inMemory(t *testing.T, h http.Handler) (dial func() net.Conn) {
	pipes := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	web := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(pipes)
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-served
	})
	return func() net.Conn {
		client, server := net.Pipe()
		pipes.accepted <- server
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
}

type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// TestARefusalDoesNotWaitForABodyThatIsWithheld: net/http would wait for 256 KiB of it, for good.
func TestARefusalDoesNotWaitForABodyThatIsWithheld(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/mcp", transport.New(newServer(), transport.Options{Logger: quiet}).HTTPHandler(transport.HTTPOptions{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) {})
	for request, status := range map[string]string{
		"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\n":                            "403",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n":   "415",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{":                              "415",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n":                         "415",
		"PUT /mcp HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n":           "405",
		"GET /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n":                                "400",
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n":                            "200",
		"POST /silent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n":                            "200",
		"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n":                           "404",
		"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n":       "404",
		"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 999999\r\n\r\n": "415",
	} {
		synctest.Test(t, func(t *testing.T) {
			dial := inMemory(t, transport.Deadlines{}.Around(mux))
			began := time.Now()
			connection := dial()
			_, err := io.WriteString(connection, request)
			require.NoError(t, err)
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			require.NoError(t, err)
			require.Zero(t, time.Since(began), request)
			require.Contains(t, answer.Status, status, request)
			require.True(t, answer.Close, request)
			_, err = io.Copy(io.Discard, connection)
			require.NoError(t, err)
			require.Less(t, time.Since(began), 2*time.Second, request)
		})
	}
}

func TestABodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	handler := transport.New(newServer(), transport.Options{Logger: quiet}).HTTPHandler(transport.HTTPOptions{})
	const head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
	for name, send := range map[string]func(net.Conn){
		"nothing": func(c net.Conn) { _, _ = io.WriteString(c, head) },
		"by drops": func(c net.Conn) {
			_, _ = io.WriteString(c, head)
			for range 100 {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			dial := inMemory(t, transport.Deadlines{}.Around(handler))
			began := time.Now()
			connection := dial()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				send(connection)
			}()
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusRequestTimeout, answer.StatusCode, name)
			require.Equal(t, 30*time.Second, time.Since(began), name)
			_, _ = io.Copy(io.Discard, connection)
			require.Less(t, time.Since(began), 32*time.Second, name)
			<-sent
		})
	}
}

func TestNothingButTheBodyIsWaitedForInABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := inMemory(t, transport.Deadlines{}.Around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			for range 3 {
				time.Sleep(time.Hour)
				require.NoError(t, r.Context().Err())
				_, err := w.Write(body)
				require.NoError(t, err)
				require.NoError(t, http.NewResponseController(w).Flush())
			}
			time.Sleep(time.Hour)
		})))
		connection := dial()
		in := bufio.NewReader(connection)
		for range 2 { // the connection is good for more than one
			_, err := io.WriteString(connection, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
			require.NoError(t, err)
			answer, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.Equal(t, "hellohellohello", string(body))
			require.False(t, answer.Close)
			time.Sleep(time.Hour)
		}
	})
}

func TestAClientThatReadsNothingIsCut(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter) error{
		"one answer": func(w http.ResponseWriter) error {
			_, err := io.WriteString(w, strings.Repeat("x", 1<<20))
			return err
		},
		"a stream": func(w http.ResponseWriter) error {
			for {
				if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
					return err
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			cut := make(chan error, 1)
			dial := inMemory(t, transport.Deadlines{}.Around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { cut <- write(w) })))
			connection := dial()
			began := time.Now()
			_, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			require.ErrorIs(t, <-cut, os.ErrDeadlineExceeded, name)
			require.Equal(t, 30*time.Second, time.Since(began), name)
		})
	}
	// What is so short that net/http holds it back until the handler has returned.
	synctest.Test(t, func(t *testing.T) {
		dial := inMemory(t, transport.Deadlines{}.Around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })))
		connection := dial()
		began := time.Now()
		_, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = connection.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestAClientThatReadsSlowlyIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20
		dial := inMemory(t, transport.Deadlines{}.Around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n, err := io.WriteString(w, strings.Repeat("x", size))
			require.NoError(t, err)
			require.Equal(t, size, n)
		})))
		connection := dial()
		_, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		began, got := time.Now(), 0
		buffer := make([]byte, 4<<10)
		for err == nil {
			var n int
			n, err = connection.Read(buffer)
			got += n
			time.Sleep(time.Second)
		}
		require.True(t, errors.Is(err, io.EOF), "%v", err)
		require.Greater(t, got, size)
		require.Greater(t, time.Since(began), 10*time.Minute)
	})
}

// TestDeadlinesDoNotEndSilentStreamsOfHTTP2: there, one that passes ends the stream even if nothing is being written.
func TestDeadlinesDoNotEndSilentStreamsOfHTTP2(t *testing.T) {
	x := transport.New(newServer(), transport.Options{Logger: quiet}).HTTPHandler(transport.HTTPOptions{FirstByte: time.Millisecond, KeepAlive: time.Hour})
	web := httptest.NewUnstartedServer(transport.Deadlines{Body: 50 * time.Millisecond, Write: 50 * time.Millisecond}.Around(x))
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	send := func(session, body string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Mcp-Session-Id", session)
		response, err := web.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, 2, response.ProtoMajor)
		return response
	}
	hello := send("", fmt.Sprintf(initialize, `{}`))
	readAll(t, hello)
	answer := readAll(t, send(hello.Header.Get("Mcp-Session-Id"), call(1, "wait", `"ms":300`)))
	require.Contains(t, answer, "waited")
	require.NoError(t, x.Shutdown(t.Context()))
}
