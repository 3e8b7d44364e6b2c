package replay

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const script = `{"name": "create", "description": "x", "steps": [
	{"kind": "note", "note": "dropped"},
	{"kind": "http", "t_ms": 1, "elapsed_ms": 2,
	 "request": {"method": "POST", "path": "/api/experimental/chats", "headers": {"Accept": "a", "Content-Type": "c"}, "body": null},
	 "response": {"status": 201, "headers": {"Date": "d", "Content-Type": "c"}, "body": {"b": 2, "a": 1.0}}},
	{"kind": "http", "request": {"method": "GET", "path": "/api/experimental/chats/config/system-prompt"},
	 "response": {"status": 200, "body": {"default_system_prompt": "long"}}},
	{"kind": "poll", "chat": "c", "statuses": [[3, "running"], [4, "waiting"]]}],
	"websockets": [{"id": "w", "request": {"method": "GET", "path": "/p", "headers": {"Host": "h", "Origin": "o"}},
	 "handshake": {"status": 101, "headers": {"Upgrade": "websocket"}}, "frames": [{"t_ms": 5, "dir": "recv", "opcode": "text", "fin": false, "data": "x", "len": 1}]}]}`

// Packing keeps what a replay needs, in the order of the files, and always gives the same bytes.
func TestPackedRecordings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"002-b.json", "001-a.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o600))
	}
	recordings, err := ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, recordings, 2)
	assert.Equal(t, "001-a", recordings[0].Name)

	r := Trim(recordings[0])
	require.Len(t, r.Steps, 3, "notes are dropped")
	assert.Equal(t, 1, r.Steps[0].Index, "a step keeps its number")
	assert.Equal(t, map[string]string{"Content-Type": "c"}, r.Steps[0].Request.Headers)
	assert.Equal(t, map[string]string{"Content-Type": "c"}, r.Steps[0].Response.Headers)
	assert.Equal(t, "null", string(r.Steps[0].Request.Body), "a body of null is not the absence of one")
	assert.Nil(t, r.Steps[1].Response.Body, "texts of settings are dropped")
	assert.Equal(t, map[string]string{"Origin": "o"}, r.WebSockets[0].Request.Headers)
	assert.Contains(t, recordings[0].Steps[1].Request.Headers, "Accept", "the original stays")

	one, other := filepath.Join(dir, "one.gz"), filepath.Join(dir, "other.gz")
	require.NoError(t, Save(one, []Recording{r}))
	require.NoError(t, Save(other, []Recording{r}))
	loaded, err := Load(one)
	require.NoError(t, err)
	require.NoError(t, Save(one, loaded))
	a, err := os.ReadFile(one)
	require.NoError(t, err)
	b, err := os.ReadFile(other)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.False(t, *loaded[0].WebSockets[0].Frames[0].Fin)
}

func TestBrokenRecordings(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "001-x.json")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err := ReadDir(dir)
	assert.ErrorContains(t, err, "001-x.json")
	_, err = Load(path)
	assert.ErrorContains(t, err, "001-x.json")
	_, err = Load(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Error(t, Save(filepath.Join(dir, "no", "folder"), nil))
}
