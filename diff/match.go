package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Match gives the diff of the files that the globs name, and d itself for no
// globs or for a text that is no diff. A glob with a slash is of the whole
// path ("src/**/*.go"; a leading slash only anchors it), one without is of a
// name in any folder ("*.go"); either also takes a whole folder ("vendor"). A
// leading "!" excludes, and excludes alone take everything else. A file renamed
// or copied is matched by its old path, too, but excluded by its new one only.
// A path of the diff always names itself, whatever it has of a glob's signs.
// The error names the glob that is not one.
//
// Text between patches that is none (a commit's message) does not come along.
func (d *Diff) Match(globs []string) (*Diff, error) {
	var take, leave []string
	for _, glob := range globs {
		pattern, excludes := strings.CutPrefix(glob, "!")
		pattern = strings.TrimPrefix(pattern, "./")
		named := func(f File) bool { return f.Path == pattern || f.OldPath == pattern }
		if pattern == "" || !doublestar.ValidatePattern(pattern) && !slices.ContainsFunc(d.Files, named) {
			return nil, fmt.Errorf("%q is not a valid glob: use names like *.go, paths like src/**/*.ts, or !vendor/** to exclude; [ and { of a path need a backslash before them", glob)
		}
		if excludes {
			leave = append(leave, pattern)
		} else {
			take = append(take, pattern)
		}
	}
	if len(globs) == 0 || len(d.Files) == 0 {
		return d, nil
	}
	m := &Diff{}
	var text strings.Builder
	for _, f := range d.Files {
		taken := len(take) == 0 || matches(take, f.Path) || f.OldPath != "" && matches(take, f.OldPath)
		if !taken || matches(leave, f.Path) {
			continue
		}
		patch := d.patch(f)
		f.Offset = text.Len()
		text.WriteString(patch)
		m.Files = append(m.Files, f)
	}
	m.raw = text.String()
	m.Note = m.irregular()
	if len(m.Files) == 0 {
		m.Note = fmt.Sprintf("Of the diff's %s none matches %s.", plural(len(d.Files), "file"), strings.Join(globs, " "))
	}
	return m, nil
}

func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == path {
			return true
		}
		pattern = strings.TrimSuffix(pattern, "/")
		if anchored, ok := strings.CutPrefix(pattern, "/"); ok {
			pattern = anchored
		} else if !strings.Contains(pattern, "/") {
			pattern = "**/" + pattern
		}
		return doublestar.MatchUnvalidated(pattern, path) || doublestar.MatchUnvalidated(pattern+"/**", path)
	})
}
