package tools

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
	"coder-chats-mcp/view"
)

// pieceArgs say which piece of a diff is wanted.
type pieceArgs struct {
	Files    []string `json:"files,omitempty" jsonschema:"description=globs; !glob excludes"`
	Format   string   `json:"format,omitempty" jsonschema:"enum=patch,enum=stat,enum=files,description=default patch"`
	Offset   int      `json:"offset,omitempty" jsonschema:"minimum=0,description=next_offset of the page before"`
	MaxBytes int      `json:"max_bytes,omitempty" jsonschema:"minimum=100,description=of a page; default 16000"`
}

const (
	diffPage  = 16_000
	statBytes = 2000 // of an answer with format stat, as text and as JSON
)

// pageSize is how many bytes of a patch a page has at most.
func (a pieceArgs) pageSize(most int) int {
	return min(cmp.Or(a.MaxBytes, diffPage), most/2)
}

// check finds what no diff could be asked for.
func (a pieceArgs) check() error {
	if a.Format == "stat" && a.Offset > 0 {
		return invalidPiece("stat has no pages, so that offset means nothing", "leave offset out, or ask for format files or patch")
	}
	return nil
}

// checkFiles refuses an offset behind the last of so many files.
func (a pieceArgs) checkFiles(count int) error {
	if a.Offset > 0 && a.Offset >= count {
		return invalidPiece(fmt.Sprintf("offset %d is behind the last of %s: with format files it counts files", a.Offset, view.Count(count, "file")), "begin again without offset")
	}
	return nil
}

func invalidPiece(message, next string) error {
	return &Failure{Kind: string(client.KindInvalidArgument), Message: message, Next: next}
}

// matching is the part of a diff that the globs name.
func matching(text string, globs []string) (*diff.Diff, error) {
	parsed, err := diff.Parse(text).Match(globs)
	if err != nil {
		return nil, invalidPiece(err.Error(), "correct files")
	}
	return parsed, nil
}

// changes are a diff in numbers and the files that it changes.
type changes struct {
	Additions int           `json:"additions"`
	Deletions int           `json:"deletions"`
	FileCount int           `json:"file_count"`
	Files     []changedFile `json:"files"` // not repeated on later pages
	MoreFiles int           `json:"more_files,omitempty"`
}

// changesOf is the diff in numbers; list names the files.
func changesOf(s diff.Stat) changes {
	return changes{Additions: s.Additions, Deletions: s.Deletions, FileCount: s.Files, Files: []changedFile{}}
}

type changedFile struct {
	Path      string `json:"path"`
	OldPath   string `json:"old_path,omitempty"`
	Status    string `json:"status"`
	Additions int    `json:"additions,omitempty"`
	Deletions int    `json:"deletions,omitempty"`
	Binary    bool   `json:"binary,omitempty"`
	Note      string `json:"note,omitempty"`
}

func changedFileOf(f diff.File) changedFile {
	return changedFile{Path: f.Path, OldPath: f.OldPath, Status: f.Status, Additions: f.Additions, Deletions: f.Deletions, Binary: f.Binary, Note: f.Note}
}

// short is the file for a table that has little room.
func short(f diff.File) changedFile {
	f.Path, f.OldPath, f.Note = diff.Short(f.Path), diff.Short(f.OldPath), brief(f.Note, 80)
	return changedFileOf(f)
}

func (f changedFile) row() string {
	path := view.Inline(f.Path, 200)
	if f.OldPath != "" {
		path = view.Inline(f.OldPath, 200) + " => " + path
	}
	if f.Binary {
		return fmt.Sprintf("%s %s binary", f.Status, path)
	}
	return fmt.Sprintf("%s %s +%d -%d", f.Status, path, f.Additions, f.Deletions)
}

// list puts files into the answer, from the first, as many as have so many bytes as JSON and as text, and tells how many bytes those have.
func (d *changes) list(files []diff.File, show func(diff.File) changedFile, most int) (bytes int) {
	structured, written := 0, 0
	for _, f := range files {
		shown := show(f)
		encoded, _ := json.Marshal(shown) // strings and numbers marshal
		structured += len(encoded) + 1
		written += len(shown.row()) + 1
		if max(structured, written) > most {
			break
		}
		bytes = max(structured, written)
		d.Files = append(d.Files, shown)
	}
	d.MoreFiles = len(files) - len(d.Files)
	return bytes
}

// listSome is list that names at least one file, however long that makes it: whoever reads page by page has to come on.
func (d *changes) listSome(files []diff.File, most int) (bytes int) {
	if bytes = d.list(files, changedFileOf, most); bytes == 0 && len(files) > 0 {
		d.Files = append(d.Files, changedFileOf(files[0]))
		d.MoreFiles--
		bytes = most
	}
	return bytes
}

// rows are the files as text; more says how to get those that are left out.
func (d *changes) rows(more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "+%d -%d in %s\n", d.Additions, d.Deletions, view.Count(d.FileCount, "file"))
	for _, f := range d.Files {
		b.WriteString(f.row() + "\n")
	}
	if d.MoreFiles > 0 {
		fmt.Fprintf(&b, "(%d more: %s)\n", d.MoreFiles, more)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const narrow = "narrow with files" // the argument

// restart tells pages of one text from those of two.
const restart = "if that number changes between pages, begin again"

// bytesOf is how long an answer is in the longer of its two forms.
func bytesOf(text string, structured any) int {
	encoded, _ := json.Marshal(structured) // an answer of ours marshals
	return max(len(text), len(encoded))
}

// paged is an answer with a page of at most size bytes, and of fewer as long as it has more than most bytes in all: quoted and as JSON a patch becomes
// longer, sometimes by much. answer makes it, and says how many bytes of the patch it has.
func paged(size, most int, answer func(size int) (r *Result, patch int, err error)) (*Result, error) {
	for {
		r, patch, err := answer(size)
		if err != nil {
			return nil, err
		}
		all := bytesOf(r.Text, r.Structured)
		if all <= most || size <= 1 {
			return r, nil
		}
		size = max(1, min(size-1, patch*most/all*9/10))
	}
}

// brief is a text of at most so many bytes and a mark that something is missing.
func brief(text string, most int) string {
	cut, whole := view.Cut(text, most)
	if whole {
		return cut
	}
	return cut + "…"
}
