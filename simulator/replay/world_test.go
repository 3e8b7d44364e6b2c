package replay

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/simulator"
)

// world is what the recorder's server had before its scripts ran, under its own ids.
type world struct {
	organization string
	users        []simulator.User
	tokens       map[string]string // placeholder in the recordings → user name
	models       []simulator.Model // the default one first
	mcpServer    string
}

func model(id, name, display string) simulator.Model {
	return simulator.Model{ID: uuid.MustParse(id), Name: name, DisplayName: display}
}

func member(id, username, name string) simulator.User {
	return simulator.User{ID: uuid.MustParse(id), Username: username, Name: name, Token: tokenOf(username), AgentsAccess: true}
}

// tokenOf gives a token in the shape of a real one: ten characters of key, 22 of secret.
func tokenOf(username string) string {
	return (username + "0000000000")[:10] + "-" + strings.Repeat("s", 21) + username[:1]
}

var worlds = map[string]world{
	may: {
		organization: "8da55fcf-2e54-4a8e-af10-50a1acdd3281",
		users: []simulator.User{
			member("aedd5d3f-99d9-4a06-836a-5f08d7fa559e", "admin", "Admin"),
			member("1e958bd0-7d34-49ad-a781-cb79ed41727d", "bob", "bob"),
			member("c0c0c0c0-0000-4000-8000-000000000003", "carol", "carol"),
		},
		tokens: map[string]string{"<ADMIN_TOKEN>": "admin", "<USER2_TOKEN>": "bob", "<USER3_TOKEN>": "carol"},
		models: []simulator.Model{
			model("02d96fea-9507-4cbd-901e-d40dc5bfeea7", "fake-model", "Fake Model"),
			model("fccdb437-acc1-4bc7-8ebf-d8343ddcc258", "fake-model-2", "Fake Model 2"),
			model("9b113841-fb8c-4d01-9086-1601d4a2eec4", "fake-disabled", "Fake disabled"),
		},
		mcpServer: "d499685b-0820-4043-bb9a-f6e6c0cf155e",
	},
	august: {
		organization: "48331b32-0df6-4a2d-8081-68103905abca",
		users: []simulator.User{
			member("95bbfbe7-d0a7-4c83-a33a-22f470d8346f", "admin", "Admin"),
			member("3a249e13-3a08-4099-a71a-9dc07163b995", "bob", "bob"),
			member("c0c0c0c0-0000-4000-8000-000000000003", "carol", "carol"),
			member("9c73d1b3-7e3c-47d8-882e-dc0c42cb34c2", "dave", "dave"),
		},
		tokens: map[string]string{"<ADMIN_TOKEN>": "admin", "<USER2_TOKEN>": "bob", "<USER3_TOKEN>": "carol", "<USER4_TOKEN>": "dave"},
		models: []simulator.Model{
			model("816b1c63-47ad-4542-a4ab-9c2b5d1483bf", "fake-model", "Fake Model"),
			model("dabac944-6a16-4ed4-8cba-a95f203e1525", "fake-model-2", "Fake Model 2"),
			model("f1e2f808-54a3-445a-b47e-824e667de889", "fake-disabled", "Fake disabled"),
		},
		mcpServer: "bd1a4b83-f6e3-4302-8053-b35463b76889",
	},
}

// owners are the placeholders of the tokens of chats' owners.
var owners = map[string]string{}

func init() {
	for _, w := range worlds {
		for placeholder, username := range w.tokens {
			for _, u := range w.users {
				if u.Username == username {
					owners[u.ID.String()] = placeholder
				}
			}
		}
	}
}

