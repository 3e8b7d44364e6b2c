package simulator

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// limiter counts requests per key in windows of a minute that start with a
// key's first request.
type limiter struct {
	window time.Duration

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	reset time.Time
	used  int
}

func (l *limiter) take(key string, limit int) (remaining int, reset time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.buckets[key]
	if b == nil || !now.Before(b.reset) {
		b = &bucket{reset: now.Add(l.window)}
		l.buckets[key] = b
	}
	b.used++
	return max(0, limit-b.used), b.reset, b.used <= limit
}

// limited spends one request of the caller's bucket for this path. The method
// and the query do not matter, ids in the path do, handshakes count (05/084).
func (s *Server) limited(w http.ResponseWriter, r *http.Request, u *User, open bool) bool {
	who, _, _ := net.SplitHostPort(r.RemoteAddr)
	if u != nil {
		who = u.ID.String()
	}
	key := who + " " + r.URL.Path
	if r.Header.Get("X-Coder-Bypass-Ratelimit") != "" {
		if u == nil || !u.Owner {
			writeText(w, http.StatusPreconditionRequired, `"X-Coder-Bypass-Ratelimit" provided but user is not owner`)
			return true
		}
		key = uuid.NewString() // a bucket of its own: the headers are sent all the same
	}
	if s.over(w, key, s.options.RateLimit) {
		return true
	}
	// Files have a second limiter, behind the session where one is needed (05/063, 08/073).
	return (u != nil || open) && strings.Contains(r.URL.Path, "/chats/files") && s.over(w, "file "+key, s.options.FileRateLimit)
}

func (s *Server) over(w http.ResponseWriter, key string, limit int) bool {
	if limit < 0 {
		return false
	}
	remaining, reset, ok := s.limits.take(key, limit)
	w.Header().Set("X-Ratelimit-Limit", strconv.Itoa(limit))
	w.Header().Set("X-Ratelimit-Remaining", strconv.Itoa(remaining))
	w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	if ok {
		return false
	}
	w.Header().Set("Retry-After", "60") // the constant, whatever is left of the window
	(&apiError{
		status:  http.StatusTooManyRequests,
		Message: fmt.Sprintf("You've been rate limited for sending more than %d requests in 1m0s.", limit),
	}).write(w)
	return true
}
