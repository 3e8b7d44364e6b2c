package resources

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

// pageOfChats is how many chats one page of List has; each comes with its diff, if it has one.
const pageOfChats = 50

// List is a page of resources/list: the fixed addresses first, then the caller's chats that are not archived, pinned and recent ones first, each
// followed by its diff if it has one. Next is "" after the last page. A cursor that List did not make is an invalid_argument.
func List(ctx context.Context, src Source, cursor string) (page []mcp.Resource, next string, err error) {
	at, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	chats, err := chatsFrom(ctx, src, at)
	if err != nil {
		return nil, "", fmt.Errorf("list resources: %w", err)
	}
	if cursor == "" {
		page = Static()
	}
	if len(chats) > pageOfChats {
		chats = chats[:pageOfChats]
		next = position{after: chats[len(chats)-1].ID, offset: at.offset + len(chats)}.String()
	}
	for _, c := range chats {
		page = append(page, listed(c)...)
	}
	return page, next, nil
}

// chatsFrom is a page of chats and one more, if there is one.
func chatsFrom(ctx context.Context, src Source, at position) ([]client.Chat, error) {
	chats, err := src.Client.ListChats(ctx, client.ListChatsRequest{Limit: pageOfChats + 1, AfterID: at.after})
	if err != nil || len(chats) > 0 || at.after == uuid.Nil {
		return chats, err
	}
	// The API gives nothing after a chat that is no longer in the list (archived since): go by the count instead.
	return src.Client.ListChats(ctx, client.ListChatsRequest{Limit: pageOfChats + 1, Offset: at.offset})
}

// Static are the resources that every caller has.
func Static() []mcp.Resource {
	var all []mcp.Resource
	for _, k := range kinds {
		if !k.templated() {
			all = append(all, mcp.NewResource(k.address, k.name,
				mcp.WithResourceTitle(k.title), mcp.WithResourceDescription(k.description), mcp.WithMIMEType(k.mime)))
		}
	}
	return all
}

// titleLength is how many characters of a chat's title a name has.
const titleLength = 100

func listed(c client.Chat) []mcp.Resource {
	row := view.ListedChat(c)
	title := view.Line(c.Title, titleLength)
	if title == "" {
		title = "Chat " + c.ID.String()
	}
	chat := mcp.NewResource(view.ChatLink(c.ID, ""), title, mcp.WithResourceTitle(title), mcp.WithMIMEType(typeJSON),
		mcp.WithResourceDescription(fmt.Sprintf("A chat, %s when listed.", c.Status)))
	modified(&chat, c.UpdatedAt)
	if row.Diff == nil {
		return []mcp.Resource{chat}
	}
	name := "Diff of " + title
	diff := mcp.NewResource(view.ChatLink(c.ID, "diff"), name, mcp.WithResourceTitle(name), mcp.WithMIMEType(typeDiff),
		mcp.WithResourceDescription(describeDiff(row.Diff)))
	if at := c.DiffStatus.RefreshedAt; at != nil {
		modified(&diff, *at)
	}
	return []mcp.Resource{chat, diff}
}

func describeDiff(d *view.DiffStat) string {
	const what = "What the chat has changed and pushed"
	if size := d.Text(); size != "" {
		return what + ": " + size + " when listed."
	}
	return what + "."
}

func modified(r *mcp.Resource, at time.Time) {
	if !at.IsZero() {
		r.Annotations = &mcp.Annotations{LastModified: at.UTC().Format(time.RFC3339)}
	}
}

// position is where a page of List begins: behind a chat, which was so many from the top.
type position struct {
	after  uuid.UUID
	offset int
}

const cursorVersion = 1

// String is the position as a cursor: version, chat, offset, checksum.
func (p position) String() string {
	b := append([]byte{cursorVersion}, p.after[:]...)
	b = binary.AppendUvarint(b, uint64(p.offset))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

func parseCursor(s string) (position, error) {
	const head = 1 + len(uuid.UUID{})
	if s == "" {
		return position{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	body := len(b) - crc32.Size
	if err != nil || body <= head || b[0] != cursorVersion || binary.BigEndian.Uint32(b[body:]) != crc32.ChecksumIEEE(b[:body]) {
		return position{}, &client.Error{
			Kind: client.KindInvalidArgument, Op: "list resources", Message: "The cursor is not one that resources/list returned.",
			Detail: "pass the nextCursor of the page before unchanged, or none for the first page",
		}
	}
	offset, _ := binary.Uvarint(b[head:body])
	return position{after: uuid.UUID(b[1:head]), offset: int(min(offset, 1<<30))}, nil
}
