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

	"coder-chats-mcp/transport"
)

// BenchmarkOpenStreams reports what a session with an open GET stream costs the server: the clients are bare sockets.
func BenchmarkOpenStreams(b *testing.B) {
	for _, kind := range []string{"session", "listen"} {
		b.Run(kind, func(b *testing.B) {
			core := transport.New(newServer(), transport.Options{Logger: quiet})
			handler := core.HTTPHandler(transport.HTTPOptions{})
			web := httptest.NewServer(handler)
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
