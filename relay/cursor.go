package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// A cursor of Await is what each chat had settled with when that was told last: of the maxCursor chats that calls with it
// asked for, or were told of, most recently, the latest last. Twelve bytes for each, as it is paid for in tokens: 100 chats
// take 1.6 KB.
type cursor struct{ told []told }

// told is one settling. A chat that a later call does not ask for, or does not see at rest, keeps it.
type told struct {
	chat    mark
	list    mark // of what a list read shows: it spares the read of the messages
	message mark // of what settles it for good
}

const (
	cursorVersion = 2
	markBytes     = 4
	toldBytes     = 3 * markBytes
	maxCursor     = 2 * maxAwait // chats
)

type mark [markBytes]byte

func chatMark(id uuid.UUID) mark { return hash(id, "", 'c', 0) }

func listMark(id uuid.UUID, s client.Status, updated time.Time) mark {
	return hash(id, s, 'u', updated.UnixNano())
}

func messageMark(id uuid.UUID, s client.Status, last int64) mark {
	return hash(id, s, 'm', last)
}

func hash(id uuid.UUID, s client.Status, kind byte, n int64) mark {
	b := append(append(id[:], s...), kind)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(n)))
	return mark(sum[:markBytes])
}

// find is what the chat had settled with; the zero value: nothing was told of it.
func (c cursor) find(id uuid.UUID) told {
	key := chatMark(id)
	if i := c.index(key); i >= 0 {
		return c.told[i]
	}
	return told{chat: key}
}

func (c cursor) index(key mark) int {
	return slices.IndexFunc(c.told, func(t told) bool { return t.chat == key })
}

// put puts t in the place of what was told of its chat, as the latest.
func (c *cursor) put(t told) {
	if i := c.index(t.chat); i >= 0 {
		c.told = slices.Delete(c.told, i, i+1)
	}
	c.told = append(c.told, t)
	if over := len(c.told) - maxCursor; over > 0 {
		c.told = slices.Delete(c.told, 0, over)
	}
}

// String is the cursor as a caller keeps it; "" when nothing was told yet.
func (c cursor) String() string {
	if len(c.told) == 0 {
		return ""
	}
	b := []byte{cursorVersion}
	for _, t := range c.told {
		b = slices.Concat(b, t.chat[:], t.list[:], t.message[:])
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor refuses with an invalid_argument what String did not make.
func parseCursor(s string) (cursor, error) {
	var c cursor
	if s == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	body := len(b) - 4
	if err != nil || body < 1 || b[0] != cursorVersion || (body-1)%toldBytes != 0 || body > maxCursor*toldBytes+1 ||
		binary.BigEndian.Uint32(b[body:]) != crc32.ChecksumIEEE(b[:body]) {
		return c, &client.Error{
			Kind: client.KindInvalidArgument, Message: "The cursor is not one that await_chats returned.",
			Detail: "Pass the cursor of an earlier answer unchanged, or none to hear of everything that is settled now.",
		}
	}
	for t := range slices.Chunk(b[1:body], toldBytes) {
		c.put(told{mark(t[:markBytes]), mark(t[markBytes : 2*markBytes]), mark(t[2*markBytes:])})
	}
	return c, nil
}
