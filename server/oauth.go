package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"coder-chats-mcp/transport"
)

// metadataPath is where RFC 9728 looks for a resource's metadata: between the host and the path of the resource.
const metadataPath = "/.well-known/oauth-protected-resource"

// metadataPaths are those that the metadata is served at.
func (g *Gateway) metadataPaths() []string {
	paths := []string{metadataPath, metadataPath + Path}
	if u, err := url.Parse(g.options.PublicURL); err == nil && strings.Trim(u.Path, "/") != "" {
		paths = append(paths, metadataPath+"/"+strings.Trim(u.Path, "/")+Path)
	}
	return paths
}

// unauthorized asks for a token. problem is the error code of RFC 6750, empty for a request that brought none.
func (g *Gateway) unauthorized(r *http.Request, problem, message string) error {
	var says []string
	if g.options.OAuth {
		u := g.publicURL(r)
		u.Path = metadataPath + u.Path + Path
		says = append(says, fmt.Sprintf("resource_metadata=%q", u))
	}
	if problem != "" {
		says = append(says, fmt.Sprintf("error=%q", problem))
	}
	challenge := strings.TrimSpace("Bearer " + strings.Join(says, ", "))
	return &transport.HTTPError{Status: http.StatusUnauthorized, Header: http.Header{"WWW-Authenticate": {challenge}}, Message: message}
}

// publicURL is this server's address as the client sees it, without a slash at its end.
func (g *Gateway) publicURL(r *http.Request) *url.URL {
	if u, err := url.Parse(g.options.PublicURL); err == nil && u.Host != "" {
		return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: r.Host}
}

// metadata is OAuth's protected-resource metadata (RFC 9728): tokens come from the Coder deployment.
func (g *Gateway) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"resource": g.publicURL(r).String() + Path, "authorization_servers": []string{strings.TrimSuffix(g.options.Host.URL().String(), "/")},
		"bearer_methods_supported": []string{"header"}, "resource_name": Name,
	})
}
