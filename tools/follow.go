package tools

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
	"coder-chats-mcp/relay"
	"coder-chats-mcp/view"
)

type streamChatArgs struct {
	Chat              uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	AfterID           int64     `json:"after_id,omitempty" jsonschema:"minimum=0,description=messages up to here are known to you"`
	WaitSeconds       *float64  `json:"wait_seconds,omitempty" jsonschema:"minimum=0,description=default 45"`
	Until             string    `json:"until,omitempty" jsonschema:"enum=settled,enum=first_event,description=default settled"`
	InterruptOnCancel bool      `json:"interrupt_on_cancel,omitempty"`
}

// streamed is a turn that was followed.
type streamed struct {
	Chat   uuid.UUID     `json:"id"`
	Status client.Status `json:"status"`
	turn
}

var _ = declare(Spec{
	Name: "stream_chat", Title: "Follow chat", Operation: "Stream chat events via WebSockets", Toolset: Messages, Effect: Reads, Idempotent: true, WritingArguments: []string{"interrupt_on_cancel"},
	Description: "Follows a chat until its turn is over and returns the answer. On timed_out call again with after_id.",
}, func(ctx context.Context, s *Session, a streamChatArgs) (*Result, error) {
	o := relay.TurnOptions{AfterID: a.AfterID, UntilFirstEvent: a.Until == "first_event"}
	outcome, err := s.follow(ctx, a.Chat, o, waitArgs{WaitSeconds: a.WaitSeconds, InterruptOnCancel: a.InterruptOnCancel})
	if err != nil {
		return nil, err
	}
	return s.answer(outcome, func(t turn) *Result {
		return textf(streamed{Chat: a.Chat, Status: t.status, turn: t}, "Chat %s. %s", a.Chat, t.text(a.Chat))
	}), nil
})

type watchChatsArgs struct {
	WaitSeconds *float64    `json:"wait_seconds,omitempty" jsonschema:"minimum=0,description=default 45"`
	Kinds       []string    `json:"kinds,omitempty" jsonschema:"description=created status_change title_change summary_change deleted diff_status_change action_required"`
	MaxEvents   int         `json:"max_events,omitempty" jsonschema:"minimum=1,maximum=1000,description=returns after so many; default 20"`
	Chats       []uuid.UUID `json:"chats,omitempty" jsonschema:"format=chat,description=only these"`
}

// watched is what was seen of the caller's chats.
type watched struct {
	Events   []chatEvent `json:"events"`
	TimedOut bool        `json:"timed_out,omitempty"`
}

type chatEvent struct {
	Kind    string             `json:"kind"`
	ID      uuid.UUID          `json:"id"`
	Status  client.Status      `json:"status,omitempty"`
	Title   string             `json:"title,omitempty"`
	Parent  *uuid.UUID         `json:"parent_chat_id,omitempty"`
	Pending []view.PendingCall `json:"pending_calls,omitempty"`
}

func (e chatEvent) row() string {
	row := fmt.Sprintf("%s %s %s %s", e.Kind, e.ID, e.Status, view.Inline(e.Title, 80))
	if e.Parent != nil {
		row += " (subchat of " + e.Parent.String() + ")"
	}
	for _, p := range e.Pending {
		row += fmt.Sprintf("\n- %s %s", view.Word(p.ID), view.Inline(p.Name, 80))
	}
	return row
}

var _ = declare(Spec{
	Name: "watch_chats", Title: "Watch chats", Operation: "Watch chat events for a user via WebSockets", Toolset: Chats, Effect: Reads, Idempotent: true,
	Description: "Reports what happens to your chats from now on, until max_events or the time is up. To wait for answers, await_chats is cheaper.",
}, func(ctx context.Context, s *Session, a watchChatsArgs) (*Result, error) {
	most := a.MaxEvents
	if most == 0 {
		most = 20
	}
	waiting, cancel := context.WithTimeout(ctx, s.wait(a.WaitSeconds, DefaultWait))
	defer cancel()
	tell := narrate(ctx, s.Peer, "watches the chats")
	defer tell.end()
	listener, err := s.Relay.Watch(waiting)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	seen := watched{Events: []chatEvent{}}
	for len(seen.Events) < most {
		event, err := listener.Next(waiting)
		if err != nil {
			if ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded) {
				seen.TimedOut = true
				break
			}
			return nil, err
		}
		if !a.wants(event) {
			continue
		}
		s.Peer.Changed(ctx, event)
		e := chatEvent{Kind: event.Kind, ID: event.Chat.ID, Status: event.Chat.Status, Title: event.Chat.Title, Parent: event.Chat.ParentChatID, Pending: view.Calls(event.ToolCalls)}
		tell.say(e.row())
		seen.Events = append(seen.Events, e)
	}
	return seen.result(s), nil
})

func (a watchChatsArgs) wants(e client.WatchEvent) bool {
	return (len(a.Kinds) == 0 || slices.Contains(a.Kinds, e.Kind)) && (len(a.Chats) == 0 || slices.Contains(a.Chats, e.Chat.ID))
}

func (w watched) result(s *Session) *Result {
	all := len(w.Events)
	w.Events = w.Events[:fitting(w.Events, s.Config.MaxOutputBytes, chatEvent.row)]
	var text strings.Builder
	for _, e := range w.Events {
		text.WriteString(e.row() + "\n")
	}
	if missing := all - len(w.Events); missing > 0 {
		fmt.Fprintf(&text, "(%d more left out for size: list_chats shows the state of all)\n", missing)
	}
	switch {
	case w.TimedOut && all == 0:
		text.WriteString("Nothing happened in that time (timed_out).")
	case w.TimedOut:
		text.WriteString("The wait is over (timed_out).")
	}
	return &Result{Text: strings.TrimSuffix(text.String(), "\n"), Structured: w}
}

