package client

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// UploadFileRequest is a file to store. Body is read once and streamed.
type UploadFileRequest struct {
	OrganizationID uuid.UUID // zero = the caller's default organization
	Name           string    // required, at most 255 bytes
	MediaType      string    // "" = the server looks at the bytes
	Body           io.Reader
	Size           int64 // bytes in Body; 0 = found out for the readers of bytes and strings, else unknown
}

// UploadFile is "Upload chat file". JSON, PDF, images, CSV, markdown and plain text are taken, up to 10 MiB.
func (c *Client) UploadFile(ctx context.Context, r UploadFileRequest) (uuid.UUID, error) {
	if r.OrganizationID == uuid.Nil {
		me, err := c.Me(ctx)
		if err != nil {
			return uuid.Nil, err
		}
		r.OrganizationID = me.DefaultOrganizationID
	}
	disposition, err := contentDisposition(r.Name)
	if err != nil {
		return uuid.Nil, err
	}
	header := http.Header{"Content-Disposition": {disposition}}
	if r.MediaType != "" {
		header.Set("Content-Type", r.MediaType)
	}
	var out struct {
		ID uuid.UUID `json:"id"`
	}
	err = c.do(ctx, call{
		op: "upload chat file", method: http.MethodPost, path: []string{"files"},
		query:  url.Values{"organization": {r.OrganizationID.String()}},
		header: header, body: r.Body, size: r.Size, out: &out,
	})
	return out.ID, err
}

// maxFileName is the server's limit, in bytes.
const maxFileName = 255

// contentDisposition says a file's name as RFC 6266 wants it: quoted, or as filename* when it is not ASCII.
func contentDisposition(name string) (string, error) {
	invalid := func(message string) error {
		return &Error{Kind: KindInvalidArgument, Op: "upload chat file", Message: message}
	}
	if name == "" {
		return "", invalid("The file has no name; give one, with an extension.")
	}
	if len(name) > maxFileName {
		return "", invalid("The file's name has more than 255 bytes; give a shorter one.")
	}
	d := mime.FormatMediaType("attachment", map[string]string{"filename": name})
	if d == "" {
		return "", invalid("The file's name can't be written into a header; give a plainer one.")
	}
	return d, nil
}

// File is a stored file; close Body after reading.
type File struct {
	Name      string
	MediaType string
	Size      int64 // bytes; -1 = unknown
	Body      io.ReadCloser
}

// GetFile is "Get chat file". Body streams from the server and ends with ctx; a Read of it that waits longer than Options.Timeout fails with a *Error
// of KindTimeout.
func (c *Client) GetFile(ctx context.Context, id uuid.UUID) (*File, error) {
	var resp *http.Response
	if err := c.do(ctx, call{op: "get chat file", path: []string{"files", id.String()}, keep: &resp}); err != nil {
		return nil, err
	}
	f := &File{Size: resp.ContentLength, Body: resp.Body, MediaType: resp.Header.Get("Content-Type")}
	if _, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition")); err == nil {
		f.Name = params["filename"]
	}
	return f, nil
}
