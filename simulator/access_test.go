package simulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"coder-chats-mcp/simulator"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// office has a site owner, a member, and a member without agents-access.
func office(g simulator.Generation) simulator.Options {
	token := func(n string) string { return (n + "0000000000")[:10] + "-" + strings.Repeat("s", 22) }
	return simulator.Options{Generation: g, Users: []simulator.User{
		{Username: "bob", Token: token("bob"), AgentsAccess: true}, {Username: "admin", Token: token("admin"), Owner: true},
		{Username: "carol", Token: token("carol")},
	}}
}

func TestTwoUsersNeverSeeEachOthersChats(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("mine")
		w.until(id, "waiting")
		require.Empty(t, w.call(1, "GET", "", nil).list(t))
		for _, c := range []struct{ method, path string }{
			{"GET", ""}, {"PATCH", ""}, {"GET", "/messages"}, {"POST", "/messages"}, {"PATCH", "/messages/3"}, {"GET", "/prompts"}, {"GET", "/diff"},
			{"POST", "/interrupt"}, {"POST", "/title/regenerate"}, {"POST", "/tool-results"}, {"DELETE", "/queue/1"}, {"GET", "/stream"}, {"GET", "/stream/git"},
		} {
			a := w.call(1, c.method, "/"+id+c.path, object{})
			require.Equal(t, 404, a.status, c)
			require.JSONEq(t, `{"message":"Resource not found or you do not have access to this resource"}`, string(a.body))
		}
	})
}

func TestASiteOwnerMayLookAndPatchButNotSpeak(t *testing.T) {
	w := start(t, office(simulator.May2026))
	id, _ := w.newChat("bob's NOTITLE")
	w.until(id, "waiting")
	require.Equal(t, 200, w.call(1, "GET", "/"+id, nil).status)
	require.Equal(t, 204, w.call(1, "PATCH", "/"+id, object{"title": "by admin"}).status)
	require.Equal(t, 200, w.call(1, "POST", "/"+id+"/interrupt", nil).status)
	for path, verb := range map[string]string{"/messages": "send messages", "/title/regenerate": "regenerate the title", "/tool-results": "submit tool results", "/title/propose": "propose a title"} {
		a := w.call(1, "POST", "/"+id+path, object{})
		require.Equal(t, 403, a.status)
		require.Equal(t, "Only the chat owner may "+verb+".", a.object(t)["message"])
	}
	require.Equal(t, 403, w.call(1, "PATCH", "/"+id+"/messages/1", object{}).status)
	require.Equal(t, 403, w.call(2, "POST", "", object{"organization_id": w.Users()[0].OrganizationID, "content": text("x")}).status)
	require.Equal(t, 200, w.call(2, "GET", "/models", nil).status)
	require.Len(t, w.call(2, "GET", "/model-configs", nil).list(t), 2)
	require.Len(t, w.call(1, "GET", "/model-configs", nil).list(t), 3)
	require.Equal(t, 403, w.call(0, "GET", "/usage-limits", nil).status)
	require.Equal(t, 404, w.call(0, "GET", "/config/system-prompt", nil).status)
	require.Equal(t, 200, w.call(1, "GET", "/config/system-prompt", nil).status)
}

func TestWhyASessionIsRefused(t *testing.T) {
	w := start(t, office(simulator.August2026))
	for token, detail := range map[string]string{
		"":                                  `Cookie "coder_session_token" or query parameter must be provided.`,
		"bad":                               "Invalid API key format: incorrect amount of API key parts, expected 2 got 1",
		"abcdefghij-abcdefghijklmnopqrstuv": "API key is invalid.", w.Users()[0].Token + "x": "API key secret is invalid.",
	} {
		a := w.call(-1, "GET", "", nil, "Coder-Session-Token", token)
		require.Equal(t, 401, a.status)
		require.Equal(t, detail, a.object(t)["detail"])
		require.Contains(t, a.header.Get("Www-Authenticate"), "Bearer")
	}
	token := w.Users()[0].Token
	cookie := (&http.Cookie{Name: "coder_session_token", Value: token}).String()
	require.Equal(t, 200, w.call(-1, "GET", "", nil, "Authorization", "Bearer "+token).status)
	require.Equal(t, 200, w.call(-1, "GET", "?coder_session_token="+token, nil).status)
	require.Equal(t, 200, w.call(-1, "GET", "", nil, "Cookie", cookie).status)
	a := w.call(-1, "POST", "", object{}, "Cookie", cookie)
	require.Equal(t, 400, a.status)
	require.Contains(t, string(a.body), "Something is wrong with your CSRF token.")
	require.Contains(t, string(w.call(1, "POST", "", object{}, "Cookie", cookie).body), "CSRF error encountered.")
	require.Contains(t, string(w.call(0, "POST", "", object{}, "Cookie", cookie).body), "organization_id is required.")
}

