package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Workspace is one that chats can be bound to, with a small git repository.
type Workspace struct {
	ID, OwnerID, BuildID, AgentID uuid.UUID
	AgentState                    string            // connected (default), connecting, disconnected, or "none" for no agents
	Root                          string            // of the repository; default /home/coder/repo
	Branch                        string            // default feature/x
	Origin                        string            // default https://github.example.test/acme/widgets.git
	Files                         map[string]string // what is committed, by path below Root
}

// workspace is the state of one; the server's lock guards it.
type workspace struct {
	id, owner, build, agent uuid.UUID
	state                   string
	root, branch, origin    string
	base, tree              map[string]string // committed and working tree, by path below root
	touched                 bool              // a tool was in the repository: stream/git has something to say
	pushed                  bool              // GET diff has something to say
	changes                 chan struct{}     // closed and replaced at every change
}

func newWorkspace(o Workspace) *workspace {
	w := &workspace{
		id: o.ID, owner: o.OwnerID, build: o.BuildID, agent: o.AgentID, state: o.AgentState,
		root: o.Root, branch: o.Branch, origin: o.Origin, base: maps.Clone(o.Files), tree: maps.Clone(o.Files),
		changes: make(chan struct{}),
	}
	for id, name := range map[*uuid.UUID]string{&w.id: "workspace", &w.build: "build", &w.agent: "agent"} {
		if *id == uuid.Nil {
			*id = fixedID(name + " " + o.ID.String())
		}
	}
	orDefault(&w.state, "connected")
	orDefault(&w.root, "/home/coder/repo")
	orDefault(&w.branch, "feature/x")
	orDefault(&w.origin, "https://github.example.test/acme/widgets.git")
	if w.base == nil {
		w.base, w.tree = map[string]string{}, map[string]string{}
	}
	return w
}

func orDefault(s *string, otherwise string) {
	if *s == "" {
		*s = otherwise
	}
}

// giveWorkspace makes the workspace of a story. The lock is held.
func (s *Server) giveWorkspace(c *chat) {
	if c.workspace == nil && s.options.Story && c.parent == nil {
		prompt, _ := c.lastExchange()
		if parseOrder(prompt, false).verb == "" {
			c.workspace = storyWorkspace(c, prompt)
			s.workspaces[c.workspace.id] = c.workspace
		}
	}
}

// bindWorkspace is what the worker does in a workspace first: build and agent
// are told (05/073: not yet by create), May stores the context-file row. The
// lock is held.
func (s *Server) bindWorkspace(c *chat) {
	if c.workspace == nil || c.bound {
		return
	}
	c.bound = true
	if s.gen.contextRows {
		updated := c.updated
		s.addMessage(c, "user", nil, []part{{Type: "context-file", ContextFileAgentID: &c.workspace.agent}})
		c.updated = updated
	}
}

func (w *workspace) changed() {
	w.touched = true
	close(w.changes)
	w.changes = make(chan struct{})
}

// path is a tool's path below the repository's root.
func (w *workspace) path(p string) string {
	return strings.TrimPrefix(strings.TrimPrefix(p, w.root), "/")
}

func (w *workspace) readFile(args json.RawMessage) outcome {
	var a struct {
		Path string `json:"path"`
	}
	if json.Unmarshal(args, &a); a.Path == "" {
		return failed("path is required")
	}
	text, ok := w.tree[w.path(a.Path)]
	if !ok {
		return failed("open %s: no such file or directory", a.Path)
	}
	return outcome{result: encode(map[string]any{
		"content": text, "file_size": len(text), "total_lines": strings.Count(text, "\n"), "lines_read": strings.Count(text, "\n"),
	})}
}

func (w *workspace) writeFile(args json.RawMessage) outcome {
	var a struct{ Path, Content string }
	if json.Unmarshal(args, &a); a.Path == "" {
		return failed("path is required")
	}
	w.tree[w.path(a.Path)] = a.Content
	w.changed()
	return outcome{result: json.RawMessage(`{"ok":true}`)}
}

func (w *workspace) editFile(args json.RawMessage) outcome {
	var a struct {
		Path    string `json:"path"`
		Search  string `json:"search"`
		Replace string `json:"replace"`
	}
	_ = json.Unmarshal(args, &a)
	text, ok := w.tree[w.path(a.Path)]
	if !ok {
		return failed("open %s: no such file or directory", a.Path)
	}
	if !strings.Contains(text, a.Search) || a.Search == "" {
		return failed("search text not found in %s", a.Path)
	}
	w.tree[w.path(a.Path)] = strings.Replace(text, a.Search, a.Replace, 1)
	w.changed()
	return outcome{result: json.RawMessage(`{"ok":true}`)}
}

// execute knows the few commands that the stories and recordings run.
func (w *workspace) execute(args json.RawMessage) outcome {
	var a struct{ Command string }
	if json.Unmarshal(args, &a); a.Command == "" {
		return failed("command is required")
	}
	var output strings.Builder
	for _, c := range parseCommands(args) {
		output.WriteString(w.run(strings.Join(c, " ")))
	}
	return outcome{result: encode(struct {
		Success    bool   `json:"success"`
		Output     string `json:"output"`
		ExitCode   int    `json:"exit_code"`
		DurationMS int    `json:"wall_duration_ms"`
	}{true, output.String(), 0, 10})}
}

func (w *workspace) run(command string) string {
	w.touched = w.touched || strings.HasPrefix(command, "git ")
	switch {
	case command == "pwd":
		return "/home/coder\n"
	case command == "ls":
		return strings.Join(slices.Sorted(maps.Keys(w.tree)), "\n") + "\n"
	case strings.HasSuffix(command, "status --short"):
		return w.status()
	case strings.HasPrefix(command, "go test"):
		return "ok  \tshop/price\t0.012s\nok  \tshop/client\t0.034s\n"
	case strings.HasPrefix(command, "git push"):
		w.pushed = true
		return fmt.Sprintf("To %s\n * [new branch]      %s -> %s\n", w.origin, w.branch, w.branch)
	}
	return ""
}

func (w *workspace) status() string {
	var b strings.Builder
	for _, p := range w.changedPaths() {
		switch _, was := w.base[p]; {
		case !was:
			b.WriteString("?? " + p + "\n")
		case w.tree[p] == "":
			b.WriteString(" D " + p + "\n")
		default:
			b.WriteString(" M " + p + "\n")
		}
	}
	return b.String()
}

func (w *workspace) changedPaths() []string {
	var paths []string
	for p, text := range w.tree {
		if was, ok := w.base[p]; !ok || was != text {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}
