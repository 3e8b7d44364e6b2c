package simulator

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

const (
	fileLimit = 10 << 20 // bytes
	nameLimit = 255      // bytes
)

var fileTypes = []string{
	"application/json", "application/pdf", "image/gif", "image/jpeg", "image/png", "image/webp", "text/csv", "text/markdown", "text/plain",
}

type file struct {
	fileJSON
	data []byte
}

type fileJSON struct {
	ID             uuid.UUID `json:"id"`
	OwnerID        uuid.UUID `json:"owner_id"`
	OrganizationID uuid.UUID `json:"organization_id"`
	Name           string    `json:"name"`
	MimeType       string    `json:"mime_type"`
	SizeBytes      int       `json:"size_bytes,omitempty"`
	CreatedAt      time.Time `json:"created_at"`
}

func (s *Server) fileView(f *file) fileJSON {
	v := f.fileJSON
	if s.gen.fileSizes {
		v.SizeBytes = len(f.data)
	}
	return v
}

// uploadFile serves POST /chats/files: the body is the file, not a form.
func (s *Server) uploadFile(c *call) *apiError {
	text := c.r.URL.Query().Get("organization")
	if text == "" {
		return badRequest("Missing organization query parameter.", "")
	}
	organization, parseErr := uuid.Parse(text)
	if parseErr != nil {
		return badRequest("Invalid organization ID.", "")
	}
	if !c.user.Owner && (!c.user.AgentsAccess || c.user.OrganizationID != organization) {
		return forbidden()
	}
	declared, err := declaredType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	name := fileName(c.r.Header.Get("Content-Disposition"))
	if name == "" {
		return badRequest("Filename is required.", "Provide a filename in the Content-Disposition header.")
	}
	data, readErr := io.ReadAll(io.LimitReader(c.r.Body, fileLimit+1))
	if readErr != nil {
		return badRequest("Failed to read file.", readErr.Error())
	}
	if len(data) > fileLimit {
		return &apiError{status: http.StatusRequestEntityTooLarge, Message: "File too large.", Detail: fmt.Sprintf("Maximum file size is %d bytes.", fileLimit)}
	}
	kind, err := classify(declared, name, data)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.options.Organizations, func(o Organization) bool { return o.ID == organization }) {
		return &apiError{
			status: http.StatusInternalServerError, Message: "Failed to save chat file.",
			Detail: `pq: insert or update on table "chat_files" violates foreign key constraint "chat_files_organization_id_fkey"`,
		}
	}
	f := &file{data: data, fileJSON: fileJSON{
		ID: uuid.New(), OwnerID: c.user.ID, OrganizationID: organization, Name: name, MimeType: kind, CreatedAt: now(),
	}}
	s.mu.Lock()
	s.files[f.ID] = f
	s.mu.Unlock()
	c.reply(http.StatusCreated, map[string]uuid.UUID{"id": f.ID})
	return nil
}

func unsupportedFile() *apiError {
	return badRequest("Unsupported file type.", "Allowed types: "+strings.Join(fileTypes, ", ")+".")
}

// declaredType is the Content-Type without parameters; "" and octet-stream
// leave the choice to the bytes.
func declaredType(header string) (string, *apiError) {
	if header == "" {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", unsupportedFile()
	}
	if kind == "application/octet-stream" {
		return "", nil
	}
	if !slices.Contains(fileTypes, kind) {
		return "", unsupportedFile()
	}
	return kind, nil
}

// fileName takes the name of a Content-Disposition, paths and all, without
// control characters and cut to 255 bytes.
func fileName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, params["filename"])
	for len(name) > nameLimit {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return strings.TrimSpace(name)
}

// classify compares what was declared with what the bytes are. A text may be
// refined by its bytes or name.
func classify(declared, name string, data []byte) (string, *apiError) {
	sniffed, _, _ := mime.ParseMediaType(http.DetectContentType(data))
	if looksLikeSVG(data) {
		return "", unsupportedFile()
	}
	text := strings.HasPrefix(sniffed, "text/") && utf8.Valid(data)
	switch {
	case text && sniffed == "text/html" && declared == "":
		return "", unsupportedFile()
	case text:
		return classifyText(declared, name, data)
	case !slices.Contains(fileTypes, sniffed):
		return "", unsupportedFile()
	case declared != "" && declared != sniffed:
		return "", mismatch(declared, sniffed)
	}
	return sniffed, nil
}

