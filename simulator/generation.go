package simulator

import (
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// Generation names a server generation that the simulator can play.
type Generation string

// The generations: the server of May 2026, the one of August 2026, and 2.38,
// which is August's machine at the promoted addresses.
const (
	May2026    Generation = "2026-05"
	August2026 Generation = "2026-08"
	V238       Generation = "2.38"
)

// ParseGeneration reads a generation as written on a command line; "" is the newest.
func ParseGeneration(s string) (Generation, error) {
	switch g := Generation(s); g {
	case "":
		return V238, nil
	case May2026, August2026, V238:
		return g, nil
	}
	return "", fmt.Errorf("unknown server generation %q: use %s, %s or %s", s, May2026, August2026, V238)
}

const (
	statusPending        = "pending"
	statusRunning        = "running"
	statusInterrupting   = "interrupting"
	statusWaiting        = "waiting"
	statusRequiresAction = "requires_action"
	statusError          = "error"
)

// behaviour is everything in which the generations differ. The rest of the
// package asks its fields and never for a generation.
type behaviour struct {
	version string // of GET /buildinfo
	chats   string // where the operations are mounted

	// Addresses.
	modelsPerOrganization bool // models only below an organization, desktop stays at experimental
	newEndpoints          bool // download-url, compact, acl, cost, context, reconcile-invalid
	adminConfig           bool // the admin's routes of May below /chats

	// States.
	started       string // status of a chat whose turn was just asked for
	interrupting  bool   // interrupt goes through `interrupting` and is refused when nothing runs
	archiveActive bool   // a working chat may be archived, which stops it
	archiveChild  bool   // a child may be archived by itself
	titleLock     bool   // 409 while a title is being regenerated
	drainOnSend   bool   // a send to a chat in error promotes the head of its backlog
	resumeOnStop  bool   // interrupt in requires_action lets the model go on

	pickUp time.Duration // until a worker has found a chat that is to run

	// Stream and watch.
	statusTwice    bool // every status arrives from the worker and from pubsub
	partsFirst     bool // snapshot: status, parts, messages; else messages, status, parts
	afterLive      bool // after_id holds back live messages, too
	partBuffer     int  // parts a slow stream may lag behind before some are dropped; 0: none is dropped
	previews       bool // preview_reset, history_reset, and parts with history_version, generation_attempt, seq
	liveToolRows   bool // tool results sent through the API appear on streams
	replayNotices  bool // a late stream gets action_required and error
	watchRunning   bool // watch announces running, and every enqueue
	watchToolCalls bool // watch's action_required carries the calls
	subSummaries   bool // sub-agents announce chat_summary_change
	drainSummary   string
	staleRetry     bool                 // a retry is replayed after its turn was stopped
	compactLate    bool                 // a full context is compacted before the next answer, not after this one
	noTemplates    string               // result of list_templates
	noPong         string               // close reason of a dead peer
	streamGoodbye  websocket.StatusCode // sent on graceful shutdown; 0: bare EOF

	// JSON.
	ownerNames   bool // owner_username, owner_name, shared, summary
	fileSizes    bool
	storedTwice  bool // send answers message and messages
	chunkedParts bool // a partial answer is one text part per chunk
	jsonbText    bool // the model reads tool results as the database prints them
	parsedCalls  bool // execute calls carry parsed_commands; calls carry created_at
	contextRows  bool // the first turn in a workspace stores a context-file row

	// Limits and errors.
	createTooLarge   int   // status of a create body above 256 KiB
	sendLimit        int64 // bytes of a send or edit body; 0: none
	promptLimit      int   // characters of a system prompt; 0: none
	chatFiles        int   // files that one chat links
	queueMustExist   bool  // delete and promote of an unknown queued message: 404
	checkModel       bool  // disabled or unknown models are refused
	moreSearchTerms  bool
	badModel         string
	badMCPServer     string
	authFailed       string
	keyCooldown      bool          // a 401 of the provider is told as a 502 of the gateway
	rateLimitBackoff time.Duration // wait after a 429 without Retry-After; 0: the usual back-off
	notWaiting       string        // detail of tool-results out of turn, with the status in it
}

func behaviourOf(g Generation) behaviour {
	if g == May2026 {
		return may2026()
	}
	b := august2026()
	if g == V238 {
		b.version = "v2.38.0"
		b.chats = "/api/v2/chats"
		b.modelsPerOrganization = true
	}
	return b
}

func may2026() behaviour {
	return behaviour{
		version: "v2.34.0-devel+may", chats: "/api/experimental/chats",
		adminConfig: true,
		started:     statusPending, archiveActive: true, archiveChild: true, titleLock: true,
		pickUp:      3 * time.Millisecond,
		statusTwice: true, partsFirst: true, afterLive: true, partBuffer: 128, watchToolCalls: true,
		drainSummary: "Still working on request",
		noPong:       "Ping failed", streamGoodbye: websocket.StatusNormalClosure,
		contextRows:    true,
		noTemplates:    `{"count":0,"page":1,"templates":[],"total_count":0,"total_pages":1}`,
		createTooLarge: http.StatusBadRequest, promptLimit: 10_000, chatFiles: 20,
		badModel:     "Invalid model config ID.",
		badMCPServer: "One or more MCP server IDs are invalid.",
		authFailed:   "Authentication with OpenAI Compatible failed. Check the API key, permissions, and billing settings.",
		notWaiting:   "Chat status is %q, expected \"requires_action\".",
	}
}

func august2026() behaviour {
	return behaviour{
		version: "v2.36.0-devel+august", chats: "/api/experimental/chats",
		newEndpoints: true,
		started:      statusRunning, interrupting: true, drainOnSend: true, resumeOnStop: true,
		pickUp:   30 * time.Millisecond,
		previews: true, liveToolRows: true, replayNotices: true, watchRunning: true, subSummaries: true,
		noPong:     "liveness probe failed",
		staleRetry: true, compactLate: true,
		noTemplates: `{"next_step":"No templates are available to this chat. Inform the user.","page":1,"templates":[]}`,
		ownerNames:  true, fileSizes: true, storedTwice: true, chunkedParts: true, jsonbText: true, parsedCalls: true,
		createTooLarge: http.StatusRequestEntityTooLarge, sendLimit: 4 << 20, chatFiles: 50,
		queueMustExist: true, checkModel: true, moreSearchTerms: true,
		badModel:         "Invalid model_config_id: model config not found or disabled.",
		badMCPServer:     "One or more MCP server IDs are invalid or disabled.",
		authFailed:       "Authentication with OpenAI Compatible failed. Check the API key and permissions.",
		keyCooldown:      true,
		rateLimitBackoff: time.Minute,
		notWaiting:       "chat status is %q, expected \"requires_action\"",
	}
}
