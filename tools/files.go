package tools

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/filetype"
	"coder-chats-mcp/view"
)

type uploadFileArgs struct {
	Path         string  `json:"path,omitempty" jsonschema:"description=in an allowed folder"`
	Data         *string `json:"data,omitempty" jsonschema:"description=or base64"`
	Text         *string `json:"text,omitempty" jsonschema:"description=or the text itself"`
	Name         string  `json:"name,omitempty"`
	MediaType    string  `json:"media_type,omitempty" jsonschema:"description=default by content"`
	Organization string  `json:"organization,omitempty" jsonschema:"description=id or name; default yours"`
}

// chatFile is a stored file.
type chatFile struct {
	ID        uuid.UUID `json:"file_id"`
	Name      string    `json:"name,omitempty"`
	MediaType string    `json:"media_type"`
	Size      int64     `json:"size"` // bytes; -1 = the server did not say
	Text      string    `json:"text,omitempty"`
	SavedTo   string    `json:"saved_to,omitempty"`
	Resource  string    `json:"resource,omitempty"` // where it is, when it is too large for a result
}

func (f chatFile) head() string {
	return fmt.Sprintf("file %s, %s, %s", f.ID, view.Inline(f.Name, 255), f.kind())
}

func (f chatFile) kind() string {
	if f.Size < 0 {
		return view.Line(f.MediaType, 80) + " of unknown size"
	}
	return fmt.Sprintf("%s, %d bytes", view.Line(f.MediaType, 80), f.Size)
}

var _ = declare(Spec{
	Name: "upload_chat_file", Title: "Upload chat file", Operation: "Upload chat file", Toolset: Files, Effect: Writes, LocalArguments: []string{"path"},
	Description: "Stores a file (image, PDF, text, markdown, CSV, JSON; 10 MiB) for messages to refer to.",
}, func(ctx context.Context, s *Session, a uploadFileArgs) (*Result, error) {
	u, err := a.open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer u.close()
	if err := u.check(); err != nil {
		return nil, err
	}
	r := client.UploadFileRequest{Name: u.name, MediaType: u.mediaType, Size: u.size}
	if r.OrganizationID, err = s.organization(ctx, a.Organization); err != nil {
		return nil, err
	}
	stored := chatFile{Name: u.name, MediaType: u.mediaType, Size: u.size}
	err = s.patiently(ctx, func(ctx context.Context) (err error) {
		r.Body = u.body()
		stored.ID, err = s.Client.UploadFile(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return textf(stored, "Stored %s. Refer to it in the content of create_chat or send_chat_message with the part {\"type\":\"file\",\"file_id\":\"%s\"}.", stored.head(), stored.ID), nil
})

// upload is what is to be uploaded. It can be read more than once.
type upload struct {
	io.ReaderAt
	size            int64
	name, mediaType string // the type as declared, then as found out
	close           func()
}

func (u *upload) body() io.Reader {
	if u.size == 0 {
		return http.NoBody
	}
	return io.NewSectionReader(u, 0, u.size)
}

func (a uploadFileArgs) open(ctx context.Context, s *Session) (*upload, error) {
	given := 0
	for _, is := range []bool{a.Path != "", a.Data != nil, a.Text != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, &Failure{
			Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("%d of path, data and text were given", given), Next: "give exactly one of them",
		}
	}
	u := &upload{name: cleanName(a.Name), mediaType: a.MediaType, close: func() {}}
	switch {
	case a.Path != "":
		allowed, err := s.folders(ctx, "path", a.Path, "send the content in data (base64) or text")
		if err != nil {
			return nil, err
		}
		file, size, err := allowed.open(a.Path)
		if err != nil {
			return nil, err
		}
		u.ReaderAt, u.size, u.close = file, size, func() { _ = file.Close() }
		if u.name == "" {
			u.name = cleanName(filepath.Base(a.Path))
		}
	case a.Text != nil:
		u.ReaderAt, u.size = strings.NewReader(*a.Text), int64(len(*a.Text))
	default:
		data, declared, err := decodeBase64(*a.Data)
		if err != nil {
			return nil, err
		}
		u.ReaderAt, u.size, u.mediaType = bytes.NewReader(data), int64(len(data)), cmp.Or(u.mediaType, declared)
	}
	return u, nil
}

// decodeBase64 takes both alphabets, with and without padding, white space, and a data URL, whose media type comes along.
func decodeBase64(text string) (data []byte, mediaType string, err error) {
	if strings.HasPrefix(text, "data:") {
		if mediaType, text, err = cutDataURL(text); err != nil {
			return nil, "", err
		}
	}
	text = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", "\t", "", " ", "").Replace(text)
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(text, "=") {
		encoding = base64.StdEncoding
	}
	if size := int64(base64.RawStdEncoding.DecodedLen(len(strings.TrimRight(text, "=")))); size > filetype.MaxSize {
		return nil, "", tooLarge("data", size)
	}
	if data, err = encoding.DecodeString(text); err != nil {
		return nil, "", &Failure{Kind: string(client.KindInvalidArgument), Message: "data is not base64: " + err.Error(), Next: "encode the bytes as base64, or send text in text"}
	}
	return data, mediaType, nil
}

// cutDataURL takes data:[TYPE];base64, off. One that is encoded in percents would be read as something else than it says.
func cutDataURL(url string) (mediaType, text string, err error) {
	head, text, _ := strings.Cut(strings.TrimPrefix(url, "data:"), ",")
	i := strings.LastIndexByte(head, ';')
	if i < 0 || !strings.EqualFold(strings.TrimSpace(head[i+1:]), "base64") {
		return "", "", &Failure{
			Kind: string(client.KindInvalidArgument), Message: "data is a data URL without ;base64", Next: "encode the bytes as base64, or send text in text",
		}
	}
	mediaType, _, _ = strings.Cut(head, ";")
	return mediaType, text, nil
}

func tooLarge(what string, size int64) error {
	return &Failure{
		Kind: string(client.KindTooLarge), Message: fmt.Sprintf("%s has %d bytes, and a chat's file at most %d (10 MiB)", what, size, filetype.MaxSize),
		Next: "send a part of it, or put it where the chat's workspace can fetch it",
	}
}

// check finds the media type and the name, and refuses what the server would refuse.
func (u *upload) check() error {
	if u.size > filetype.MaxSize {
		return tooLarge("the file", u.size)
	}
	var err error
	u.mediaType, err = filetype.Classify(u.mediaType, u.name, u.body())
	var refused *filetype.RefusedError
	if errors.As(err, &refused) {
		return &Failure{Kind: string(client.KindInvalidArgument), Message: "the file was not sent: " + refused.Reason, Next: "convert it, or correct media_type; text of any sort goes as text/plain"}
	}
	if err != nil {
		return err
	}
	if u.name == "" {
		u.name = "file" + filetype.Extension(u.mediaType)
	}
	if len(u.name) > filetype.MaxName {
		return &Failure{
			Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("the file's name has %d bytes, and at most %d are stored", len(u.name), filetype.MaxName), Next: "give a shorter name",
		}
	}
	return nil
}

// cleanName is a name as the server stores it.
func cleanName(name string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "_")))
}

