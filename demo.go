package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	mcptransport "github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// demoLimit ends a demo that hangs. It takes about six seconds.
const demoLimit = 20 * time.Second

func demoCommand(s *settings) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell the main job live, against the built-in simulator",
		Long: `demo starts the simulator and the server in one process, connects an MCP client to them, and
tells what happens: a task handed to an agent, its progress, the answer and the diff; two agents
in parallel, awaited together; one that is interrupted. No Coder deployment is needed.

It takes about six seconds and exits with 0, or says what is missing and exits with 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoLimit)
			defer cancel()
			return runDemo(ctx, newTeller(cmd.OutOrStdout(), asJSON), s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per line, for machines")
	return cmd
}

func runDemo(ctx context.Context, tell *teller, s *settings) error {
	generation, err := simulator.ParseGeneration(s.simulate)
	if err != nil {
		return err
	}
	sim, err := startSimulator(generation)
	if err != nil {
		return err
	}
	defer sim.Close()
	d := &demo{tell: tell}
	stop, err := d.connect(ctx, sim, generation)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer stop()
	for _, step := range []func(context.Context) error{d.delegate, d.review, d.fanOut, d.interrupt} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return d.sum()
}

// demo is an MCP client that works as an orchestrator would.
type demo struct {
	tell *teller
	mcp  *mcpclient.Client
	chat string // the first one

	mu       sync.Mutex
	calls    int
	bytes    int
	progress int
	updates  int
}

// connect puts the client and the server on the two ends of a pair of pipes, as an editor does with a child process.
func (d *demo) connect(ctx context.Context, sim *simulator.Instance, generation simulator.Generation) (stop func(), err error) {
	api, err := client.New(sim.URL, sim.Users()[0].Token, client.Options{})
	if err != nil {
		return nil, err
	}
	srv := server.New(server.Options{Version: version(), Client: api, Tools: tools.All(), Config: tools.Config{
		MaxWait: demoLimit, MaxOutputBytes: tools.DefaultMaxOutputBytes,
	}})
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	var served sync.WaitGroup
	served.Go(func() {
		_ = srv.ServeStdio(context.WithoutCancel(ctx), toServer, fromServer)
		_ = fromServer.Close()
	})
	d.mcp = mcpclient.NewClient(mcptransport.NewIO(toClient, fromClient, io.NopCloser(strings.NewReader(""))))
	stop = func() {
		_ = fromClient.Close()
		served.Wait()
		_ = d.mcp.Close()
		srv.Close()
	}
	d.mcp.OnNotification(d.notified)
	if err := d.mcp.Start(ctx); err != nil {
		stop()
		return nil, err
	}
	init := mcp.InitializeRequest{}
	init.Params.ProtocolVersion, init.Params.ClientInfo = mcp.LATEST_PROTOCOL_VERSION, mcp.Implementation{Name: "demo", Version: version()}
	result, err := d.mcp.Initialize(ctx, init)
	if err != nil {
		stop()
		return nil, err
	}
	list, err := d.mcp.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		stop()
		return nil, err
	}
	d.tell.title("An MCP client connects to %s", result.ServerInfo.Name)
	d.tell.say("%d tools; a simulated Coder %s at %s", len(list.Tools), generation, sim.URL)
	return stop, nil
}

func (d *demo) notified(n mcp.JSONRPCNotification) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch n.Method {
	case "notifications/progress":
		d.progress++
		message, _ := n.Params.AdditionalFields["message"].(string)
		d.tell.progress(message)
	case "notifications/resources/updated":
		d.updates++
	}
}

// call calls a tool with a progress token and decodes its structured answer into out.
func (d *demo) call(ctx context.Context, out any, tool string, arguments map[string]any) error {
	d.tell.call(tool, arguments)
	request := mcp.CallToolRequest{}
	request.Params.Name, request.Params.Arguments = tool, arguments
	d.mu.Lock()
	d.calls++
	request.Params.Meta = &mcp.Meta{ProgressToken: d.calls}
	d.mu.Unlock()
	result, err := d.mcp.CallTool(ctx, request)
	if err != nil {
		return fmt.Errorf("%s: %w", tool, err)
	}
	text := ""
	for _, c := range result.Content {
		if t, ok := c.(mcp.TextContent); ok {
			text += t.Text
		}
	}
	if result.IsError {
		return fmt.Errorf("%s: %s", tool, text)
	}
	d.mu.Lock()
	d.bytes += len(text)
	d.mu.Unlock()
	d.tell.answer(text)
	structured, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return err
	}
	return json.Unmarshal(structured, out)
}

// turnAnswer is what the demo reads of the structured answers.
type turnAnswer struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

func (a turnAnswer) check() error {
	if a.ID == "" || a.Text == "" || a.Reason != "settled" {
		return fmt.Errorf("the chat gave no answer: %+v", a)
	}
	return nil
}

func (d *demo) delegate(ctx context.Context) error {
	d.tell.title("A task is handed to an agent, and its answer awaited in the same call")
	var answer turnAnswer
	err := d.call(ctx, &answer, "create_chat", map[string]any{"prompt": "Totals are off by a cent when several discounts apply. Find out why and mend it.", "wait_seconds": 15})
	if err != nil {
		return err
	}
	d.chat = answer.ID
	return answer.check()
}

func (d *demo) review(ctx context.Context) error {
	d.tell.title("What did it change?")
	var diff struct {
		Files []struct{ Path string } `json:"files"`
		Patch string                  `json:"patch"`
	}
	if err := d.call(ctx, &diff, "get_chat_diff", map[string]any{"chat": d.chat}); err != nil {
		return err
	}
	if len(diff.Files) == 0 || !strings.Contains(diff.Patch, "@@") {
		return errors.New("the chat left no diff")
	}
	return nil
}

func (d *demo) fanOut(ctx context.Context) error {
	d.tell.title("Two more agents work in parallel, and are awaited together")
	var ids []string
	var filter mcp.SubscriptionFilter
	for _, task := range []string{"Give the HTTP client a time limit; requests hang for ever.", "Checkout should refuse an empty cart."} {
		var created turnAnswer
		if err := d.call(ctx, &created, "create_chat", map[string]any{"prompt": task}); err != nil {
			return err
		}
		ids = append(ids, created.ID)
		filter.ResourceSubscriptions = append(filter.ResourceSubscriptions, "coder://chats/"+created.ID)
	}
	stop, err := d.mcp.ListenAsync(ctx, filter, nil)
	if err != nil {
		return fmt.Errorf("subscriptions/listen: %w", err)
	}
	defer stop()
	var awaited struct{ Settled []turnAnswer }
	if err := d.call(ctx, &awaited, "await_chats", map[string]any{"chats": ids, "until": "all", "wait_seconds": 15}); err != nil {
		return err
	}
	if len(awaited.Settled) != len(ids) {
		return fmt.Errorf("%d of %d chats settled", len(awaited.Settled), len(ids))
	}
	for _, answer := range awaited.Settled {
		if err := answer.check(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) interrupt(ctx context.Context) error {
	d.tell.title("One that runs away is stopped; what it had said is kept")
	var running turnAnswer
	if err := d.call(ctx, &running, "create_chat", map[string]any{"prompt": "SLOW 200 100\nRewrite everything."}); err != nil {
		return err
	}
	if err := d.call(ctx, &running, "stream_chat", map[string]any{"chat": running.ID, "wait_seconds": 1}); err != nil {
		return err
	}
	var stopped turnAnswer
	if err := d.call(ctx, &stopped, "interrupt_chat", map[string]any{"chat": running.ID}); err != nil {
		return err
	}
	if err := d.call(ctx, &stopped, "stream_chat", map[string]any{"chat": running.ID, "wait_seconds": 5}); err != nil {
		return err
	}
	if stopped.Status != "waiting" {
		return fmt.Errorf("the interrupted chat is %s", stopped.Status)
	}
	return nil
}

func (d *demo) sum() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tell.title("Done")
	d.tell.say("%d tool calls, %d bytes of answers, %d progress notifications, %d resource updates", d.calls, d.bytes, d.progress, d.updates)
	if d.progress == 0 || d.updates == 0 {
		return errors.New("demo: no progress notifications or no resource updates came")
	}
	return nil
}

// teller writes the story: for people, in colours where there is a terminal, or for machines.
type teller struct {
	out     io.Writer
	machine bool
	colours bool
	began   time.Time
	mu      sync.Mutex
}

func newTeller(out io.Writer, machine bool) *teller {
	t := &teller{out: out, machine: machine, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		t.colours = term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	}
	return t
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	cyan  = "\x1b[36m"
	plain = "\x1b[0m"
)

func (t *teller) line(event, colour, prefix, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.machine {
		line, err := json.Marshal(map[string]any{"at_ms": time.Since(t.began).Milliseconds(), "event": event, "text": text})
		if err == nil {
			fmt.Fprintf(t.out, "%s\n", line)
		}
		return
	}
	for _, l := range strings.Split(text, "\n") {
		if t.colours {
			fmt.Fprintf(t.out, "%s%s%s%s\n", colour, prefix, l, plain)
			continue
		}
		fmt.Fprintf(t.out, "%s%s\n", prefix, l)
	}
}

func (t *teller) title(format string, args ...any) {
	if !t.machine {
		fmt.Fprintln(t.out)
	}
	t.line("title", bold, "", fmt.Sprintf(format, args...))
}

func (t *teller) say(format string, args ...any) {
	t.line("say", "", "  ", fmt.Sprintf(format, args...))
}

func (t *teller) call(tool string, arguments map[string]any) {
	encoded, err := json.Marshal(arguments)
	if err != nil {
		encoded = []byte(err.Error())
	}
	t.line("call", cyan, "  -> ", tool+" "+string(encoded))
}

func (t *teller) progress(message string) { t.line("progress", dim, "     ... ", message) }

func (t *teller) answer(text string) { t.line("answer", "", "     ", text) }