func mismatch(declared, sniffed string) *apiError {
	return badRequest("File content type does not match Content-Type header.",
		fmt.Sprintf("Header declared %q but file content was detected as %q.", declared, sniffed))
}

func looksLikeSVG(data []byte) bool {
	head := bytes.ToLower(data[:min(512, len(data))])
	return bytes.Contains(head, []byte("<svg"))
}

func classifyText(declared, name string, data []byte) (string, *apiError) {
	switch declared {
	case "text/csv", "text/markdown":
		return declared, nil
	case "application/json":
		if !json.Valid(data) {
			return "", mismatch(declared, "text/plain")
		}
		return declared, nil
	case "", "text/plain":
	default:
		return "", mismatch(declared, "text/plain")
	}
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed) {
		return "application/json", nil
	}
	switch path.Ext(name) {
	case ".md", ".markdown":
		return "text/markdown", nil
	case ".csv":
		if rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll(); err == nil && len(rows) > 0 && len(rows[0]) > 1 {
			return "text/csv", nil
		}
	}
	return "text/plain", nil
}

// getFile serves GET /chats/files/{id}. Ranges are ignored.
func (s *Server) getFile(c *call) *apiError {
	f, err := s.findFile(c)
	if err != nil {
		return err
	}
	serveFile(c.w, f, "private, max-age=31536000, immutable")
	return nil
}

func (s *Server) findFile(c *call) (*file, *apiError) {
	id, err := uuid.Parse(c.id)
	if err != nil {
		return nil, badRequest("Invalid file ID.", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil || c.user != nil && f.OwnerID != c.user.ID && !c.user.Owner {
		return nil, notFound()
	}
	return f, nil
}

func serveFile(w http.ResponseWriter, f *file, cache string) {
	how := "inline"
	if f.MimeType == "application/pdf" {
		how = "attachment"
	}
	h := w.Header()
	h.Set("Content-Type", f.MimeType)
	h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": f.Name}))
	h.Set("Cache-Control", cache)
	h.Set("Content-Length", strconv.Itoa(len(f.data)))
	_, _ = w.Write(f.data)
}

// fileDownloadURL serves POST /chats/files/{id}/download-url: an address that
// needs no session.
func (s *Server) fileDownloadURL(c *call) *apiError {
	f, err := s.findFile(c)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(f.data)
	c.reply(http.StatusOK, map[string]any{
		"url":        fmt.Sprintf("http://%s%s/files/%s/download?token=%s", c.r.Host, s.gen.chats, f.ID, f.signature()),
		"expires_at": now().Add(5 * time.Minute), "sha256": hex.EncodeToString(sum[:]), "size_bytes": len(f.data),
		"name": f.Name, "mime_type": f.MimeType,
	})
	return nil
}

// downloadFile serves GET /chats/files/{id}/download?token=….
func (s *Server) downloadFile(c *call) *apiError {
	c.user = nil
	f, err := s.findFile(c)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(c.r.URL.Query().Get("token")), []byte(f.signature())) {
		return notFound()
	}
	serveFile(c.w, f, "no-store")
	return nil
}

func (f *file) signature() string {
	sign := hmac.New(sha256.New, []byte("simulator"))
	_, _ = sign.Write(f.ID[:])
	return hex.EncodeToString(sign.Sum(nil))
}

// link attaches the files of a message to its chat. A batch that goes over the
// chat's limit is not linked at all; the message goes through (05/064).
func (s *Server) link(c *chat, parts []part) []string {
	var fresh []*file
	for _, p := range parts {
		if p.FileID == nil {
			continue
		}
		f := s.files[*p.FileID]
		if !slices.Contains(c.files, f) && !slices.Contains(fresh, f) {
			fresh = append(fresh, f)
		}
	}
	if len(c.files)+len(fresh) > s.gen.chatFiles {
		return []string{fmt.Sprintf("file linking skipped: batch of %d file(s) would exceed limit of %d", len(fresh), s.gen.chatFiles)}
	}
	c.files = append(c.files, fresh...)
	return nil
}
