package client_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
)

func TestNewHostValidatesTheURL(t *testing.T) {
	for _, bad := range []string{
		"", "coder.example.com", "ftp://coder.example.com", "https://", "https://user:hunter2@coder.example.com",
		"https://coder.example.com/?x=1", "https://coder.example.com/#top", "http://[::1", "://x",
	} {
		_, err := client.NewHost(bad, client.Options{})
		require.Error(t, err, bad)
		require.Equal(t, client.KindInvalidArgument, client.KindOf(err), bad)
		require.NotContains(t, err.Error(), "hunter2")
		require.Contains(t, err.Error(), "https://coder.example.com")
	}
	for in, want := range map[string]string{
		"https://coder.example.com":          "https://coder.example.com/agents/" + chatID.String(),
		" https://coder.example.com/ ":       "https://coder.example.com/agents/" + chatID.String(),
		"https://example.com/coder":          "https://example.com/coder/agents/" + chatID.String(),
		"http://example.com:8080/a%20b/c///": "http://example.com:8080/a%20b/c/agents/" + chatID.String(),
	} {
		h, err := client.NewHost(in, client.Options{})
		require.NoError(t, err, in)
		require.Equal(t, want, h.ChatURL(chatID))
		require.NotContains(t, h.URL().String(), "///")
	}
	_, err := client.New("nope", token, client.Options{})
	require.Error(t, err)
}

func TestAPathPrefixIsKept(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /coder/api/v2/chats":                                      reply(404, `{"message":"Route not found."}`),
		"GET /coder/api/experimental/chats":                            reply(200, `[]`),
		"GET /coder/api/experimental/chats/" + chatID.String():         reply(200, `{"id":"`+chatID.String()+`"}`),
		"GET /coder/api/experimental/chats/files/" + uuid.Nil.String(): reply(404, `{"message":"x"}`),
	})
	c, err := client.New(p.URL+"/coder/", token, client.Options{})
	require.NoError(t, err)
	defer c.Host().Close()
	chat, err := c.GetChat(t.Context(), chatID)
	require.NoError(t, err)
	require.Equal(t, chatID, chat.ID)
}

func TestTheTokenIsNeverPrinted(t *testing.T) {
	p := newPeer(t, nil)
	c := p.client(t, client.Options{})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		require.NotContains(t, s, token)
		require.Contains(t, s, p.URL)
	}
	_, err := c.ListChats(t.Context(), client.ListChatsRequest{})
	require.NoError(t, err)
	for _, asked := range p.asked {
		require.NotContains(t, asked, token)
	}
	require.Equal(t, []string{token}, p.headers["GET /api/experimental/chats"]["Coder-Session-Token"])
	require.Empty(t, p.headers["GET /api/experimental/chats"].Get("Authorization"))
}

func TestTokensAreTrimmedAndCookiesNotKept(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats": withHeader("Set-Cookie", "csrf_token=abc; Path=/", reply(200, `[]`)),
	})
	c, err := client.New(p.URL, " "+token+"\n", client.Options{})
	require.NoError(t, err)
	defer c.Host().Close()
	for range 2 {
		_, err = c.ListChats(t.Context(), client.ListChatsRequest{})
		require.NoError(t, err)
	}
	require.Equal(t, token, p.headers["GET /api/experimental/chats"].Get("Coder-Session-Token"))
	require.Empty(t, p.headers["GET /api/experimental/chats"].Get("Cookie"))
}

func TestGenerationIsFoundOnceForAllCallers(t *testing.T) {
	release := make(chan struct{})
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/chats": func(w http.ResponseWriter, r *http.Request) {
			<-release
			reply(401, `{"message":"You are signed out."}`)(w, r)
		},
	})
	c := p.client(t, client.Options{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			g, err := c.Host().Client("another").Generation(t.Context())
			require.NoError(t, err)
			require.Equal(t, client.Generation{Prefix: "/api/v2", Version: "v2.99.0-test"}, g)
		})
	}
	close(release)
	wg.Wait()
	require.Equal(t, 1, p.count("GET /api/v2/chats"), "a 401 shows the route, too, and is remembered")
}

func TestGenerationIsNotRememberedWhenTheProbeFailed(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/chats": sequence(
			reply(502, `<html><head><title>502 Bad Gateway</title></head></html>`),
			reply(429, `{"message":"You've been rate limited for sending more than 512 requests in 1m0s."}`),
			reply(404, `{"message":"Route not found."}`),
		),
	})
	c := p.client(t, client.Options{Retries: -1})
	_, err := c.Generation(t.Context())
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	_, err = c.Generation(t.Context())
	require.Equal(t, client.KindRateLimited, client.KindOf(err))
	g, err := c.Generation(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/api/experimental", g.Prefix)
}

