package simulator

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

type userJSON struct {
	ID              uuid.UUID   `json:"id"`
	Username        string      `json:"username"`
	Name            string      `json:"name"`
	Email           string      `json:"email"`
	AvatarURL       string      `json:"avatar_url"`
	Status          string      `json:"status"`
	LoginType       string      `json:"login_type"`
	OrganizationIDs []uuid.UUID `json:"organization_ids"`
	Roles           []roleJSON  `json:"roles"`
	CreatedAt       time.Time   `json:"created_at"`
	LastSeenAt      time.Time   `json:"last_seen_at"`
}

type roleJSON struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
}

// getUser serves GET /api/v2/users/{me|id|name}: the caller, or anybody for an owner.
func (s *Server) getUser(c *call) *apiError {
	u := s.userNamed(c)
	if u == nil {
		return notFound()
	}
	j := userJSON{
		ID: u.ID, Username: u.Username, Name: u.Name, Email: u.Username + "@example.test", Status: "active", LoginType: "password",
		OrganizationIDs: []uuid.UUID{u.OrganizationID}, Roles: []roleJSON{},
		CreatedAt: time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC), LastSeenAt: now(),
	}
	if u.Owner {
		j.Roles = append(j.Roles, roleJSON{"owner", "Owner"})
	}
	c.reply(http.StatusOK, j)
	return nil
}

func (s *Server) userNamed(c *call) *User {
	if c.id == "me" || c.id == "" {
		return c.user
	}
	for i := range s.options.Users {
		u := &s.options.Users[i]
		if (u.Username == c.id || u.ID.String() == c.id) && (u.ID == c.user.ID || c.user.Owner) {
			return u
		}
	}
	return nil
}

type organizationJSON struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	DisplayName string    `json:"display_name"`
	Description string    `json:"description"`
	Icon        string    `json:"icon"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	IsDefault   bool      `json:"is_default"`
}

// listOrganizations serves GET /api/v2/users/{user}/organizations and
// /api/v2/organizations: those of the user.
func (s *Server) listOrganizations(c *call) *apiError {
	u := s.userNamed(c)
	if u == nil {
		return notFound()
	}
	at := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	mine := []organizationJSON{}
	for _, o := range s.options.Organizations {
		if o.ID == u.OrganizationID {
			mine = append(mine, organizationJSON{ID: o.ID, Name: o.Name, DisplayName: o.DisplayName, IsDefault: o.Default, CreatedAt: at, UpdatedAt: at})
		}
	}
	c.reply(http.StatusOK, mine)
	return nil
}

// buildInfo serves GET /api/v2/buildinfo, without a session.
func (s *Server) buildInfo(c *call) *apiError {
	provisioner := "1.17"
	if s.gen.newEndpoints {
		provisioner = "1.18"
	}
	c.reply(http.StatusOK, map[string]any{
		"external_url": "https://github.com/coder/coder", "version": s.gen.version, "dashboard_url": "http://" + c.r.Host,
		"telemetry": false, "workspace_proxy": false, "agent_api_version": "1.0", "provisioner_api_version": provisioner,
		"upgrade_message": "", "deployment_id": fixedID("deployment").String(), "webpush_public_key": "",
	})
	return nil
}

func (s *Server) experiments(c *call) *apiError {
	names := []string{}
	if s.gen.newEndpoints {
		names = append(names, "oauth2", "mcp-server-http")
	}
	c.reply(http.StatusOK, names)
	return nil
}
