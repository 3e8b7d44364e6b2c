package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

const createLimit = 256 << 10 // bytes of a create or tool-results body

type inputPart struct {
	Type      string    `json:"type"`
	Text      string    `json:"text"`
	FileID    uuid.UUID `json:"file_id"`
	FileName  string    `json:"file_name"`
	StartLine int       `json:"start_line"`
	EndLine   int       `json:"end_line"`
	Content   string    `json:"content"`
}

// decode reads a JSON body: unknown fields and bytes after the value are
// ignored. The decoder's own words end up in the detail, with the API's names
// of the types.
func decode(c *call, limit int64, tooLarge int, typeName string, into any) *apiError {
	body := c.r.Body
	if limit > 0 {
		body = http.MaxBytesReader(c.w, body, limit)
	}
	err := json.NewDecoder(body).Decode(into)
	if err == nil {
		return nil
	}
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		if tooLarge == http.StatusRequestEntityTooLarge {
			return &apiError{status: tooLarge, Message: "Request body too large.", Detail: fmt.Sprintf("Maximum request body size is %d bytes.", limit)}
		}
		return badRequest("Request body must be valid JSON.", "http: request body too large")
	}
	return badRequest("Request body must be valid JSON.", jsonDetail(err, typeName))
}

func jsonDetail(err error, typeName string) string {
	if errors.Is(err, io.EOF) {
		return "EOF"
	}
	var mistyped *json.UnmarshalTypeError
	if !errors.As(err, &mistyped) {
		return err.Error()
	}
	goType := strings.NewReplacer("simulator.inputPart", "codersdk.ChatInputPart", "*", "").Replace(mistyped.Type.String())
	if mistyped.Field == "" {
		return fmt.Sprintf("json: cannot unmarshal %s into Go value of type codersdk.%s", mistyped.Value, typeName)
	}
	field := mistyped.Field
	if strings.HasPrefix(field, "labels.") {
		field = "labels" // the API's decoder names the map, not its key
	}
	return fmt.Sprintf("json: cannot unmarshal %s into Go struct field %s.%s of type %s", mistyped.Value, typeName, field, goType)
}

// checkContent turns input parts into message parts, or says which is wrong.
// The lock is held.
func (s *Server) checkContent(u *User, in []inputPart) ([]part, *apiError) {
	if len(in) == 0 {
		return nil, badRequest("Content is required.", "Content cannot be empty.")
	}
	var parts []part
	for i, p := range in {
		done, problem := s.checkPart(u, p)
		if problem != "" {
			return nil, badRequest("Invalid input part.", fmt.Sprintf("content[%d].%s", i, problem))
		}
		parts = append(parts, done)
	}
	return parts, nil
}

func (s *Server) checkPart(u *User, p inputPart) (part, string) {
	switch strings.ToLower(strings.TrimSpace(p.Type)) {
	case "text":
		text := strings.TrimSpace(p.Text)
		if text == "" {
			return part{}, "text cannot be empty."
		}
		return textPart(text), ""
	case "file":
		if p.FileID == uuid.Nil {
			return part{}, "file_id is required for file parts."
		}
		f := s.files[p.FileID]
		if f == nil || f.OwnerID != u.ID && !u.Owner {
			return part{}, "file_id references a file that does not exist."
		}
		return part{Type: "file", FileID: &f.ID, MediaType: f.MimeType, Name: f.Name, size: len(f.data)}, ""
	case "file-reference":
		if strings.TrimSpace(p.FileName) == "" {
			return part{}, "file_name cannot be empty for file-reference."
		}
		return part{Type: "file-reference", FileName: p.FileName, StartLine: p.StartLine, EndLine: p.EndLine, Content: p.Content}, ""
	}
	return part{}, fmt.Sprintf("type %q is not supported.", p.Type)
}

func quotation(p part) string {
	lines := fmt.Sprintf("%d-%d", p.StartLine, p.EndLine)
	if p.StartLine == p.EndLine {
		lines = fmt.Sprint(p.StartLine)
	}
	text := fmt.Sprintf("[file-reference] %s:%s", p.FileName, lines)
	if p.Content != "" {
		text += fmt.Sprintf("\n```%s\n%s\n```", p.FileName, strings.TrimSpace(p.Content))
	}
	return text
}
