package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

// narrator turns stream events into what a person wants to read while a call waits: "running: edit_file auth.go (12 s)".
type narrator struct {
	ctx    context.Context
	peer   Peer
	began  time.Time
	status client.Status
	doing  string
	told   string
}

func newNarrator(ctx context.Context, p Peer) *narrator {
	return &narrator{ctx: ctx, peer: p, began: time.Now()}
}

func (n *narrator) event(e relay.Event) {
	switch e.Type {
	case client.EventStatus:
		n.status, n.doing = e.Status.Status, ""
	case client.EventMessagePart:
		n.status = client.StatusRunning
		n.doing = doing(e.MessagePart.Part, n.doing)
	case client.EventMessage:
		if e.Message.Role == client.RoleUser {
			n.doing = ""
		}
	case client.EventRetry:
		n.doing = fmt.Sprintf("waits %s to retry after %s", (time.Duration(e.Retry.DelayMS) * time.Millisecond).Round(time.Second), view.Inline(e.Retry.Error, 80))
	case client.EventActionRequired:
		n.doing = "waits for tool results"
	case client.EventError:
		n.doing = "failed: " + view.Inline(e.Error.Message, 80)
	default:
		return
	}
	if n.status != "" {
		n.tell(string(n.status), n.doing)
	}
}

func (n *narrator) tell(status, doing string) {
	if doing != "" {
		status += ": " + doing
	}
	message := fmt.Sprintf("%s (%d s)", status, int(time.Since(n.began).Seconds()))
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
