package server

import "encoding/json"

// repeatable reports that another replica may go on with a call that its own did not finish: besides what reads or is idempotent, the creation of
// a chat with a request_id, which finds the chat if there is one.
func repeatable(tool string, arguments json.RawMessage) bool {
	var a struct {
		RequestID string `json:"request_id"`
	}
	return tool == "create_chat" && json.Unmarshal(arguments, &a) == nil && a.RequestID != ""
}
