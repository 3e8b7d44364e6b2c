package diff_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/diff"
)

// facts are the parts of a file that a table states.
func facts(d *diff.Diff) []diff.File {
	var files []diff.File
	for _, f := range d.Files {
		files = append(files, diff.File{
			Path: f.Path, OldPath: f.OldPath, Status: f.Status, Additions: f.Additions, Deletions: f.Deletions,
			Binary: f.Binary, Submodule: f.Submodule, OldMode: f.OldMode, NewMode: f.NewMode,
		})
	}
	return files
}

func TestParseReadsEveryFormOfPatch(t *testing.T) {
	tests := []struct {
		name, raw string
		want      []diff.File
	}{
		{"empty text", "", nil},
		{"blank text", "\n\n", nil},
		{
			"added file (fixture 073)",
			"diff --git a/new.txt b/new.txt\nnew file mode 100644\nindex 0000000..94954ab\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1,2 @@\n+hello\n+world\n",
			[]diff.File{{Path: "new.txt", Status: diff.Added, Additions: 2, NewMode: "100644"}},
		},
		{
			"no line end at the end of either file",
			"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n",
			[]diff.File{{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1}},
		},
		{
			"cut before the last line end",
			"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b",
			[]diff.File{{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1}},
		},
		{
			"content that looks like headers",
			"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n--- a/y\n+++ b/y\n+@@ -1 +1 @@\n+diff --git a/z b/z\n @@ -1 +1 @@\n-diff --git a/w b/w\n",
			[]diff.File{{Path: "x", Status: diff.Modified, Additions: 3, Deletions: 2}},
		},
		{
			"context lines without their blank",
			"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n",
			[]diff.File{{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1}},
		},
		{
			"all lines end with CRLF",
			"diff --git a/my file b/my file\r\nindex 1..2 100644\r\n--- a/my file\r\n+++ b/my file\r\n@@ -1,2 +1,2 @@\r\n-a\r\n+b\r\n\r\n",
			[]diff.File{{Path: "my file", Status: diff.Modified, Additions: 1, Deletions: 1}},
		},
		{
			"no diff --git lines, a and b prefixes",
			"--- a/x.go\n+++ b/x.go\n@@ -1 +1,2 @@\n a\n+b\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+a\n",
			[]diff.File{
				{Path: "x.go", Status: diff.Modified, Additions: 1},
				{Path: "gone", Status: diff.Deleted, Deletions: 1},
				{Path: "new", Status: diff.Added, Additions: 1},
			},
		},
		{
			"diff -ru",
			"diff -ru old/x new/x\n--- old/x\t2026-05-01 10:00:00.0 +0000\n+++ new/x\t2026-05-01 10:00:00.0 +0000\n@@ -1 +1 @@\n-a\n+b\ndiff -ru old/y new/y\n--- old/y\t2026-05-01 10:00:00.0 +0000\n+++ new/y\t2026-05-01 10:00:00.0 +0000\n@@ -1 +1 @@\n-a\n+b\n",
			[]diff.File{
				{Path: "new/x", Status: diff.Modified, Additions: 1, Deletions: 1},
				{Path: "new/y", Status: diff.Modified, Additions: 1, Deletions: 1},
			},
		},
		{
			"combined diff of a merge",
			"diff --cc \"caf\\303\\251\"\nindex 1,2..0\nmode 100644,100644..100755\n--- \"a/caf\\303\\251\"\n+++ \"b/caf\\303\\251\"\n@@@ -1,2 -1,1 +1,3 @@@ func x\n++both\n +one\n- gone\n  common\n",
			[]diff.File{{Path: "café", Status: diff.Modified, Additions: 2, Deletions: 1, OldMode: "100644,100644", NewMode: "100755"}},
		},
		{
			"unmerged path and a file after it",
			"* Unmerged path a b.txt\ndiff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n",
			[]diff.File{
				{Path: "a b.txt", Status: diff.Unmerged},
				{Path: "run.sh", Status: diff.Modified, OldMode: "100644", NewMode: "100755"},
			},
		},
		{
			"submodules as diff.submodule=log writes them",
			"Submodule lib/a 1234567..89abcde:\n  > fix it\n  < break it\nSubmodule b 0000000...89abcde (new submodule)\nSubmodule c 89abcde...0000000 (submodule deleted)\nSubmodule d contains modified content\ndiff --git a/x b/x\nnew file mode 100644\n",
			[]diff.File{
				{Path: "lib/a", Status: diff.Modified, Submodule: true},
				{Path: "b", Status: diff.Added, Submodule: true},
				{Path: "c", Status: diff.Deleted, Submodule: true},
				{Path: "d", Status: diff.Modified, Submodule: true},
				{Path: "x", Status: diff.Added, NewMode: "100644"},
			},
		},
		{
			"the same path in two repositories",
			"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\ndiff --git a/x b/x\ndeleted file mode 100644\nindex 1..0\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
			[]diff.File{
				{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1},
				{Path: "x", Status: diff.Deleted, Deletions: 1, OldMode: "100644"},
			},
		},
		{
			"a mail that only changes a mode",
			"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n-- \n2.39.5\n\n",
			[]diff.File{{Path: "x", Status: diff.Modified, OldMode: "100644", NewMode: "100755"}},
		},
		{
			"a mail with a signature",
			"From 1 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n---\n x | 1 +\n\ndiff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n+b\n-- \n2.39.5\n\n",
			[]diff.File{{Path: "x", Status: diff.Modified, Additions: 1}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := diff.Parse(tt.raw)
			require.Equal(t, tt.want, facts(d))
			require.Empty(t, d.Note)
			require.False(t, d.Malformed)
			require.Equal(t, tt.raw, d.Text())
		})
	}
}

