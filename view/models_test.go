package view_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/client"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/view"
)

func caller(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(url, token, client.Options{Retries: -1})
	require.NoError(t, err)
	t.Cleanup(c.Host().Close)
	return c
}

func TestModelsOfEveryGeneration(t *testing.T) {
	for _, g := range []simulator.Generation{simulator.May2026, simulator.August2026, simulator.V238} {
		t.Run(string(g), func(t *testing.T) {
			sim, err := simulator.Start(simulator.Options{Generation: g})
			require.NoError(t, err)
			t.Cleanup(sim.Close)
			models, err := view.ListModels(t.Context(), caller(t, sim.URL, sim.Users()[0].Token))
			require.NoError(t, err)
			require.Len(t, models.Models, 2, "the disabled one is left out")
			require.Equal(t, "Fake Model", models.Models[0].Name)
			require.True(t, models.Models[0].Default)
			require.NotNil(t, models.Models[0].ID)
			require.Contains(t, models.Text(), fmt.Sprintf(`%s "Fake Model" (openai-compat:fake-model) default`, models.Models[0].ID))

			_, err = view.ListModels(t.Context(), caller(t, sim.URL, "wrong"))
			require.Equal(t, client.KindUnauthorized, client.KindOf(err))
		})
	}
}

func TestADeploymentWithoutModelsSaysSo(t *testing.T) {
	sim, err := simulator.Start(simulator.Options{NoModels: true})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	models, err := view.ListModels(t.Context(), caller(t, sim.URL, sim.Users()[0].Token))
	require.NoError(t, err)
	require.Empty(t, models.Models)
	require.Contains(t, models.Text(), "No models are configured")
	require.JSONEq(t, `{"models":[]}`, encoded(t, models))
}

func TestModelsWithoutAConfigurationAndProvidersWithoutAKey(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/model-configs"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"Forbidden."}`)
		case strings.HasSuffix(r.URL.Path, "/chats/models"):
			_, _ = io.WriteString(w, `{"providers":[
				{"provider":"acme","available":true,"models":[{"id":"acme:one","provider":"acme","model":"one","display_name":"One\u001b"},{"id":"acme:two","provider":"acme","model":"two"}]},
				{"provider":"other","available":false,"unavailable_reason":"user_api_key_required","models":[{"provider":"other","model":"three"}]},
				{"provider":"mute","available":false}]}`)
		case r.URL.Path == "/api/experimental/chats":
			_, _ = io.WriteString(w, `[]`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"Route not found."}`)
		}
	}))
	t.Cleanup(api.Close)
	models, err := view.ListModels(t.Context(), caller(t, api.URL, "token"))
	require.NoError(t, err)
	require.Equal(t, `"One\x1b" (acme:one)
"two" (acme:two)
unavailable: other (user_api_key_required)
unavailable: mute (no reason given)`, models.Text())
	require.JSONEq(t, `{"models":[{"name":"One\u001b","provider":"acme","model":"one"},{"name":"two","provider":"acme","model":"two"}],
		"unavailable":[{"provider":"other","reason":"user_api_key_required"},{"provider":"mute"}]}`, encoded(t, models))
}

func TestWhyThereIsNoDiff(t *testing.T) {
	require.Contains(t, view.WhyNoDiff(&client.Chat{}, &client.Diff{}), "no workspace")
	require.Contains(t, view.WhyNoDiff(&client.Chat{WorkspaceID: &other}, &client.Diff{}), "watch_chat_git")
	require.Equal(t, `branch "a\nb" is pushed and does not differ from where it began.`, view.WhyNoDiff(&client.Chat{WorkspaceID: &other}, &client.Diff{Branch: "a\nb"}))
}

func TestAFailedDiffIsExplained(t *testing.T) {
	c := caller(t, "https://coder.example.com", "token")
	broken := &client.Error{Status: 500, Kind: client.KindUnavailable, Message: "Internal error fetching diff.", Detail: `no token available for "github"`}
	err := view.ExplainDiff(broken, c)
	var explained *view.DiffError
	require.ErrorAs(t, err, &explained)
	require.Equal(t, client.KindForbidden, explained.Kind)
	require.EqualError(t, err, "Coder has no access to the git provider in your name. connect your git account at https://coder.example.com/settings/external-auth, then ask again")
	require.ErrorIs(t, err, broken)

	for _, detail := range []string{"diff too large", "would exceed 4 MiB"} {
		require.ErrorAs(t, view.ExplainDiff(&client.Error{Status: 500, Detail: detail}, c), &explained)
		require.Equal(t, client.KindTooLarge, explained.Kind)
	}
	for _, as := range []error{errors.New("no route"), &client.Error{Status: 404}, &client.Error{Status: 500, Detail: "boom"}} {
		require.Equal(t, as, view.ExplainDiff(as, c))
	}
}
