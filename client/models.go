package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Models are the providers and models that the caller can see.
type Models struct {
	Providers            []ModelProvider   `json:"providers"`
	UnsupportedProviders []json.RawMessage `json:"unsupported_providers"`
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

// ListModelConfigs lists the configured models that the caller may use (beyond the reference: GET .../model-configs).
func (c *Client) ListModelConfigs(ctx context.Context) ([]ModelConfig, error) {
	var configs []ModelConfig
	err := c.do(ctx, call{op: opListModelConfigs, path: []string{"model-configs"}, out: &configs})
	return configs, err
}