func TestAWaitingCallerTakesOverAnAbandonedDiscovery(t *testing.T) {
	arrived := make(chan struct{}, 1)
	hang := func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/chats": sequence(hang, reply(200, `[]`)),
	})
	c := p.client(t, client.Options{})
	first, cancel := context.WithCancel(t.Context())
	firstErr := make(chan error, 1)
	go func() {
		_, err := c.Generation(first)
		firstErr <- err
	}()
	<-arrived
	second := make(chan error, 1)
	go func() {
		_, err := c.Generation(t.Context())
		second <- err
	}()
	brief, cancelBrief := context.WithCancel(t.Context())
	cancelBrief()
	_, err := c.Generation(brief)
	require.ErrorIs(t, err, context.Canceled)
	cancel()
	require.ErrorIs(t, <-firstErr, context.Canceled)
	require.NoError(t, <-second)
}

func TestAServerWithoutChatsIsToldApartFromNoCoder(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats": reply(404, `{"message":"Route not found."}`),
		"GET /api/v2/buildinfo":       reply(200, `{"version":"v2.10.0"}`),
	})
	_, err := p.client(t, client.Options{}).Generation(t.Context())
	require.True(t, client.IsUnsupported(err))
	require.Contains(t, err.Error(), "v2.10.0")

	page := withHeader("Content-Type", "text/html", reply(200, `<html><title>Welcome</title></html>`))
	p = newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats": page, "GET /api/v2/chats": page, "GET /api/v2/buildinfo": page,
	})
	_, err = p.client(t, client.Options{}).ListChats(t.Context(), client.ListChatsRequest{})
	require.True(t, client.IsUnsupported(err))
	require.Contains(t, err.Error(), "no Coder server")
}

func TestAServerThatIsUpgradedUnderUsIsFoundAgain(t *testing.T) {
	chat := reply(200, `{"id":"`+chatID.String()+`"}`)
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats/" + chatID.String(): chat,
	})
	c := p.client(t, client.Options{})
	_, err := c.GetChat(t.Context(), chatID)
	require.NoError(t, err)

	gone := reply(404, `{"message":"Route not found."}`)
	p.set("GET /api/experimental/chats", gone)
	p.set("GET /api/experimental/chats/"+chatID.String(), gone)
	p.set("GET /api/v2/chats", reply(200, `[]`))
	p.set("POST /api/v2/chats/"+chatID.String()+"/interrupt", chat)
	p.set("GET /api/v2/users/me", reply(200, `{"organization_ids":["`+chatID.String()+`"]}`))
	_, err = c.UploadFile(t.Context(), client.UploadFileRequest{Name: "a.txt", Body: strings.NewReader("x")})
	require.Equal(t, client.KindUnavailable, client.KindOf(err), "its body can't be sent again")
	require.Contains(t, err.Error(), "repeat it")
	_, err = c.InterruptChat(t.Context(), chatID)
	require.NoError(t, err)
	g, err := c.Generation(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/api/v2", g.Prefix)
}

func TestAnOperationThatTheServerLacksIsUnsupported(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{})
	c := p.client(t, client.Options{})
	for range 3 {
		_, err := c.ListPrompts(t.Context(), chatID, 0)
		require.True(t, client.IsUnsupported(err))
		require.Contains(t, err.Error(), "v2.99.0-test")
		require.Contains(t, err.Error(), "list chat prompts")
	}
	require.Equal(t, 2, p.count("GET /api/experimental/chats"), "the address is looked up again once, not at every failure")
	require.Equal(t, 3, p.count("GET /api/experimental/chats/"+chatID.String()+"/prompts"))
}

