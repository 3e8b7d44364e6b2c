package client

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/jsonscan"
)

// Models are the providers and models that the caller can see.
type Models struct {
	Providers            []ModelProvider   `json:"providers"`
	UnsupportedProviders []json.RawMessage `json:"unsupported_providers"`
}

// UnmarshalJSON also takes {"models":[...]} without providers, and groups them.
func (m *Models) UnmarshalJSON(data []byte) error {
	type plain Models
	var loose struct {
		*plain
		Models []Model `json:"models"`
	}
	loose.plain = (*plain)(m)
	if err := json.Unmarshal(data, &loose); err != nil {
		return err
	}
	for _, model := range loose.Models {
		i := slices.IndexFunc(m.Providers, func(p ModelProvider) bool { return p.Provider == model.Provider })
		if i < 0 {
			i = len(m.Providers)
			m.Providers = append(m.Providers, ModelProvider{Provider: model.Provider, Available: true})
		}
		m.Providers[i].Models = append(m.Providers[i].Models, model)
	}
	return nil
}

// ModelProvider is one provider with its models; UnavailableReason says why Available is false
// (user_api_key_required, ...).
type ModelProvider struct {
	Provider          string  `json:"provider"`
	Available         bool    `json:"available"`
	UnavailableReason string  `json:"unavailable_reason"`
	Models            []Model `json:"models"`
}

// Model is a model by name. Its ID ("provider:model") is not a model_config_id: those come from ListModelConfigs.
type Model struct {
	ID          string `json:"id"`
	Provider    string `json:"provider"`
	Model       string `json:"model"`
	DisplayName string `json:"display_name"`
}

// ListModels is "List chat models". Servers since 2.37 keep it under an organization: the caller's default one is asked.
func (c *Client) ListModels(ctx context.Context) (*Models, error) {
	models := new(Models)
	if err := c.do(ctx, call{op: opListModels, path: []string{"models"}, out: models}); err != nil {
		return nil, err
	}
	return models, nil
}

// ModelConfig is a configured model; its ID is what create, send and edit take as ModelConfigID.
type ModelConfig struct {
	ID                   uuid.UUID       `json:"id"`
	Provider             string          `json:"provider"` // servers of May
	AIProviderID         *uuid.UUID      `json:"ai_provider_id"`
	Model                string          `json:"model"`
	DisplayName          string          `json:"display_name"`
	Enabled              bool            `json:"enabled"`
	IsDefault            bool            `json:"is_default"`
	ContextLimit         int64           `json:"context_limit"`         // tokens
	CompressionThreshold int             `json:"compression_threshold"` // percent
	ReasoningEfforts     []string        `json:"reasoning_efforts"`
	Config               json.RawMessage `json:"model_config"`
	CreatedAt            time.Time       `json:"created_at"`
	UpdatedAt            time.Time       `json:"updated_at"`
}

// ListModelConfigs lists the configured models that the caller may use (beyond the reference: GET .../model-configs). On
// servers without that address it is the models of the caller's default organization that have a UUID.
func (c *Client) ListModelConfigs(ctx context.Context) ([]ModelConfig, error) {
	var configs modelConfigs
	if err := c.do(ctx, call{op: opListModelConfigs, path: []string{"model-configs"}, out: &configs}); err != nil {
		return nil, err
	}
	if len(configs.list) == 0 && configs.unusable > 0 {
		return nil, &Error{
			Kind: KindUnsupported, Op: opListModelConfigs, Method: http.MethodGet,
			Message: "This Coder server lists its models without the ids that a chat could be created with.",
			hint:    "Leave the model out, and the server's default one runs.",
		}
	}
	return configs.list, nil
}

// modelConfigs come as a list, or as an organization's models: {"models":[...]} or {"providers":[{"models":[...]}]}.
type modelConfigs struct {
	list     []ModelConfig
	unusable int // models whose id is a name, no UUID
}

func (m *modelConfigs) UnmarshalJSON(data []byte) error {
	if i := jsonscan.SkipSpace(data, 0); i < len(data) && data[i] == '[' {
		return json.Unmarshal(data, &m.list)
	}
	type group struct {
		Provider string            `json:"provider"`
		Models   []json.RawMessage `json:"models"`
	}
	var all struct {
		group
		Providers []group `json:"providers"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	m.list = []ModelConfig{}
	for _, g := range append(all.Providers, all.group) {
		for _, raw := range g.Models {
			config := ModelConfig{Provider: g.Provider, Enabled: true}
			if json.Unmarshal(raw, &config) != nil || config.ID == uuid.Nil {
				m.unusable++
				continue
			}
			m.list = append(m.list, config)
		}
	}
	return nil
}
