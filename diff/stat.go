package diff

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// DefaultStatBytes is the size of a table that keeps, with what is said about
// it, under 2 KB.
const DefaultStatBytes = 1800

// Stat is a diff in numbers.
type Stat struct {
	Files     int    `json:"files"`
	Additions int    `json:"additions"` // lines
	Deletions int    `json:"deletions"` // lines
	Binary    int    `json:"binary,omitempty"`
	Bytes     int    `json:"bytes"` // the length of the diff's text
	Note      string `json:"note,omitempty"`
	Rows      []File `json:"rows,omitempty"` // every file, in the diff's order
}

// Stat sums the diff up.
func (d *Diff) Stat() Stat {
	s := Stat{Files: len(d.Files), Bytes: len(d.raw), Note: d.Note, Rows: d.Files}
	for _, f := range d.Files {
		s.Additions += f.Additions
		s.Deletions += f.Deletions
		if f.Binary {
			s.Binary++
		}
	}
	return s
}

// Text is a table for a reader: a line of totals, then a row for each file.
// It is at most maxBytes long (DefaultStatBytes for 0), except that the totals,
// the note and the sum of what is hidden are always there. Rows that do not fit
// are summed up in a last line; when that would hide most of the files, rows
// are folders instead, as deep as they fit.
func (s Stat) Text(maxBytes int) string {
	if maxBytes <= 0 {
		maxBytes = DefaultStatBytes
	}
	head := s.head()
	rows := make([]row, len(s.Rows))
	for i, f := range s.Rows {
		rows[i] = row{text: f.row(), files: 1, additions: f.Additions, deletions: f.Deletions}
	}
	room := maxBytes - len(head)
	table, shown := fit(rows, room)
	if 2*shown >= len(rows) {
		return head + table
	}
	const deepest = 6
	for depth := deepest; depth > 0; depth-- {
		folders := group(s.Rows, depth)
		byFolder, shown := fit(folders, room-len(folderHead))
		if shown == len(folders) && shown > 1 {
			return head + folderHead + byFolder
		}
	}
	return head + table
}

const folderHead = "By folder, as there are too many files for a row each:\n"

func (s Stat) head() string {
	head := plural(s.Files, "file") + ", " + counts(s.Additions, s.Deletions)
	if s.Binary > 0 {
		head += fmt.Sprintf(", %d binary", s.Binary)
	}
	head += "\n"
	if s.Note != "" {
		const longest = 300
		head += cutAt(s.Note, longest) + "\n"
	}
	return head
}

// row is a line of the table, for a file or a folder of them.
type row struct {
	text                        string
	files, additions, deletions int
}

// fit writes rows as long as they and the line that sums up the others have
// room, and tells how many it wrote.
func fit(rows []row, room int) (table string, shown int) {
	var more row
	whole := 0
	for _, r := range rows {
		more.add(r)
		whole += len(r.text)
	}
	var b strings.Builder
	for _, r := range rows {
		rest := more
		rest.add(row{files: -r.files, additions: -r.additions, deletions: -r.deletions})
		if whole > room && b.Len()+len(r.text)+len(rest.sum()) > room {
			break
		}
		b.WriteString(r.text)
		more = rest
		shown++
	}
	return b.String() + more.sum(), shown
}

func (r *row) add(o row) {
	r.files += o.files
	r.additions += o.additions
	r.deletions += o.deletions
}

func (r *row) sum() string {
	if r.files == 0 {
		return ""
	}
	return fmt.Sprintf("… and %d more %s, %s\n", r.files, noun(r.files, "file"), counts(r.additions, r.deletions))
}

// group sums files up by the first depth folders of their paths.
func group(files []File, depth int) []row {
	var rows []row
	var names []string
	index := map[string]int{}
	for _, f := range files {
		name := folder(f.Path, depth)
		i, ok := index[name]
		if !ok {
			i = len(rows)
			index[name] = i
			rows = append(rows, row{})
			names = append(names, name)
		}
		rows[i].add(row{files: 1, additions: f.Additions, deletions: f.Deletions})
	}
	for i, r := range rows {
		rows[i].text = fmt.Sprintf("%s | %s, %s\n", show(Short(names[i])), plural(r.files, "file"), counts(r.additions, r.deletions))
	}
	return rows
}

func folder(path string, depth int) string {
	end := 0
	for ; depth > 0; depth-- {
		i := strings.IndexByte(path[end:], '/')
		if i < 0 {
			break
		}
		end += i + 1
	}
	if end == 0 {
		return "./"
	}
	return path[:end]
}

func (f File) row() string {
	name := show(Short(f.Path))
	if f.OldPath != "" {
		name = show(Short(f.OldPath)) + " => " + name
	}
	var what []string
	if f.Status != Modified {
		what = append(what, f.Status)
	}
	if f.Submodule {
		what = append(what, "submodule")
	}
	if f.Binary {
		what = append(what, "binary")
	}
	if f.OldMode != "" && f.NewMode != "" {
		what = append(what, "mode "+f.OldMode+" => "+f.NewMode)
	}
	if f.Additions+f.Deletions > 0 || len(what) == 0 {
		what = append(what, counts(f.Additions, f.Deletions))
	}
	if f.Note != "" {
		what = append(what, "irregular")
	}
	return name + " | " + strings.Join(what, ", ") + "\n"
}

func counts(additions, deletions int) string { return fmt.Sprintf("+%d -%d", additions, deletions) }

func plural(n int, one string) string { return strconv.Itoa(n) + " " + noun(n, one) }

func noun(n int, one string) string {
	switch {
	case n == 1:
		return one
	case strings.HasSuffix(one, "ch"):
		return one + "es"
	}
	return one + "s"
}

// show quotes a path that would not stay on its line or could be mistaken.
func show(path string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar }
	if path == "" || strings.ContainsFunc(path, odd) {
		return strconv.Quote(path)
	}
	return path
}

// Short is a path of at most 120 bytes for a table: of a longer one the end.
func Short(path string) string {
	const longest = 120
	if len(path) <= longest {
		return path
	}
	const mark = "…"
	return mark + strings.ToValidUTF8(path[len(path)-longest+len(mark):], "")
}

// cutAt shortens a text for a reader and marks that.
func cutAt(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
