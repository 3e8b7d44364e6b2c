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
	More        int                   `json:"more,omitempty"` // so many were left out for size: the resource of the models has them
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
	if err != nil && !lacks(err) {
		return nil, err
	}
	models, err := c.ListModels(ctx)
	if err != nil && !(lacks(err) && len(configs) > 0) {
		return nil, err
	}
	if err != nil {
		models = &client.Models{} // what can be chosen from is known all the same
	}
	return modelsOf(configs, models), nil
}

// lacks reports that the server has no such list, or none for this caller.
func lacks(err error) bool {
	kind := client.KindOf(err)
	return kind == client.KindUnsupported || kind == client.KindForbidden
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

// Row is the model as one line.
func (m Model) Row() string {
	line := fmt.Sprintf("%s %s (%s)", id(m.ID), Inline(m.Name, 80), Word(strings.Trim(m.Provider+":"+m.Model, ":")))
	if m.Default {
		line += " default"
	}
	if m.Context > 0 {
		line += fmt.Sprintf(", %d tokens", m.Context)
	}
	return strings.TrimSpace(line)
}

// Text is a line for each model.
func (m *Models) Text() string {
	var lines []string
	for _, model := range m.Models {
		lines = append(lines, model.Row())
	}
	if m.More > 0 {
		lines = append(lines, fmt.Sprintf("(%s left out for size: resource coder://chats/models)", Count(m.More, "model")))
	}
	if len(lines) == 0 {
		lines = append(lines, "No models are configured on this deployment; an administrator adds them.")
	}
	for _, p := range m.Unavailable {
		lines = append(lines, fmt.Sprintf("unavailable: %s (%s)", Word(p.Provider), reasonOf(p.Reason)))
	}
	return strings.Join(lines, "\n")
}

func reasonOf(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return Word(reason)
}
