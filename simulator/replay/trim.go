package replay

import (
	"slices"
	"strings"
)

// comparedHeaders are the response headers that clients rely on; the rest of a recorded answer's headers is noise
// (dates, request ids, cookies).
var comparedHeaders = []string{
	"Allow", "Cache-Control", "Content-Disposition", "Content-Type", "Retry-After", "Sec-Websocket-Extensions",
	"Sec-Websocket-Protocol", "Www-Authenticate", "X-Ratelimit-Limit",
}

// settingsRoutes answer with a deployment's settings and bills: nothing that a client of chats reads, and long.
var settingsRoutes = []string{"/chats/config/", "/chats/cost/", "/chats/insights/"}

// Trim drops what a replay does not need: steps that are neither an exchange nor a poll, headers that nobody compares,
// the headers that every client sets by itself, and the texts of settings.
func Trim(r Recording) Recording {
	r.Steps = slices.DeleteFunc(slices.Clone(r.Steps), func(s Step) bool { return s.Kind != "http" && s.Kind != "poll" })
	for i := range r.Steps {
		if r.Steps[i].Kind != "http" {
			continue
		}
		request, response := *r.Steps[i].Request, *r.Steps[i].Response
		request.Headers = without(request.Headers, "Accept", "Host")
		response.Headers = only(response.Headers, comparedHeaders)
		if slices.ContainsFunc(settingsRoutes, func(route string) bool { return strings.Contains(request.Path, route) }) {
			response.Body = nil
		}
		r.Steps[i].Request, r.Steps[i].Response = &request, &response
	}
	r.WebSockets = slices.Clone(r.WebSockets)
	for i := range r.WebSockets {
		s := &r.WebSockets[i]
		s.Request.Headers = without(s.Request.Headers, "Host", "Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key")
		s.Handshake.Headers = only(s.Handshake.Headers, comparedHeaders)
	}
	return r
}

func without(headers map[string]string, names ...string) map[string]string {
	kept := map[string]string{}
	for name, value := range headers {
		if !slices.Contains(names, name) {
			kept[name] = value
		}
	}
	return kept
}

func only(headers map[string]string, names []string) map[string]string {
	kept := map[string]string{}
	for name, value := range headers {
		if slices.Contains(names, name) {
			kept[name] = value
		}
	}
	return kept
}
