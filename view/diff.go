package view

import (
	"errors"
	"fmt"
	"strings"

	"coder-chats-mcp/client"
)

// WhyNoDiff says why a chat has no diff. The API answers all these with an empty one (SEMANTICS-2026-05 2.8).
func WhyNoDiff(chat *client.Chat, d *client.Diff) string {
	switch {
	case chat.WorkspaceID == nil:
		return "the chat has no workspace, so nothing can have changed yet."
	case d.Branch == "":
		return "no branch of the chat's workspace has been pushed to a git provider that this deployment knows. What is in the workspace: watch_chat_git."
	}
	return fmt.Sprintf("branch %s is pushed and does not differ from where it began.", Inline(d.Branch, 200))
}

// DiffError is a diff that the server could not make, with what to do about it.
type DiffError struct {
	Kind    client.Kind
	Message string
	Next    string
	cause   error
}

func (e *DiffError) Error() string { return e.Message + ". " + e.Next }

// Unwrap is the API's error.
func (e *DiffError) Unwrap() error { return e.cause }

// ExplainDiff reads what a failed GetDiff means: the API says 500 for a missing git account as well as for a broken provider.
func ExplainDiff(err error, c *client.Client) error {
	var api *client.Error
	if !errors.As(err, &api) || api.Status != 500 {
		return err
	}
	switch {
	case strings.Contains(api.Detail, "no token available"):
		return &DiffError{Kind: client.KindForbidden, cause: err, Message: "Coder has no access to the git provider in your name",
			Next: "connect your git account at " + c.Host().URL().JoinPath("settings", "external-auth").String() + ", then ask again"}
	case strings.Contains(api.Detail, "too large"), strings.Contains(api.Detail, "exceed"):
		return &DiffError{Kind: client.KindTooLarge, cause: err, Message: "the diff is larger than the 4 MiB that Coder serves",
			Next: "look at the pull request or the branch itself, or ask the chat for a part"}
	}
	return err
}