// patiently tries what the rate limit refuses once more when it may: the files have one of their own, twelve a minute. A refused request was not
// done, so that uploads may be repeated, too.
func (s *Session) patiently(ctx context.Context, try func(context.Context) error) error {
	ctx = client.TellLimit(ctx)
	err := try(ctx)
	var limited *client.Error
	if !errors.As(err, &limited) || limited.Kind != client.KindRateLimited {
		return err
	}
	pause := limited.RetryAfter
	if pause <= 0 {
		pause = time.Minute
	}
	if deadline, ok := ctx.Deadline(); pause > s.Config.MaxWait || ok && time.Until(deadline) < pause {
		return err
	}
	s.Peer.Progress(ctx, fmt.Sprintf("rate limited; trying again in %d s", int(pause.Round(time.Second).Seconds())))
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return try(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

type getFileArgs struct {
	FileID    uuid.UUID `json:"file_id" jsonschema:"format=uuid"`
	SaveTo    string    `json:"save_to,omitempty" jsonschema:"description=writes it there: a file or folder in an allowed folder"`
	Overwrite bool      `json:"overwrite,omitempty"`
}

// blobBytes is how much of an image or another file that is no text goes into a result, before base64.
const blobBytes = 1 << 20

var _ = declare(Spec{
	Name: "get_chat_file", Title: "Get chat file", Operation: "Get chat file", Toolset: Files, Effect: Reads, Idempotent: true, LocalArguments: []string{"save_to", "overwrite"}, WritingArguments: []string{"save_to", "overwrite"},
	Description: "A file of a chat. A large one comes as a resource link.",
}, func(ctx context.Context, s *Session, a getFileArgs) (*Result, error) {
	var to place
	if a.SaveTo != "" {
		allowed, err := s.folders(ctx, "save_to", a.SaveTo, "leave save_to out")
		if err != nil {
			return nil, err
		}
		if to, err = allowed.place(a.SaveTo); err != nil {
			return nil, err
		}
		defer func() { _ = to.dir.Close() }()
		if to.name != "" && !a.Overwrite && to.taken() {
			return nil, to.exists()
		}
	}
	var file *client.File
	err := s.patiently(ctx, func(ctx context.Context) (err error) {
		file, err = s.Client.GetFile(ctx, a.FileID)
		return err
	})
	if err != nil {
		return nil, a.explain(s, err)
	}
	defer func() { _ = file.Body.Close() }()
	answer := chatFile{ID: a.FileID, Name: file.Name, MediaType: file.MediaType, Size: file.Size}
	if a.SaveTo != "" {
		return answer.save(file.Body, to, a.Overwrite)
	}
	return answer.show(s, file.Body)
})

func (a getFileArgs) explain(s *Session, err error) error {
	if !client.IsNotFound(err) {
		return err
	}
	f := explain(Spec{Name: "get_chat_file"}, s, err)
	f.Message, f.Next = "there is no file "+a.FileID.String()+", or it is somebody else's", "get_chat lists the files of a chat"
	return f
}

func (p place) exists() error {
	return &Failure{
		Kind: string(client.KindConflict), Message: filepath.Join(p.path, p.name) + " is there already and was left alone",
		Next: "choose another name, or set overwrite",
	}
}

func (f chatFile) save(content io.Reader, to place, overwrite bool) (*Result, error) {
	if f.Size > filetype.MaxSize {
		return nil, f.overlong()
	}
	if to.name == "" {
		to.name = f.localName()
	}
	size, err := to.write(content, filetype.MaxSize, overwrite)
	f.SavedTo = filepath.Join(to.path, to.name)
	switch {
	case errors.Is(err, fs.ErrExist) && !overwrite:
		return nil, to.exists()
	case errors.Is(err, errOverlong):
		return nil, f.overlong()
	case client.KindOf(err) == client.KindTimeout:
		return nil, brokeOff(size, err)
	case err != nil:
		return nil, &Failure{Kind: string(client.KindUnavailable), Message: fmt.Sprintf("%s was not written: %v", f.SavedTo, underlying(err)), Next: "call get_chat_file again, or choose another save_to"}
	}
	f.Size = size
	return textf(f, "Saved %s, to %s.", f.head(), f.SavedTo), nil
}

// overlong is for what no upload can have made.
func (f chatFile) overlong() error {
	size := "more than that"
	if f.Size >= 0 {
		size = fmt.Sprintf("%d", f.Size)
	}
	return &Failure{
		Kind: string(client.KindTooLarge), Message: fmt.Sprintf("a chat's file has at most %d bytes (10 MiB), and this one %s; nothing was saved", filetype.MaxSize, size),
		Next: "look at it in Coder",
	}
}

// brokeOff is a download that did not come to its end.
func brokeOff(size int64, err error) error {
	f := &Failure{Kind: string(client.KindUnavailable), Message: fmt.Sprintf("the file broke off after %d bytes", size), Next: "call get_chat_file again"}
	if client.KindOf(err) == client.KindTimeout {
		f.Kind, f.Message = string(client.KindTimeout), fmt.Sprintf("the file stopped coming after %d bytes", size)
	}
	return f
}

// localName is the file's name as one of a file in a folder of this machine: stored names may be anything, "../../etc/passwd" and ".bashrc" too
// (fixture 05/062, step 32).
func (f chatFile) localName() string {
	name := path.Base(strings.ReplaceAll(f.Name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		case strings.ContainsRune(`/<>:"|?*`, r):
			return '_'
		}
		return r
	}, name)
	name = strings.Trim(name, " .")
	if name == "" || name == "_" || !filepath.IsLocal(name) {
		base, _, _ := mime.ParseMediaType(f.MediaType)
		return f.ID.String() + filetype.Extension(base)
	}
	return name
}

// show gives the file in the way its type is best read in.
func (f chatFile) show(s *Session, content io.Reader) (*Result, error) {
	base, _, _ := mime.ParseMediaType(f.MediaType)
	isText := strings.HasPrefix(base, "text/") || base == filetype.JSON
	most := int64(blobBytes)
	if isText {
		most = int64(s.Config.MaxOutputBytes)
	}
	if f.Size > most {
		return f.link(s), nil
	}
	data, err := io.ReadAll(io.LimitReader(content, most+1))
	if err != nil {
		return nil, brokeOff(int64(len(data)), err)
	}
	if int64(len(data)) > most {
		return f.link(s), nil
	}
	f.Size = int64(len(data))
	switch {
	case isText && utf8.Valid(data):
		return f.asText(s, string(data)), nil
	case strings.HasPrefix(base, "image/"):
		r := textf(f, "Image: %s", f.head())
		r.Content = []mcp.Content{mcp.NewImageContent(base64.StdEncoding.EncodeToString(data), base)}
		return r, nil
	}
	r := textf(f, "Attached: %s", f.head())
	r.Content = []mcp.Content{mcp.NewEmbeddedResource(mcp.BlobResourceContents{URI: f.address(), MIMEType: f.MediaType, Blob: base64.StdEncoding.EncodeToString(data)})}
	return r, nil
}

func (f chatFile) asText(s *Session, text string) *Result {
	quoted := view.Quote(text)
	encoded, err := json.Marshal(text)
	if err != nil || max(len(quoted), len(encoded)) > s.Config.MaxOutputBytes {
		return f.link(s)
	}
	f.Text = text
	if text == "" {
		return textf(f, "Empty: %s", f.head())
	}
	return textf(f, "Content of %s:\n%s", f.head(), quoted)
}

func (f chatFile) address() string { return "coder://chats/files/" + f.ID.String() }

// link names the file in the place of its content.
func (f chatFile) link(s *Session) *Result {
	f.Resource = f.address()
	advice := ""
	if s.Config.Local {
		advice = ", or save it with save_to"
	}
	r := textf(f, "Too large to show: %s. Read the resource %s%s.", f.head(), f.Resource, advice)
	r.Content = []mcp.Content{mcp.NewResourceLink(f.Resource, view.Line(f.Name, 255), f.kind(), f.MediaType)}
	return r
}
