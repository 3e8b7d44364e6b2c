package view

import (
	"fmt"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
)

// Repository is the working tree of one repository: what changed in numbers, and the change itself.
type Repository struct {
	Root         string     `json:"repo_root"`
	Branch       string     `json:"branch,omitempty"` // empty on a detached head
	RemoteOrigin string     `json:"remote_origin,omitempty"`
	Stat         *diff.Stat `json:"stat,omitempty"` // nil: nothing is changed
	Diff         string     `json:"diff,omitempty"`
	LeftOut      int        `json:"diff_left_out_bytes,omitempty"`
	Note         string     `json:"note,omitempty"`
}

// WorkingTree is a repository with at most so many bytes of its diff, ending where a hunk or a file ends.
func WorkingTree(r client.Repository, most int) Repository {
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
	if most >= len(r.UnifiedDiff) {
		return v
	}
	v.Diff = ""
	if most > 0 {
		if page, err := parsed.Page(0, most); err == nil {
			v.Diff = page.Text
		}
	}
	v.LeftOut = len(r.UnifiedDiff) - len(v.Diff)
	v.Note = fmt.Sprintf("diff is cut for size: %d of %d bytes; stat covers all of it", len(v.Diff), len(r.UnifiedDiff))
	return v
}
