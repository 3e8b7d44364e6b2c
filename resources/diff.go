package resources

import (
	"context"
	"fmt"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/diff"
	"coder-chats-mcp/view"
)

func readDiff(ctx context.Context, src Source, t target) (mcp.ResourceContents, error) {
	d, err := src.Client.GetDiff(ctx, t.chat)
	if err != nil {
		return nil, view.ExplainDiff(err, src.Client)
	}
	if d.Diff == "" {
		return noDiff(ctx, src, t, *d)
	}
	patch := d.Diff
	if t.path != "" {
		if patch, err = patchOf(t, diff.Parse(d.Diff)); err != nil {
			return nil, err
		}
	}
	contents := text(t, typeDiff, patch)
	contents.Meta = origin(*d)
	return contents, nil
}

// noDiff says why there is none, in lines that no tool takes for a diff.
func noDiff(ctx context.Context, src Source, t target, d client.Diff) (mcp.ResourceContents, error) {
	chat, err := src.Client.GetChat(ctx, t.chat)
	if err != nil {
		return nil, err
	}
	why := view.WhyNoDiff(chat, &d)
	if t.path != "" {
		return nil, notFound(t.uri, "there is no diff: %s", why)
	}
	contents := text(t, typeDiff, "# No diff: "+why+"\n")
	contents.Meta = origin(d)
	return contents, nil
}

// patchOf is the patch of one file.
func patchOf(t target, d *diff.Diff) (string, error) {
	if patch, ok := d.File(t.path); ok {
		return patch, nil
	}
	const shown = 20
	var paths []string
	for i, f := range d.Files {
		if i == shown {
			paths = append(paths, fmt.Sprintf("and %d more", len(d.Files)-shown))
			break
		}
		paths = append(paths, view.Inline(f.Path, 200))
	}
	return "", notFound(t.uri, "the diff of chat %s has no file %s; it has %s", t.chat, view.Inline(t.path, 200), strings.Join(paths, ", "))
}

// origin is where a diff comes from; a patch has no place for it.
func origin(d client.Diff) map[string]any {
	meta := map[string]any{}
	for name, value := range map[string]string{
		"provider": d.Provider, "remote_origin": d.RemoteOrigin, "branch": d.Branch, "pull_request_url": d.PullRequestURL,
	} {
		if value != "" {
			meta[name] = value
		}
	}
	return meta
}
