package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// readPatch fills f from the patch of one file, and returns what is irregular
// about it.
func (f *File) readPatch(text string, k kind) (problem string) {
	text = withPrefixes(text)
	files, _, err := gitdiff.Parse(bytes.NewBufferString(text))
	if len(files) == 0 {
		f.readHeader(text)
	} else {
		f.copyFrom(files[0], k)
	}
	switch {
	case err != nil:
		return strings.TrimPrefix(err.Error(), "gitdiff: ") + " (lines count from the head of this file's patch)"
	case len(files) == 0:
		return "the patch has no readable header"
	case f.Additions+f.Deletions == 0 && !f.Binary:
		return stray(text)
	}
	return ""
}

func (f *File) copyFrom(p *gitdiff.File, k kind) {
	oldPath, newPath := p.OldName, p.NewName
	if k == plainDiff {
		oldPath, newPath = strings.TrimPrefix(oldPath, "a/"), strings.TrimPrefix(newPath, "b/")
	}
	f.Path = newPath
	f.Binary = p.IsBinary
	f.Submodule = p.OldMode == submoduleMode || p.NewMode == submoduleMode
	switch {
	case p.IsNew:
		f.Status, f.NewMode = Added, octal(p.NewMode)
	case p.IsDelete:
		f.Status, f.Path, f.OldMode = Deleted, oldPath, octal(p.OldMode)
	case p.IsRename:
		f.Status, f.OldPath = Renamed, oldPath
	case p.IsCopy:
		f.Status, f.OldPath = Copied, oldPath
	}
	if p.OldMode != 0 && p.NewMode != 0 && p.OldMode != p.NewMode {
		f.OldMode, f.NewMode = octal(p.OldMode), octal(p.NewMode)
	}
}

// submoduleMode is the mode of a gitlink. The library keeps git's bits as
// they are and does not translate them to Go's.
const submoduleMode os.FileMode = 0o160000

func octal(m os.FileMode) string {
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("%06o", uint32(m))
}

// readHeader fills f from the header lines of a git or combined diff, without
// asking whether they fit together.
func (f *File) readHeader(text string) {
	var oldSide, newSide string
	for first := true; text != ""; first = false {
		var line string
		line, text = splitLine(text)
		line = trimEnd(line)
		word, value := headerLine(line)
		switch {
		case first && word == "":
			f.Path = headerPath(line)
		case word == "--- ":
			if oldSide = side(value); oldSide == "" {
				f.Status = Added
			}
		case word == "+++ ":
			if newSide = side(value); newSide == "" {
				f.Status = Deleted
			}
		case word == "rename from ", word == "rename old ":
			f.Status, f.OldPath = Renamed, unquote(value)
		case word == "copy from ":
			f.Status, f.OldPath = Copied, unquote(value)
		case word == "rename to ", word == "rename new ", word == "copy to ":
			f.Path = unquote(value)
		case word == "new file mode ":
			f.Status, f.NewMode = Added, value
		case word == "deleted file mode ":
			f.Status, f.OldMode = Deleted, value
		case word == "old mode ":
			f.OldMode = value
		case word == "new mode ":
			f.NewMode = value
		case word == "mode ": // combined: the parents' modes, two dots, the result's
			f.OldMode, f.NewMode, _ = strings.Cut(value, "..")
		case word == "index ":
			f.Submodule = f.Submodule || strings.HasSuffix(value, " 160000")
		case isBinary(line):
			f.Binary = true
		case strings.HasPrefix(line, "@@"):
			text = ""
		}
	}
	if f.Path == "" {
		f.Path = cmp.Or(newSide, oldSide)
	}
	f.Submodule = f.Submodule || f.OldMode == "160000" || f.NewMode == "160000"
}

func isBinary(line string) bool {
	return line == "GIT binary patch" ||
		strings.HasPrefix(line, "Binary files ") && strings.HasSuffix(line, "differ")
}

var headerWords = []string{
	"--- ", "+++ ", "index ", "mode ", "old mode ", "new mode ", "new file mode ", "deleted file mode ",
	"rename from ", "rename to ", "rename old ", "rename new ", "copy from ", "copy to ",
	"similarity index ", "dissimilarity index ",
}

func headerLine(line string) (word, value string) {
	for _, w := range headerWords {
		if v, ok := strings.CutPrefix(line, w); ok {
			return w, v
		}
	}
	return "", line
}

