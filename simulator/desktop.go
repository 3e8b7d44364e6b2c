package simulator

import (
	"io"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// desktopStream serves GET /chats/{chat}/stream/desktop: raw RFB in binary
// frames between the client and Options.Desktop. A text frame closes with 1003.
func (s *Server) desktopStream(c *call) *apiError {
	if err := s.checkAgent(c.chat, "Chat has no workspace.", "Agent state is %q, must be connected."); err != nil {
		return err
	}
	if s.options.Desktop == nil {
		return &apiError{
			status: http.StatusInternalServerError, Message: "Failed to start desktop.",
			Detail: "the simulated workspace has no desktop: portabledesktop is not installed",
		}
	}
	k, ctx := s.upgrade(c, "desktop", "Failed to open chat desktop stream.", websocket.CompressionDisabled)
	if k == nil {
		return nil
	}
	defer s.release(k)
	desktop, err := s.options.Desktop(ctx, c.chat.id)
	if err != nil {
		s.options.Logger.Warn("the desktop hook failed", "error", err)
		k.close(websocket.StatusInternalError)
		return nil
	}
	viewer := websocket.NetConn(ctx, k.conn, websocket.MessageBinary)
	defer s.background(ctx, k)()
	defer k.cancel()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(viewer, desktop)
		k.close(websocket.StatusNormalClosure)
	})
	_, _ = io.Copy(desktop, viewer)
	_ = desktop.Close()
	copies.Wait()
	return nil
}
