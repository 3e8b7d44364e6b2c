package tools

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/view"
)

var _ = declare(Spec{
	Name: "list_chat_models", Title: "List chat models", Operation: "List chat models", Toolset: Models, Effect: Reads, Idempotent: true,
	Description: "Models that chats can run on. create_chat takes an id or a name of these.",
}, func(ctx context.Context, s *Session, _ struct{}) (*Result, error) {
	models, err := view.ListModels(ctx, s.Client)
	if err != nil {
		return nil, err
	}
	shown := fitting(models.Models, s.Config.MaxOutputBytes, view.Model.Row)
	models.Models, models.More = models.Models[:shown], len(models.Models)-shown
	return &Result{Text: models.Text(), Structured: models}, nil
})

// model is the id of the model configuration that a name stands for: an id, a display name, a model's name or provider:model. Empty is the server's default.
func (s *Session) model(ctx context.Context, name string) (uuid.UUID, error) {
	if name == "" {
		return uuid.Nil, nil
	}
	if id, err := uuid.Parse(name); err == nil {
		return id, nil
	}
	configs, err := s.Client.ListModelConfigs(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	// Servers since August do not name the provider of a configuration.
	provider, qualified, _ := strings.Cut(name, ":")
	var displayed, found []client.ModelConfig
	var names []string
	for _, m := range configs {
		if !m.Enabled {
			continue
		}
		names = append(names, view.Inline(m.DisplayName, 60))
		if strings.EqualFold(name, m.DisplayName) {
			displayed = append(displayed, m)
		}
		if strings.EqualFold(name, m.Model) || strings.EqualFold(qualified, m.Model) && (m.Provider == "" || strings.EqualFold(provider, m.Provider)) {
			found = append(found, m)
		}
	}
	if len(displayed) > 0 { // the name that people see goes before the provider's
		found = displayed
	}
	switch len(found) {
	case 1:
		return found[0].ID, nil
	case 0:
		return uuid.Nil, &Failure{Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("there is no model %q; there are %s", name, strings.Join(names, ", ")), Next: "use one of these names, or leave model out for the default"}
	}
	return uuid.Nil, &Failure{Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("%d models are called %q", len(found), name), Next: "use the id that list_chat_models gives"}
}

// organization is the id of the organization that a name stands for. Empty is the caller's default.
func (s *Session) organization(ctx context.Context, name string) (uuid.UUID, error) {
	if name == "" {
		return uuid.Nil, nil
	}
	if id, err := uuid.Parse(name); err == nil {
		return id, nil
	}
	organizations, err := s.Client.Organizations(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	var names []string
	for _, o := range organizations {
		if strings.EqualFold(name, o.Name) || strings.EqualFold(name, o.DisplayName) {
			return o.ID, nil
		}
		names = append(names, view.Inline(o.Name, 60))
	}
	return uuid.Nil, &Failure{Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("you are in no organization %q; yours: %s", name, strings.Join(names, ", ")), Next: "use one of these, or leave organization out for the default"}
}
