package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"coder-chats-mcp/transport"
)

// The same client and tools on our stdio, on mcp-go's, and on a server written by hand for these three messages: only
// the ratios travel. mcp-go loses notifications, which the benchmark reports.

type contender struct {
	name  string
	serve func(in io.Reader, out io.Writer)
}

func contenders() []contender {
	return []contender{
		{"own", func(in io.Reader, out io.Writer) {
			_ = transport.New(newServer(), transport.Options{Logger: quiet}).ServeStdio(context.Background(), in, out)
		}},
		{"mcp-go", func(in io.Reader, out io.Writer) {
			m := newServer()
			m.AddTool(mcp.NewToolWithRawSchema("burst", "", json.RawMessage(`{"type":"object"}`)), func(ctx context.Context, q mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				for i := range q.GetInt("n", 1) {
					_ = m.SendNotificationToClient(ctx, "notifications/burst", map[string]any{"of": "", "i": i})
				}
				return mcp.NewToolResultText("sent"), nil
			})
			s := server.NewStdioServer(m)
			s.SetErrorLogger(log.New(io.Discard, "", 0))
			_ = s.Listen(context.Background(), in, out)
		}},
		{"floor", floor},
	}
}

// floor answers without a protocol: what any server has to spend.
func floor(in io.Reader, out io.Writer) {
	w := bufio.NewWriterSize(out, 64<<10)
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage
			Params struct {
				Name      string
				Arguments struct{ N int }
			}
		}
		_ = json.Unmarshal(line, &m)
		for i := range m.Params.Arguments.N {
			data, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": "notifications/burst", "params": map[string]any{"of": "", "i": i}})
			_, _ = w.Write(append(data, '\n'))
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"x"}]}}`+"\n", m.ID)
		if lines.Buffered() == 0 {
			_ = w.Flush()
		}
	}
}

func benchStdio(b *testing.B, run func(b *testing.B, in io.Writer, out *bufio.Reader)) {
	for _, c := range contenders() {
		b.Run(c.name, func(b *testing.B) {
			inR, inW := io.Pipe()
			outR, outW := io.Pipe()
			ended := make(chan struct{})
			go func() { defer close(ended); c.serve(inR, outW); outW.Close() }()
			out := bufio.NewReaderSize(outR, 64<<10)
			fmt.Fprintf(inW, initialize+"\n", `{}`)
			if _, err := out.ReadBytes('\n'); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			run(b, inW, out)
			b.StopTimer()
			inW.Close()
			_, _ = io.Copy(io.Discard, out)
			<-ended
		})
	}
}

func BenchmarkSequentialCalls(b *testing.B) {
	line := []byte(call(1, "echo", `"text":"x"`) + "\n")
	benchStdio(b, func(b *testing.B, in io.Writer, out *bufio.Reader) {
		for range b.N {
			_, _ = in.Write(line)
			if _, err := out.ReadBytes('\n'); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCalls32Deep(b *testing.B) {
	const deep = 32
	benchStdio(b, func(b *testing.B, in io.Writer, out *bufio.Reader) {
		slots := make(chan struct{}, deep)
		go func() {
			for i := range b.N {
				slots <- struct{}{}
				_, _ = io.WriteString(in, call(i, "echo", `"text":"x"`)+"\n")
			}
		}()
		for range b.N {
			if _, err := out.ReadBytes('\n'); err != nil {
				b.Fatal(err)
			}
			<-slots
		}
	})
}

func BenchmarkNotifications(b *testing.B) {
	benchStdio(b, func(b *testing.B, in io.Writer, out *bufio.Reader) {
		_, _ = io.WriteString(in, call(1, "burst", fmt.Sprint(`"n":`, b.N))+"\n")
		received := 0
		for {
			line, err := out.ReadBytes('\n')
			if err != nil {
				b.Fatal(err)
			}
			if bytes.Contains(line, []byte(`"id":1`)) {
				break
			}
			received++
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "notifications/s")
		b.ReportMetric(100*float64(b.N-received)/float64(b.N), "%lost")
	})
}