// headerPath is the path that a "diff --git" or "diff --cc" line surely
// names; empty when the line alone cannot tell.
func headerPath(line string) string {
	for _, combined := range []string{"diff --cc ", "diff --combined "} {
		if path, ok := strings.CutPrefix(line, combined); ok {
			return unquote(path)
		}
	}
	names := strings.TrimPrefix(line, "diff --git ")
	middle := len(names) / 2
	if len(names)%2 == 0 || names[middle] != ' ' {
		return ""
	}
	// The two names are of one length unless the file is renamed.
	a, b := unquote(names[:middle]), unquote(names[middle+1:])
	if a == b {
		return a // diff.noprefix
	}
	_, a, _ = strings.Cut(a, "/")
	if _, b, _ = strings.Cut(b, "/"); a == b {
		return a
	}
	return ""
}

// withPrefixes gives the paths of a diff made with diff.noprefix the prefixes
// that the library goes by: it would take their first folders for them.
func withPrefixes(text string) string {
	first, rest := splitLine(text)
	names, ok := strings.CutPrefix(trimEnd(first), "diff --git ")
	if !ok {
		return text
	}
	from, to := names[:len(names)/2], names[(len(names)+1)/2:]
	if from != to || len(names)%2 == 0 || names[len(from)] != ' ' {
		if from, to = movedNames(rest); from == "" || names != from+" "+to {
			return text
		}
	}
	var b strings.Builder
	b.WriteString("diff --git " + prefixed(from, "a/") + " " + prefixed(to, "b/") + "\n")
	for inHeader := true; rest != ""; {
		var line string
		line, rest = splitLine(rest)
		word, value := headerLine(line)
		switch inHeader = inHeader && word != ""; {
		case inHeader && word == "--- ":
			line = word + prefixed(value, "a/")
		case inHeader && word == "+++ ":
			line = word + prefixed(value, "b/")
		}
		b.WriteString(line)
	}
	return b.String()
}

// movedNames are the names of a rename or a copy, as its header has them.
func movedNames(header string) (from, to string) {
	for header != "" {
		var line string
		line, header = splitLine(header)
		switch word, value := headerLine(trimEnd(line)); word {
		case "rename from ", "copy from ":
			from = value
		case "rename to ", "copy to ":
			to = value
		case "":
			return from, to
		}
	}
	return from, to
}

// prefixed puts a prefix before a path as it stands in a header, perhaps quoted.
func prefixed(path, prefix string) string {
	switch {
	case strings.HasPrefix(path, "/dev/null"):
		return path
	case strings.HasPrefix(path, `"`):
		return `"` + prefix + path[1:]
	}
	return prefix + path
}

// side is the path of a --- or +++ line, empty for /dev/null.
func side(value string) string {
	if !strings.HasPrefix(value, `"`) {
		value, _, _ = strings.Cut(value, "\t") // a timestamp, or git's mark after a path with blanks
	}
	path := unquote(value)
	if path == "/dev/null" {
		return ""
	}
	if len(path) > 2 && path[1] == '/' && strings.IndexByte("abciow12", path[0]) >= 0 {
		return path[2:]
	}
	return path
}

// unquote undoes git's quoting of a path, which Go's unquoting covers.
func unquote(path string) string {
	if s, err := strconv.Unquote(path); err == nil && path[0] == '"' {
		return s
	}
	return path
}

// readSubmodule fills f from "Submodule PATH OLD..NEW (what happened):".
func (f *File) readSubmodule(text string) {
	f.Submodule = true
	m := submoduleLine.FindStringSubmatch(trimEnd(text))
	f.Path = m[1]
	switch m[3] {
	case "new submodule":
		f.Status = Added
	case "submodule deleted":
		f.Status = Deleted
	}
}

// stray tells of a line that stands where the hunks should: a placeholder for
// a file that was too large, say.
func stray(text string) string {
	_, text = splitLine(text)
	for text != "" {
		var line string
		line, text = splitLine(text)
		line = trimEnd(line)
		if word, _ := headerLine(line); word != "" {
			continue
		}
		if line == "" || line == "-- " { // what follows is a log's or a mail's
			return ""
		}
		return fmt.Sprintf("instead of a patch: %.200q", line)
	}
	return ""
}
