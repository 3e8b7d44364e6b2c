package prompts

import (
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"coder-chats-mcp/schema"
)

var chatArgument = schema.For[struct {
	Chat uuid.UUID `json:"chat" jsonschema:"format=chat"`
}]()

// chatID is the id of a chat given by id or by the URL of its page, as the tools read it.
func chatID(given string) (string, error) {
	raw, err := json.Marshal(map[string]string{"chat": given})
	if err != nil {
		return "", err
	}
	args, err := chatArgument.Decode(raw, schema.Options{})
	if err != nil {
		return "", errors.New("chat is no chat id and no URL of a chat page (https://HOST/agents/UUID)")
	}
	return args.Chat.String(), nil
}
