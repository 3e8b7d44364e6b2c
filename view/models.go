package view

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// Models are the models that chats can run on.
type Models struct {
	Models      []Model               `json:"models"`
	Unavailable []UnavailableProvider `json:"unavailable,omitempty"`
}

// Model is one configured model. ID is what create_chat and send_chat_message take; without one the server only names the model.
type Model struct {
	ID        *uuid.UUID `json:"id,omitempty"`
	Name      string     `json:"name"`
	Provider  string     `json:"provider,omitempty"`
	Model     string     `json:"model"`
	Default   bool       `json:"default,omitempty"`
	Context   int64      `json:"context_limit,omitempty"` // tokens
	Reasoning []string   `json:"reasoning_efforts,omitempty"`
}

// UnavailableProvider is a provider whose models cannot be used, and why.
type UnavailableProvider struct {
	Provider string `json:"provider"`
	Reason   string `json:"reason,omitempty"`
}

// ListModels are what a caller can choose from: the model configurations, whose ids create and send take, and the providers that are
// unavailable, with why.
func ListModels(ctx context.Context, c *client.Client) (*Models, error) {
	configs, err := c.ListModelConfigs(ctx)
	if kind := client.KindOf(err); err != nil && kind != client.KindUnsupported && kind != client.KindForbidden {
		return nil, err
	}
	models, err := c.ListModels(ctx)
	if err != nil {
		return nil, err
	}
	return modelsOf(configs, models), nil
}

// modelsOf joins the configurations (whose ids are what counts) with the models' list (which knows the providers' state). Models without a
// configuration are listed too.
func modelsOf(configs []client.ModelConfig, models *client.Models) *Models {
	v := &Models{Models: []Model{}}
	providers, configured := map[string]string{}, map[string]bool{}
	for _, p := range models.Providers {
		if !p.Available {
			v.Unavailable = append(v.Unavailable, UnavailableProvider{Provider: p.Provider, Reason: p.UnavailableReason})
		}
		for _, m := range p.Models {
			providers[m.Model] = p.Provider
		}
	}
	for _, c := range configs {
		if !c.Enabled {
			continue
		}
		configured[c.Model] = true
		v.Models = append(v.Models, Model{
			ID: &c.ID, Name: orDefault(c.DisplayName, c.Model), Provider: orDefault(c.Provider, providers[c.Model]), Model: c.Model,
			Default: c.IsDefault, Context: c.ContextLimit, Reasoning: c.ReasoningEfforts,
		})
	}
	for _, p := range models.Providers {
		for _, m := range p.Models {
			if !configured[m.Model] && p.Available {
				v.Models = append(v.Models, Model{Name: orDefault(m.DisplayName, m.Model), Provider: p.Provider, Model: m.Model})
			}
		}
	}
	return v
}

// Text is a line for each model.
func (m *Models) Text() string {
	var lines []string
	for _, model := range m.Models {
		line := fmt.Sprintf("%s %s (%s)", id(model.ID), Inline(model.Name, 80), Word(strings.Trim(model.Provider+":"+model.Model, ":")))
		if model.Default {
			line += " default"
		}
		if model.Context > 0 {
			line += fmt.Sprintf(", %d tokens", model.Context)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) == 0 {
		lines = append(lines, "No models are configured on this deployment; an administrator adds them.")
	}
	for _, p := range m.Unavailable {
		lines = append(lines, fmt.Sprintf("unavailable: %s (%s)", Word(p.Provider), Line(orDefault(p.Reason, "no reason given"), 500)))
	}
	return strings.Join(lines, "\n")
}