func TestParseTellsWhatItCannotReadAndKeepsTheRest(t *testing.T) {
	const fine = "diff --git a/fine b/fine\nindex 1..2 100644\n--- a/fine\n+++ b/fine\n@@ -1 +1 @@\n-a\n+b\n"
	fineFile := diff.File{Path: "fine", Status: diff.Modified, Additions: 1, Deletions: 1}
	tests := []struct {
		name, odd string
		want      diff.File
		note      string
	}{
		{
			"hunk with too few lines",
			"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,4 +1,4 @@\n-a\n+b\n",
			diff.File{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1}, "fewer lines than its head says",
		},
		{
			"hunk with too many lines",
			"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n+c\n",
			diff.File{Path: "x", Status: diff.Modified, Additions: 1, Deletions: 1}, "more lines than its head says",
		},
		{
			"hunk head that is none",
			"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -one +1 @@\n-a\n+b\n",
			diff.File{Path: "x", Status: diff.Modified}, "invalid fragment header",
		},
		{
			"hunk head with a broken start",
			"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +x,1 @@\n-a\n+b\n",
			diff.File{Path: "x", Status: diff.Modified}, "invalid fragment header",
		},
		{
			"combined line without its marks",
			"diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,2 -1,2 +1,3 @@@\n++a\n+\n",
			diff.File{Path: "x", Status: diff.Modified, Additions: 1}, "fewer lines",
		},
		{
			"hunk without changes",
			"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n a\n",
			diff.File{Path: "x", Status: diff.Modified, OldMode: "100644", NewMode: "100755"}, "no changes",
		},
		{
			"combined hunk cut short",
			"diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,2 -1,2 +1,3 @@@\n++a\n",
			diff.File{Path: "x", Status: diff.Modified, Additions: 1}, "fewer lines",
		},
		{
			"rename whose names do not fit",
			"diff --git a/old b/new\nsimilarity index 90%\nrename from old\nrename to new\n--- a/other\n+++ b/new\n@@ -1 +1 @@\n-a\n+b\n",
			diff.File{Path: "new", OldPath: "old", Status: diff.Renamed, Additions: 1, Deletions: 1}, "inconsistent old filename",
		},
		{
			"copy with an unreadable score",
			"diff --git a/old b/new\nsimilarity index much\ncopy from old\ncopy to new\n",
			diff.File{Path: "new", OldPath: "old", Status: diff.Copied}, "invalid score line",
		},
		{
			"names that the header does not tell",
			"diff --git\u0020\nindex broken\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n",
			diff.File{Path: "x", Status: diff.Added, Additions: 1}, "invalid index line",
		},
		{
			"deleted file that still has content",
			"diff --git a/x b/x\ndeleted file mode 100644\nindex 1..2\n--- a/x\n+++ /dev/null\n@@ -1,2 +1 @@\n-a\n b\n",
			diff.File{Path: "x", Status: diff.Deleted, Deletions: 1, OldMode: "100644"}, "still has contents",
		},
		{
			"binary patch with bad data",
			"diff --git a/x.bin b/x.bin\nnew file mode 100644\nindex 0..1\nGIT binary patch\nliteral 3\n!!!\n\n",
			diff.File{Path: "x.bin", Status: diff.Added, Binary: true, NewMode: "100644"}, "corrupt data line",
		},
		{
			"placeholder instead of hunks",
			"diff --git a/big.log b/big.log\nnew file mode 100644\nFile too large to show\n",
			diff.File{Path: "big.log", Status: diff.Added, NewMode: "100644"}, `instead of a patch: "File too large to show"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := fine + tt.odd + fine
			d := diff.Parse(raw)
			require.Equal(t, []diff.File{fineFile, tt.want, fineFile}, facts(d))
			require.Contains(t, d.Files[1].Note, tt.note)
			require.Contains(t, d.Note, "1 of 3 patches")
			require.Contains(t, d.Note, tt.note)
			patch, ok := d.File(tt.want.Path)
			require.True(t, ok)
			require.Equal(t, tt.odd, patch)
			require.Equal(t, raw, d.Text())
		})
	}
}

func TestTextThatIsNoDiffIsKeptAndTold(t *testing.T) {
	for _, raw := range []string{
		"Total diff too large to show. Size: 3.9 MiB. Showing branch and remote only.", // fixture 074
		"@@ -1 +1 @@\n-a\n+b\n",
		"--- a heading\n+++ another\n",
	} {
		d := diff.Parse(raw)
		require.True(t, d.Malformed)
		require.Contains(t, d.Note, "no diff")
		require.Empty(t, d.Files)
		require.Contains(t, d.Stat().Text(0), "no diff")

		page, err := d.Page(0, 1000)
		require.NoError(t, err)
		require.Equal(t, diff.Page{Text: raw, Total: len(raw)}, page)

		same, err := d.Match([]string{"*.go"})
		require.NoError(t, err)
		require.Same(t, d, same)
	}
}

func TestFileGivesPatchesByNewThenOldPath(t *testing.T) {
	renamed := "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n"
	added := "diff --git a/a b/a\nnew file mode 100644\nindex 0000000..e69de29\n"
	chmod := "diff --git a/b b/b\nold mode 100644\nnew mode 100755\n"
	d := diff.Parse(renamed + chmod)
	patch, ok := d.File("a")
	require.True(t, ok)
	require.Equal(t, renamed, patch)

	d = diff.Parse(renamed + added + chmod)
	patch, _ = d.File("a")
	require.Equal(t, added, patch, "a file of that name is meant before one that had it")
	patch, _ = d.File("b")
	require.Equal(t, renamed+chmod, patch)
	for _, none := range []string{"", "c"} {
		_, ok = d.File(none)
		require.False(t, ok)
	}
}

// FuzzDiff holds any text to the package's promises.
func FuzzDiff(f *testing.F) {
	f.Add("diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n@@ -9 +9 @@\n-é\n+😀\n", 7)
	f.Add("diff --cc x\n@@@ -1 -1 +1 @@@\n++a\n--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n", 20)
	f.Add("Submodule a 1234567..1234567:\n* Unmerged path x\ndiff --git \"a/\\303\" \"b/\\303\"\nGIT binary patch\nliteral 1\nA00000\n\n", 3)
	f.Add("@@ -1,99999999999999999999 +1 @@\n\xff\xff\xff\xff\xff", 1)
	f.Fuzz(func(t *testing.T, raw string, size int) {
		d := diff.Parse(raw)
		require.Equal(t, raw, d.Text())

		size = 1 + int(uint(size)%200)
		require.Equal(t, raw, readPages(t, d, size))

		end := 0
		for i, file := range d.Files {
			if i > 0 {
				require.Equal(t, end, file.Offset)
			}
			require.Positive(t, file.Bytes)
			end = file.Offset + file.Bytes
		}
		if len(d.Files) > 0 {
			require.Equal(t, len(raw), end)
			all, err := d.Match([]string{"!no such file"})
			require.NoError(t, err)
			require.Equal(t, raw[d.Files[0].Offset:], all.Text())
			require.Equal(t, raw[d.Files[0].Offset:], readPages(t, all, size))
		}
		require.NotEmpty(t, d.Stat().Text(size))
	})
}

// readPages reads a diff page by page and checks what each page promises.
func readPages(t *testing.T, d *diff.Diff, size int) string {
	t.Helper()
	var text strings.Builder
	for offset := 0; ; {
		page, err := d.Page(offset, size)
		require.NoError(t, err)
		require.Equal(t, offset, page.Offset)
		require.Equal(t, len(d.Text()), page.Total)
		if size >= 4 {
			require.LessOrEqual(t, len(page.Text), size)
		}
		text.WriteString(page.Text)
		if page.Next == 0 {
			return text.String()
		}
		require.Greater(t, page.Next, offset)
		offset = page.Next
	}
}
