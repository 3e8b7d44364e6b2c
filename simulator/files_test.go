package simulator_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"coder-chats-mcp/simulator"

	"github.com/stretchr/testify/require"
)

var png = append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 65)...)

func (w *world) upload(n int, kind, name string, data []byte) answer {
	return w.call(n, "POST", fmt.Sprint("/files?organization=", w.Users()[0].OrganizationID), data,
		"Content-Type", kind, "Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

func TestFilesAreClassified(t *testing.T) {
	w := start(t, simulator.Options{FileRateLimit: -1})
	for _, c := range []struct {
		kind, name, data string
		want             string // the stored type, or what the refusal says
	}{
		{"image/png", "pic.png", string(png), "image/png"},
		{"application/octet-stream", "o.png", string(png), "image/png"},
		{"application/pdf", "d.pdf", "%PDF-1.4\n%%EOF\n", "application/pdf"},
		{"text/plain", "a.txt", "plain", "text/plain"},
		{"text/plain", "a.json", `{"a":1}`, "application/json"},
		{"text/plain", "x.md", "# hi", "text/markdown"},
		{"text/plain", "x.csv", "a,b\n1,2\n", "text/csv"},
		{"text/markdown", "a.md", "# hi", "text/markdown"},
		{"application/json", "a.json", `{"a":1}`, "application/json"},
		{"text/plain", "a.html", "<html><body>x</body></html>", "text/plain"},
		{"application/octet-stream", "m.go", "package main", "text/plain"},
		{"text/plain", "empty.txt", "", "text/plain"},
		{"image/jpeg", "p.jpg", string(png), `Header declared "image/jpeg" but file content was detected as "image/png".`},
		{"image/png", "p.png", "hello", `Header declared "image/png" but file content was detected as "text/plain".`},
		{"application/zip", "a.zip", "PK\x03\x04", "Allowed types:"},
		{"application/octet-stream", "a.zip", "PK\x03\x04", "Allowed types:"},
		{"text/plain", "a.txt", "<svg></svg>", "Allowed types:"},
		{"text/html", "a.html", "<html></html>", "Allowed types:"},
		{"application/json", "a.json", "{", "does not match"},
	} {
		a := w.upload(0, c.kind, c.name, []byte(c.data))
		if a.status != http.StatusCreated {
			require.Equal(t, 400, a.status)
			require.Contains(t, strings.ReplaceAll(string(a.body), `\"`, `"`), c.want)
			continue
		}
		got := w.call(0, "GET", "/files/"+a.object(t)["id"].(string), nil)
		require.Equal(t, c.want, got.header.Get("Content-Type"), c.name)
		require.Equal(t, c.data, string(got.body))
		require.Contains(t, got.header.Get("Content-Disposition"), c.name)
	}
	require.Contains(t, string(w.call(0, "POST", "/files", "x").body), "Missing organization query parameter.")
	require.Contains(t, string(w.call(0, "POST", "/files?organization=zzz", "x").body), "Invalid organization ID.")
	require.Contains(t, string(w.call(0, "POST", fmt.Sprint("/files?organization=", w.Users()[0].OrganizationID), "x").body), "Filename is required.")
	require.Equal(t, 201, w.upload(0, "text/plain", "ten.txt", bytes.Repeat([]byte("x"), 10<<20)).status)
	require.Equal(t, 413, w.upload(0, "text/plain", "ten1.txt", bytes.Repeat([]byte("x"), 10<<20+1)).status)
	require.Equal(t, 400, w.call(0, "GET", "/files/zzz", nil).status)
}

func TestFilesBelongToTheirOwnerAndAreLimited(t *testing.T) {
	w := start(t, simulator.Options{})
	id := w.upload(0, "text/plain", "a.txt", []byte("mine")).object(t)["id"].(string)
	require.Equal(t, 404, w.call(1, "GET", "/files/"+id, nil).status)
	chat, created := w.newChat("x", object{"content": []object{{"type": "text", "text": "look"}, {"type": "file", "file_id": id}, {"type": "file-reference", "file_name": "a.go", "start_line": 3, "end_line": 9, "content": "x"}}})
	require.Equal(t, 4., created["files"].([]any)[0].(object)["size_bytes"])
	w.until(chat, "waiting")
	require.Equal(t, "assistant: echo: look [file undefined] [file-reference] a.go:3-9\n```a.go\nx\n```", w.transcript(chat)[1])
	link := w.call(0, "POST", "/files/"+id+"/download-url", nil).object(t)
	path := strings.TrimPrefix(link["url"].(string), w.URL)
	require.Equal(t, "mine", string(w.call(-1, "GET", path, nil).body))
	require.Equal(t, 404, w.call(-1, "GET", path+"x", nil).status)
	var last answer
	for range 12 {
		last = w.call(0, "GET", "/files/"+id, nil)
	}
	require.Equal(t, 200, last.status)
	require.Equal(t, 429, w.call(0, "GET", "/files/"+id, nil).status)
}

func TestTooManyFilesAreNotLinked(t *testing.T) {
	w := start(t, simulator.Options{Generation: simulator.May2026, FileRateLimit: -1})
	parts := []object{{"type": "text", "text": "many"}}
	for i := range 21 {
		id := w.upload(0, "text/plain", fmt.Sprintf("f%d.txt", i), []byte("x")).object(t)["id"]
		parts = append(parts, object{"type": "file", "file_id": id})
	}
	_, chat := w.newChat("x", object{"content": parts})
	require.Equal(t, []any{"file linking skipped: batch of 21 file(s) would exceed limit of 20"}, chat["warnings"])
	require.NotContains(t, chat, "files")
}
