package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/simulator"
)

// scripted is a server whose only chat says what the benchmark writes, so that the cost of the relay is not hidden behind
// that of a simulated agent.
type scripted struct {
	*httptest.Server
	chat   uuid.UUID
	stream chan *websocket.Conn
}

func newScripted(b *testing.B) *scripted {
	s := &scripted{chat: uuid.New(), stream: make(chan *websocket.Conn, 1)}
	mux := http.NewServeMux()
	prefix := "/api/v2/chats/" + s.chat.String()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		})
	}
	answer("/api/v2/buildinfo", `{"version":"v2.38.0"}`)
	answer("/api/v2/chats", `[]`)
	answer(prefix, fmt.Sprintf(`{"id":"%s","owner_username":"ada","status":"running"}`, s.chat))
	answer(prefix+"/messages", `{"messages":[{"id":1,"role":"user","content":[{"type":"text","text":"hello"}]}]}`)
	mux.HandleFunc(prefix+"/stream", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		s.stream <- c
		<-c.CloseRead(context.Background()).Done()
	})
	s.Server = httptest.NewServer(mux)
	b.Cleanup(s.Close)
	return s
}

func (s *scripted) event(format string, a ...any) string {
	return fmt.Sprintf(`{"chat_id":"%s",`, s.chat) + fmt.Sprintf(format, a...) + "}"
}

func (s *scripted) write(b *testing.B, c *websocket.Conn, frame string) {
	if err := c.Write(b.Context(), websocket.MessageText, []byte("["+frame+"]\n")); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEvent is the cost of one event for each number of listeners that keep up: decoding, the picture, telling all.
func BenchmarkEvent(b *testing.B) {
	for _, listeners := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			s := newScripted(b)
			r := benchRelay(b, s.URL, "token")
			var all sync.WaitGroup
			for range listeners {
				l, err := r.Follow(b.Context(), s.chat)
				require.NoError(b, err)
				all.Go(func() {
					defer l.Close()
					for {
						e, err := l.Next(b.Context())
						if err != nil || e.Type == relay.EventSettled {
							return
						}
					}
				})
			}
			c := <-s.stream
			s.write(b, c, s.event(`"type":"status","status":{"status":"running"}`)+","+s.event(`"type":"preview_reset"`))
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				s.write(b, c, s.event(`"type":"message_part","message_part":{"role":"assistant","part":{"type":"text","text":"tok"},"history_version":1,"generation_attempt":1,"seq":%d}`, n+1))
			}
			s.write(b, c, s.event(`"type":"message","message":{"id":2,"role":"assistant","content":[{"type":"text","text":"done"}]}`)+","+
				s.event(`"type":"status","status":{"status":"waiting"}`))
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(listeners), "ns/event/listener")
		})
	}
}

// BenchmarkSettle is the time from the upstream frame that ends a turn to the return of a waiting Turn.
func BenchmarkSettle(b *testing.B) {
	s := newScripted(b)
	r := benchRelay(b, s.URL, "token")
	keep, err := r.Follow(b.Context(), s.chat)
	require.NoError(b, err)
	defer keep.Close()
	c := <-s.stream
	var delays []time.Duration
	for n := range b.N {
		id := int64(2*n + 2)
		s.write(b, c, s.event(`"type":"message","message":{"id":%d,"role":"user","content":[]}`, id)+","+
			s.event(`"type":"status","status":{"status":"running"}`)+","+s.event(`"type":"preview_reset"`))
		started := make(chan struct{})
		done := make(chan time.Time)
		go func() {
			once := sync.OnceFunc(func() { close(started) })
			_, _ = r.Turn(b.Context(), s.chat, relay.TurnOptions{MessageID: id}, func(relay.Event) { once() })
			done <- time.Now()
		}()
		s.write(b, c, s.event(`"type":"message_part","message_part":{"role":"assistant","part":{"type":"text","text":"tok"},"history_version":%d,"generation_attempt":1,"seq":1}`, id))
		select {
		case <-started:
		case <-time.After(20 * time.Millisecond): // Turn began after the part
		}
		frame := s.event(`"type":"message","message":{"id":%d,"role":"assistant","content":[{"type":"text","text":"done"}]}`, id+1) + "," +
			s.event(`"type":"status","status":{"status":"waiting"}`)
		sent := time.Now()
		s.write(b, c, frame)
		delays = append(delays, (<-done).Sub(sent))
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds()), "p99-us")
}

// BenchmarkTurn is one whole turn against the simulator: send, and wait for the answer.
func BenchmarkTurn(b *testing.B) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026} {
		b.Run(string(g), func(b *testing.B) {
			server, err := simulator.Start(simulator.Options{Generation: g, TokenDelay: time.Microsecond, Speed: 1000, RateLimit: -1})
			require.NoError(b, err)
			b.Cleanup(server.Close)
			token := server.Users()[0].Token
			r := benchRelay(b, server.URL, token)
			c, err := client.New(server.URL, token, client.Options{})
			require.NoError(b, err)
			b.Cleanup(c.Host().Close)
			content := []client.InputPart{client.TextPart("hello")}
			chat, err := c.CreateChat(b.Context(), client.CreateChatRequest{Content: content})
			require.NoError(b, err)
			_, err = r.Turn(b.Context(), chat.ID, relay.TurnOptions{}, nil)
			require.NoError(b, err)
			for b.Loop() {
				sent, err := c.SendMessage(b.Context(), chat.ID, client.SendMessageRequest{Content: content})
				require.NoError(b, err)
				if sent.Message == nil {
					continue
				}
				_, err = r.Turn(b.Context(), chat.ID, relay.TurnOptions{MessageID: sent.Message.ID}, nil)
				require.NoError(b, err)
			}
		})
	}
}

func benchRelay(b *testing.B, url, token string) *relay.Relay {
	c, err := client.New(url, token, client.Options{})
	require.NoError(b, err)
	b.Cleanup(c.Host().Close)
	r := relay.New(c, relay.Options{})
	b.Cleanup(r.Close)
	return r
}
