// Package resources is a caller's chats as MCP resources below coder://chats: listing, reading, completing and following them. One declaration
// for each kind of address. What a chat says comes as JSON strings or quoted, never in our voice.
package resources

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
)

// The media types of what this package writes; a file has its own.
const (
	typeJSON     = "application/json"
	typeMarkdown = "text/markdown"
	typeDiff     = "text/x-diff"
)

// kind is one sort of resource.
type kind struct {
	address     string // a URI, {chat} and {file} standing for UUIDs
	query       string // the one argument that may follow a question mark
	name, title string
	description string
	mime        string
	read        func(context.Context, Source, target) (mcp.ResourceContents, error)
	follow      func(context.Context, Source, target) ([]feed, error)
}

// target is what a URI names.
type target struct {
	uri  string
	chat uuid.UUID
	file uuid.UUID
	path string // of one file of a diff
}

// kinds are all there are. Of two that fit an address the first one counts.
var kinds = []kind{
	{
		address: "coder://chats", name: "chats", title: "Chats", mime: typeJSON, read: readChats, follow: followChats,
		description: "The most recent chats with their subchats: id, title, status, size of the diff.",
	},
	{
		address: "coder://chats/models", name: "models", title: "Models", mime: typeJSON, read: readModels, follow: followModels,
		description: "The models that chats can run on, with the ids that create_chat takes.",
	},
	{
		address: "coder://chats/files/{file}", name: "file", title: "Attached file", read: readFile, follow: refuseFile,
		description: "A file attached to a chat. It never changes.",
	},
	{
		address: "coder://chats/{chat}", name: "chat", title: "Chat", mime: typeJSON, read: readChat, follow: followChat,
		description: "One chat: status, last error, subchats, files, diff size, pull request.",
	},
	{
		address: "coder://chats/{chat}/messages", name: "messages", title: "Transcript", mime: typeMarkdown, read: readMessages, follow: followMessages,
		description: "All that was said in a chat, oldest first, with tool calls and their results.",
	},
	{
		address: "coder://chats/{chat}/diff", query: "file", name: "diff", title: "Diff", mime: typeDiff, read: readDiff, follow: followDiff,
		description: "What a chat has changed and pushed, as a unified diff.",
	},
	{
		address: "coder://chats/{chat}/prompts", name: "prompts", title: "Prompts", mime: typeJSON, read: readPrompts, follow: followPrompts,
		description: "What users said to a chat, newest first.",
	},
	{
		address: "coder://chats/{chat}/git", name: "git", title: "Working tree", mime: typeJSON, read: readGit, follow: followGit,
		description: "The repositories in a chat's workspace with what is not committed yet, live.",
	},
}

func (k kind) templated() bool { return strings.Contains(k.address, "{") }

// Source is one caller: a token's client, and the relay on it.
type Source struct {
	Client *client.Client
	Relay  *relay.Relay
	// MaxText bounds, in bytes, the longest texts: a transcript, the prompts, the diffs of a working tree; 0 = 4 MiB.
	MaxText int
	// ModelsInterval is how often a subscription to the models asks for them; 0 = 5 minutes.
	ModelsInterval time.Duration
}

func (s Source) maxText() int { return cmp.Or(s.MaxText, 4<<20) }

func (s Source) modelsInterval() time.Duration { return cmp.Or(s.ModelsInterval, 5*time.Minute) }

// Templates are the addresses with a variable.
func Templates() []mcp.ResourceTemplate {
	var all []mcp.ResourceTemplate
	for _, k := range kinds {
		if !k.templated() {
			continue
		}
		all = append(all, k.template(k.address, k.name, k.title, k.description))
		if k.query != "" {
			all = append(all, k.template(k.address+"{?"+k.query+"}", k.name+"-"+k.query, k.title+" of one file", k.description+" Of one "+k.query+", by its path."))
		}
	}
	return all
}

func (k kind) template(address, name, title, description string) mcp.ResourceTemplate {
	return mcp.NewResourceTemplate(address, name, mcp.WithTemplateTitle(title), mcp.WithTemplateDescription(description), mcp.WithTemplateMIMEType(k.mime))
}