func TestAddresses(t *testing.T) {
	each(t, func(t *testing.T, g simulator.Generation) {
		w := start(t, simulator.Options{Generation: g})
		id, _ := w.newChat("hello")
		for _, c := range []struct {
			method, path string
			status       int
			want         string
		}{
			{"GET", "/not-a-uuid", 400, `{"message":"Invalid UUID \"not-a-uuid\".","detail":"invalid UUID length: 10"}`},
			{"POST", "/watch", 400, `{"message":"Invalid UUID \"watch\".","detail":"invalid UUID length: 5"}`},
			{"GET", "/" + uuid.NewString(), 404, `{"message":"Resource not found or you do not have access to this resource"}`},
			{"GET", "/" + id + "/nope", 404, `{"message":"Route not found."}`},
			{"GET", "/api/experimental/nope", 404, `{"message":"Route not found."}`},
			{"DELETE", "/" + id, 405, ""},
			{"HEAD", "/" + id, 405, ""},
			{"GET", "/" + id + "/tool-results", 405, ""},
			{"GET", "/files", 405, ""},
			{"OPTIONS", "/" + id, 200, ""},
		} {
			a := w.call(0, c.method, c.path, nil)
			require.Equal(t, c.status, a.status, "%s %s", c.method, c.path)
			require.Equal(t, c.want, strings.TrimSpace(string(a.body)))
		}
		require.Equal(t, "GET, PATCH", w.call(0, "DELETE", "/"+id, nil).header.Get("Allow"))
		require.Equal(t, 200, w.call(0, "GET", "/"+strings.ToUpper(id), nil).status)
		require.Equal(t, 200, w.call(0, "GET", "/", nil).status)
		models := "/models"
		if g == simulator.V238 {
			models = fmt.Sprintf("/api/v2/organizations/%s/chats/models", w.Users()[0].OrganizationID)
			require.Equal(t, 404, w.call(0, "GET", "/api/experimental/chats", nil).status)
			require.Equal(t, 404, w.call(0, "GET", "/api/v2/organizations/"+uuid.NewString()+"/chats/models", nil).status)
			require.JSONEq(t, `{"message":"Chat has no workspace."}`, string(w.call(0, "GET", "/api/experimental/chats/"+id+"/stream/desktop", nil).body))
			require.Equal(t, 404, w.call(0, "GET", "/"+id+"/stream/desktop", nil).status)
		} else {
			require.Equal(t, 404, w.call(0, "GET", "/api/v2/chats", nil).status)
		}
		provider := w.call(0, "GET", models, nil).object(t)["providers"].([]any)[0].(object)
		require.Equal(t, true, provider["available"])
		require.Len(t, provider["models"], 2)
		require.NotEmpty(t, w.call(-1, "GET", "/api/v2/buildinfo", nil).object(t)["version"])
		me := w.call(0, "GET", "/api/v2/users/me", nil).object(t)
		require.Equal(t, "ada", me["username"])
		require.Equal(t, 404, w.call(0, "GET", "/api/v2/users/bob", nil).status)
		require.Equal(t, true, w.call(0, "GET", "/api/v2/users/me/organizations", nil).list(t)[0]["is_default"])
		require.Equal(t, 200, w.call(0, "GET", "/api/v2/experiments", nil).status)
		require.Equal(t, map[bool]int{true: 200, false: 410}[g == simulator.May2026], w.call(0, "GET", "/user-provider-configs", nil).status)
	})
}

