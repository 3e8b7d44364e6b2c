package resources

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
)

// maxFile bounds a file, in bytes. The API stores none that is larger.
const maxFile = 10 << 20

func readFile(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	file, err := src.Client.GetFile(ctx, t.file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Body.Close() }()
	if file.Size > maxFile {
		return nil, tooLarge(fmt.Sprintf("%d bytes", file.Size))
	}
	data, err := io.ReadAll(io.LimitReader(file.Body, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the file broke off after %d bytes, read it again: %w", len(data), err)
	}
	if len(data) > maxFile {
		return nil, tooLarge(fmt.Sprintf("more than %d bytes", maxFile))
	}
	if isText(file.MediaType) && utf8.Valid(data) {
		return text(t, file.MediaType, string(data)), nil
	}
	return mcp.BlobResourceContents{URI: t.uri, MIMEType: file.MediaType, Blob: base64.StdEncoding.EncodeToString(data)}, nil
}

func tooLarge(size string) error {
	return &client.Error{
		Kind: client.KindTooLarge, Op: "get chat file",
		Message: fmt.Sprintf("The file has %s, and a resource holds at most %d.", size, maxFile),
		Detail:  "get_chat_file with save_to writes it to a folder",
	}
}

// isText tells the media types that are read, not shown.
func isText(mediaType string) bool {
	base, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	return strings.HasPrefix(base, "text/") || base == typeJSON || base == "application/xml" ||
		strings.HasSuffix(base, "+json") || strings.HasSuffix(base, "+xml") && base != "image/svg+xml"
}
