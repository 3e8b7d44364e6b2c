package simulator

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

type providerJSON struct {
	Provider  string      `json:"provider"`
	Available bool        `json:"available"`
	Models    []modelJSON `json:"models"`
}

type modelJSON struct {
	ID          string `json:"id"`
	Provider    string `json:"provider"`
	Model       string `json:"model"`
	DisplayName string `json:"display_name"`
}

// listModels serves GET /chats/models. Its ids are not model config ids, but
// where model-configs is gone they are.
func (s *Server) listModels(c *call) *apiError {
	providers := []*providerJSON{}
	for _, m := range s.options.Models {
		if m.Disabled {
			continue
		}
		i := slices.IndexFunc(providers, func(p *providerJSON) bool { return p.Provider == m.Provider })
		if i < 0 {
			i = len(providers)
			providers = append(providers, &providerJSON{Provider: m.Provider, Available: true})
		}
		id := m.Provider + ":" + m.Name
		if s.gen.modelsPerOrganization {
			id = m.ID.String() // not seen running: without model-configs there is no other place for it
		}
		providers[i].Models = append(providers[i].Models, modelJSON{id, m.Provider, m.Name, m.DisplayName})
	}
	body := map[string]any{"providers": providers}
	if s.gen.newEndpoints {
		body["unsupported_providers"] = []string{}
	}
	c.reply(http.StatusOK, body)
	return nil
}

// listOrganizationModels serves GET /organizations/{organization}/chats/models,
// the models' address since 2.37.
func (s *Server) listOrganizationModels(c *call) *apiError {
	if id, err := uuid.Parse(c.id); err != nil || id != c.user.OrganizationID {
		return notFound()
	}
	return s.listModels(c)
}

type modelConfigJSON struct {
	ID                   uuid.UUID       `json:"id"`
	Provider             string          `json:"provider,omitempty"`
	AIProviderID         *uuid.UUID      `json:"ai_provider_id,omitempty"`
	Model                string          `json:"model"`
	DisplayName          string          `json:"display_name"`
	Enabled              bool            `json:"enabled"`
	IsDefault            bool            `json:"is_default"`
	ContextLimit         int             `json:"context_limit"`
	CompressionThreshold int             `json:"compression_threshold"`
	ModelConfig          json.RawMessage `json:"model_config,omitempty"`
	ReasoningEfforts     []string        `json:"reasoning_efforts,omitempty"`
	CreatedAt            time.Time       `json:"created_at"`
	UpdatedAt            time.Time       `json:"updated_at"`
}

// listModelConfigs serves GET /chats/model-configs: members see the enabled ones.
func (s *Server) listModelConfigs(c *call) *apiError {
	configs := []modelConfigJSON{}
	models := slices.Clone(s.options.Models)
	slices.SortStableFunc(models, func(a, b Model) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Name, b.Name))
	})
	for i := range models {
		if m := &models[i]; !m.Disabled || c.user.Owner {
			configs = append(configs, s.modelConfig(m))
		}
	}
	c.reply(http.StatusOK, configs)
	return nil
}

func (s *Server) modelConfig(m *Model) modelConfigJSON {
	at := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	j := modelConfigJSON{
		ID: m.ID, Model: m.Name, DisplayName: m.DisplayName, Enabled: !m.Disabled, IsDefault: m.Default,
		ContextLimit: m.ContextLimit, CompressionThreshold: compactAbove, ModelConfig: m.Config, CreatedAt: at, UpdatedAt: at,
	}
	if !s.gen.newEndpoints {
		j.Provider = m.Provider
		return j
	}
	j.AIProviderID, j.ReasoningEfforts = &m.ProviderConfigID, m.ReasoningEfforts
	if m.Config == nil && len(m.ReasoningEfforts) > 0 {
		j.ModelConfig = json.RawMessage(`{"reasoning_effort":{"default":"low","max":"high"}}`)
	}
	return j
}

// chooseModel finds the model config to use; nil is the default one. May takes
// disabled ones.
func (s *Server) chooseModel(id *uuid.UUID, creating bool) (*Model, *apiError) {
	if id == nil {
		for i := range s.options.Models {
			if s.options.Models[i].Default {
				return &s.options.Models[i], nil
			}
		}
		return nil, badRequest("No default chat model config is configured.", "")
	}
	if *id == uuid.Nil {
		return nil, badRequest("Invalid model config ID.", "")
	}
	i := slices.IndexFunc(s.options.Models, func(m Model) bool { return m.ID == *id })
	if i >= 0 && !(s.gen.checkModel && s.options.Models[i].Disabled) {
		return &s.options.Models[i], nil
	}
	detail := ""
	if creating && !s.gen.checkModel { // the database speaks (05/008)
		detail = `execute transaction: insert chat: pq: insert or update on table "chats" violates foreign key constraint "chats_last_model_config_id_fkey"`
	}
	return nil, badRequest(s.gen.badModel, detail)
}

func (s *Server) contextLimit(id uuid.UUID) int {
	for _, m := range s.options.Models {
		if m.ID == id {
			return m.ContextLimit
		}
	}
	return 0
}