func TestRateLimits(t *testing.T) {
	o := office(simulator.May2026)
	o.RateLimit = 5
	w := start(t, o)
	for i := range 5 {
		a := w.call(0, "GET", fmt.Sprint("/models?n=", i), nil)
		require.Equal(t, 200, a.status)
		require.Equal(t, fmt.Sprint(4-i), a.header.Get("X-Ratelimit-Remaining"))
	}
	a := w.call(0, "GET", "/models", nil)
	require.Equal(t, 429, a.status)
	require.Equal(t, "60", a.header.Get("Retry-After"))
	require.JSONEq(t, `{"message":"You've been rate limited for sending more than 5 requests in 1m0s."}`, string(a.body))
	require.Equal(t, 200, w.call(2, "GET", "/models", nil).status, "another user")
	require.Equal(t, 200, w.call(0, "GET", "/model-configs", nil).status, "another path")
	for range 7 {
		require.Equal(t, 200, w.call(1, "GET", "/models", nil, "X-Coder-Bypass-Ratelimit", "true").status)
	}
	require.Equal(t, 428, w.call(2, "GET", "/models", nil, "X-Coder-Bypass-Ratelimit", "true").status)
	o.RateLimit, o.Speed = 1, 1000
	w = start(t, o)
	w.call(0, "GET", "/models", nil)
	eventually(t, "the next window", func() bool { return w.call(0, "GET", "/models", nil).status == 200 })
}

func TestInterceptAnswersFirst(t *testing.T) {
	w := start(t, simulator.Options{})
	w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		rw.WriteHeader(http.StatusBadGateway)
		return true
	})
	require.Equal(t, 502, w.call(0, "GET", "", nil).status)
	w.Intercept(nil)
	require.Equal(t, 200, w.call(0, "GET", "", nil).status)
	require.Equal(t, 2, w.Requests()["GET /chats"])
}

func TestGenerationsAreParsed(t *testing.T) {
	for _, name := range []string{"2026-05", "2026-08", "2.38"} {
		g, err := simulator.ParseGeneration(name)
		require.NoError(t, err)
		require.Equal(t, name, string(g))
	}
	g, err := simulator.ParseGeneration("")
	require.NoError(t, err)
	require.Equal(t, simulator.V238, g)
	_, err = simulator.ParseGeneration("3")
	require.ErrorContains(t, err, "2026-08")
}

func TestASharedChatMayBeRead(t *testing.T) {
	w := start(t, simulator.Options{})
	id, _ := w.newChat("shared")
	w.until(id, "waiting")
	bob := w.Users()[1].ID
	share := func(who any, role string) answer {
		return w.call(0, "PATCH", "/"+id+"/acl", object{"user_roles": object{fmt.Sprint(who): role}})
	}
	require.Equal(t, 204, share(bob, "read").status)
	require.Equal(t, 200, w.call(1, "GET", "/"+id, nil).status)
	require.Equal(t, true, w.get("/" + id)["shared"])
	require.Len(t, w.call(1, "GET", "?q=source:shared_with_me", nil).list(t), 1)
	require.Equal(t, 404, w.call(1, "POST", "/"+id+"/interrupt", nil).status)
	require.Equal(t, 403, w.call(1, "PATCH", "/"+id+"/acl", object{}).status)
	require.Len(t, w.call(1, "GET", "/"+id+"/acl", nil).object(t)["users"], 1)
	for _, a := range []answer{share(bob, "write"), share(uuid.NewString(), "read"), share("zzz", "read"), share(w.Users()[0].ID, "read")} {
		require.Equal(t, 400, a.status)
	}
	require.Equal(t, 204, share(bob, "").status)
	require.Equal(t, 404, w.call(1, "GET", "/"+id, nil).status)
	require.Eventually(t, func() bool { return w.get("/" + id + "/cost")["request_count"] == 3. }, 20*time.Second, 5*time.Millisecond, "the turn, its title, its summary")
	require.Equal(t, 409, w.call(0, "POST", "/"+id+"/reconcile-invalid", nil).status)
	require.Equal(t, 200, w.call(0, "PUT", "/"+id+"/context", nil).status)
	require.Equal(t, "[]\n", string(w.call(0, "GET", "/"+id+"/debug/runs", nil).body))
}
