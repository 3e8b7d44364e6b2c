package rig

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Build builds the module's binary into a folder.
func Build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "coder-chats-mcp")
	if out, err := exec.Command("go", "build", "-o", binary, "coder-chats-mcp").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
}

// Line is one message of the server, and when it was read.
type Line struct {
	At     time.Time `json:"-"`
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  json.RawMessage
}

// Client is an MCP client of the binary over its standard streams.
type Client struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	notify func(Line)
	ended  chan struct{}

	mu      sync.Mutex
	last    int
	waiting map[string]chan Line
}

// Start runs the binary and says hello; notify gets every notification, one at a time.
func Start(binary string, environment []string, notify func(Line), arguments ...string) (*Client, error) {
	c := &Client{notify: notify, ended: make(chan struct{}), waiting: map[string]chan Line{}}
	c.cmd = exec.Command(binary, arguments...)
	c.cmd.Env = append([]string{"HOME=" + os.TempDir(), "PATH=" + os.Getenv("PATH")}, environment...)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.read(out)
	_, err = c.Request("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`)
	return c, err
}

func (c *Client) read(out io.Reader) {
	defer close(c.ended)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		raw, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		m := Line{At: time.Now()}
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		if m.ID == nil {
			if c.notify != nil {
				c.notify(m)
			}
			continue
		}
		c.mu.Lock()
		answer := c.waiting[string(m.ID)]
		delete(c.waiting, string(m.ID))
		c.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	}
}

// Send starts a request; params are JSON.
func (c *Client) Send(method, params string) (answer <-chan Line, err error) {
	answered := make(chan Line, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.waiting[fmt.Sprint(c.last)] = answered
	_, err = fmt.Fprintf(c.in, `{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}`+"\n", c.last, method, params)
	return answered, err
}

// Call starts a tool, with a progress token.
func (c *Client) Call(tool, arguments string) (<-chan Line, error) {
	return c.Send("tools/call", fmt.Sprintf(`{"name":"%s","arguments":%s,"_meta":{"progressToken":"%s"}}`, tool, arguments, tool))
}

// Wait waits for the answer of a request.
func (c *Client) Wait(answer <-chan Line) (Line, error) {
	select {
	case m := <-answer:
		if m.Error != nil {
			return m, fmt.Errorf("the server refused: %s", m.Error)
		}
		return m, nil
	case <-c.ended:
		return Line{}, io.ErrUnexpectedEOF
	case <-time.After(time.Minute):
		return Line{}, fmt.Errorf("no answer within a minute")
	}
}

// Request sends a request and waits for its answer.
func (c *Client) Request(method, params string) (Line, error) {
	answer, err := c.Send(method, params)
	if err != nil {
		return Line{}, err
	}
	return c.Wait(answer)
}

// Resident is the memory of the process that is resident, in bytes (Linux).
func (c *Client) Resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	_, err = fmt.Sscan(string(status), &size, &resident)
	return resident * int64(os.Getpagesize()), err
}

// Close ends the server with its input.
func (c *Client) Close() error {
	_ = c.in.Close()
	<-c.ended
	return c.cmd.Wait()
}
