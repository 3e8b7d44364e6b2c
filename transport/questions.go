package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// ErrUnsupportedByClient is returned for a question the client didn't declare it can answer.
var ErrUnsupportedByClient = errors.New("the MCP client does not support this")

// Roots asks the client for its roots and remembers them until it says they changed. It returns nil for a client
// without that capability, and for a request of protocol 2026-07-28, which has no requests to the client.
func (s *Session) Roots(ctx context.Context) ([]mcp.Root, error) {
	if r := requestFrom(ctx); s.Capabilities().Roots == nil || r != nil && r.modern {
		return nil, nil
	}
	return s.roots.get(func() ([]mcp.Root, error) {
		var result mcp.ListRootsResult
		err := s.ask(ctx, string(mcp.MethodListRoots), nil, &result)
		return result.Roots, err
	})
}

// Elicit asks the client's user through elicitation/create and waits for the answer. It fails with
// ErrUnsupportedByClient if the client can't, and for a request of protocol 2026-07-28, where a tool asks by a result
// that requires input (server.NewInputRequestBuilder).
func (s *Session) Elicit(ctx context.Context, question mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	if s.Capabilities().Elicitation == nil {
		return nil, fmt.Errorf("elicitation: %w", ErrUnsupportedByClient)
	}
	var result mcp.ElicitationResult
	if err := s.ask(ctx, string(mcp.MethodElicitationCreate), question.Params, &result); err != nil {
		return nil, err
	}
	return &result, nil
}

// RequestElicitation is Elicit, under mcp-go's name.
func (s *Session) RequestElicitation(ctx context.Context, question mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	return s.Elicit(ctx, question)
}

// ListRoots asks for the roots without remembering them; mcp-go calls it.
func (s *Session) ListRoots(ctx context.Context, _ mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	if s.Capabilities().Roots == nil {
		return nil, fmt.Errorf("roots: %w", ErrUnsupportedByClient)
	}
	var result mcp.ListRootsResult
	if err := s.ask(ctx, string(mcp.MethodListRoots), nil, &result); err != nil {
		return nil, err
	}
	return &result, nil
}

// RequestSampling asks the client's model; mcp-go calls it.
func (s *Session) RequestSampling(ctx context.Context, question mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	if s.Capabilities().Sampling == nil {
		return nil, fmt.Errorf("sampling: %w", ErrUnsupportedByClient)
	}
	var result mcp.CreateMessageResult
	if err := s.ask(ctx, string(mcp.MethodSamplingCreateMessage), question.CreateMessageParams, &result); err != nil {
		return nil, err
	}
	content, err := mcp.ParseSamplingContent(result.Content)
	if err != nil {
		return nil, fmt.Errorf("the client's answer: %w", err)
	}
	result.Content = content
	return &result, nil
}

// asked is what the client still owes an answer to. Session.mu guards it.
type asked struct {
	last    int64
	waiting map[int64]chan *message
}

func (s *Session) ask(ctx context.Context, method string, params, result any) error {
	out, r := s.stream(ctx)
	if r != nil && r.modern {
		return fmt.Errorf("%s: %w", method, server.ErrServerInitiatedRequestUnsupported)
	}
	id, answer := s.expectAnswer()
	defer s.stopExpecting(id)
	question, err := encodeRequest(id, method, params)
	if err != nil {
		return err
	}
	if err := out.ask(ctx, question); err != nil {
		return err
	}
	select {
	case m := <-answer:
		return m.answerInto(method, result)
	case <-ctx.Done():
		s.withdraw(out, id, context.Cause(ctx))
		return ctx.Err()
	case <-s.Done():
		return ErrSessionOver
	}
}

func (s *Session) expectAnswer() (int64, chan *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.last++
	if s.asked.waiting == nil {
		s.asked.waiting = map[int64]chan *message{}
	}
	answer := make(chan *message, 1)
	s.asked.waiting[s.asked.last] = answer
	return s.asked.last, answer
}

func (s *Session) stopExpecting(id int64) { s.mu.Lock(); delete(s.asked.waiting, id); s.mu.Unlock() }

// withdraw tells the client that nobody waits for its answer any more.
func (s *Session) withdraw(out *outbox, id int64, reason error) {
	_ = out.notifyNow(notice{method: string(mcp.MethodNotificationCancelled), params: map[string]any{
		"requestId": id, "reason": reason.Error(),
	}})
}

// answer hands a response of the client to whoever asked.
func (s *Session) answer(m *message) {
	id, err := strconv.ParseInt(string(m.ID), 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	waiting := s.asked.waiting[id]
	delete(s.asked.waiting, id)
	s.mu.Unlock()
	if waiting != nil {
		waiting <- m
	}
}

func (m *message) answerInto(method string, result any) error {
	if m.Error != nil {
		var e mcp.JSONRPCErrorDetails
		if json.Unmarshal(m.Error, &e) != nil || e.Message == "" {
			return fmt.Errorf("the client refused %s", method)
		}
		return fmt.Errorf("the client refused %s: %s", method, e.Message)
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		return fmt.Errorf("the client's answer to %s is malformed: %w", method, err)
	}
	return nil
}

// roots remembers what the client answered to roots/list.
type roots struct {
	mu      sync.Mutex
	known   bool
	list    []mcp.Root
	changes int // counts what forget forgot
}

func (c *roots) get(ask func() ([]mcp.Root, error)) ([]mcp.Root, error) {
	list, known, before := c.remembered()
	if known {
		return list, nil
	}
	list, err := ask()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A change that came while the client answered makes the answer good for this once only.
	if c.changes == before {
		c.known, c.list = true, list
	}
	return list, nil
}

func (c *roots) remembered() ([]mcp.Root, bool, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list, c.known, c.changes
}

func (c *roots) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.list = false, nil
	c.changes++
}
