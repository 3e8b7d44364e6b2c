package simulator

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"time"

	"github.com/google/uuid"
)

// Options is the state in which a simulator starts, and its pace. The zero
// value is a 2.38 server with two members, three models and a scripted agent
// that echoes prompts; set Story for an agent worth watching.
type Options struct {
	Generation Generation // default V238

	RateLimit     int // requests a minute per user and path; 0: 512, negative: none
	FileRateLimit int // the same below /files; 0: 12, negative: none

	// TokenDelay is the pause between two parts of an answer; 0: 12 ms, with
	// which a story lasts two to three seconds.
	TokenDelay time.Duration
	// Speed divides every other time: SLOW's and HANG's pauses, retry delays,
	// heartbeats (15 s), the patience with dynamic tools (5 min), the
	// rate-limit window; 0: 1. Delays that are told in JSON stay as recorded.
	Speed float64
	// Story makes a prompt without an order do a small coding task in a
	// workspace of its own; without it such a prompt is echoed.
	Story bool
	// Capacity is how many root chats generate at once; 0: any number. Those
	// above it wait with `queued_for_capacity` (August without a licence: 5).
	Capacity int

	Organizations []Organization // default: one
	Users         []User         // default: ada and bob, both with agents-access
	Models        []Model        // default: Fake Model (default), Fake Model 2, and a disabled one
	NoModels      bool           // no provider at all
	MCPServers    []uuid.UUID    // ids accepted in mcp_server_ids
	Workspaces    []Workspace
	// UsageLimit, if set, is exceeded: create, send, edit and regenerate answer 409.
	UsageLimit *UsageLimit

	// StableTitles makes a regenerated title equal the automatic one, as in 05/067.
	StableTitles bool
	// RawToolArgs leaves the marker NOTITLE in a tool call's arguments and so
	// makes them invalid JSON, as in 05/024-030; no other generation was recorded so.
	RawToolArgs bool

	// LastMessageID and LastQueuedID are the ids given out before the start.
	LastMessageID, LastQueuedID int64

	// Desktop backs stream/desktop: the RFB side of one viewer. Nil: chats have
	// workspaces without a desktop.
	Desktop func(ctx context.Context, chat uuid.UUID) (net.Conn, error)
	// Git backs stream/git: what it sends is what clients get, until it closes
	// or ctx ends. Nil: the chat's own in-memory repository.
	Git func(ctx context.Context, chat uuid.UUID) (<-chan GitMessage, error)

	Logger *slog.Logger // default: discards
}

// User is somebody who may sign in with Token.
type User struct {
	ID             uuid.UUID
	Username, Name string
	Token          string
	OrganizationID uuid.UUID
	Owner          bool // of the site: sees and patches everybody's chats
	AgentsAccess   bool // may create chats and upload files
}

// Organization is one that users are members of.
type Organization struct {
	ID                uuid.UUID
	Name, DisplayName string
	Default           bool
}

// Model is one model config.
type Model struct {
	ID                uuid.UUID
	Provider          string // default openai-compat
	Name, DisplayName string
	Disabled, Default bool
	ReasoningEfforts  []string
	Config            json.RawMessage // model_config; default: made of ReasoningEfforts
	ContextLimit      int             // tokens; default 200,000
	ProviderConfigID  uuid.UUID
}

// UsageLimit is the body of a 409 "Chat usage limit exceeded.".
type UsageLimit struct {
	SpentMicros int64     `json:"spent_micros"`
	LimitMicros int64     `json:"limit_micros"`
	ResetsAt    time.Time `json:"resets_at"`
}

// fixedID gives the simulator's own ids the same value in every run.
func fixedID(name string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("coder-chats-mcp/simulator/"+name))
}

func (o Options) withDefaults() Options {
	if o.Generation == "" {
		o.Generation = V238
	}
	o.RawToolArgs = o.RawToolArgs && o.Generation == May2026
	if o.RateLimit == 0 {
		o.RateLimit = 512
	}
	if o.FileRateLimit == 0 {
		o.FileRateLimit = 12
	}
	if o.TokenDelay == 0 {
		o.TokenDelay = 12 * time.Millisecond
	}
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.Organizations) == 0 {
		o.Organizations = []Organization{{ID: fixedID("organization"), Name: "coder", DisplayName: "Coder", Default: true}}
	}
	home := o.Organizations[0].ID
	if len(o.Users) == 0 {
		o.Users = []User{
			{ID: fixedID("ada"), Username: "ada", Name: "Ada", Token: "simulator-user-1", AgentsAccess: true},
			{ID: fixedID("bob"), Username: "bob", Name: "Bob", Token: "simulator-user-2", AgentsAccess: true},
		}
	}
	o.Users = append([]User(nil), o.Users...)
	for i := range o.Users {
		if o.Users[i].ID == uuid.Nil {
			o.Users[i].ID = fixedID(o.Users[i].Username)
		}
		if o.Users[i].OrganizationID == uuid.Nil {
			o.Users[i].OrganizationID = home
		}
	}
	if o.NoModels {
		o.Models = nil
	} else if len(o.Models) == 0 {
		o.Models = []Model{
			{ID: fixedID("model-3"), Name: "fake-disabled", DisplayName: "Fake disabled", Disabled: true},
			{ID: fixedID("model-1"), Name: "fake-model", DisplayName: "Fake Model", Default: true},
			{ID: fixedID("model-2"), Name: "fake-model-2", DisplayName: "Fake Model 2",
				ReasoningEfforts: []string{"none", "minimal", "low", "medium", "high"}},
		}
	}
	o.Models = append([]Model(nil), o.Models...)
	for i := range o.Models {
		m := &o.Models[i]
		if m.Provider == "" {
			m.Provider = "openai-compat"
		}
		if m.ProviderConfigID == uuid.Nil {
			m.ProviderConfigID = fixedID("provider " + m.Provider)
		}
		if m.ContextLimit == 0 {
			m.ContextLimit = 200_000
		}
	}
	return o
}
