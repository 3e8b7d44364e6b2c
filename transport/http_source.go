package transport

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// checkSource refuses pages and names that were not meant to reach this server.
func (h *HTTPHandler) checkSource(x *exchange) error {
	if !h.KnownHost(x.r) {
		return &HTTPError{Status: http.StatusForbidden, Message: "this server does not answer to the Host " + strconv.Quote(x.r.Host)}
	}
	origin := x.r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if slices.Contains(h.o.AllowedOrigins, origin) {
		x.w.Header().Set("Access-Control-Allow-Origin", origin)
		x.w.Header().Set("Access-Control-Expose-Headers", mcp.HeaderSessionID+", WWW-Authenticate, Retry-After")
		x.w.Header().Add("Vary", "Origin")
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !(strings.EqualFold(u.Host, x.r.Host) || isLoopback(u.Host) && isLoopback(x.r.Host)) {
		return &HTTPError{Status: http.StatusForbidden, Message: "pages of the origin " + strconv.Quote(origin) + " may not use this server"}
	}
	return nil
}

// HeaderMoved marks an answer that says that the session is going to another replica: the request was not looked at, and
// can be sent again.
const HeaderMoved = "X-Mcp-Session-Moved"

type passedOnKey struct{}

// PassedOn marks a request whose Host another replica, which passed it on, has checked with KnownHost.
func PassedOn(ctx context.Context) context.Context {
	return context.WithValue(ctx, passedOnKey{}, true)
}

// KnownHost reports whether the request was meant for this server, by its Host. A client of HTTP/1.0 may send none.
func (h *HTTPHandler) KnownHost(r *http.Request) bool {
	name := hostname(r.Host)
	if r.Host == "" || isLoopback(r.Host) || r.Context().Value(passedOnKey{}) != nil {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && hostname(local.String()) == name {
		return true
	}
	return slices.ContainsFunc(h.o.AllowedHosts, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, r.Host) || strings.EqualFold(allowed, name)
	})
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(hostport string) bool {
	host := hostname(hostport)
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

// Beside serves next at another path of the same server with the checks of Host and Origin, and with the CORS, that h has.
func (h *HTTPHandler) Beside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{w: w, r: r}
		err := h.checkSource(x)
		if err == nil && r.Method == http.MethodOptions {
			err = h.preflight(x, "GET")
		} else if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		if err != nil {
			refuse(w, err)
		}
	})
}

func (h *HTTPHandler) preflight(x *exchange, methods string) error {
	if x.w.Header().Get("Access-Control-Allow-Origin") == "" {
		return &HTTPError{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {methods}}, Message: "cross-origin calls are not enabled"}
	}
	headers := append([]string{"Authorization", "Content-Type", "Accept", mcp.HeaderSessionID, mcp.HeaderProtocolVersion,
		mcp.HeaderLastEventID, mcp.HeaderMethod, mcp.HeaderName}, h.o.AllowedHeaders...)
	x.w.Header().Set("Access-Control-Allow-Methods", methods)
	x.w.Header().Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	x.w.Header().Set("Access-Control-Max-Age", "600")
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
