package diff_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/diff"
)

func TestPagesEndWhereAReaderCanStop(t *testing.T) {
	const (
		preamble = "commit 1\n"
		head     = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n"
		hunk1    = "@@ -1 +1 @@\n-a\n+b\n"
		hunk2    = "@@ -9 +9 @@\n-aaaaaaaaaaaaaaaaaaaa\n+bbbbbbbbbbbbbbbbbbbb\n"
	)
	second := touch("y")
	raw := preamble + head + hunk1 + hunk2 + second
	d := diff.Parse(raw)
	toHunk2 := len(preamble + head + hunk1)
	toSecond := toHunk2 + len(hunk2)

	tests := []struct {
		name        string
		offset, max int
		want        string
		first, last string
	}{
		{"all", 0, math.MaxInt, raw, "x", "y"},
		{"exactly all", 0, len(raw), raw, "x", "y"},
		{"to the end of a file", 0, len(raw) - 1, raw[:toSecond], "x", "x"},
		{"to the end of a hunk", 0, toSecond - 1, raw[:toHunk2], "x", "x"},
		{"a head stays with its hunk", 0, toHunk2 - 1, preamble, "", ""},
		{"lines of a hunk that does not fit", toHunk2, 40, "@@ -9 +9 @@\n-aaaaaaaaaaaaaaaaaaaa\n", "x", "x"},
		{"part of a line that does not fit", toHunk2 + 12, 10, "-aaaaaaaaa", "x", "x"},
		{"from inside of a line", toHunk2 + 14, 60, raw[toHunk2+14 : toSecond], "x", "x"},
		{"the last page", toSecond, 1000, second, "y", "y"},
		{"the end", len(raw), 10, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			page, err := d.Page(tt.offset, tt.max)
			require.NoError(t, err)
			want := diff.Page{Text: tt.want, Offset: tt.offset, Total: len(raw), First: tt.first, Last: tt.last}
			if end := tt.offset + len(tt.want); end < len(raw) {
				want.Next = end
			}
			require.Equal(t, want, page)
		})
	}
}

func TestPagesNeverSplitACharacter(t *testing.T) {
	raw := touch("x") + strings.Repeat("é😀漢", 50)
	d := diff.Parse(raw)
	for size := 1; size < 20; size++ {
		require.Equal(t, raw, readPages(t, d, size))
		for offset := len(touch("x")); ; {
			page, err := d.Page(offset, size)
			require.NoError(t, err)
			require.Equal(t, page.Text, strings.ToValidUTF8(page.Text, "?"))
			if offset = page.Next; offset == 0 {
				break
			}
		}
	}
}

func TestPageRefusesWhatIsOutside(t *testing.T) {
	d := diff.Parse(touch("x"))
	for _, offset := range []int{-1, len(d.Text()) + 1, math.MaxInt} {
		_, err := d.Page(offset, 10)
		require.ErrorContains(t, err, "71 bytes long")
	}
	_, err := d.Page(0, 0)
	require.ErrorContains(t, err, "at least 1")

	page, err := diff.Parse("").Page(0, 10)
	require.NoError(t, err)
	require.Zero(t, page)
}
