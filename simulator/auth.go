package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

const sessionName = "coder_session_token"

// sessionToken looks where the API looks, in its order.
func sessionToken(r *http.Request) string {
	if c, err := r.Cookie(sessionName); err == nil && c.Value != "" {
		return c.Value
	}
	if t := r.URL.Query().Get(sessionName); t != "" {
		return t
	}
	if t := r.Header.Get("Coder-Session-Token"); t != "" {
		return t
	}
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	return ""
}

// authenticate finds the user behind a request, or says why there is none.
func (s *Server) authenticate(r *http.Request) (*User, *apiError) {
	token := sessionToken(r)
	if u := s.tokens[token]; u != nil && token != "" {
		return u, nil
	}
	return nil, &apiError{
		status:  http.StatusUnauthorized,
		Message: "You are signed out or your session has expired. Please sign in again to continue.",
		Detail:  s.whyUnknown(token),
	}
}

func (s *Server) whyUnknown(token string) string {
	if token == "" {
		return `Cookie "coder_session_token" or query parameter must be provided.`
	}
	parts := strings.Split(token, "-")
	if len(parts) != 2 {
		return fmt.Sprintf("Invalid API key format: incorrect amount of API key parts, expected 2 got %d", len(parts))
	}
	for known := range s.tokens {
		if strings.HasPrefix(known, parts[0]+"-") {
			return "API key secret is invalid."
		}
	}
	return "API key is invalid."
}

// csrf is the check that hits a client which authenticates by cookie; its
// answers are plain text (05/058).
func csrf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return ""
	}
	c, err := r.Cookie(sessionName)
	if err != nil || r.Header.Get("Authorization") != "" {
		return ""
	}
	switch r.Header.Get("Coder-Session-Token") {
	case c.Value:
		return ""
	case "":
		return "Something is wrong with your CSRF token. Please refresh the page. If this error persists, try clearing your cookies."
	}
	return `CSRF error encountered. Authentication via "coder_session_token" cookie and "Coder-Session-Token" header detected, but the values do not match. ` +
		"To resolve this issue ensure the values used in both match, or only use one of the authentication methods. " +
		"You can also try clearing your cookies if this error persists."
}

func challenge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Www-Authenticate", fmt.Sprintf(
		`Bearer realm="coder", error="invalid_token", error_description="The access token has expired", resource_metadata="http://%s/.well-known/oauth-protected-resource"`, r.Host))
}
