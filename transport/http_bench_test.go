package transport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/transport"
)

// BenchmarkOpenStreams reports what a session with an open GET stream costs the server: the clients are bare sockets.
func BenchmarkOpenStreams(b *testing.B) {
	for _, kind := range []string{"session", "listen"} {
		b.Run(kind, func(b *testing.B) {
			core := transport.New(newServer(), transport.Options{Logger: quiet})
			handler := core.HTTPHandler(transport.HTTPOptions{})
			web := httptest.NewServer(transport.Deadlines{}.Around(handler))
			defer web.Close()
			address := strings.TrimPrefix(web.URL, "http://")
			const n = 1000
			conns := make([]net.Conn, n)
			before := usage()
			for i := range conns {
				conns[i] = openRaw(b, address, kind)
			}
			// The last streams may still be on their way from the accept to the first byte.
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
				if runtime.NumGoroutine()-before.goroutines >= n {
					break
				}
			}
			after := usage()
			b.ReportMetric(float64(after.goroutines-before.goroutines)/n, "goroutines/stream")
			b.ReportMetric(float64(after.bytes-before.bytes)/n/1024, "KiB/stream")
			b.ReportMetric(0, "ns/op")
			for _, c := range conns {
				c.Close()
			}
			_ = handler.Shutdown(b.Context())
		})
	}
}

type spent struct {
	goroutines int
	bytes      uint64
}

func usage() spent {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return spent{runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse}
}

// openRaw opens a stream on a connection and reads it up to its first event or comment.
func openRaw(b *testing.B, address, kind string) net.Conn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	post := func(headers, body string) {
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(body), body)
	}
	in := bufio.NewReader(conn)
	if kind == "listen" {
		post("Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\n", modern(1, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["test://a"]}`))
	} else {
		post("", fmt.Sprintf(initialize, `{}`))
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: %s\r\n\r\n", r.Header.Get("Mcp-Session-Id"))
	}
	if status, err := in.ReadString('\n'); err != nil || !strings.Contains(status, "200") {
		b.Fatal(status, err)
	}
	return conn
}

// BenchmarkAbandonedSessions reports how much memory 10,000 sessions leave behind once they have expired.
func BenchmarkAbandonedSessions(b *testing.B) {
	core := transport.New(newServer(), transport.Options{Logger: quiet})
	handler := core.HTTPHandler(transport.HTTPOptions{IdleTimeout: 3 * time.Second})
	open := func(n int) {
		for range n {
			r := httptest.NewRequest(http.MethodPost, "http://localhost/", strings.NewReader(fmt.Sprintf(initialize, `{}`)))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
	}
	open(100)
	before := usage()
	open(9900)
	full := usage()
	for handler.Sessions() > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	after := usage()
	b.ReportMetric(float64(full.bytes-before.bytes)/9900/1024, "KiB/session")
	b.ReportMetric(100*(float64(after.bytes)/float64(before.bytes)-1), "%left")
	b.ReportMetric(0, "ns/op")
	_ = handler.Shutdown(b.Context())
}

// BenchmarkHTTPCalls compares calls over HTTP with mcp-go's own server, at 1, 16 and 64 callers.
func BenchmarkHTTPCalls(b *testing.B) {
	handlers := map[string]http.Handler{
		"own":    transport.Deadlines{}.Around(transport.New(newServer(), transport.Options{Logger: quiet}).HTTPHandler(transport.HTTPOptions{})),
		"mcp-go": server.NewStreamableHTTPServer(newServer(), server.WithEndpointPath("/")),
	}
	for _, callers := range []int{1, 16, 64} {
		for _, name := range []string{"own", "mcp-go"} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				web := httptest.NewServer(handlers[name])
				defer web.Close()
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
				defer client.CloseIdleConnections()
				post := func(session, body string) *http.Response {
					r, _ := http.NewRequest(http.MethodPost, web.URL, strings.NewReader(body))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Accept", "application/json, text/event-stream")
					r.Header.Set("Mcp-Session-Id", session)
					answer, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return &http.Response{Header: http.Header{}}
					}
					_, _ = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					return answer
				}
				b.SetParallelism(callers) // times GOMAXPROCS
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					session := post("", fmt.Sprintf(initialize, `{}`)).Header.Get("Mcp-Session-Id")
					for i := 0; pb.Next(); i++ {
						post(session, call(i, "echo", `"text":"x"`))
					}
				})
			})
		}
	}
}
