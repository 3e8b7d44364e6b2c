package resources_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/resources"
	"coder-chats-mcp/simulator"
)

func repositories(t *testing.T, v map[string]any) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, r := range v["repositories"].([]any) {
		all = append(all, r.(map[string]any))
	}
	return all
}

func TestGitIsTheWorkingTreeWithItsNumbers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.written(t)
		v := object(t, w.src, address(chat.ID, "git"))
		all := repositories(t, v)
		require.Len(t, all, 1)
		require.Equal(t, "/home/coder/repo", all[0]["repo_root"])
		require.Equal(t, "feature/x", all[0]["branch"])
		require.Contains(t, all[0]["diff"], "+package a\n")
		require.EqualValues(t, 2, all[0]["stat"].(map[string]any)["files"])
		require.NotEmpty(t, v["scanned_at"])
		require.NotContains(t, v, "stale")
		require.NotContains(t, v, "note")
		eventually(t, func() bool { return w.Sockets() == 0 })
	})
}

func TestGitOfAnUntouchedWorkspaceSaysSo(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.create(t, client.CreateChatRequest{WorkspaceID: w.workspace, Content: []client.InputPart{client.TextPart("hello")}})
	v := object(t, w.src, address(chat.ID, "git"))
	require.Empty(t, v["repositories"])
	require.Contains(t, v["note"], "the chat's tools have touched none yet")
}

func TestGitWithoutAWorkspaceIsRefusedByTheApi(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		chat := w.chat(t, "hello")
		uri := address(chat.ID, "git")
		_, err := resources.Read(t.Context(), w.src, uri)
		require.Equal(t, client.KindInvalidArgument, client.KindOf(err))
		require.ErrorContains(t, err, "Chat has no workspace to watch.")
		_, err = resources.Subscribe(t.Context(), w.src, uri, func(string) {})
		require.ErrorContains(t, err, "Chat has no workspace to watch.")
	})
}

// sends is a git stream of the given messages and, after them, silence.
func sends(messages ...simulator.GitMessage) func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
	return func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
		stream := make(chan simulator.GitMessage, len(messages))
		for _, m := range messages {
			stream <- m
		}
		return stream, nil
	}
}

func changes(repositories ...simulator.GitRepository) simulator.GitMessage {
	at := time.Now()
	return simulator.GitMessage{Type: "changes", ScannedAt: &at, Repositories: repositories}
}

const patch = "diff --git a/x b/x\nindex 1111111..2222222 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n"

func TestGitThatIsTooLargeIsCutAndSaysSo(t *testing.T) {
	w := newWorld(t, simulator.Options{Git: sends(changes(
		simulator.GitRepository{RepoRoot: "/a", Branch: "main", UnifiedDiff: patch + strings.ReplaceAll(patch, "x", "y")},
		simulator.GitRepository{RepoRoot: "/b", Branch: "main", UnifiedDiff: "Total diff too large to show. Size: 4.0 MiB."},
		simulator.GitRepository{RepoRoot: "/c", Branch: ""},
	))})
	w.src.MaxText = len(patch) + 10
	chat := w.chat(t, "hello")
	all := repositories(t, object(t, w.src, address(chat.ID, "git")))
	require.Len(t, all, 3)
	require.Equal(t, patch, all[0]["diff"])
	require.EqualValues(t, len(patch), all[0]["diff_left_out_bytes"])
	require.Contains(t, all[0]["note"], "cut for size")
	require.EqualValues(t, 2, all[0]["stat"].(map[string]any)["files"])
	require.Contains(t, all[1]["note"], "no diff")
	require.Equal(t, map[string]any{"repo_root": "/c"}, all[2])
}

func TestGitTellsWhatTheAgentComplainsOf(t *testing.T) {
	w := newWorld(t, simulator.Options{Git: sends(simulator.GitMessage{Type: "error", Message: "scan failed"})})
	v := object(t, w.src, address(w.chat(t, "hello").ID, "git"))
	require.Equal(t, "scan failed", v["problem"])
	require.NotContains(t, v, "note")
}

func TestGitOfAnAgentThatFellSilentIsStale(t *testing.T) {
	first, later := make(chan simulator.GitMessage, 1), make(chan simulator.GitMessage)
	var opened atomic.Int32
	w := newWorld(t, simulator.Options{Git: func(context.Context, uuid.UUID) (<-chan simulator.GitMessage, error) {
		if opened.Add(1) == 1 {
			return first, nil
		}
		return later, nil
	}})
	first <- changes(simulator.GitRepository{RepoRoot: "/a", Branch: "main", UnifiedDiff: patch})
	chat := w.chat(t, "hello")
	uri := address(chat.ID, "git")
	listener, err := w.src.Relay.FollowGit(t.Context(), chat.ID)
	require.NoError(t, err)
	defer listener.Close()
	eventually(t, func() bool { return len(listener.Picture().Repositories) == 1 })
	v := object(t, w.src, uri)
	require.Equal(t, true, v["stale"])
	require.NotEmpty(t, v["stale_since"])
	require.Contains(t, v["problem"], "did not answer a scan")
	require.Equal(t, patch, repositories(t, v)[0]["diff"], "the last that is known")

	eventually(t, func() bool { return listener.Picture().FromBefore })
	v = object(t, w.src, uri)
	require.Equal(t, true, v["stale"])
	require.NotContains(t, v, "problem")
	require.Contains(t, v["note"], "The connection to the workspace is a new one")
	require.Equal(t, patch, repositories(t, v)[0]["diff"])
}

func TestGitOfManyFilesNamesTheFirstAndSaysWhereTheOthersAre(t *testing.T) {
	var all strings.Builder
	for i := range 3000 {
		all.WriteString(strings.ReplaceAll(patch, "x", fmt.Sprintf("some/quite/long/folder/name/file-%04d.go", i)))
	}
	w := newWorld(t, simulator.Options{Git: sends(changes(
		simulator.GitRepository{RepoRoot: "/a", Branch: "main", UnifiedDiff: all.String()},
		simulator.GitRepository{RepoRoot: "/b", Branch: "main", UnifiedDiff: patch},
	))})
	repos := repositories(t, object(t, w.src, address(w.chat(t, "hello").ID, "git")))
	stat := repos[0]["stat"].(map[string]any)
	require.EqualValues(t, 3000, stat["files"])
	rows := stat["rows"].([]any)
	encoded, err := json.Marshal(rows)
	require.NoError(t, err)
	require.Less(t, len(encoded), 128<<10+1)
	require.Greater(t, len(encoded), 120<<10)
	require.EqualValues(t, 3000-len(rows), repos[0]["stat_rows_left_out"])
	require.Contains(t, repos[0]["note"], fmt.Sprintf("rows are the first %d of 3000 files; watch_chat_git with format files lists all", len(rows)))
	require.NotContains(t, repos[1], "note")
	require.Equal(t, all.String(), repos[0]["diff"])
}

func TestReadingGitEndsWithItsCaller(t *testing.T) {
	w := newWorld(t, simulator.Options{})
	chat := w.create(t, client.CreateChatRequest{WorkspaceID: w.workspace, Content: []client.InputPart{client.TextPart("hello")}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := resources.Read(ctx, w.src, address(chat.ID, "git"))
		done <- err
	}()
	eventually(t, func() bool { return w.SocketsOf("git") == 1 })
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
