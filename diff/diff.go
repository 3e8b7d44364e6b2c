// Package diff reads unified git diffs in pieces: what changed as a short
// table, the files that a glob names, and the text itself in pages that end
// where a hunk or a file ends.
//
// Nothing is ever lost: a [Diff] keeps the text that it was read from, and
// files and pages are byte ranges of it. Text that is no diff at all (an
// agent's "Total diff too large to show." for one) is kept as well, with a
// note that says so.
package diff

import (
	"cmp"
	"fmt"
	"strings"
)

// The values of [File.Status].
const (
	Added    = "added"
	Deleted  = "deleted"
	Modified = "modified" // also a mere change of mode, and a merge's combined diff
	Renamed  = "renamed"
	Copied   = "copied"
	Unmerged = "unmerged" // git's "* Unmerged path": a conflict with no patch of its own
)

// File is what a diff says of one file.
type File struct {
	Path      string `json:"path"`               // the new path; the old one when the file is deleted
	OldPath   string `json:"old_path,omitempty"` // of a rename or a copy only
	Status    string `json:"status"`
	Additions int    `json:"additions"` // lines
	Deletions int    `json:"deletions"` // lines
	Binary    bool   `json:"binary,omitempty"`
	Submodule bool   `json:"submodule,omitempty"`
	OldMode   string `json:"old_mode,omitempty"` // octal as git writes it, "100644"; only where the diff changes, adds or removes it
	NewMode   string `json:"new_mode,omitempty"`
	Note      string `json:"note,omitempty"` // why the patch could not be read as a whole; the counts are then best effort

	Offset int `json:"offset"` // where the patch begins in the diff's text, in bytes
	Bytes  int `json:"bytes"`  // the length of the patch

	hunks []int // starts of the second and later hunks, from Offset
}

// Diff is a text of diffs and the files found in it, in the text's order. A
// path can occur more than once: a text can hold the diffs of several
// repositories.
type Diff struct {
	Files []File
	// Malformed tells that the text is not empty and yet holds no diff.
	Malformed bool
	// Note says for a reader what could not be read; empty when all could.
	Note string

	raw string
}

// Parse reads a text of unified diffs. It takes any text: what it cannot read
// is told in the notes of the diff and its files and stays in the text.
func Parse(raw string) *Diff {
	d := &Diff{raw: raw}
	for _, s := range cut(raw) {
		d.Files = append(d.Files, s.file(raw))
	}
	d.Note = d.irregular()
	if len(d.Files) == 0 && strings.TrimSpace(raw) != "" {
		d.Malformed = true
		d.Note = "The text holds no diff; it stands as it came."
	}
	return d
}

// irregular tells of files that could not be read as a whole.
func (d *Diff) irregular() string {
	var odd []File
	for _, f := range d.Files {
		if f.Note != "" {
			odd = append(odd, f)
		}
	}
	if len(odd) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s irregular in form, with counts that are best effort. The first, %s: %s",
		len(odd), plural(len(d.Files), "patch"), show(Short(odd[0].Path)), odd[0].Note)
}

// Text is the whole text, byte for byte as it came (after [Diff.Match]: the
// patches that match).
func (d *Diff) Text() string { return d.raw }

// File gives the patch of one file by its path, or by the path that it was
// renamed or copied from, and false when there is none. A path that occurs
// more than once gives all its patches in order.
func (d *Diff) File(path string) (string, bool) {
	for _, name := range []func(File) string{
		func(f File) string { return f.Path },
		func(f File) string { return f.OldPath },
	} {
		var patch strings.Builder
		for _, f := range d.Files {
			if path != "" && name(f) == path {
				patch.WriteString(d.patch(f))
			}
		}
		if patch.Len() > 0 {
			return patch.String(), true
		}
	}
	return "", false
}

func (d *Diff) patch(f File) string { return d.raw[f.Offset : f.Offset+f.Bytes] }

// file describes a section of the text. The library reads what it can: one
// file's patch as git or diff -u writes it. What it does not know (combined
// diffs, submodule logs, paths without a/ and b/) or finds irregular is read
// from the header lines alone, and the lines are those that cut counted.
func (s section) file(raw string) File {
	f := File{
		Offset: s.start, Bytes: s.end - s.start, hunks: s.hunks,
		Additions: s.added, Deletions: s.deleted, Status: Modified,
	}
	text := raw[s.start:s.end]
	if !strings.HasSuffix(text, "\n") {
		text += "\n" // the library knows "Binary files differ" only with its line end
	}
	if first, rest := splitLine(text); strings.HasSuffix(first, "\r\n") {
		// The whole diff came with CRLF ends; git itself writes only content so.
		text = first[:len(first)-2] + "\n" + strings.ReplaceAll(rest, "\r\n", "\n")
	}
	var problem string
	switch s.kind {
	case gitDiff, plainDiff:
		problem = f.readPatch(text, s.kind)
	case combinedDiff:
		f.readHeader(text)
	case submoduleLog:
		f.readSubmodule(text)
	case unmergedPath:
		f.Status = Unmerged
		f.Path = unquote(strings.TrimPrefix(trimEnd(text), unmergedMark))
	}
	f.Note = cmp.Or(s.problem, problem)
	return f
}
