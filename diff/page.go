package diff

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Page is a piece of a diff's text. All offsets are bytes of that text.
type Page struct {
	Text   string `json:"text"`
	Offset int    `json:"offset"`
	Next   int    `json:"next_offset,omitempty"` // where the next page begins; 0 after the last
	Total  int    `json:"total_bytes"`
	First  string `json:"first_file,omitempty"` // the file that the page begins in (its head may be on an earlier page), or the first after a text before all files
	Last   string `json:"last_file,omitempty"`  // the file that the page ends in
}

// Page gives the piece of the text that begins at offset. It is at most
// maxBytes long and ends where a file or a hunk ends; inside a hunk that does
// not fit, where a line ends; inside a line that does not fit, where a
// character ends (one character is given even if it is longer than maxBytes).
// Pages read one after another by Next are the whole text, byte for byte. The
// offset need not be one that a page gave; the end of the text gives an empty
// page.
func (d *Diff) Page(offset, maxBytes int) (Page, error) {
	total := len(d.raw)
	if offset < 0 || offset > total {
		return Page{}, fmt.Errorf("offset %d is outside of the diff, which is %d bytes long: use 0 to %d", offset, total, total)
	}
	if maxBytes < 1 {
		return Page{}, fmt.Errorf("a page of %d bytes holds nothing: use at least 1", maxBytes)
	}
	end := total
	if maxBytes < total-offset {
		end = d.pageEnd(offset, offset+maxBytes)
	}
	p := Page{Text: d.raw[offset:end], Offset: offset, Total: total}
	if end < total {
		p.Next = end
	}
	if end > offset {
		p.Last = d.pathAt(end - 1)
		if p.First = d.pathAt(offset); p.First == "" && p.Last != "" {
			p.First = d.Files[0].Path
		}
	}
	return p, nil
}

// pageEnd finds the best end of a page after offset and up to limit, which is
// inside the text.
func (d *Diff) pageEnd(offset, limit int) int {
	if end := d.boundary(limit); end > offset {
		return end
	}
	if i := strings.LastIndexByte(d.raw[offset:limit], '\n'); i >= 0 {
		return offset + i + 1
	}
	end := limit
	for end > offset && limit-end < utf8.UTFMax-1 && !utf8.RuneStart(d.raw[end]) {
		end--
	}
	switch {
	case end == offset:
		_, size := utf8.DecodeRuneInString(d.raw[offset:])
		return offset + size
	case !utf8.RuneStart(d.raw[end]):
		return limit // not UTF-8
	}
	return end
}

// boundary is the last start of a file, or of a hunk that is not the first of
// its file, up to limit; 0 when there is none. A file's head stays with its
// first hunk.
func (d *Diff) boundary(limit int) int {
	i := d.fileAt(limit)
	if i < 0 {
		return 0
	}
	f := d.Files[i]
	if n := sort.SearchInts(f.hunks, limit-f.Offset+1); n > 0 {
		return f.Offset + f.hunks[n-1]
	}
	return f.Offset
}

// fileAt is the index of the file whose patch holds the byte at offset; -1
// before the first.
func (d *Diff) fileAt(offset int) int {
	return sort.Search(len(d.Files), func(i int) bool { return d.Files[i].Offset > offset }) - 1
}

func (d *Diff) pathAt(offset int) string {
	if i := d.fileAt(offset); i >= 0 {
		return d.Files[i].Path
	}
	return ""
}
