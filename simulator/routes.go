package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// call is one authenticated request on its way to a handler.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	user *User
	chat *chat // of {chat} routes
	id   string

	status int
	body   []byte
}

// reply keeps the answer until the handler is done: it is encoded under the
// server's lock, and written to a client that may be slow without it.
func (c *call) reply(status int, body any) { c.status, c.body = status, encode(body) }

// handler answers itself, or returns the error to answer with.
type handler func(*call) *apiError

type route struct {
	method, pattern string // below the mount, "/{chat}/messages/{id}"
	handle          handler
	open            bool // no session needed
}

// router knows the addresses of one generation. Routes below /{chat} are tried
// after the fixed ones, and only once the chat was found: an unknown path below
// a foreign chat is the chat's 404, a POST to /watch an invalid chat UUID (05/058).
type router struct {
	mounts []mount
}

type mount struct {
	prefix string
	routes []route
}

type matched struct {
	pattern string
	route   *route
	params  map[string]string
	allow   []string // methods known at this path when the asked one is not
	chat    bool     // below /{chat}: the UUID comes first
	known   bool     // some mount begins like this
}

func (s *Server) newRouter() *router {
	chats := mount{prefix: s.gen.chats, routes: s.chatRoutes()}
	mounts := []mount{chats, {prefix: "/api/v2", routes: s.siteRoutes()}}
	if s.gen.modelsPerOrganization {
		mounts = append(mounts, mount{prefix: "/api/experimental/chats", routes: []route{
			{method: "GET", pattern: "/{chat}/stream/desktop", handle: s.desktopStream},
			{method: "GET", pattern: "/{chat}/debug/runs", handle: s.debugRuns},
		}})
	}
	return &router{mounts: mounts}
}

func (s *Server) chatRoutes() []route {
	routes := []route{
		{method: "GET", pattern: "/", handle: s.listChats},
		{method: "POST", pattern: "/", handle: s.createChat},
		{method: "GET", pattern: "/watch", handle: s.watch},
		{method: "GET", pattern: "/by-workspace", handle: s.chatsByWorkspace},
		{method: "GET", pattern: "/model-configs", handle: s.listModelConfigs},
		{method: "POST", pattern: "/files", handle: s.uploadFile},
		{method: "GET", pattern: "/files/{id}", handle: s.getFile},
		{method: "GET", pattern: "/{chat}", handle: s.getChat},
		{method: "PATCH", pattern: "/{chat}", handle: s.patchChat},
		{method: "GET", pattern: "/{chat}/messages", handle: s.listMessages},
		{method: "POST", pattern: "/{chat}/messages", handle: s.sendMessage},
		{method: "PATCH", pattern: "/{chat}/messages/{id}", handle: s.editMessage},
		{method: "GET", pattern: "/{chat}/prompts", handle: s.listPrompts},
		{method: "GET", pattern: "/{chat}/diff", handle: s.getDiff},
		{method: "POST", pattern: "/{chat}/interrupt", handle: s.interrupt},
		{method: "POST", pattern: "/{chat}/tool-results", handle: s.submitToolResults},
		{method: "DELETE", pattern: "/{chat}/queue/{id}", handle: s.deleteQueued},
		{method: "POST", pattern: "/{chat}/queue/{id}/promote", handle: s.promoteQueued},
		{method: "POST", pattern: "/{chat}/title/regenerate", handle: s.regenerateTitle},
		{method: "POST", pattern: "/{chat}/title/propose", handle: s.proposeTitle},
		{method: "GET", pattern: "/{chat}/stream", handle: s.stream},
		{method: "GET", pattern: "/{chat}/stream/git", handle: s.gitStream},
		{method: "GET", pattern: "/{chat}/debug/runs", handle: s.debugRuns},
	}
	if !s.gen.modelsPerOrganization {
		routes = append(routes,
			route{method: "GET", pattern: "/models", handle: s.listModels},
			route{method: "GET", pattern: "/{chat}/stream/desktop", handle: s.desktopStream})
	}
	if s.gen.newEndpoints {
		routes = append(routes,
			route{method: "POST", pattern: "/files/{id}/download-url", handle: s.fileDownloadURL},
			route{method: "GET", pattern: "/files/{id}/download", handle: s.downloadFile, open: true},
			route{method: "GET", pattern: "/{chat}/stream/parts", handle: s.streamParts},
			route{method: "POST", pattern: "/{chat}/compact", handle: s.compact},
			route{method: "GET", pattern: "/{chat}/acl", handle: s.getACL},
			route{method: "PATCH", pattern: "/{chat}/acl", handle: s.patchACL},
			route{method: "GET", pattern: "/{chat}/cost", handle: s.getCost},
			route{method: "PUT", pattern: "/{chat}/context", handle: s.refreshContext},
			route{method: "POST", pattern: "/{chat}/reconcile-invalid", handle: s.reconcileInvalid})
	}
	routes = append(routes, s.configRoutes()...)
	slices.SortStableFunc(routes, func(a, b route) int { // fixed names before {chat}
		return cmp.Compare(strings.Count(a.pattern, "/{chat}"), strings.Count(b.pattern, "/{chat}"))
	})
	return routes
}

