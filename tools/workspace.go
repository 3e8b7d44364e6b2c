package tools

import (
	"errors"
	"strings"

	"coder-chats-mcp/client"
)

// explainWorkspace says what is missing behind a chat when its workspace's git or desktop cannot be reached. Each comes as a 400 and is told by its
// message alone (fixtures 05/069, 05/077, 05/079); a desktop that does not start is a 500.
func explainWorkspace(err error) error {
	var api *client.Error
	if !errors.As(err, &api) {
		return err
	}
	f := &Failure{Kind: string(api.Kind), API: apiText(api)}
	switch {
	case strings.Contains(api.Message, "no workspace"):
		f.Message = "the chat has no workspace"
		f.Next = "have the chat make one (send_chat_message), or bind one with workspace_id of update_chat"
	case strings.Contains(api.Message, "no agents"):
		f.Message = "the chat's workspace has no agent: it is stopped, deleted, or its template defines none"
		f.Next = "start the workspace in Coder, or have the chat do it (send_chat_message)"
	case strings.HasPrefix(api.Message, "Agent state is"):
		f.Kind = string(client.KindUnavailable)
		f.Message = "the agent of the chat's workspace is not connected"
		f.Next = "while it is connecting, try again in half a minute; otherwise start the workspace in Coder, or have the chat do it (send_chat_message)"
	case strings.Contains(api.Message, "start desktop"):
		f.Kind, f.Message, f.Next = string(client.KindUnsupported), noDesktop, desktopAdvice
	default:
		return err
	}
	return f
}

const (
	noDesktop     = "the chat's workspace has no desktop that can be shown"
	desktopAdvice = "the workspace's image needs portabledesktop; look at files and output of commands through the chat instead"
)
