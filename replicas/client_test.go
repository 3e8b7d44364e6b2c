package replicas

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// told is a line of client.mjs.
type told struct {
	ID       int             `json:"id"`
	Session  string          `json:"session"`
	Answer   *result         `json:"answer"`
	Failure  string          `json:"failure"`
	Progress *progress       `json:"progress"`
	Event    string          `json:"event"`
	Message  message         `json:"message"` // of the event
	Log      json.RawMessage `json:"log"`
	Updated  string          `json:"updated"`
	Trouble  string          `json:"trouble"`
}

type message struct {
	Method string `json:"method"`
	Params struct {
		Data struct {
			Type string          `json:"type"`
			Part json.RawMessage `json:"message_part"`
		} `json:"data"`
	} `json:"params"`
}

type result struct {
	Content           []struct{ Text string }
	StructuredContent struct {
		ID       string
		Status   string
		Answer   string
		Existing bool
		Chats    []struct{ ID string }
		TimedOut bool `json:"timed_out"`
	}
	IsError bool
}

type progress struct {
	Progress int
	Message  string
}

// sdk is the client that is not ours, in a process of its own.
type sdk struct {
	t       *testing.T
	session string
	in      io.WriteCloser

	mu    sync.Mutex
	heard []told
	news  chan struct{} // closed and renewed with every line
	calls int
}

func (f *fleet) connect(token string) *sdk {
	f.t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		if os.Getenv("REQUIRE_SDK") != "" {
			require.Fail(f.t, "npm ci was not run in replicas/")
		}
		f.t.Skip("needs npm ci in replicas/")
	}
	c := &sdk{t: f.t, news: make(chan struct{})}
	out, to, err := os.Pipe()
	require.NoError(f.t, err)
	from, in, err := os.Pipe()
	require.NoError(f.t, err)
	c.in = in
	p := f.prepare("node", "client.mjs", f.url+"/mcp", token)
	p.Stdout, p.Stdin = to, from
	f.run(p)
	_ = to.Close()
	_ = from.Close()
	var reading sync.WaitGroup
	reading.Go(func() { c.listen(out) })
	f.t.Cleanup(func() {
		p.kill()
		reading.Wait()
		_ = in.Close()
		_ = out.Close()
	})
	c.session = c.until(func(w told) bool { return w.Session != "" }).Session
	return c
}

func (c *sdk) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var w told
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			c.t.Errorf("the client said %q: %v", lines.Text(), err)
			return
		}
		c.mu.Lock()
		c.heard = append(c.heard, w)
		close(c.news)
		c.news = make(chan struct{})
		c.mu.Unlock()
	}
}

// all is everything heard so far that wanted accepts.
func (c *sdk) all(wanted func(told) bool) (found []told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.heard {
		if wanted(w) {
			found = append(found, w)
		}
	}
	return found
}

// now is how much was heard.
func (c *sdk) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.heard)
}

func (c *sdk) until(wanted func(told) bool) told {
	c.t.Helper()
	return c.since(0, wanted)
}

// since waits for the first line after n that wanted accepts.
func (c *sdk) since(n int, wanted func(told) bool) told {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		for ; n < len(c.heard); n++ {
			if wanted(c.heard[n]) {
				defer c.mu.Unlock()
				return c.heard[n]
			}
		}
		news := c.news
		c.mu.Unlock()
		select {
		case <-news:
		case <-deadline:
			require.Fail(c.t, "the client did not hear what it should", "%+v", c.all(func(w told) bool { return w.Trouble != "" || w.Failure != "" }))
		}
	}
}

// order tells the client to do something and returns the number that its answer has.
func (c *sdk) order(what map[string]any) int {
	c.t.Helper()
	c.calls++
	what["id"] = c.calls
	line, err := json.Marshal(what)
	require.NoError(c.t, err)
	_, err = c.in.Write(append(line, '\n'))
	require.NoError(c.t, err)
	return c.calls
}

func (c *sdk) begin(tool string, arguments map[string]any) int {
	c.t.Helper()
	return c.order(map[string]any{"do": "call", "name": tool, "args": arguments})
}

func (c *sdk) answer(id int) *result {
	c.t.Helper()
	w := c.until(func(w told) bool { return w.ID == id && (w.Answer != nil || w.Failure != "") })
	require.Empty(c.t, w.Failure)
	return w.Answer
}

func (c *sdk) call(tool string, arguments map[string]any) *result {
	c.t.Helper()
	r := c.answer(c.begin(tool, arguments))
	require.False(c.t, r.IsError, "%v", r.Content)
	return r
}

// progress waits until n notifications of the call have come.
func (c *sdk) progress(id, n int) {
	c.t.Helper()
	c.until(func(w told) bool {
		if w.ID == id && w.Progress != nil {
			n--
		}
		return n <= 0
	})
}
