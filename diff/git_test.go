package diff_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/diff"
)

// repository is a git repository of the test's own, out of reach of the
// configuration of the machine's user.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	t.Helper()
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	out, err := r.run(args...)
	require.NoError(r.t, err, "git %v: %s", args, out)
	return out
}

func (r repository) run(args ...string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), "git", append([]string{"-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.Output()
	return string(out), err
}

func (r repository) commit() {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "x")
}

func (r repository) write(path, content string) {
	r.t.Helper()
	full := filepath.Join(r.dir, path)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(full), 0o755))
	require.NoError(r.t, os.WriteFile(full, []byte(content), 0o644))
}

func (r repository) path(name string) string { return filepath.Join(r.dir, name) }

// numbered is a text of n distinct lines.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// changed is a repository whose work tree differs from its commit in every
// way that git tells apart.
func changed(t *testing.T) repository {
	t.Helper()
	library := newRepository(t)
	library.write("x", "1\n")
	library.commit()

	r := newRepository(t)
	r.write("dir/move me.txt", numbered(40))
	r.write("source.txt", numbered(50))
	r.write("delete.txt", "a\nb\n")
	r.write("empty-gone", "")
	r.write("run.sh", "#!/bin/sh\n")
	r.write("crlf.txt", "a\r\nb\r\nc\r\n")
	r.write("noend.txt", "a\nb")
	r.write("bin.dat", "a\x00b")
	r.write("bin-gone.dat", "a\x00b")
	r.write("naïve/日本 語.txt", "a\n")
	r.write("quote\"back\\slash\\", "a\n")
	r.write("tab\tname", "a\n")
	r.write("headers.txt", "-- a/y\n++ b/y\n@@ -1 +1 @@\ndiff --git a/z b/z\n")
	r.write("becomes-link", "a\n")
	r.git("submodule", "add", "-q", library.dir, "lib")
	r.commit()

	require.NoError(t, os.Rename(r.path("dir/move me.txt"), r.path("dir/moved.txt")))
	r.write("dir/moved.txt", strings.Replace(numbered(40), "line 7\n", "line seven\n", 1))
	r.write("copy.txt", numbered(50))
	r.write("source.txt", numbered(51))
	require.NoError(t, os.Remove(r.path("delete.txt")))
	require.NoError(t, os.Remove(r.path("empty-gone")))
	r.write("empty-new", "")
	require.NoError(t, os.Chmod(r.path("run.sh"), 0o755))
	r.write("crlf.txt", "a\r\nB\r\nc\r\nd\r\n")
	r.write("noend.txt", "a\nc")
	r.write("bin.dat", "a\x00bc")
	r.write("bin-new.dat", "\x00new")
	r.write("bin \"quoted\".dat", "\x00new")
	require.NoError(t, os.Remove(r.path("bin-gone.dat")))
	r.write("naïve/日本 語.txt", "b\n")
	r.write("quote\"back\\slash\\", "b\n")
	r.write("tab\tname", "b\n")
	r.write("headers.txt", "++ b/y\n")
	require.NoError(t, os.Remove(r.path("becomes-link")))
	require.NoError(t, os.Symlink("run.sh", r.path("becomes-link")))
	require.NoError(t, os.WriteFile(library.path("x"), []byte("2\n"), 0o644))
	library.commit()
	r.git("-C", "lib", "pull", "-q", "origin", "main")
	r.git("add", "-A")
	return r
}

