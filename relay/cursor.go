package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// A cursor of Await is the set of settlings that were told: for each chat two marks of five bytes, one made of what a list
// read shows (status, updated_at), one of what settles it for good (status, last message id). Marks and no ids, so that
// 100 chats fit into 1.4 KB.
type cursor struct {
	told map[mark]mark // list mark -> message mark
	ids  map[mark]bool // message marks
}

const (
	cursorVersion = 1
	markBytes     = 5
	maxCursor     = 1000 // chats; far above what one Await takes
)

type mark [markBytes]byte

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

func newCursor() cursor {
	return cursor{told: map[mark]mark{}, ids: map[mark]bool{}}
}

func (c cursor) add(list, message mark) {
	c.told[list] = message
	c.ids[message] = true
}

// String is the cursor as a caller keeps it; "" when nothing was told yet.
func (c cursor) String() string {
	if len(c.told) == 0 {
		return ""
	}
	b := []byte{cursorVersion}
	for list, message := range c.told {
		b = append(append(b, list[:]...), message[:]...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor refuses with an invalid_argument what String did not make.
func parseCursor(s string) (cursor, error) {
	c := newCursor()
	if s == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	body := len(b) - 4
	if err != nil || body < 1 || b[0] != cursorVersion || (body-1)%(2*markBytes) != 0 || body > maxCursor*2*markBytes+1 ||
		binary.BigEndian.Uint32(b[body:]) != crc32.ChecksumIEEE(b[:body]) {
		return c, &client.Error{
			Kind: client.KindInvalidArgument, Message: "The cursor is not one that await_chats returned.",
			Detail: "Pass the cursor of an earlier answer unchanged, or none to hear of everything that is settled now.",
		}
	}
	for p := b[1:body]; len(p) > 0; p = p[2*markBytes:] {
		c.add(mark(p[:markBytes]), mark(p[markBytes:2*markBytes]))
	}
	return c, nil
}
