// Package filetype tells whether a chat takes a file, and as what, from its bytes: a refusal then comes before the upload.
// It refuses only what every recorded server refuses (fixtures 05/062 and 08/060); a doubtful file is the server's to judge.
package filetype

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// The server's limits, in bytes.
const (
	MaxSize = 10 << 20 // of a file
	MaxName = 255      // of its name
)

// The media types with rules of their own.
const (
	JSON     = "application/json"
	CSV      = "text/csv"
	Markdown = "text/markdown"
	Plain    = "text/plain"

	svg    = "image/svg+xml"
	octets = "application/octet-stream"
)

var extensions = map[string]string{
	JSON: ".json", "application/pdf": ".pdf", "image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp",
	CSV: ".csv", Markdown: ".md", Plain: ".txt",
}

// Allowed are the media types that a chat takes, sorted.
func Allowed() []string {
	return []string{JSON, "application/pdf", "image/gif", "image/jpeg", "image/png", "image/webp", CSV, Markdown, Plain}
}

// Extension is how names of files of an allowed media type end, dot included; "" for any other.
func Extension(mediaType string) string { return extensions[mediaType] }

// RefusedError is why no chat takes a file.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func unsupported(what string) error {
	return &RefusedError{what + " is no type that chats take: those are " + strings.Join(Allowed(), ", ")}
}

// Classify is the media type to upload a file as. Declared is what its owner says it is; "" and application/octet-stream say nothing. Plain text
// becomes JSON, CSV or markdown where the server would see one, so that what is declared is what will be stored. It reads as much of content as
// it needs: all of it only of what begins as JSON does. The error is a *RefusedError, or that of reading.
func Classify(declared, name string, content io.Reader) (string, error) {
	declared, err := essence(declared)
	if err != nil {
		return "", err
	}
	in := bufio.NewReader(content)
	head, err := in.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the file: %w", err)
	}
	detected := detect(head)
	switch {
	case detected == octets:
		return "", unsupported("binary data of no known type")
	case !slices.Contains(Allowed(), detected):
		return "", unsupported(detected)
	case detected == Plain && (declared == "" || declared == Plain):
		return refine(name, head, in), nil
	case detected == Plain && (strings.HasPrefix(declared, "text/") || declared == JSON):
		return declared, nil
	case declared != "" && declared != detected:
		return "", &RefusedError{fmt.Sprintf("it is declared as %s and its bytes are %s", declared, detected)}
	}
	return detected, nil
}

// essence is a declared type without its parameters.
func essence(declared string) (string, error) {
	if declared == "" {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(declared)
	switch {
	case err != nil:
		return "", unsupported(fmt.Sprintf("%.80q", declared))
	case kind == octets:
		return "", nil
	case !slices.Contains(Allowed(), kind):
		return "", unsupported(kind)
	}
	return kind, nil
}

// sniffed is how many bytes are looked at. The root of an SVG may come late; all else shows in the first 512.
const sniffed = 4096

// detect is what bytes are. Text of any sort is plain but SVG, which the server refuses under every name (fixture 05/062, step 21).
func detect(head []byte) string {
	kind, _, err := mime.ParseMediaType(http.DetectContentType(head))
	switch {
	case err != nil:
		return octets
	case !strings.HasPrefix(kind, "text/"):
		return kind
	case isSVG(string(head)):
		return svg
	}
	return Plain
}

func isSVG(head string) bool {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(head, "\ufeff")))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		switch t := token.(type) {
		case xml.StartElement:
			return strings.EqualFold(t.Name.Local, "svg")
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return false
			}
		}
	}
}

// refine is which sort of text the server takes a plain one for.
func refine(name string, head []byte, text io.Reader) string {
	start := strings.TrimSpace(string(head))
	if (strings.HasPrefix(start, "{") || strings.HasPrefix(start, "[")) && isJSON(text) {
		return JSON
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".markdown":
		return Markdown
	case ".csv":
		if isCSV(text) {
			return CSV
		}
	}
	return Plain
}

// isJSON reads one JSON document token by token, so that a large one is never in memory as a whole.
func isJSON(text io.Reader) bool {
	d := json.NewDecoder(text)
	d.UseNumber()
	depth, documents := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF) && depth == 0 && documents == 1
		}
		if depth == 0 {
			documents++
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// isCSV reads the first rows of a table.
func isCSV(text io.Reader) bool {
	const rows = 20
	r := csv.NewReader(text)
	for i := range rows {
		row, err := r.Read()
		if err != nil {
			return i > 0 && errors.Is(err, io.EOF)
		}
		if len(row) < 2 {
			return false
		}
	}
	return true
}
