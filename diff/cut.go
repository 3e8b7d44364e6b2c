package diff

import (
	"regexp"
	"strconv"
	"strings"
)

type kind int

const (
	noFile       kind = iota
	gitDiff           // diff --git
	plainDiff         // --- and +++ alone
	combinedDiff      // diff --cc, of a merge
	submoduleLog      // what git writes for a submodule under diff.submodule=log
	unmergedPath      // what git diff HEAD writes for a path in conflict
)

// section is the byte range of one file's patch, up to where the next begins.
type section struct {
	kind       kind
	start, end int
	named      bool  // its ---/+++ lines have been met: another pair is another file
	hunks      []int // starts of all hunks but the first, from start
	hunkCount  int
	added      int
	deleted    int
	problem    string // what is wrong with its hunks
}

// cut finds the files and hunks of a text. It counts a hunk's lines by the
// hunk's head, so that content that looks like a header stays content.
func cut(raw string) []section {
	var sections []section
	var cur *section
	previous := "" // the line before, when it belongs to no hunk
	for pos := 0; pos < len(raw); {
		line, rest := splitLine(raw[pos:])
		if k := startsFile(line, rest, cur); k != noFile {
			start := pos
			if k == plainDiff && strings.HasPrefix(previous, "diff -") {
				start -= len(previous) // the command line that diff -r puts before
			}
			if cur != nil {
				cur.end = start
			}
			sections = append(sections, section{kind: k, start: start, named: k == plainDiff})
			cur = &sections[len(sections)-1]
		} else if cur != nil {
			if h, ok := parseHunk(line); ok && cur.kind <= combinedDiff {
				n := cur.take(h, pos, rest)
				pos, previous = pos+len(line)+n, ""
				continue
			}
			if previous == "" && cur.hunkCount > 0 && isContent(line) && cur.problem == "" {
				cur.problem = "a hunk holds more lines than its head says"
			}
			cur.named = cur.named || strings.HasPrefix(line, "--- ")
		}
		previous = line
		pos += len(line)
	}
	if cur != nil {
		cur.end = len(raw)
	}
	return sections
}

const unmergedMark = "* Unmerged path "

var submoduleLine = regexp.MustCompile(`^Submodule (.+) (?:([0-9a-f]{7,64}\.{2,3}[0-9a-f]{7,64})(?: \((.*)\))?:?|contains (?:untracked|modified) content)$`)

// startsFile tells whether a line outside hunks begins the patch of another
// file; rest is the text after it, cur the section so far.
func startsFile(line, rest string, cur *section) kind {
	switch {
	case strings.HasPrefix(line, "diff --git "):
		return gitDiff
	case strings.HasPrefix(line, "diff --cc "), strings.HasPrefix(line, "diff --combined "):
		return combinedDiff
	case strings.HasPrefix(line, unmergedMark):
		return unmergedPath
	case strings.HasPrefix(line, "Submodule ") && submoduleLine.MatchString(trimEnd(line)):
		return submoduleLog
	case strings.HasPrefix(line, "--- ") && (cur == nil || cur.named || cur.kind > combinedDiff):
		next, rest := splitLine(rest)
		if strings.HasPrefix(next, "+++ ") && strings.HasPrefix(rest, "@@ -") {
			return plainDiff
		}
	}
	return noFile
}

// hunk is how many lines of each parent and of the result a hunk holds.
type hunk struct {
	old    []int // one parent, or several in a combined diff
	result int
}

// parseHunk reads "@@ -1,2 +3,4 @@" or a combined "@@@ -1,2 -1,3 +1,4 @@@".
func parseHunk(line string) (hunk, bool) {
	at := 0
	for at < len(line) && line[at] == '@' {
		at++
	}
	if at < 2 {
		return hunk{}, false
	}
	ranges, _, ok := strings.Cut(line[at:], " "+line[:at])
	ranges, spaced := strings.CutPrefix(ranges, " ")
	fields := strings.Split(ranges, " ")
	if !ok || !spaced || len(fields) != at {
		return hunk{}, false
	}
	h := hunk{old: make([]int, at-1)}
	for i, field := range fields {
		sign, count := byte('-'), &h.result
		if i == at-1 {
			sign = '+'
		} else {
			count = &h.old[i]
		}
		if field == "" || field[0] != sign {
			return hunk{}, false
		}
		from, lines, counted := strings.Cut(field[1:], ",")
		if !counted {
			lines = "1"
		}
		var err error
		if *count, err = strconv.Atoi(lines); err != nil || *count < 0 {
			return hunk{}, false
		}
		if _, err = strconv.Atoi(from); err != nil {
			return hunk{}, false
		}
	}
	return h, true
}

func (h *hunk) open() bool {
	for _, n := range h.old {
		if n > 0 {
			return true
		}
	}
	return h.result > 0
}

// take counts the lines of a hunk whose head is at pos and whose content
// begins body. It returns the bytes of the content.
func (s *section) take(h hunk, pos int, body string) int {
	if s.hunkCount++; s.hunkCount > 1 {
		s.hunks = append(s.hunks, pos-s.start)
	}
	rest := body
	for h.open() && rest != "" {
		line, after := splitLine(rest)
		if !s.count(&h, line) {
			break
		}
		rest = after
	}
	if h.open() && s.problem == "" {
		s.problem = "a hunk holds fewer lines than its head says"
	}
	if strings.HasPrefix(rest, `\ `) { // "\ No newline at end of file", translated or not
		_, rest = splitLine(rest)
	}
	return len(body) - len(rest)
}

// count takes one line of a hunk; false when it cannot be one.
func (s *section) count(h *hunk, line string) bool {
	if line[0] == '\\' {
		return true
	}
	marks := line
	if line == "\n" || line == "\r\n" {
		marks = strings.Repeat(" ", len(h.old)) // context whose blanks an editor or GNU diff took away
	}
	if len(marks) < len(h.old) {
		return false
	}
	marks = marks[:len(h.old)]
	if strings.Trim(marks, " +-") != "" {
		return false
	}
	removed := strings.IndexByte(marks, '-') >= 0
	switch {
	case removed:
		s.deleted++
	case strings.IndexByte(marks, '+') >= 0:
		s.added++
	}
	// A line that is gone counts for the parents marked "-", any other for
	// the result and the parents that have it too.
	has := byte(' ')
	if removed {
		has = '-'
	} else {
		h.result--
	}
	for i := range h.old {
		if marks[i] == has {
			h.old[i]--
		}
	}
	return true
}

// isContent tells a line that only a hunk can hold, next to "-- ", which ends
// the patch in a mail.
func isContent(line string) bool {
	return strings.IndexByte(" +-", line[0]) >= 0 && trimEnd(line) != "-- "
}

// splitLine cuts off the first line with its end.
func splitLine(s string) (line, rest string) {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return s[:i+1], s[i+1:]
	}
	return s, ""
}

func trimEnd(line string) string {
	line, _ = splitLine(line)
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}
