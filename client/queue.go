package client

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// QueuedMessage is a message that waits for the turn before it. Its id has a sequence of its own, unrelated to message
// ids.
type QueuedMessage struct {
	ID            int64      `json:"id"`
	ChatID        uuid.UUID  `json:"chat_id"`
	ModelConfigID *uuid.UUID `json:"model_config_id"`
	Content       []Part     `json:"content"`
	CreatedAt     time.Time  `json:"created_at"`
}

// DeleteQueuedMessage drops a queued message (beyond the reference: DELETE .../queue/{id}). Servers of May do not say
// when there was none; later ones answer not_found.
func (c *Client) DeleteQueuedMessage(ctx context.Context, id uuid.UUID, queuedID int64) error {
	return c.do(ctx, call{
		op: "delete queued message", method: http.MethodDelete,
		path: chatPath(id, "queue", strconv.FormatInt(queuedID, 10)),
	})
}

// PromoteQueuedMessage runs a queued message next (beyond the reference: POST .../queue/{id}/promote). It is also what
// frees a backlog behind an error. For an unknown id servers of May answer 500, later ones not_found.
func (c *Client) PromoteQueuedMessage(ctx context.Context, id uuid.UUID, queuedID int64) error {
	return c.do(ctx, call{
		op: "promote queued message", method: http.MethodPost,
		path: chatPath(id, "queue", strconv.FormatInt(queuedID, 10), "promote"),
	})
}
