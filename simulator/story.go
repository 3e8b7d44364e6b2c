package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"unicode"
)

// story is a small task that the agent carries out in a repository of its own,
// for whoever watches a prompt without an order.
type story struct {
	title   string
	thought string
	file    string // read, then edited
	plan    string // said before the edit
	search  string
	replace string
	command string // run after the edit
	answer  string // %s: the branch
}

var stories = []story{
	{
		title:   "Round prices once, at the end",
		thought: "The totals are off by a cent when several discounts apply. That smells like rounding in the middle of the calculation. I will look at price.go first.",
		file:    "price/price.go",
		plan:    "Total rounds after every item, so the errors add up. I will sum in full precision and round the sum.",
		search:  "\t\ttotal += math.Round(i.Price*float64(i.Count)*100) / 100\n\t}\n\treturn total\n",
		replace: "\t\ttotal += i.Price * float64(i.Count)\n\t}\n\treturn math.Round(total*100) / 100\n",
		command: "go test ./price/",
		answer: "I found the cause in price/price.go: Total rounded each line of the cart before adding it, so carts with many discounted items drifted by a cent or two. " +
			"It now adds in full precision and rounds the sum once. The tests of the package pass, and the change is pushed to %s.",
	},
	{
		title:   "Add a time limit to the HTTP client",
		thought: "A request without a time limit can hang for ever. Let me see how the client is built and where a limit belongs.",
		file:    "client/client.go",
		plan:    "The client is http.DefaultClient, which never gives up. I will give it ten seconds and keep the limit in one place.",
		search:  "func New(base string) *Client {\n\treturn &Client{base: base, http: http.DefaultClient}\n}\n",
		replace: "// timeout is how long one request may take, body included.\nconst timeout = 10 * time.Second\n\nfunc New(base string) *Client {\n\treturn &Client{base: base, http: &http.Client{Timeout: timeout}}\n}\n",
		command: "go test ./client/",
		answer: "Requests can no longer hang: client/client.go now builds its own http.Client with a limit of ten seconds instead of sharing http.DefaultClient. " +
			"The limit is a named constant, so it is easy to change. Tests pass; the branch is %s.",
	},
	{
		title:   "Describe how to run the shop",
		thought: "The README says what the shop is but not how to start it. I will check what is there before I add to it.",
		file:    "README.md",
		plan:    "There is no word on running or testing. I will add a short section with both commands.",
		search:  "A small shop, written to be read.\n",
		replace: "A small shop, written to be read.\n\n## Running\n\n    go run .\n    go test ./...\n\nThe shop listens on port 8080. Set SHOP_ADDR to change that.\n",
		command: "go test ./...",
		answer: "README.md has a new section that says how to run and test the shop, and which variable changes its address. " +
			"I ran both commands to be sure that they are right. You find it on the branch %s.",
	},
	{
		title:   "Refuse empty carts at checkout",
		thought: "Checkout of an empty cart should be an error and not an order of nothing. The check belongs where the order is made.",
		file:    "order/order.go",
		plan:    "Place never looks at the cart's size. I will add an error for it and return it before anything else happens.",
		search:  "func Place(cart []string) (int, error) {\n",
		replace: "// ErrEmptyCart says that there was nothing to order.\nvar ErrEmptyCart = errors.New(\"the cart is empty\")\n\nfunc Place(cart []string) (int, error) {\n\tif len(cart) == 0 {\n\t\treturn 0, ErrEmptyCart\n\t}\n",
		command: "go vet ./order/",
		answer: "order.Place now refuses an empty cart with ErrEmptyCart before it takes an order number, so callers can tell it apart from other failures. " +
			"Nothing else changed. go vet is happy and the change waits on %s.",
	},
}

// repository is what every story starts from.
var repository = map[string]string{
	"README.md": "# shop\n\nA small shop, written to be read.\n\n## Layout\n\n- price: what things cost\n- order: what was ordered\n- client: talks to the warehouse\n",
	"go.mod":    "module shop\n\ngo 1.26\n",
	"price/price.go": "// Package price knows what a cart costs.\npackage price\n\nimport \"math\"\n\n// Item is a line of a cart.\ntype Item struct {\n\tPrice float64\n\tCount int\n}\n\n" +
		"// Total is what the items cost together.\nfunc Total(items []Item) float64 {\n\ttotal := 0.0\n\tfor _, i := range items {\n\t\ttotal += math.Round(i.Price*float64(i.Count)*100) / 100\n\t}\n\treturn total\n}\n",
	"order/order.go": "// Package order takes orders.\npackage order\n\nimport \"errors\"\n\nvar last int\n\n// Place turns a cart into an order and returns its number.\nfunc Place(cart []string) (int, error) {\n" +
		"\tif len(cart) > 100 {\n\t\treturn 0, errors.New(\"the cart is too large\")\n\t}\n\tlast++\n\treturn last, nil\n}\n",
	"client/client.go": "// Package client talks to the warehouse.\npackage client\n\nimport (\n\t\"net/http\"\n\t\"time\"\n)\n\n// Client is one warehouse.\ntype Client struct {\n\tbase string\n\thttp *http.Client\n\tseen time.Time\n}\n\n" +
		"// New makes a client for the warehouse at base.\nfunc New(base string) *Client {\n\treturn &Client{base: base, http: http.DefaultClient}\n}\n",
}

