package view

import (
	"encoding/json"
	"fmt"
	"strings"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
)

// FromBefore says what repositories are worth that were told on another connection than the present one.
const FromBefore = "The connection to the workspace is a new one, and its agent has told of no repository on it: it has restarted and knows none " +
	"before the chat's tools touch one, or it does not answer. What is shown is from before"

// Repository is the working tree of one repository: what changed in numbers, and the change itself.
type Repository struct {
	Root         string     `json:"repo_root"`
	Branch       string     `json:"branch,omitempty"` // empty on a detached head
	RemoteOrigin string     `json:"remote_origin,omitempty"`
	Stat         *diff.Stat `json:"stat,omitempty"` // nil: nothing is changed
	RowsLeftOut  int        `json:"stat_rows_left_out,omitempty"`
	Diff         string     `json:"diff,omitempty"`
	LeftOut      int        `json:"diff_left_out_bytes,omitempty"`
	Note         string     `json:"note,omitempty"`
}

// WorkingTree is a repository with at most so many bytes of its diff, ending where a hunk or a file ends, and of its files' rows, as JSON.
func WorkingTree(r client.Repository, diffBytes, rowBytes int) Repository {
	v := Repository{Root: r.RepoRoot, Branch: r.Branch, RemoteOrigin: r.RemoteOrigin}
	if r.UnifiedDiff == "" {
		return v
	}
	parsed := diff.Parse(r.UnifiedDiff)
	if parsed.Malformed {
		// Above 3 MiB the agent sends a sentence in the diff's place.
		v.Diff, v.Note = r.UnifiedDiff, "diff is no diff but what the workspace's agent says instead of one"
		return v
	}
	stat := parsed.Stat()
	v.Stat, v.Diff = &stat, r.UnifiedDiff
	var notes []string
	if diffBytes < len(r.UnifiedDiff) {
		v.Diff = firstPage(parsed, diffBytes)
		v.LeftOut = len(r.UnifiedDiff) - len(v.Diff)
		notes = append(notes, fmt.Sprintf("diff is cut for size: %d of %d bytes; stat covers all of it", len(v.Diff), len(r.UnifiedDiff)))
	}
	if shown := rowsWithin(stat.Rows, rowBytes); shown < len(stat.Rows) {
		v.RowsLeftOut, stat.Rows = len(stat.Rows)-shown, stat.Rows[:shown]
		notes = append(notes, fmt.Sprintf("rows are the first %d of %s; watch_chat_git with format files lists all", shown, Count(stat.Files, "file")))
	}
	v.Note = strings.Join(notes, "; ")
	return v
}

func firstPage(d *diff.Diff, most int) string {
	if most <= 0 {
		return ""
	}
	page, err := d.Page(0, most)
	if err != nil {
		return ""
	}
	return page.Text
}

// rowsWithin is how many rows, from the first, have so many bytes.
func rowsWithin(rows []diff.File, most int) int {
	for i, row := range rows {
		encoded, _ := json.Marshal(row) // strings and numbers marshal
		if most -= len(encoded) + 1; most < 0 {
			return i
		}
	}
	return len(rows)
}