type awaitChatsArgs struct {
	Chats             []uuid.UUID `json:"chats" jsonschema:"minItems=1,maxItems=100,format=chat,description=ids or URLs"`
	Until             string      `json:"until,omitempty" jsonschema:"enum=any,enum=all,description=default any"`
	WaitSeconds       *float64    `json:"wait_seconds,omitempty" jsonschema:"minimum=0,description=default 45"`
	Cursor            string      `json:"cursor,omitempty" jsonschema:"description=of the answer before: what it told is not told again"`
	InterruptOnCancel bool        `json:"interrupt_on_cancel,omitempty"`
}

// answerBytes is how much of each chat's answer await_chats gives: an orchestrator that collects ten of them pays for all ten.
const answerBytes = 4_000

// awaited is which chats settled, and which have not.
type awaited struct {
	Settled  []settledChat `json:"settled"`
	Running  []runningChat `json:"running"`
	Missing  []missingChat `json:"missing,omitempty"`
	Cursor   string        `json:"cursor,omitempty"`
	TimedOut bool          `json:"timed_out,omitempty"`
}

type settledChat struct {
	ID     uuid.UUID     `json:"id"`
	Title  string        `json:"title"`
	Status client.Status `json:"status"`
	turn
}

func (c settledChat) row() string {
	return fmt.Sprintf("%s %s\n%s", c.ID, view.Inline(c.Title, 80), c.turn.text(c.ID))
}

type runningChat struct {
	ID               uuid.UUID     `json:"id"`
	Title            string        `json:"title,omitempty"`
	Status           client.Status `json:"status"`
	WaitsForCapacity bool          `json:"waits_for_capacity,omitempty"`
}

type missingChat struct {
	ID    uuid.UUID `json:"id"`
	Error string    `json:"error"`
}

var _ = declare(Spec{
	Name: "await_chats", Title: "Await chats", Toolset: Orchestration, Effect: Reads, Idempotent: true, WritingArguments: []string{"interrupt_on_cancel"},
	Description: "Waits until any (or all) of several chats are done, fail or ask for something. Returns their answers, who still runs, and a cursor for the next call.",
}, func(ctx context.Context, s *Session, a awaitChatsArgs) (*Result, error) {
	for _, chat := range a.Chats {
		s.Peer.Concerns(chat)
	}
	if a.InterruptOnCancel {
		defer s.interruptOn(ctx, a.Chats...)
	}
	waiting, cancel := context.WithTimeout(ctx, s.wait(a.WaitSeconds, DefaultWait))
	defer cancel()
	tell := narrate(ctx, s.Peer, fmt.Sprintf("waits for %d chats", len(a.Chats)))
	defer tell.end()
	result, err := s.Relay.Await(waiting, relay.AwaitRequest{Chats: a.Chats, All: a.Until == "all", Cursor: a.Cursor, Observe: func(e relay.AwaitEvent) {
		tell.say(fmt.Sprintf("%d of %d settled; %s is %s", e.Settled, e.Total, view.Inline(e.Chat.Title, 60), e.Chat.Status))
	}})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	answer := awaited{Settled: []settledChat{}, Running: []runningChat{}, Cursor: result.Cursor, TimedOut: result.TimedOut}
	for _, c := range result.Settled {
		answer.Settled = append(answer.Settled, settledChat{ID: c.Chat.ID, Title: c.Chat.Title, Status: c.Status, turn: turnOf(c.Outcome, s.share(len(result.Settled)))})
	}
	for _, c := range result.Running {
		answer.Running = append(answer.Running, runningChat(c))
	}
	if len(result.Missing) == len(a.Chats) {
		return nil, result.Missing[0].Err // there is nothing to wait for
	}
	for _, c := range result.Missing {
		answer.Missing = append(answer.Missing, missingChat{ID: c.ID, Error: explain(Spec{Name: "await_chats"}, s, c.Err).Text()})
	}
	return &Result{Text: answer.text(), Structured: answer}, nil
})

// share is how many bytes each of so many answers may have.
func (s *Session) share(chats int) int {
	const frame = 300 // of an answer: ids, title, advice
	return max(min(answerBytes, s.Config.MaxOutputBytes/max(chats, 1)-frame), 0)
}

func (a awaited) text() string {
	var b strings.Builder
	for _, c := range a.Settled {
		b.WriteString(c.row() + "\n")
	}
	for _, c := range a.Missing {
		fmt.Fprintf(&b, "%s cannot be waited for: %s\n", c.ID, c.Error)
	}
	if len(a.Running) > 0 {
		b.WriteString("Still running:")
		for _, c := range a.Running {
			fmt.Fprintf(&b, "\n%s %s", c.ID, c.Status)
			if c.WaitsForCapacity {
				b.WriteString(" (waits for capacity)")
			}
		}
		b.WriteString("\n")
	}
	if a.TimedOut {
		b.WriteString("The wait is over (timed_out). ")
	}
	if len(a.Settled)+len(a.Missing)+len(a.Running) == 0 {
		b.WriteString("Nothing new: all of them were at rest before, and told with that cursor.")
	}
	if a.Cursor != "" && len(a.Running) > 0 {
		b.WriteString("Go on with cursor " + a.Cursor)
	}
	return strings.TrimSpace(b.String())
}