func TestANameThatIsTakenForAChatIsAMissingRoute(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats/model-configs": reply(400, `{"message":"Invalid UUID \"model-configs\".","detail":"invalid UUID length: 13"}`),
	})
	_, err := p.client(t, client.Options{}).ListModelConfigs(t.Context())
	require.True(t, client.IsUnsupported(err))
	require.ErrorContains(t, err, "lacks this operation")
}

func TestModelsWithoutUsableIDs(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/chats":    reply(200, `[]`),
		"GET /api/v2/users/me": reply(200, `{"organization_ids":["`+chatID.String()+`"]}`),
		"GET /api/v2/organizations/" + chatID.String() + "/chats/models": reply(200, `{"providers":[{"provider":"p","models":[{"id":"p:m","model":"m"}]}]}`),
	})
	_, err := p.client(t, client.Options{}).ListModelConfigs(t.Context())
	require.True(t, client.IsUnsupported(err))
	require.ErrorContains(t, err, "Leave the model out")
}

func TestModelsLiveUnderAnOrganizationSince237(t *testing.T) {
	org := uuid.MustParse("8da55fcf-2e54-4a8e-af10-50a1acdd3281")
	id := uuid.MustParse("02d96fea-9507-4cbd-901e-d40dc5bfeea7")
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/chats":    reply(200, `[]`),
		"GET /api/v2/users/me": reply(200, `{"id":"`+id.String()+`","username":"ada","organization_ids":["`+org.String()+`"]}`),
		"GET /api/v2/organizations/" + org.String() + "/chats/models": reply(200, `{"models":[{"id":"`+id.String()+`","provider":"p","model":"m"},{"id":"p:n","provider":"p","model":"n"}]}`),
	})
	c := p.client(t, client.Options{})
	models, err := c.ListModels(t.Context())
	require.NoError(t, err)
	require.Len(t, models.Providers, 1)
	require.Len(t, models.Providers[0].Models, 2)
	configs, err := c.ListModelConfigs(t.Context())
	require.NoError(t, err)
	require.Len(t, configs, 1)
	require.Equal(t, id, configs[0].ID)
	require.Equal(t, 1, p.count("GET /api/v2/users/me"), "the user is asked for once")
	require.Equal(t, 1, p.count("GET /api/experimental/chats/model-configs"))
}

func TestModelsOfTheRecordings(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats/models":        reply(200, `{"providers":[{"provider":"anthropic","available":false,"unavailable_reason":"user_api_key_required","models":[{"id":"anthropic:claude-fake-1","provider":"anthropic","model":"claude-fake-1","display_name":"Fake Claude"}]}],"unsupported_providers":[]}`),
		"GET /api/experimental/chats/model-configs": reply(200, `[{"id":"87d7db4a-902d-464d-bbca-14279c5211b8","ai_provider_id":"70820690-b8c5-4766-89e7-e0ad1ab791fe","model":"m","display_name":"M","enabled":true,"is_default":true,"context_limit":100000,"compression_threshold":70,"reasoning_efforts":["low"]}]`),
	})
	c := p.client(t, client.Options{})
	models, err := c.ListModels(t.Context())
	require.NoError(t, err)
	require.Equal(t, "user_api_key_required", models.Providers[0].UnavailableReason)
	require.Equal(t, "Fake Claude", models.Providers[0].Models[0].DisplayName)
	configs, err := c.ListModelConfigs(t.Context())
	require.NoError(t, err)
	require.True(t, configs[0].IsDefault)
	require.EqualValues(t, 100000, configs[0].ContextLimit)

	p.set("GET /api/experimental/chats/models", reply(200, `"nonsense"`))
	p.set("GET /api/experimental/chats/model-configs", reply(200, `{"models":7}`))
	_, err = c.ListModels(t.Context())
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
	_, err = c.ListModelConfigs(t.Context())
	require.Equal(t, client.KindUnavailable, client.KindOf(err))
}

func TestMeChoosesTheDefaultOrganization(t *testing.T) {
	a, b := uuid.New(), uuid.New()
	me := fmt.Sprintf(`{"id":%q,"username":"ada","organization_ids":[%q,%q]}`, uuid.New(), a, b)
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/users/me":               reply(200, me),
		"GET /api/v2/users/me/organizations": reply(200, fmt.Sprintf(`[{"id":%q},{"id":%q,"is_default":true}]`, a, b)),
	})
	user, err := p.client(t, client.Options{}).Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, b, user.DefaultOrganizationID)
	require.True(t, user.MemberOf(a))

	p.set("GET /api/v2/users/me/organizations", reply(200, fmt.Sprintf(`[{"id":%q}]`, a)))
	user, err = p.client(t, client.Options{}).Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, a, user.DefaultOrganizationID)

	p.set("GET /api/v2/users/me/organizations", reply(200, `[]`))
	_, err = p.client(t, client.Options{}).CreateChat(t.Context(), client.CreateChatRequest{})
	require.ErrorContains(t, err, "no organization")
	require.NotEmpty(t, client.KindOf(err))

	p.set("GET /api/v2/users/me/organizations", reply(403, `{"message":"Forbidden."}`))
	_, err = p.client(t, client.Options{}).Me(t.Context())
	require.Equal(t, client.KindForbidden, client.KindOf(err))

	p.set("GET /api/v2/users/me", reply(401, `{"message":"You are signed out or your session has expired. Please sign in again to continue."}`))
	_, err = p.client(t, client.Options{}).UploadFile(t.Context(), client.UploadFileRequest{Name: "a"})
	require.True(t, client.IsUnauthorized(err))
}

func TestBuildInfo(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/v2/buildinfo": reply(200, `{"version":"v2.38.0","dashboard_url":"http://x","deployment_id":"af4286f4-6b18-480a-a8ad-e48866b30635"}`),
	})
	info, err := p.client(t, client.Options{}).BuildInfo(t.Context())
	require.NoError(t, err)
	require.Equal(t, "v2.38.0", info.Version)
}

func TestATimeoutOfTheHTTPClientBoundsRESTCalls(t *testing.T) {
	p := newPeer(t, map[string]http.HandlerFunc{
		"GET /api/experimental/chats/" + chatID.String(): func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	c := p.client(t, client.Options{HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}})
	_, err := c.GetChat(t.Context(), chatID)
	require.Equal(t, client.KindTimeout, client.KindOf(err))
	require.Equal(t, 1, p.count("GET /api/experimental/chats/"+chatID.String()), "a time-out has cost its time already")
}
