package simulator

import (
	"crypto/sha1" //nolint:gosec // git's object ids are SHA-1
	"fmt"
	"strings"
)

const contextLines = 3

// unifiedDiff is `git diff` of the working tree against what is committed,
// untracked files included.
func (w *workspace) unifiedDiff() string {
	var b strings.Builder
	for _, p := range w.changedPaths() {
		was, existed := w.base[p]
		fileDiff(&b, p, was, w.tree[p], existed)
	}
	return b.String()
}

func fileDiff(b *strings.Builder, path, was, is string, existed bool) {
	fmt.Fprintf(b, "diff --git a/%s b/%s\n", path, path)
	from := "a/" + path
	if existed {
		fmt.Fprintf(b, "index %s..%s 100644\n", blobID(was), blobID(is))
	} else {
		fmt.Fprintf(b, "new file mode 100644\nindex 0000000..%s\n", blobID(is))
		from = "/dev/null"
	}
	if was == is {
		return
	}
	fmt.Fprintf(b, "--- %s\n+++ b/%s\n", from, path)
	for _, h := range hunks(compare(lines(was), lines(is))) {
		h.write(b)
	}
}

func blobID(text string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text)) //nolint:gosec // see above
	return fmt.Sprintf("%x", sum[:])[:7]
}

func lines(text string) []string {
	all := strings.SplitAfter(text, "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// change is one line of a diff: ' ', '-' or '+'.
type change struct {
	op   byte
	line string
}

// compare aligns two texts along a longest common subsequence.
func compare(a, b []string) []change {
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out []change
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, change{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || longest[i+1][j] >= longest[i][j+1]):
			out = append(out, change{'-', a[i]})
			i++
		default:
			out = append(out, change{'+', b[j]})
			j++
		}
	}
	return out
}

type hunk struct {
	from, to int // first line in each file, from 1
	changes  []change
}

// hunks groups changes that are near each other, with three lines around.
func hunks(all []change) []hunk {
	var found []hunk
	from, to, quiet := 1, 1, 0
	var current *hunk
	for i, c := range all {
		if c.op != ' ' && current == nil {
			lead := min(contextLines, i, quiet)
			found = append(found, hunk{from: from - lead, to: to - lead, changes: append([]change{}, all[i-lead:i]...)})
			current = &found[len(found)-1]
		}
		if c.op == ' ' {
			quiet++
		} else {
			quiet = 0
		}
		if current != nil {
			current.changes = append(current.changes, c)
			if quiet > 2*contextLines {
				current.changes = current.changes[:len(current.changes)-quiet+contextLines]
				current, quiet = nil, quiet-contextLines
			}
		}
		if c.op != '+' {
			from++
		}
		if c.op != '-' {
			to++
		}
	}
	if current != nil && quiet > contextLines {
		current.changes = current.changes[:len(current.changes)-quiet+contextLines]
	}
	return found
}

func (h hunk) write(b *strings.Builder) {
	removed, added := 0, 0
	for _, c := range h.changes {
		if c.op != '+' {
			removed++
		}
		if c.op != '-' {
			added++
		}
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", span(h.from, removed), span(h.to, added))
	for _, c := range h.changes {
		b.WriteByte(c.op)
		b.WriteString(strings.TrimSuffix(c.line, "\n"))
		b.WriteByte('\n')
		if !strings.HasSuffix(c.line, "\n") {
			b.WriteString("\\ No newline at end of file\n")
		}
	}
}

func span(start, count int) string {
	switch count {
	case 0:
		return fmt.Sprintf("%d,0", start-1)
	case 1:
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, count)
}
