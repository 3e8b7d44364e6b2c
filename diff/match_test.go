package diff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/diff"
)

func touch(path string) string {
	return fmt.Sprintf("diff --git a/%[1]s b/%[1]s\nindex 1..2 100644\n--- a/%[1]s\n+++ b/%[1]s\n@@ -1 +1 @@\n-a\n+b\n", path)
}

func TestMatchTakesWhatTheGlobsName(t *testing.T) {
	paths := []string{"main.go", "src/main.go", "src/app/[id]/page.tsx", "src/util.ts", "vendor/x/x.go", "odd[name"}
	var raw strings.Builder
	raw.WriteString("commit 1\n\n")
	for _, p := range paths {
		raw.WriteString(touch(p))
	}
	raw.WriteString("diff --git a/docs/old.md b/new.txt\nsimilarity index 100%\nrename from docs/old.md\nrename to new.txt\n")
	d := diff.Parse(raw.String())
	all := append(paths, "new.txt")

	tests := []struct {
		globs []string
		want  []string
	}{
		{nil, all},
		{[]string{"*.go"}, []string{"main.go", "src/main.go", "vendor/x/x.go"}},
		{[]string{"main.go"}, []string{"main.go", "src/main.go"}},
		{[]string{"/main.go"}, []string{"main.go"}},
		{[]string{"./src/*.ts"}, []string{"src/util.ts"}},
		{[]string{"src/**"}, []string{"src/main.go", "src/app/[id]/page.tsx", "src/util.ts"}},
		{[]string{"src"}, []string{"src/main.go", "src/app/[id]/page.tsx", "src/util.ts"}},
		{[]string{"src/app/"}, []string{"src/app/[id]/page.tsx"}},
		{[]string{"**/*.{ts,tsx}"}, []string{"src/app/[id]/page.tsx", "src/util.ts"}},
		{[]string{"src/app/[id]/page.tsx"}, []string{"src/app/[id]/page.tsx"}},
		{[]string{"odd[name"}, []string{"odd[name"}},
		{[]string{"*.md"}, []string{"new.txt"}},
		{[]string{"!docs/**", "!odd*", "!src"}, []string{"main.go", "vendor/x/x.go", "new.txt"}},
		{[]string{"*.go", "!vendor/**"}, []string{"main.go", "src/main.go"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.globs, " "), func(t *testing.T) {
			m, err := d.Match(tt.globs)
			require.NoError(t, err)
			var got []string
			for _, f := range m.Files {
				got = append(got, f.Path)
				patch, _ := d.File(f.Path)
				require.Equal(t, patch, m.Text()[f.Offset:f.Offset+f.Bytes])
			}
			require.Equal(t, tt.want, got)
			require.Empty(t, m.Note)
			require.Equal(t, m.Text(), readPages(t, m, 100))
		})
	}
}

func TestMatchOfNothingSaysSo(t *testing.T) {
	m, err := diff.Parse(touch("a") + touch("b")).Match([]string{"*.rs", "!x"})
	require.NoError(t, err)
	require.Empty(t, m.Files)
	require.Empty(t, m.Text())
	require.Equal(t, "Of the diff's 2 files none matches *.rs !x.", m.Note)
	require.False(t, m.Malformed)
}

func TestMatchRefusesABadGlobByName(t *testing.T) {
	for _, glob := range []string{"src/[a", "!{a", "", "!"} {
		_, err := diff.Parse(touch("a")).Match([]string{"*.go", glob})
		require.ErrorContains(t, err, fmt.Sprintf("%q is not a valid glob", glob))
	}
}
