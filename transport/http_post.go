package transport

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// read returns the message in the body.
func (h *HTTPHandler) read(x *exchange) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &HTTPError{Status: http.StatusUnsupportedMediaType, Message: "the Content-Type must be application/json"}
	}
	if !accepts(x.r, "application/json") || !accepts(x.r, "text/event-stream") {
		return nil, &HTTPError{Status: http.StatusNotAcceptable, Message: "Accept must name application/json and text/event-stream"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, h.o.MaxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, &HTTPError{Status: http.StatusRequestEntityTooLarge, Message: "a message may have " + strconv.FormatInt(h.o.MaxBody, 10) + " bytes"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &HTTPError{Status: http.StatusRequestTimeout, Message: "the message took too long to arrive"}
	case err != nil:
		return nil, &HTTPError{Status: http.StatusBadRequest, Message: "the message did not arrive whole"}
	}
	return body, nil
}

// accepts reports that the client takes the media type; one that sends no Accept takes all.
func accepts(r *http.Request, media string) bool {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, _, err := mime.ParseMediaType(part)
		if err == nil && (name == media || name == "*/*" || name == kind+"/*") {
			return true
		}
	}
	return false
}

// post serves one message.
func (h *HTTPHandler) post(x *exchange) error {
	body, err := h.read(x)
	if err != nil {
		return err
	}
	m, bad := parse(body)
	if bad != nil {
		writeJSON(x.w, http.StatusBadRequest, encodeError(m.ID, bad))
		return nil
	}
	if m.modern() || mcp.IsModernProtocol(x.version) {
		return h.postModern(x, m)
	}
	if x.version != "" && !mcp.IsValidProtocolVersion(x.version) {
		return &HTTPError{Status: http.StatusBadRequest, Message: "unsupported protocol version " + strconv.Quote(x.version) +
			"; this server knows " + strings.Join(mcp.ValidProtocolVersions, ", ")}
	}
	if m.Method == string(mcp.MethodInitialize) && m.ID != nil {
		return h.initialize(x, m)
	}
	s, err := h.lookup(x)
	if err != nil {
		return err
	}
	defer s.exit()
	switch {
	case m.isResponse():
		s.answer(m)
	case m.ID == nil:
		s.hear(x.ctx, m)
	case inline(m.Method):
		reply := s.handle(x.ctx, m)
		_ = s.save()
		writeJSON(x.w, http.StatusOK, reply)
		return nil
	default:
		return h.call(x, s, m)
	}
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// call runs a request of a session and pours its stream. A lost connection leaves the request running.
func (h *HTTPHandler) call(x *exchange, s *httpSession, m *message) error {
	if err := h.joinSession(&h.posts); err != nil {
		return err
	}
	defer h.posts.done()
	st := s.newStream()
	r, refused := s.begin(x.ctx, m, st.box)
	if refused != nil {
		s.forget(st)
		return h.refuseRequest(x, m, refused)
	}
	st.call = s.recordOf(m, st.name)
	c := st.attach()
	h.posts.add()
	s.run(r, m, st)
	_ = h.pour(x, st, c, http.StatusOK)
	return nil
}

// run serves r in a goroutine of its own, which is one of h.posts already.
func (s *httpSession) run(r *request, m *message, st *stream) {
	h := s.handler
	s.mu.Lock()
	s.uses++
	s.mu.Unlock()
	turn := s.turn(m.Method)
	h.crew.run(func() {
		defer h.posts.done()
		defer s.exit()
		defer turn.end()
		turn.await()
		reply := h.core.serve(r, m)
		if turn.mine != nil {
			_ = s.save() // before the client can turn to another replica
		}
		r.finish(reply)
		st.finished()
	})
}

func (h *HTTPHandler) refuseRequest(x *exchange, m *message, refused *Error) error {
	if refused == errSessionStopping {
		return errShutdown
	}
	status := http.StatusBadRequest
	if refused.Code == codeBusy {
		status = http.StatusTooManyRequests
		x.w.Header().Set("Retry-After", "1")
	}
	writeJSON(x.w, status, encodeError(m.ID, refused))
	return nil
}