func (s *Server) siteRoutes() []route {
	routes := []route{
		{method: "GET", pattern: "/buildinfo", handle: s.buildInfo, open: true},
		{method: "GET", pattern: "/users/{id}", handle: s.getUser},
		{method: "GET", pattern: "/users/{id}/organizations", handle: s.listOrganizations},
		{method: "GET", pattern: "/organizations", handle: s.listOrganizations},
		{method: "GET", pattern: "/experiments", handle: s.experiments},
	}
	if s.gen.modelsPerOrganization {
		routes = append(routes, route{method: "GET", pattern: "/organizations/{id}/chats/models", handle: s.listOrganizationModels})
	}
	return routes
}

func (t *router) match(r *http.Request) matched {
	for _, m := range t.mounts {
		tail, ok := strings.CutPrefix(r.URL.Path, m.prefix)
		if !ok || tail != "" && tail[0] != '/' {
			continue
		}
		if found := m.match(r.Method, segments(tail)); found.known {
			return found
		}
	}
	return matched{pattern: "other"}
}

func segments(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func (m mount) match(method string, path []string) matched {
	below := "/" + m.prefix[strings.LastIndexByte(m.prefix, '/')+1:]
	if below == "/v2" {
		below = ""
	}
	found := matched{}
	for i := range m.routes {
		rt := &m.routes[i]
		want := segments(rt.pattern)
		params, ok := bind(want, path)
		if !ok {
			if len(want) > 0 && len(path) > 0 && want[0] == path[0] && subrouters[want[0]] {
				found.known = true
			}
			continue
		}
		if len(want) > 0 && want[0] == "{chat}" && found.known && !found.chat {
			continue // a fixed name won
		}
		found.known = true
		found.params = params
		found.chat = found.chat || len(want) > 0 && want[0] == "{chat}"
		found.pattern = strings.TrimSuffix(below+rt.pattern, "/")
		if rt.method == method {
			found.route, found.allow = rt, nil
			return found
		}
		if len(want) == 1 && want[0] == "watch" {
			found = matched{} // only its GET is fixed
			continue
		}
		found.allow = append(found.allow, rt.method)
	}
	if !found.known && below == "/chats" && len(path) > 0 {
		return matched{known: true, chat: true, params: map[string]string{"chat": path[0]}, pattern: "/chats/{chat}/other"}
	}
	if found.pattern == "" {
		found.pattern = "other"
	}
	found.known = found.known || below == "/chats"
	return found
}

// subrouters are the names below /chats that are never taken for a chat id.
var subrouters = map[string]bool{"files": true, "config": true}

func bind(want, path []string) (map[string]string, bool) {
	if len(want) != len(path) {
		return nil, false
	}
	params := map[string]string{}
	for i, w := range want {
		if name, ok := strings.CutPrefix(w, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = path[i]
		} else if w != path[i] {
			return nil, false
		}
	}
	return params, true
}

// answer goes through the checks in the order of the real server: method and
// path, CSRF, rate limit, session, chat, then the handler.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, m matched) {
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK) // a CORS preflight
		return
	}
	if text := csrf(r); text != "" {
		writeText(w, http.StatusBadRequest, text)
		return
	}
	user, authErr := s.authenticate(r)
	if s.limited(w, r, user, m.route != nil && m.route.open) {
		return
	}
	if !m.known || !m.chat && m.route == nil {
		unrouted(w, m)
		return
	}
	if authErr != nil && (m.route == nil || !m.route.open) {
		challenge(w, r)
		authErr.write(w)
		return
	}
	c := &call{w: w, r: r, user: user, id: m.params["id"]}
	if m.chat {
		if err := s.findChat(c, m.params["chat"]); err != nil {
			err.write(w)
			return
		}
	}
	if m.route == nil {
		unrouted(w, m)
		return
	}
	if err := m.route.handle(c); err != nil {
		err.write(w)
	} else if c.body != nil {
		writeJSON(w, c.status, json.RawMessage(c.body))
	}
}

func unrouted(w http.ResponseWriter, m matched) {
	if len(m.allow) > 0 {
		slices.Sort(m.allow)
		methodNotAllowed(w, m.allow)
		return
	}
	routeNotFound().write(w)
}

// findChat resolves {chat}: 400 for what is no UUID, 404 for a chat that is
// missing or somebody else's. Readers of a shared chat may only look.
func (s *Server) findChat(c *call, text string) *apiError {
	id, err := uuid.Parse(text)
	if err != nil {
		return badRequest(fmt.Sprintf("Invalid UUID %q.", text), err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.chats[id]
	if ch == nil {
		return notFound()
	}
	reader := ch.acl[c.user.ID] != "" && (c.r.Method == http.MethodGet || strings.HasSuffix(c.r.URL.Path, "/acl"))
	if ch.owner.ID != c.user.ID && !c.user.Owner && !reader {
		return notFound()
	}
	c.chat = ch
	return nil
}
