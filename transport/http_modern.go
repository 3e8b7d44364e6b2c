package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	"github.com/mark3labs/mcp-go/mcp"
)

// postModern serves a message of protocol 2026-07-28, where every request stands alone: its session is its own, no one
// else can cancel it, and the end of its connection does.
func (h *HTTPHandler) postModern(x *exchange, m *message) error {
	if m.isResponse() {
		return &HTTPError{Status: http.StatusBadRequest, Message: "protocol 2026-07-28 has no requests to the client: nothing was asked"}
	}
	if m.ID == nil {
		x.w.WriteHeader(http.StatusAccepted)
		return nil
	}
	if bad := h.checkModern(x, m); bad != nil {
		writeJSON(x.w, http.StatusBadRequest, encodeError(m.ID, bad))
		return nil
	}
	if m.listens() {
		return h.postListen(x, m)
	}
	if err := h.join(&h.posts); err != nil {
		return err
	}
	defer h.posts.done()
	s := h.core.newSession(x.ctx, "")
	s.identity, s.overHTTP, s.level = x.identity, true, m.meta.LogLevel
	st := &stream{box: s.out}
	r, refused := s.begin(x.ctx, m, st.box)
	if refused != nil {
		return h.refuseRequest(x, m, refused)
	}
	h.track(s)
	c := st.attach()
	h.posts.add()
	h.crew.run(func() {
		defer h.posts.done()
		defer h.untrack(s)
		s.open()
		r.finish(h.core.serve(r, m))
		s.close(ErrSessionOver)
	})
	if err := h.pour(x, st, c, 0); err != nil {
		s.cancelRequest(m.ID, h.lost(err))
		st.box.close() // nobody takes what is in it any more, so nothing may wait for room
	}
	return nil
}

// lost is why a request ends whose connection ended before its answer. While the server stops, a proxy in front of it cuts
// connections that no client has given up.
func (h *HTTPHandler) lost(err error) error {
	switch {
	case h.closing.Load():
		return errStopping
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errNotTaken
	}
	return ErrCancelled
}

// postListen serves subscriptions/listen. It needs no goroutine besides those of the connection.
func (h *HTTPHandler) postListen(x *exchange, m *message) error {
	if err := h.join(&h.listening); err != nil {
		return err
	}
	defer h.listening.done()
	if err := h.admit(x.identity); err != nil {
		return err
	}
	defer h.leave(x.identity)
	s := h.core.newSession(x.ctx, "")
	s.identity, s.overHTTP, s.level = x.identity, true, m.meta.LogLevel
	defer s.close(ErrSessionOver)
	r, refused := s.begin(x.ctx, m, s.out)
	if refused != nil {
		return h.refuseRequest(x, m, refused)
	}
	h.track(s)
	defer h.untrack(s)
	stop := context.AfterFunc(x.r.Context(), func() {
		s.cancelRequest(m.ID, ErrCancelled)
		s.cancel(ErrCancelled) // for a hook that takes its time
	})
	defer stop()
	s.open()
	st := &stream{box: s.out}
	c := st.attach()
	// In a goroutine of its own, so that this one, which stays, keeps a small stack.
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if bad := s.listen(r, m); bad != nil {
			r.finish(bad)
			return
		}
		s.leave()
	}()
	<-opened
	if err := h.pour(x, st, c, 0); err != nil {
		s.cancelRequest(m.ID, ErrCancelled)
	}
	return nil
}

// checkModern checks what must agree between headers and body.
func (h *HTTPHandler) checkModern(x *exchange, m *message) *Error {
	mismatch := func(text string) *Error { return &Error{Code: mcp.HEADER_MISMATCH, Message: text} }
	version := m.meta.Version
	switch {
	case x.r.Header.Get(mcp.HeaderLastEventID) != "":
		return mismatch("streams can't be resumed in protocol 2026-07-28: repeat the request with a new id")
	case x.version == "":
		return mismatch("the header " + mcp.HeaderProtocolVersion + " is missing")
	case version == "":
		return &Error{Code: mcp.INVALID_PARAMS, Message: "params._meta lacks " + mcp.MetaKeyProtocolVersion}
	case x.version != version:
		return mismatch("the header " + mcp.HeaderProtocolVersion + " and params._meta name different protocol versions")
	case !mcp.IsValidProtocolVersion(version):
		return nil // mcp-go's own answer lists the versions it knows
	}
	if err := mcp.ValidateStandardHeaders(x.r.Header.Get, version, mcp.MCPMethod(m.Method), m.Params); err != nil {
		return mismatch(err.Error())
	}
	tool := h.core.mcp.GetTool(m.meta.Name)
	if m.Method != string(mcp.MethodToolsCall) || tool == nil {
		return nil
	}
	if err := mcp.ValidateParamHeadersLookup(x.header, &tool.Tool, m.Params); err != nil {
		return mismatch(err.Error())
	}
	return nil
}

func (x *exchange) header(name string) (string, bool) {
	values := x.r.Header.Values(name)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// modernStatus is the HTTP status that protocol 2026-07-28 gives to a response.
func modernStatus(response []byte) int {
	var e struct {
		Error *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(response, &e) != nil || e.Error == nil {
		return http.StatusOK
	}
	switch e.Error.Code {
	case mcp.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case mcp.INVALID_PARAMS, mcp.INVALID_REQUEST, mcp.PARSE_ERROR, mcp.HEADER_MISMATCH,
		mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, mcp.UNSUPPORTED_PROTOCOL_VERSION:
		return http.StatusBadRequest
	default:
		return http.StatusOK
	}
}
