package filetype_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/filetype"
	"coder-chats-mcp/simulator/replay"
)

// Every recorded upload whose bytes are known: what the server took is taken, what it refused for its type is refused.
func TestClassifyDecidesAsTheRecordedServers(t *testing.T) {
	for _, archive := range []string{"2026-05", "2026-08"} {
		recordings, err := replay.Load("../simulator/testdata/recordings-" + archive + ".json.gz")
		require.NoError(t, err)
		taken, refused := 0, 0
		for _, r := range recordings {
			for _, step := range r.Steps {
				if step.Kind != "http" || step.Request.Method != "POST" || !strings.Contains(step.Request.Path, "/chats/files?organization=") {
					continue
				}
				content, known := body(t, step.Request.Body)
				said := answer(step.Response.Body)
				if !known || step.Response.Status != 201 && !strings.Contains(said, "type") {
					continue
				}
				_, params, _ := mime.ParseMediaType(step.Request.Headers["Content-Disposition"])
				kind, err := filetype.Classify(step.Request.Headers["Content-Type"], params["filename"], strings.NewReader(content))
				if step.Response.Status == 201 {
					taken++
					require.NoError(t, err, "%s/%s step %d", archive, r.Name, step.Index)
					require.Contains(t, filetype.Allowed(), kind)
					continue
				}
				refused++
				var refusal *filetype.RefusedError
				require.ErrorAs(t, err, &refusal, "%s/%s step %d took %s, the server said %s", archive, r.Name, step.Index, kind, said)
			}
		}
		require.GreaterOrEqual(t, taken, 20, archive)
		require.GreaterOrEqual(t, refused, 11, archive)
	}
}

// body is a recorded body as far as it was written down; sniffing needs no more.
func body(t *testing.T, raw json.RawMessage) (content string, known bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", true
	}
	if json.Unmarshal(raw, &content) == nil {
		return content, true
	}
	var binary struct {
		Prefix string `json:"_b64_prefix"`
		Length *int   `json:"_len"`
	}
	require.NoError(t, json.Unmarshal(raw, &binary))
	if binary.Prefix == "" {
		return string(raw), binary.Length == nil
	}
	decoded, err := base64.StdEncoding.DecodeString(binary.Prefix[:len(binary.Prefix)/4*4])
	require.NoError(t, err)
	return string(decoded), true
}

func answer(raw json.RawMessage) string {
	var api struct{ Message, Detail string }
	_ = json.Unmarshal(raw, &api)
	return api.Message
}

func TestClassify(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	for _, c := range []struct{ name, declared, file, content, want, refused string }{
		{"an image by its bytes", "", "whatever", png, "image/png", ""},
		{"octet-stream says nothing", "application/octet-stream", "x.txt", png, "image/png", ""},
		{"parameters do not count", "IMAGE/PNG; charset=utf-8", "x", png, "image/png", ""},
		{"webp", "", "x", "RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp", ""},
		{"an empty file", "", "x.txt", "", "text/plain", ""},
		{"markdown by name", "text/plain", "README.MD", "hello", "text/markdown", ""},
		{"a table by name and content", "", "t.csv", "a,b\n1,2\n", "text/csv", ""},
		{"a long table", "", "t.csv", strings.Repeat("a,b\n", 50), "text/csv", ""},
		{"no table in spite of its name", "", "t.csv", "hello\n", "text/plain", ""},
		{"a crooked table", "", "t.csv", "a,b\n1\n", "text/plain", ""},
		{"a table that is declared", "text/csv", "t", "hello\n", "text/csv", ""},
		{"JSON by content", "text/plain", "noext", ` {"a":[1,"x",null]}` + "\n", "application/json", ""},
		{"JSON in spite of its name", "", "x.md", `[]`, "application/json", ""},
		{"JSON with a comment", "", "tsconfig.json", "{ // x\n}", "text/plain", ""},
		{"two JSON documents", "", "x.jsonl", "{}\n{}\n", "text/plain", ""},
		{"JSON cut off", "", "x.json", `{"a":[1`, "text/plain", ""},
		{"JSON with a scalar behind", "", "x.json", `{} 1`, "text/plain", ""},
		{"declared JSON is the server's to judge", "application/json", "x", "hello", "application/json", ""},
		{"HTML is text", "", "x.html", "<!DOCTYPE html><html><svg></svg></html>", "text/plain", ""},
		{"text that speaks of SVG", "", "x.txt", "see <svg> there", "text/plain", ""},
		{"XML that is no SVG", "", "x.xml", "<?xml version='1.0' encoding='latin1'?><a><svg/></a>", "text/plain", ""},
		{"SVG", "", "x.svg", "\ufeff<?xml version='1.0' encoding='latin1'?>\n<!-- drawn -->\n<!DOCTYPE svg [<!ENTITY a 'b'>]>\n<SVG x='1'>", "", "image/svg+xml is no type"},
		{"SVG as text", "text/plain", "x.txt", "<svg/>", "", "image/svg+xml"},
		{"a zip", "", "x.zip", "PK\x03\x04xxxx", "", "application/zip is no type that chats take: those are application/json, application/pdf"},
		{"binary", "", "x", "\x00\x01\x02", "", "binary data of no known type"},
		{"a type nobody takes", "text/html", "x", "hello", "", "text/html"},
		{"no type at all", "///", "x", "hello", "", `"///" is no type`},
		{"another image than declared", "image/jpeg", "x.jpg", png, "", "declared as image/jpeg and its bytes are image/png"},
		{"an image declared as text", "text/plain", "x.txt", png, "", "declared as text/plain and its bytes are image/png"},
		{"text declared as an image", "image/png", "x.png", "hello", "", "declared as image/png and its bytes are text/plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := filetype.Classify(c.declared, c.file, iotest.OneByteReader(strings.NewReader(c.content)))
			require.Equal(t, c.want, got)
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			var refusal *filetype.RefusedError
			require.ErrorAs(t, err, &refusal)
			require.ErrorContains(t, err, c.refused)
		})
	}
}

func TestClassifyTellsThatReadingFailed(t *testing.T) {
	broken := errors.New("the disk is gone")
	_, err := filetype.Classify("", "x", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
}

func TestEveryAllowedTypeHasAnExtension(t *testing.T) {
	require.True(t, slices.IsSorted(filetype.Allowed()))
	for _, kind := range filetype.Allowed() {
		require.NotEmpty(t, filetype.Extension(kind), kind)
	}
	require.Empty(t, filetype.Extension("application/zip"))
}
