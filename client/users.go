package client

import (
	"context"
	"slices"

	"github.com/google/uuid"
)

// User is whom a token belongs to.
type User struct {
	ID              uuid.UUID   `json:"id"`
	Username        string      `json:"username"`
	Name            string      `json:"name"`
	OrganizationIDs []uuid.UUID `json:"organization_ids"`

	// DefaultOrganizationID is where chats are created without a named organization: the deployment's default one
	// when the user is a member, else the first.
	DefaultOrganizationID uuid.UUID `json:"-"`
}

// Me is the caller, asked once and remembered for this Client.
func (c *Client) Me(ctx context.Context) (*User, error) {
	if me := c.me.Load(); me != nil {
		return me, nil
	}
	me := new(User)
	if err := c.do(ctx, call{op: "get the token's user", root: true, path: []string{"api", "v2", "users", "me"}, out: me}); err != nil {
		return nil, err
	}
	organization, err := c.defaultOrganization(ctx, me)
	if err != nil {
		return nil, err
	}
	me.DefaultOrganizationID = organization
	c.me.Store(me)
	return me, nil
}

func (c *Client) defaultOrganization(ctx context.Context, me *User) (uuid.UUID, error) {
	if len(me.OrganizationIDs) == 1 {
		return me.OrganizationIDs[0], nil
	}
	organizations, err := c.Organizations(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	for _, o := range organizations {
		if o.IsDefault {
			return o.ID, nil
		}
	}
	if len(organizations) > 0 {
		return organizations[0].ID, nil
	}
	return uuid.Nil, &Error{
		Kind: KindForbidden, Op: "find an organization", Message: "This user belongs to no organization of the Coder deployment, so chats have no place to live.",
		hint: "Name an organization, or ask an administrator for membership.",
	}
}

// Organization is one that the caller belongs to.
type Organization struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	DisplayName string    `json:"display_name"`
	IsDefault   bool      `json:"is_default"`
}

// Organizations are those that the caller belongs to.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	var organizations []Organization
	err := c.do(ctx, call{
		op: "list the user's organizations", root: true,
		path: []string{"api", "v2", "users", "me", "organizations"}, out: &organizations,
	})
	return organizations, err
}

// MemberOf reports whether the user belongs to an organization.
func (u *User) MemberOf(organization uuid.UUID) bool {
	return slices.Contains(u.OrganizationIDs, organization)
}
