package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/diff"
)

func TestStatIsAShortTable(t *testing.T) {
	d := diff.Parse(touch("src/main.go") +
		"diff --git a/old.txt b/new.txt\nsimilarity index 100%\nrename from old.txt\nrename to new.txt\n" +
		"diff --git a/a.png b/a.png\nnew file mode 100644\nindex 0..1\nBinary files /dev/null and b/a.png differ\n" +
		"diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n" +
		"diff --git a/lib b/lib\nindex 1..2 160000\n--- a/lib\n+++ b/lib\n@@ -1 +1 @@\n-Subproject commit 1\n+Subproject commit 2\n" +
		"diff --git \"a/two\\nlines\" \"b/two\\nlines\"\ndeleted file mode 100644\nindex 1..0\n--- \"a/two\\nlines\"\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n" +
		"diff --git a/cut b/cut\n--- a/cut\n+++ b/cut\n@@ -1,9 +1,9 @@\n-a\n+b\n")
	s := d.Stat()
	require.Equal(t, 7, s.Files)
	require.Equal(t, 3, s.Additions)
	require.Equal(t, 4, s.Deletions)
	require.Equal(t, 1, s.Binary)
	require.Equal(t, len(d.Text()), s.Bytes)
	require.Equal(t, d.Files, s.Rows)
	require.Equal(t, `7 files, +3 -4, 1 binary
1 of 7 patches irregular in form, with counts that are best effort. The first, cut: a hunk holds fewer lines than its head says
src/main.go | +1 -1
old.txt => new.txt | renamed
a.png | added, binary
run.sh | mode 100644 => 100755
lib | submodule, +1 -1
"two\nlines" | deleted, +0 -1
cut | +1 -1, irregular
`, s.Text(0))
	require.Equal(t, "0 files, +0 -0\n", diff.Parse("").Stat().Text(0))
}

func TestStatIsCutAtAWholeRowAndSumsUpTheRest(t *testing.T) {
	d := diff.Parse(touch("a.go") + touch("b.go") + touch("c.go") + touch("d.go") + touch("e.go") + touch("f.go"))
	whole := d.Stat().Text(0)
	const head = "6 files, +6 -6\n"
	require.Equal(t, head+"a.go | +1 -1\nb.go | +1 -1\nc.go | +1 -1\nd.go | +1 -1\ne.go | +1 -1\nf.go | +1 -1\n", whole)
	require.Equal(t, whole, d.Stat().Text(len(whole)))
	require.Equal(t, head+"a.go | +1 -1\nb.go | +1 -1\nc.go | +1 -1\n… and 3 more files, +3 -3\n", d.Stat().Text(len(whole)-1))
	require.Equal(t, head+"… and 6 more files, +6 -6\n", d.Stat().Text(1))
}

func TestStatOfManyFilesIsByFolder(t *testing.T) {
	var raw, flat strings.Builder
	for i := range 3000 {
		raw.WriteString(touch(fmt.Sprintf("src/%d/sub/file%d.go", i%20, i)))
		flat.WriteString(touch(fmt.Sprintf("gen/file%d.go", i)))
	}
	raw.WriteString(touch("README.md"))
	text := diff.Parse(raw.String()).Stat().Text(0)
	require.LessOrEqual(t, len(text), diff.DefaultStatBytes)
	require.Contains(t, text, "3001 files, +3001 -3001\nBy folder")
	require.Contains(t, text, "\nsrc/7/sub/ | 150 files, +150 -150\n")
	require.Contains(t, text, "\n./ | 1 file, +1 -1\n")
	require.NotContains(t, text, "more file")

	text = diff.Parse(flat.String()).Stat().Text(0)
	require.LessOrEqual(t, len(text), diff.DefaultStatBytes)
	require.Contains(t, text, "\ngen/file0.go | +1 -1\n", "one folder says less than some files")
	require.Regexp(t, `… and 29\d\d more files, \+29\d\d -29\d\d\n$`, text)
}

func TestStatKeepsLongPathsAndNotesShort(t *testing.T) {
	path := strings.Repeat("é/", 500) + "name.go"
	d := diff.Parse("diff --git a/" + path + " b/" + path + "\nFile too large\n")
	require.Equal(t, path, d.Files[0].Path)
	short := diff.Short(path)
	require.LessOrEqual(t, len(short), 120)
	require.Regexp(t, `^…(é/|/)(é/)*name\.go$`, short)
	require.Equal(t, "1 of 1 patch irregular in form, with counts that are best effort. The first, "+short+`: instead of a patch: "File too large"`, d.Note)
	require.Equal(t, "1 file, +0 -0\n"+d.Note+"\n"+short+" | +0 -0, irregular\n", d.Stat().Text(0))
	require.Equal(t, "a/b.go", diff.Short("a/b.go"))

	stat := diff.Stat{Files: 1, Note: strings.Repeat("漢", 1000)}
	require.Equal(t, "1 file, +0 -0\n"+strings.Repeat("漢", 100)+"…\n", stat.Text(0))
}
