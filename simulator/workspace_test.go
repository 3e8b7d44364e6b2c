package simulator_test

import (
	"bufio"
	"context"
	"net"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// bound starts a simulator with a workspace of ada's and a chat in it.
func bound(t *testing.T, o simulator.Options, ws simulator.Workspace) (*world, string) {
	t.Helper()
	ws.ID = uuidOf(7)
	ws.OwnerID = start(t, simulator.Options{}).Users()[0].ID
	o.Workspaces = []simulator.Workspace{ws}
	w := start(t, o)
	id, _ := w.newChat("hello NOTITLE", object{"workspace_id": ws.ID})
	w.until(id, "waiting")
	return w, id
}

func TestAWorkspacesGitIsFollowed(t *testing.T) {
	w, id := bound(t, simulator.Options{Generation: simulator.May2026, Speed: 20}, simulator.Workspace{Files: map[string]string{"file.txt": "one\n"}})
	said := w.transcript(id)
	require.Equal(t, "user: <context-file>", said[1])
	require.NotEmpty(t, w.get("/" + id)["agent_id"])
	s := w.dial(0, "/"+id+"/stream/git")
	w.send(id, `TOOL write_file {"path":"/home/coder/repo/new.txt","content":"hello\nworld\n"}`)
	repo := s.next()["repositories"].([]any)[0].(object)
	require.Equal(t, "diff --git a/new.txt b/new.txt\nnew file mode 100644\nindex 0000000..94954ab\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1,2 @@\n+hello\n+world\n", repo["unified_diff"])
	write := func(text string) {
		require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte(text)))
	}
	write(`{"type":"refresh"}`)
	require.NotContains(t, s.next(), "repositories")
	write(`{"type":"bogus"}`)
	require.Equal(t, "unknown message type", s.next()["message"])
	w.until(id, "waiting")
	w.send(id, `TOOL execute {"command":"git -C /home/coder/repo status --short; pwd; ls"}`)
	w.until(id, "waiting")
	all := w.transcript(id)
	require.Contains(t, all[len(all)-1], `?? new.txt\n/home/coder\nfile.txt\nnew.txt\n`)
	for prompt, want := range map[string]string{
		`TOOL read_file {"path":"/home/coder/repo/nope"}`:                                    "no such file",
		`TOOL edit_file {"path":"/home/coder/repo/file.txt","search":"zzz","replace":"x"}`:   "search text not found",
		`TOOL edit_file {"path":"/home/coder/repo/file.txt","search":"one","replace":"two"}`: `{"ok":true}`,
		`TOOL read_file {}`: "path is required", `TOOL write_file {}`: "path is required", `TOOL execute {}`: "command is required",
		`TOOL edit_file {}`: "no such file",
	} {
		w.send(id, prompt)
		w.until(id, "waiting")
		all = w.transcript(id)
		require.Contains(t, all[len(all)-1], want)
	}
	require.Equal(t, object{"chat_id": id}, w.get("/"+id+"/diff"), "nothing was pushed")
	require.Equal(t, object{uuidOf(7).String(): id}, w.get("/by-workspace?workspace_ids="+uuidOf(7).String()))
	require.Equal(t, 400, w.call(0, "GET", "/by-workspace?workspace_ids=zzz", nil).status)
	write("not json")
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(s.gone()))
	require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"workspace_id": uuid.Nil}).status)
	require.Equal(t, "Chat has no workspace to watch.", w.call(0, "GET", "/"+id+"/stream/git", nil).object(t)["message"])
	require.Equal(t, 204, w.call(0, "PATCH", "/"+id, object{"workspace_id": uuidOf(7)}).status)
}

// The recording of it is 05/074, at its end.
func TestAnAgentThatKnowsNoRepositoryAnswersNoRefresh(t *testing.T) {
	w, id := bound(t, simulator.Options{}, simulator.Workspace{})
	s := w.dial(0, "/"+id+"/stream/git")
	for _, text := range []string{`{"type":"refresh"}`, `{"type":"bogus"}`} {
		require.NoError(t, s.conn.Write(t.Context(), websocket.MessageText, []byte(text)))
	}
	require.Equal(t, "unknown message type", s.next()["message"])
}

func TestAnAgentThatIsNotThere(t *testing.T) {
	for state, want := range map[string]string{
		"connecting": `Agent state is "connecting", it must be in the "connected" state.`, "none": "Chat workspace has no agents.",
	} {
		w, id := bound(t, simulator.Options{Generation: simulator.May2026}, simulator.Workspace{AgentState: state})
		require.Equal(t, want, w.call(0, "GET", "/"+id+"/stream/git", nil).object(t)["message"])
		require.Equal(t, 400, w.call(0, "GET", "/"+id+"/stream/desktop", nil).status)
		w.send(id, `TOOL execute {"command":"ls"}`)
		w.until(id, "waiting")
		all := w.transcript(id)
		require.Contains(t, all[len(all)-1], "workspace has no running agent")
	}
}

func TestGitComesFromTheHook(t *testing.T) {
	messages := make(chan simulator.GitMessage, 1)
	w := start(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) { return messages, nil }})
	id, _ := w.newChat("hello")
	s := w.dial(0, "/"+id+"/stream/git")
	messages <- simulator.GitMessage{Type: "changes", Repositories: []simulator.GitRepository{{RepoRoot: "/x", UnifiedDiff: "diff --git"}}}
	require.Equal(t, "diff --git", s.next()["repositories"].([]any)[0].(object)["unified_diff"])
	require.Equal(t, 1, w.SocketsOf("git"))
	close(messages)
	require.Error(t, s.gone())
}

func TestTheDesktopIsARawConnection(t *testing.T) {
	far := make(chan net.Conn, 2)
	w, id := bound(t, simulator.Options{Generation: simulator.August2026, Desktop: func(context.Context, uuid.UUID) (net.Conn, error) {
		here, there := net.Pipe()
		far <- there
		return here, nil
	}}, simulator.Workspace{})
	dial := func() net.Conn {
		s, resp, err := websocket.Dial(t.Context(), w.URL+w.chats+"/"+id+"/stream/desktop", &websocket.DialOptions{
			HTTPClient: w.http, HTTPHeader: map[string][]string{"Coder-Session-Token": {"simulator-user-1"}},
		})
		require.NoError(t, err, "%v", resp)
		return websocket.NetConn(t.Context(), s, websocket.MessageBinary)
	}
	viewer, server := dial(), <-far
	go func() { _, _ = server.Write([]byte("RFB 003.008\n")) }()
	line, err := bufio.NewReader(viewer).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "RFB 003.008\n", line)
	_, err = viewer.Write([]byte("RFB 003.008\n"))
	require.NoError(t, err)
	line, err = bufio.NewReader(server).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "RFB 003.008\n", line)
	require.Equal(t, 1, w.SocketsOf("desktop"))
	require.NoError(t, viewer.Close())
	eventually(t, "no desktop", func() bool { return w.Sockets() == 0 })
	viewer, server = dial(), <-far
	require.NoError(t, server.Close())
	_, err = viewer.Read(make([]byte, 1))
	require.Error(t, err)
	_ = viewer.Close()
	none, id := bound(t, simulator.Options{}, simulator.Workspace{})
	require.Equal(t, 500, none.call(0, "GET", "/api/experimental/chats/"+id+"/stream/desktop", nil).status)
}
