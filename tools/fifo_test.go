//go:build unix

package tools_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFIFOIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	f := newBench(t, unlimited(""), allow(dir)).fails("upload_chat_file", object{"path": "fifo"})
	require.Equal(t, "invalid_argument", f.Kind)
	require.Contains(t, f.Message, "not a regular file")
}
