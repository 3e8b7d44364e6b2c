// Package bench measures the whole process: the built binary over its standard streams. Nothing is asserted, for machines differ: each benchmark
// prints what it is compared with from the same run.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"coder-chats-mcp/bench/rig"
)

var binary string

func TestMain(m *testing.M) {
	if os.Getenv(asUpstream) != "" {
		u := rig.NewUpstream()
		fmt.Println(u.URL, u.Chat)
		_, _ = io.Copy(io.Discard, os.Stdin)
		u.Close()
		return
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		panic(err)
	}
	if binary, err = rig.Build(dir); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func start(b *testing.B, url string, notify func(rig.Line)) *rig.Client {
	c, err := rig.Start(binary, []string{"CODER_URL=" + url, "CODER_SESSION_TOKEN=simulator-user-1"}, notify)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

func must[T any](b *testing.B) func(T, error) T {
	return func(v T, err error) T {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// asUpstream makes this test's binary an upstream of its own process, as far from the HTTP client as from the MCP server.
const asUpstream = "BENCH_UPSTREAM"

func upstreamProcess(b *testing.B) (url, chat string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asUpstream+"=1")
	in := must[io.WriteCloser](b)(cmd.StdinPipe())
	out := must[io.ReadCloser](b)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	must[int](b)(fmt.Fscanln(out, &url, &chat))
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return url, chat
}

// BenchmarkGetChat asks for a chat by the tool and by HTTP in turns; over is the difference of the medians. ping is what the way to the process and
// back costs alone.
func BenchmarkGetChat(b *testing.B) {
	for _, era := range []struct{ version, meta string }{
		{"2025-11-25", ""},
		{"2026-07-28", `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}`},
	} {
		b.Run(era.version, func(b *testing.B) {
			url, chat := upstreamProcess(b)
			c := start(b, url, nil)
			params := fmt.Sprintf(`{"name":"get_chat","arguments":{"chat":%q},"_meta":{"progressToken":1%s}}`, chat, era.meta)
			var direct, tool, ping rig.Delays
			for b.Loop() {
				began := time.Now()
				get(b, url+"/api/v2/chats/"+chat)
				between := time.Now()
				answer := must[rig.Line](b)(c.Request("tools/call", params))
				direct, tool = append(direct, between.Sub(began)), append(tool, answer.At.Sub(between))
				began = time.Now()
				ping = append(ping, must[rig.Line](b)(c.Request("ping", "{}")).At.Sub(began))
			}
			b.ReportMetric(us(direct.Quantile(50)), "http-p50-us")
			b.ReportMetric(us(tool.Quantile(50)), "tool-p50-us")
			b.ReportMetric(us(tool.Quantile(50)-direct.Quantile(50)), "over-p50-us")
			b.ReportMetric(us(ping.Quantile(50)), "ping-p50-us")
			b.ReportMetric(us(tool.Quantile(99)), "tool-p99-us")
		})
	}
}

func get(b *testing.B, url string) {
	q := must[*http.Request](b)(http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil))
	q.Header.Set("Coder-Session-Token", "simulator-user-1")
	r := must[*http.Response](b)(http.DefaultClient.Do(q))
	must[int64](b)(io.Copy(io.Discard, r.Body))
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		b.Fatal(r.Status)
	}
}

// BenchmarkNotice is the time from the upstream frame that ends a turn to the answer of the call that waits for it.
func BenchmarkNotice(b *testing.B) {
	for tool, kind := range map[string]string{"stream_chat": "stream", "await_chats": "watch"} {
		b.Run(tool, func(b *testing.B) {
			u := rig.NewUpstream()
			b.Cleanup(u.Close)
			waits := make(chan struct{}, 1)
			c := start(b, u.URL, func(m rig.Line) {
				if strings.Contains(string(m.Params), "waits for") || strings.Contains(string(m.Params), "0 of 1 settled") {
					select {
					case waits <- struct{}{}:
					default:
					}
				}
			})
			delays, cursor := rig.Delays{}, ""
			for b.Loop() {
				prompt := u.Begin()
				arguments := fmt.Sprintf(`{"chat":"%s","after_id":%d,"wait_seconds":60}`, u.Chat, prompt)
				if tool == "await_chats" {
					arguments = fmt.Sprintf(`{"chats":["%s"],"cursor":"%s","wait_seconds":60}`, u.Chat, cursor)
				}
				answer := must[<-chan rig.Line](b)(c.Call(tool, arguments))
				<-waits
				time.Sleep(10 * time.Millisecond) // it says that it waits when it begins to: by now it does
				ended := u.End(kind)
				m := must[rig.Line](b)(c.Wait(answer))
				delays = append(delays, m.At.Sub(ended))
				_, cursor, _ = strings.Cut(string(m.Result), `"cursor":"`)
				cursor, _, _ = strings.Cut(cursor, `"`)
				select {
				case <-waits:
				default:
				}
			}
			b.ReportMetric(us(delays.Quantile(50)), "p50-us")
			b.ReportMetric(us(delays.Quantile(99)), "p99-us")
		})
	}
}

// BenchmarkPingWhileWaiting pings while a thousand calls wait for a chat that writes its answer.
func BenchmarkPingWhileWaiting(b *testing.B) {
	for _, waiting := range []int{0, 1000} {
		b.Run(fmt.Sprintf("waits=%d", waiting), func(b *testing.B) {
			u := rig.NewUpstream()
			b.Cleanup(u.Close)
			begun := make(chan string, 10*waiting+100)
			c := start(b, u.URL, func(m rig.Line) {
				select {
				case begun <- string(m.Params):
				default: // of interest are the first words of each wait
				}
			})
			prompt := u.Begin()
			var answers []<-chan rig.Line
			for i := range waiting {
				call := fmt.Sprintf(`"stream_chat","arguments":{"chat":"%s","after_id":%d,"wait_seconds":120}`, u.Chat, prompt)
				if i%2 == 1 {
					call = fmt.Sprintf(`"await_chats","arguments":{"chats":["%s"],"wait_seconds":120}`, u.Chat)
				}
				answers = append(answers, must[<-chan rig.Line](b)(c.Send("tools/call", fmt.Sprintf(`{"name":%s,"_meta":{"progressToken":%d}}`, call, i))))
			}
			for waits := map[int]bool{}; len(waits) < waiting; { // each says so
				var of struct{ ProgressToken int }
				if err := json.Unmarshal([]byte(<-begun), &of); err != nil {
					b.Fatal(err)
				}
				waits[of.ProgressToken] = true
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for seq := 1; ; seq++ {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						u.Delta(seq, "tok ")
					}
				}
			}()
			pings := rig.Delays{}
			for b.Loop() {
				began := time.Now()
				m := must[rig.Line](b)(c.Request("ping", "{}"))
				pings = append(pings, m.At.Sub(began))
			}
			close(stop)
			<-stopped
			ended := u.End("stream")
			var last time.Duration
			for _, answer := range answers {
				last = max(last, must[rig.Line](b)(c.Wait(answer)).At.Sub(ended))
			}
			b.ReportMetric(us(pings.Quantile(50)), "ping-p50-us")
			b.ReportMetric(us(pings.Quantile(99)), "ping-p99-us")
			b.ReportMetric(us(last)/1000, "all-answered-ms")
		})
	}
}