// storyOf picks the story that a chat tells: the one that its first prompt has
// most words of; without any, one by the prompt, so that parallel chats differ.
func storyOf(prompt string) story {
	h := fnv.New32a()
	_, _ = h.Write([]byte(prompt))
	best, most := stories[h.Sum32()%uint32(len(stories))], 0
	for _, s := range stories {
		shared := 0
		for _, word := range strings.FieldsFunc(strings.ToLower(prompt), notLetter) {
			if len(word) > 3 && strings.Contains(strings.ToLower(s.title+s.thought), word) {
				shared++
			}
		}
		if shared > most {
			best, most = s, shared
		}
	}
	return best
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) }

func (c *chat) story() story {
	for _, m := range c.messages {
		if m.Role == "user" && !m.contextRow() && parseOrder(m.prompt(), false).verb == "" {
			return storyOf(m.prompt())
		}
	}
	return stories[0]
}

// storyTitle is the title of a story's chat; "" where no story is told.
func (s *Server) storyTitle(c *chat, prompt string) string {
	if !s.options.Story || parseOrder(prompt, false).verb != "" || c.workspace == nil {
		return ""
	}
	return c.story().title
}

// storyWorkspace is a fresh workspace with the repository in it.
func storyWorkspace(c *chat, prompt string) *workspace {
	id := fixedID("workspace of " + c.id.String())
	slug := strings.ReplaceAll(strings.ToLower(strings.NewReplacer(",", "", ".", "").Replace(storyOf(prompt).title)), " ", "-")
	w := newWorkspace(Workspace{
		ID: id, OwnerID: c.owner.ID, Root: "/home/coder/shop", Branch: "agent/" + slug,
		Origin: "https://github.example.test/acme/shop.git", Files: maps.Clone(repository),
	})
	return w
}

// tell is the story's next reply: read, edit, test and push, tell. A later
// prompt finds the work done and is answered from it.
func (s *Server) tell(c *chat, prompt string, results []*message) *reply {
	st := c.story()
	if c.workspace == nil || c.planMode == "plan" {
		return s.reason(st.thought, fmt.Sprintf("Here is my plan. I read %s. %s Then I run `%s`.", st.file, st.plan, st.command))
	}
	path := c.workspace.root + "/" + st.file
	switch {
	case c.workspace.pushed && len(results) == 0:
		return s.reason("The work is done already; the question is about it.",
			fmt.Sprintf("About your message %q: the change is on %s, in %s. %s", excerpt(prompt), c.workspace.branch, st.file, st.plan))
	case len(results) == 0:
		return s.act(st.thought, "I'll start by reading the code.", "read_file", map[string]string{"path": path})
	case len(results) == 1:
		return s.act("", st.plan, "edit_file", map[string]string{"path": path, "search": st.search, "replace": st.replace})
	case len(results) == 2:
		command := st.command + " && git push -u origin " + c.workspace.branch
		return s.act("", "Now the tests, then I push.", "execute", map[string]string{"command": command})
	}
	return s.say(fmt.Sprintf(st.answer, c.workspace.branch))
}

// act thinks, says and calls one tool.
func (s *Server) act(thought, text, tool string, args map[string]string) *reply {
	r := &reply{}
	raw, _ := json.Marshal(args) // strings marshal
	s.addCall(r, tool, string(raw))
	thinking := s.words("reasoning", thought)
	r.deltas = delayed(3*s.options.TokenDelay, chain(thinking, s.words("text", text), delayed(2*s.options.TokenDelay, s.callDeltas(r.calls))))
	return r
}

// excerpt is the beginning of a prompt, in one line.
func excerpt(prompt string) string {
	line, _, _ := strings.Cut(prompt, "\n")
	if r := []rune(line); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return cmp.Or(line, prompt)
}
