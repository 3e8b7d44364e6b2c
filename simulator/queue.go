package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

const queueLimit = 20 // messages waiting in one chat

func (s *Server) enqueue(c *chat, parts []part, model uuid.UUID) *queued {
	s.lastQueued++
	c.version++
	q := &queued{ID: s.lastQueued, ChatID: c.id, ModelConfigID: model, Content: parts, CreatedAt: now()}
	c.queue = append(slices.Clone(c.queue), q)
	return q
}

func queuedID(c *call) (int64, *apiError) {
	id, err := strconv.ParseInt(c.id, 10, 64)
	if err != nil {
		return 0, badRequest("Invalid queued message ID.", err.Error())
	}
	return id, nil
}

func (c *chat) queueIndex(id int64) int {
	return slices.IndexFunc(c.queue, func(q *queued) bool { return q.ID == id })
}

func unknownQueued() *apiError {
	return &apiError{status: http.StatusNotFound, Message: "Queued message not found."}
}

// deleteQueued serves DELETE /chats/{chat}/queue/{id}.
func (s *Server) deleteQueued(c *call) *apiError {
	id, err := queuedID(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := c.chat.queueIndex(id)
	if i < 0 && s.gen.queueMustExist {
		return unknownQueued()
	}
	if i >= 0 {
		c.chat.queue = slices.Delete(slices.Clone(c.chat.queue), i, i+1)
		c.chat.version++
	}
	c.chat.publish(c.chat.queueEvent())
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// promoteQueued serves POST /chats/{chat}/queue/{id}/promote: the message goes
// first, and a running turn makes way for it.
func (s *Server) promoteQueued(c *call) *apiError {
	id, err := queuedID(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := c.chat
	i := ch.queueIndex(id)
	switch {
	case i < 0 && s.gen.queueMustExist:
		return unknownQueued()
	case i < 0:
		return &apiError{
			status: http.StatusInternalServerError, Message: "Failed to promote queued message.",
			Detail: fmt.Sprintf("execute transaction: queued message %d not found in chat %s", id, ch.id),
		}
	}
	q := ch.queue[i]
	ch.queue = slices.Insert(slices.Delete(slices.Clone(ch.queue), i, i+1), 0, q)
	if ch.active() {
		if ch.status != statusInterrupting && ch.status != statusPending {
			s.makeWay(ch)
		}
	} else {
		s.settleTurn(ch)
		s.drain(ch, nil)
		s.startTurn(ch)
	}
	c.reply(http.StatusAccepted, map[string]string{"message": "Queued message promotion accepted."})
	return nil
}