// options are the state in which the server stood when a recording began.
func options(generation string, r Recording) simulator.Options {
	w := worlds[generation]
	o := simulator.Options{
		Generation:    simulator.Generation(generation),
		TokenDelay:    20 * time.Millisecond,
		Organizations: []simulator.Organization{{ID: uuid.MustParse(w.organization), Name: "coder", DisplayName: "Coder", Default: true}},
		Models:        append([]simulator.Model(nil), w.models...),
		Users:         append([]simulator.User(nil), w.users...),
		MCPServers:    []uuid.UUID{uuid.MustParse(w.mcpServer)},
	}
	o.Models[0].Default, o.Models[2].Disabled = true, true
	if generation == august {
		o.Models[1].ReasoningEfforts = []string{"none", "minimal", "low", "medium", "high"}
	}
	o.Models = append(o.Models, otherModels(w, r)...)
	if generation == may {
		o.Models[1].Config = json.RawMessage(`{"cost":{"input_price_per_million_tokens":"1000","output_price_per_million_tokens":"1000"}}`)
		o.Workspaces = workspaces(o.Users[0].ID)
		o.Desktop = desktop
	}
	before := r.Name < "005"
	for i := range o.Users {
		u := &o.Users[i]
		u.OrganizationID = o.Organizations[0].ID
		u.Owner = u.Username == "admin"
		u.AgentsAccess = u.Owner || u.Username == "dave" || u.Username == "bob" && !before // 005 grants bob the role
	}
	_, script, _ := strings.Cut(r.Name, "-")
	switch script {
	case "models-none-configured", "create-no-model-config":
		o.NoModels, o.Models = true, nil
	case "api-rate-limit":
		o.RateLimit = 5
	case "title-regenerate":
		o.StableTitles, o.Speed = true, 0.7
	case "queue-full":
		o.Speed, o.TokenDelay = 0.4, 60*time.Millisecond // much is to be done while the model talks
	case "dynamic-tool", "compact":
		o.Speed, o.TokenDelay = 0.4, 150*time.Millisecond
	case "queue-while-running", "interrupt-message-while-running", "interrupting-status":
		o.Speed, o.TokenDelay = 0.4, 60*time.Millisecond
	case "retry-interrupted":
		o.Speed = 0.3
	case "interrupt-pending":
		o.Speed = 0.2 // the interrupt comes before the first word
	case "ws-heartbeat":
		o.Speed = 10 // pings come every 15 s
	case "retry-429", "retry-500", "retry-529", "retry-after", "error-midstream":
		o.Speed = 10
		if generation == august && script == "retry-429" {
			o.Speed = 20 // it waits for a minute
		}
	}
	o.RawToolArgs = rawToolArgs(generation, r)
	return o
}

// workspaces are the one that most scripts used, its repository before any change, and one whose agent never connected
// (05/079).
func workspaces(owner uuid.UUID) []simulator.Workspace {
	return []simulator.Workspace{
		{
			ID: uuid.MustParse("601bcecb-16a2-413e-847e-e969ca68c91c"), OwnerID: owner,
			BuildID: uuid.MustParse("5a1f0411-887c-4077-8aed-e1473d49dbe6"), AgentID: uuid.MustParse("35337458-b395-4c5f-9392-691916a45943"),
			Files: map[string]string{"file.txt": "one\n"},
		},
		{ID: uuid.MustParse("891c8dcc-790b-4d0d-ae0a-abbcc592bedd"), OwnerID: owner, AgentState: "connecting"},
	}
}

// desktop speaks the first line of RFB and listens until the viewer goes.
func desktop(context.Context, uuid.UUID) (net.Conn, error) {
	viewer, screen := net.Pipe()
	go func() {
		defer screen.Close()
		if _, err := io.WriteString(screen, "RFB 003.008\n"); err == nil {
			_, _ = io.Copy(io.Discard, screen)
		}
	}()
	return viewer, nil
}

// rawToolArgs tells the recordings whose orders call a tool with the marker NOTITLE behind the JSON, which the
// scripted model of May took for a part of it.
func rawToolArgs(generation string, r Recording) bool {
	if generation != may {
		return false
	}
	for _, name := range []string{
		"dynamic-tool", "dynamic-tool-interrupt", "dynamic-tool-archive", "builtin-tool", "ask-user-question",
		"dynamic-tool-collision", "spawn-agent",
	} {
		if _, script, _ := strings.Cut(r.Name, "-"); script == name {
			return true
		}
	}
	return false
}

// otherModels are model configs that a recording uses beside the usual ones; the scripts of August made one for each
// broken provider.
func otherModels(w world, r Recording) []simulator.Model {
	known := map[string]bool{nilUUID: true}
	for _, m := range w.models {
		known[m.ID.String()] = true
	}
	var others []simulator.Model
	for _, s := range r.Steps {
		if s.Kind != "http" || s.Response.Status >= 300 {
			continue
		}
		v, _ := decode(s.Request.Body)
		body, _ := v.(map[string]any)
		id, _ := body["model_config_id"].(string)
		if id == "" || known[id] {
			continue
		}
		known[id] = true
		others = append(others, model(id, "fake-model", "Fake Model"))
	}
	return others
}
