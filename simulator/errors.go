package simulator

import (
	"encoding/json"
	"net/http"
	"strings"
)

// apiError is an answer that is not a success, as the API writes it.
type apiError struct {
	status      int
	Message     string       `json:"message"`
	Detail      string       `json:"detail,omitempty"`
	Validations []validation `json:"validations,omitempty"`
	*UsageLimit
}

type validation struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (e *apiError) write(w http.ResponseWriter) { writeJSON(w, e.status, e) }

func badRequest(message, detail string) *apiError {
	return &apiError{status: http.StatusBadRequest, Message: message, Detail: detail}
}

func conflict(message, detail string) *apiError {
	return &apiError{status: http.StatusConflict, Message: message, Detail: detail}
}

func invalidQuery(v ...validation) *apiError {
	return &apiError{status: http.StatusBadRequest, Message: "Query parameters have invalid values.", Validations: v}
}

func notFound() *apiError {
	return &apiError{status: http.StatusNotFound, Message: "Resource not found or you do not have access to this resource"}
}

func routeNotFound() *apiError {
	return &apiError{status: http.StatusNotFound, Message: "Route not found."}
}

func forbidden() *apiError {
	return &apiError{
		status: http.StatusForbidden, Message: "Forbidden.",
		Detail: "You don't have permission to view this content. If you believe this is a mistake, please contact your administrator or try signing in with different credentials.",
	}
}

func ownerOnly(verb string) *apiError {
	return &apiError{status: http.StatusForbidden, Message: "Only the chat owner may " + verb + "."}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone hears nothing anyway
}

func writeText(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status)
}

// methodNotAllowed answers as the real router does: no body, the methods in Allow.
func methodNotAllowed(w http.ResponseWriter, allow []string) {
	w.Header().Set("Allow", strings.Join(allow, ", "))
	w.WriteHeader(http.StatusMethodNotAllowed)
}
