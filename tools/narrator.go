package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"sync"
	"time"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// narrator says what a person wants to read while a call waits: "running: edit_file auth.go (12 s)". While nothing happens it repeats the last with
// the time that passed, so that a client sees that the call lives and does not give it up.
type narrator struct {
	ctx   context.Context
	peer  Peer
	began time.Time
	stop  chan struct{}

	repeats sync.WaitGroup

	mu     sync.Mutex
	status client.Status // "" until an event tells it: those of a chat that runs already may not
	queued bool          // it runs by name only
	doing  string
	what   string // said last
	told   string // with the time
}

// sayAgain is how long a narrator is silent at most.
const sayAgain = 5 * time.Second

// narrate begins with what the call waits for. End it with end.
func narrate(ctx context.Context, p Peer, what string) *narrator {
	n := &narrator{ctx: ctx, peer: p, began: time.Now(), stop: make(chan struct{})}
	n.say(what)
	n.repeats.Go(n.repeat)
	return n
}

// end returns when nothing more will be said: progress after the answer would break the protocol.
func (n *narrator) end() {
	close(n.stop)
	n.repeats.Wait()
}

func (n *narrator) repeat() {
	ticker := time.NewTicker(sayAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n.mu.Lock()
			n.tell()
			n.mu.Unlock()
		case <-n.stop:
			return
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *narrator) say(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.what = what
	n.tell()
}

// event says what the event of a chat means.
func (n *narrator) event(e relay.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch e.Type {
	case client.EventStatus:
		n.status, n.doing = e.Status.Status, ""
	case relay.EventCapacity:
		n.queued = e.WaitsForCapacity
	case client.EventMessagePart:
		n.status, n.queued = client.StatusRunning, false
		n.doing = doing(e.MessagePart.Part, n.doing)
	case client.EventMessage:
		if e.Message.Role == client.RoleUser {
			n.doing = ""
		}
	case client.EventRetry:
		n.doing = fmt.Sprintf("tries again in %.0f s after %s", float64(e.Retry.DelayMS)/1000, view.Inline(e.Retry.Error, 80))
	case client.EventActionRequired:
		n.doing = "waits for tool results"
	case client.EventError:
		n.doing = "failed: " + view.Inline(e.Error.Message, 80)
	default:
		return
	}
	if what := n.inWords(); what != "" {
		n.what = what
		n.tell()
	}
}

// inWords is how the chat stands; "" while nothing is known. It runs with mu held.
func (n *narrator) inWords() string {
	switch {
	case n.queued:
		return "waits for capacity"
	case n.status.Busy() && n.doing != "":
		return string(n.status) + ": " + n.doing
	case n.doing != "":
		return n.doing
	case n.status == client.StatusRequiresAction:
		return "waits for tool results"
	case n.status == client.StatusError:
		return "failed"
	case n.status.Idle():
		return "the turn is over" // to a person the API's word, waiting, says the opposite; and "done" is wrong between two turns
	}
	return view.Line(string(n.status), 40)
}

// tell runs with mu held.
func (n *narrator) tell() {
	message := fmt.Sprintf("%s (%d s)", n.what, int(time.Since(n.began).Seconds()))
	if message == n.told {
		return
	}
	n.told = message
	n.peer.Progress(n.ctx, message)
}

func doing(p client.Part, before string) string {
	switch p.Type {
	case client.PartReasoning:
		return "thinking"
	case client.PartText:
		return "writing its answer"
	case client.PartToolResult:
		return "read the result of " + view.Word(p.ToolName)
	case client.PartToolCall:
		if object := objectOf(p.Args); object != "" {
			return view.Word(p.ToolName) + " " + object
		}
		if before != "" && p.Args == nil && p.ArgsDelta != "" {
			return before
		}
		return view.Word(p.ToolName)
	}
	return before
}

// objectOf is what a tool call works on, for the argument names that coding agents use.
func objectOf(args json.RawMessage) string {
	var known struct {
		Path     string `json:"path"`
		FilePath string `json:"file_path"`
		Command  string `json:"command"`
		Query    string `json:"query"`
		Title    string `json:"title"`
	}
	if json.Unmarshal(args, &known) != nil {
		return ""
	}
	switch {
	case known.Path != "":
		return view.Word(path.Base(known.Path))
	case known.FilePath != "":
		return view.Word(path.Base(known.FilePath))
	}
	for _, object := range []string{known.Command, known.Query, known.Title} {
		if object != "" {
			return view.Inline(object, 60)
		}
	}
	return ""
}