func TestParseReadsWhatGitWrites(t *testing.T) {
	r := changed(t)
	byPath := func(d *diff.Diff) map[string]diff.File {
		files := map[string]diff.File{}
		for _, f := range facts(d) {
			files[f.Path+" "+f.Status] = f
		}
		return files
	}
	want := byPath(&diff.Diff{Files: []diff.File{
		{Path: "becomes-link", Status: diff.Deleted, Deletions: 1, OldMode: "100644"},
		{Path: "becomes-link", Status: diff.Added, Additions: 1, NewMode: "120000"},
		{Path: "bin-gone.dat", Status: diff.Deleted, Binary: true, OldMode: "100644"},
		{Path: "bin-new.dat", Status: diff.Added, Binary: true, NewMode: "100644"},
		{Path: "bin \"quoted\".dat", Status: diff.Added, Binary: true, NewMode: "100644"},
		{Path: "bin.dat", Status: diff.Modified, Binary: true},
		{Path: "copy.txt", OldPath: "source.txt", Status: diff.Copied},
		{Path: "crlf.txt", Status: diff.Modified, Additions: 2, Deletions: 1},
		{Path: "delete.txt", Status: diff.Deleted, Deletions: 2, OldMode: "100644"},
		{Path: "dir/moved.txt", OldPath: "dir/move me.txt", Status: diff.Renamed, Additions: 1, Deletions: 1},
		{Path: "empty-gone", Status: diff.Deleted, OldMode: "100644"},
		{Path: "empty-new", Status: diff.Added, NewMode: "100644"},
		{Path: "headers.txt", Status: diff.Modified, Deletions: 3},
		{Path: "lib", Status: diff.Modified, Additions: 1, Deletions: 1, Submodule: true},
		{Path: "naïve/日本 語.txt", Status: diff.Modified, Additions: 1, Deletions: 1},
		{Path: "noend.txt", Status: diff.Modified, Additions: 1, Deletions: 1},
		{Path: "quote\"back\\slash\\", Status: diff.Modified, Additions: 1, Deletions: 1},
		{Path: "run.sh", Status: diff.Modified, OldMode: "100644", NewMode: "100755"},
		{Path: "source.txt", Status: diff.Modified, Additions: 1},
		{Path: "tab\tname", Status: diff.Modified, Additions: 1, Deletions: 1},
	}})
	forms := map[string][]string{
		"default":          {},
		"binary":           {"--binary"},
		"unquoted":         {"-c", "core.quotePath=false"},
		"no prefix":        {"--no-prefix"},
		"mnemonic prefix":  {"-c", "diff.mnemonicPrefix=true"},
		"no context":       {"-U0"},
		"wide context":     {"-U50"},
		"blank lines bare": {"-c", "diff.suppressBlankEmpty=true"},
		"full index":       {"--full-index", "--patience"},
	}
	for name, options := range forms {
		t.Run(name, func(t *testing.T) {
			args := []string{"diff", "HEAD", "--find-copies-harder", "--no-rename-empty"}
			if len(options) == 2 && options[0] == "-c" {
				args = append(options, args...)
			} else {
				args = append(args, options...)
			}
			raw := r.git(args...)
			d := diff.Parse(raw)
			require.Equal(t, want, byPath(d))
			require.Equal(t, raw, readPages(t, d, 300))
			require.Equal(t, raw, readPages(t, d, 17))
			for _, f := range d.Files {
				patch, ok := d.File(f.Path)
				require.True(t, ok)
				require.Contains(t, patch, d.Text()[f.Offset:f.Offset+f.Bytes])
			}
		})
	}
	t.Run("every patch is regular but that of a path that ends with a backslash", func(t *testing.T) {
		for _, prefix := range []string{"--src-prefix=a/", "--no-prefix"} {
			d := diff.Parse(r.git("diff", "HEAD", "--find-copies-harder", "--no-rename-empty", "--binary", prefix))
			for _, f := range d.Files {
				require.Equal(t, strings.HasSuffix(f.Path, `\`), f.Note != "", f.Path+f.Note)
			}
			d = diff.Parse(r.git("diff", "HEAD", "--find-copies-harder", "--no-rename-empty", prefix))
			for _, f := range d.Files {
				require.Equal(t, strings.HasSuffix(f.Path, `\`), f.Note != "", f.Path+f.Note)
			}
		}
	})
	t.Run("submodule log", func(t *testing.T) {
		d := diff.Parse(r.git("diff", "HEAD", "--submodule=log"))
		require.Equal(t, diff.File{Path: "lib", Status: diff.Modified, Submodule: true}, byPath(d)["lib modified"])
		patch, ok := d.File("lib")
		require.True(t, ok)
		require.Regexp(t, `^Submodule lib [0-9a-f]+\.\.[0-9a-f]+:\n  > x\n$`, patch)
	})
}

func TestParseReadsAMergeInConflict(t *testing.T) {
	r := newRepository(t)
	r.write("f", "a\n")
	r.commit()
	r.git("checkout", "-q", "-b", "other")
	r.write("f", "b\n")
	r.commit()
	r.git("checkout", "-q", "main")
	r.write("f", "c\n")
	r.commit()
	_, err := r.run("merge", "-q", "other")
	require.Error(t, err, "the merge must conflict")

	d := diff.Parse(r.git("diff"))
	require.Equal(t, []diff.File{{Path: "f", Status: diff.Modified, Additions: 5}}, facts(d))
	require.Empty(t, d.Note)
	require.Equal(t, []diff.File{{Path: "f", Status: diff.Unmerged}}, facts(diff.Parse(r.git("diff", "--cached"))))
}

func TestALogOfCommitsIsReadWithTheTextAroundIt(t *testing.T) {
	r := changed(t)
	r.commit()
	raw := r.git("log", "-p", "--find-copies-harder")
	d := diff.Parse(raw)
	require.Greater(t, len(d.Files), 30)
	require.Equal(t, raw, readPages(t, d, 1000))
	for _, f := range d.Files {
		require.Equal(t, strings.HasSuffix(f.Path, `\`), f.Note != "", f.Path+f.Note)
	}
}

func TestAFileOfFourMegabytesIsReadInPieces(t *testing.T) {
	r := newRepository(t)
	r.commit()
	r.write("large.txt", numbered(350_000))
	r.write("oneline.json", strings.Repeat("漢字", 700_000))
	r.git("add", "-A")
	raw := r.git("diff", "HEAD")
	require.Greater(t, len(raw), 8<<20)
	d := diff.Parse(raw)
	require.Empty(t, d.Note)
	require.Equal(t, []diff.File{
		{Path: "large.txt", Status: diff.Added, Additions: 350_000, NewMode: "100644"},
		{Path: "oneline.json", Status: diff.Added, Additions: 1, NewMode: "100644"},
	}, facts(d))
	require.True(t, raw == readPages(t, d, 60_000))
}

// large is a repository with a diff of 50,000 lines over 600 files.
func large(t *testing.T) repository {
	t.Helper()
	r := newRepository(t)
	random := rand.New(rand.NewPCG(1, 2))
	content := strings.Split(numbered(200), "\n")
	path := func(i int) string { return fmt.Sprintf("pkg%d/part%d/file%d.go", i%5, i%12, i) }
	for i := range 600 {
		r.write(path(i), strings.Join(content, "\n"))
	}
	r.commit()
	for i := range 600 {
		lines := make([]string, len(content))
		for j, line := range content {
			lines[j] = line
			if random.IntN(10) < 2 {
				lines[j] = fmt.Sprintf("%s, now %d", line, random.IntN(1000))
			}
		}
		r.write(path(i), strings.Join(lines, "\n"))
	}
	return r
}

func TestALargeDiffNeverHasToBeReadWhole(t *testing.T) {
	r := large(t)
	raw := r.git("diff", "-U1")
	require.Greater(t, strings.Count(raw, "\n"), 50_000)
	d := diff.Parse(raw)
	require.Empty(t, d.Note)

	s := d.Stat()
	require.Equal(t,
		fmt.Sprintf(" %d files changed, %d insertions(+), %d deletions(-)\n", s.Files, s.Additions, s.Deletions),
		r.git("diff", "--shortstat"))
	text := s.Text(0)
	require.Less(t, len(text), 2048)
	require.Contains(t, text, fmt.Sprintf("600 files, +%d -%d\n", s.Additions, s.Deletions))
	require.Contains(t, text, "\npkg3/ | 120 files, +")

	ends := 0
	for offset, n := 0, 0; ; n++ {
		page, err := d.Page(offset, 20_000)
		require.NoError(t, err)
		require.Equal(t, raw[offset:offset+len(page.Text)], page.Text)
		require.LessOrEqual(t, len(page.Text), 20_000)
		require.Greater(t, len(page.Text), 15_000*min(page.Next, 1), "a page is well filled")
		if page.Next == 0 {
			ends = offset + len(page.Text)
			break
		}
		require.Regexp(t, `^(diff --git|@@ )`, raw[page.Next:page.Next+20])
		offset = page.Next
	}
	require.Equal(t, len(raw), ends)
}

// text is a diff of about 4 MB, the most that the API gives.
func text() string {
	var b strings.Builder
	for i := 0; b.Len() < 4<<20; i++ {
		fmt.Fprintf(&b, "diff --git a/src/f%[1]d.go b/src/f%[1]d.go\nindex 1234567..89abcde 100644\n--- a/src/f%[1]d.go\n+++ b/src/f%[1]d.go\n", i)
		for h := range 10 {
			fmt.Fprintf(&b, "@@ -%[1]d,8 +%[1]d,8 @@ func F%[2]d() {\n", 1+h*100, i)
			b.WriteString(" \tcontext := before()\n \tmore.Context(before)\n \tagain()\n-\told, err := call(context, 1)\n-\treturn old, err\n+\tnewer, err := call(context, 2)\n+\treturn newer, err\n \tcontext = after()\n \tmore.Context(after)\n \tagain()\n")
		}
	}
	return b.String()
}

func BenchmarkParse(b *testing.B) {
	raw := text()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if d := diff.Parse(raw); d.Note != "" {
			b.Fatal(d.Note)
		}
	}
}

func BenchmarkPages(b *testing.B) {
	d := diff.Parse(text())
	b.SetBytes(int64(len(d.Text())))
	b.ReportAllocs()
	for b.Loop() {
		for offset := 0; ; {
			page, err := d.Page(offset, 20_000)
			if err != nil {
				b.Fatal(err)
			}
			if offset = page.Next; offset == 0 {
				break
			}
		}
	}
}

func BenchmarkStatText(b *testing.B) {
	d := diff.Parse(text())
	b.ReportAllocs()
	for b.Loop() {
		d.Stat().Text(0)
	}
}
