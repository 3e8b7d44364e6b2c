package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

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
	Failure  *Failure    `json:"error,omitempty"` // why it ended early
}

// connectPatience is how long a call may take to connect, even when it waits for less than that.
const connectPatience = 5 * time.Second

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
	wait := s.wait(a.WaitSeconds, DefaultWait)
	tell := narrate(ctx, s.Peer, "watches the chats")
	defer tell.end()
	listener, err := s.watch(ctx, wait)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	seen := watched{Events: []chatEvent{}}
	for len(seen.Events) < most {
		event, err := listener.Next(waiting)
		if err != nil {
			seen.TimedOut = waiting.Err() != nil && !s.Peer.Cancelled(ctx)
			if !seen.TimedOut && len(seen.Events) == 0 {
				return nil, err
			}
			if !seen.TimedOut {
				seen.Failure = explain(Spec{Name: "watch_chats", Effect: Reads}, s, err)
			}
			break
		}
		if !a.wants(event) {
			continue
		}
		s.Peer.Changed(ctx, event)
		e := chatEvent{Kind: event.Kind, ID: event.Chat.ID, Status: event.Chat.Status, Title: event.Chat.Title, Parent: event.Chat.ParentChatID, Pending: view.Calls(event.ToolCalls)}
		view.CutCalls(e.Pending, answerBytes)
		tell.say(e.row())
		seen.Events = append(seen.Events, e)
	}
	return seen.result(s), nil
})

// watch connects to the events of the caller's chats, before a wait begins.
func (s *Session) watch(ctx context.Context, wait time.Duration) (*relay.WatchListener, error) {
	connecting, cancel := context.WithTimeout(ctx, max(wait, connectPatience))
	defer cancel()
	return s.Relay.Watch(connecting)
}

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
	case w.Failure != nil:
		text.WriteString("The watch ended early. " + w.Failure.Text())
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

// titleBytes is the longest title that the API takes: 200 characters.
const titleBytes = 800

// awaited is which chats settled, and which have not.
type awaited struct {
	Settled     []settledChat `json:"settled"`
	MoreSettled int           `json:"more_settled,omitempty"` // the next call with the cursor tells them
	Running     []runningChat `json:"running"`
	MoreRunning int           `json:"more_running,omitempty"`
	Missing     []missingChat `json:"missing,omitempty"`
	MoreMissing int           `json:"more_missing,omitempty"`
	Cursor      string        `json:"cursor,omitempty"`
	TimedOut    bool          `json:"timed_out,omitempty"`
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
	Status           client.Status `json:"status,omitempty"` // "": not seen yet
	WaitsForCapacity bool          `json:"waits_for_capacity,omitempty"`
}

func (c runningChat) row() string {
	row := fmt.Sprintf("%s %s", c.ID, cmp.Or(c.Status, "(not seen yet)"))
	if c.WaitsForCapacity {
		row += " (waits for capacity)"
	}
	return row
}

type missingChat struct {
	ID    uuid.UUID `json:"id"`
	Error string    `json:"error"`
}

func (c missingChat) row() string { return fmt.Sprintf("%s cannot be waited for: %s", c.ID, c.Error) }

var _ = declare(Spec{
	Name: "await_chats", Title: "Await chats", Toolset: Orchestration, Effect: Reads, Idempotent: true, WritingArguments: []string{"interrupt_on_cancel"},
	Description: "Waits until any (or all) of several chats are done, fail or ask for something. Returns their answers, who still runs, and a cursor for the next call.",
}, func(ctx context.Context, s *Session, a awaitChatsArgs) (*Result, error) {
	asked := map[uuid.UUID]bool{}
	for _, chat := range a.Chats {
		asked[chat] = true
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
	if err == nil && s.Peer.Cancelled(ctx) {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(result.Missing) == len(asked):
		return nil, result.Missing[0].Err // there is nothing to wait for
	case len(result.Running) == len(asked) && !slices.ContainsFunc(result.Running, func(c relay.Running) bool { return c.Status != "" }):
		return nil, s.unseen("await_chats", "chats stand")
	}
	answer := s.awaited(result)
	return &Result{Text: answer.text(), Structured: answer}, nil
})

// awaited is the answer within the size that the operator allows. Who settled comes first, but for a quarter each that those who run, and those who are
// missing, have in any case.
func (s *Session) awaited(r relay.AwaitResult) awaited {
	const frame = 700 // the keys of the answer, and what the text says beside rows and cursor
	left := s.Config.MaxOutputBytes - frame - len(r.Cursor)
	running, missing := []runningChat{}, []missingChat(nil)
	for _, c := range r.Running {
		c.Title = brief(c.Title, titleBytes)
		running = append(running, runningChat(c))
	}
	for _, c := range r.Missing {
		missing = append(missing, missingChat{ID: c.ID, Error: explain(Spec{Name: "await_chats", Effect: Reads}, s, c.Err).Text()})
	}
	kept := min(bytesOfRows(running), left/4) + min(bytesOfRows(missing), left/4)
	settled := make([]settledChat, 0, len(r.Settled))
	for _, c := range r.Settled {
		settled = append(settled, settledWithin(c, (left-kept)/len(r.Settled)))
	}
	a := awaited{TimedOut: r.TimedOut}
	a.Settled, a.MoreSettled = rowsWithin(settled, left-kept)
	left -= bytesOfRows(a.Settled)
	a.Missing, a.MoreMissing = rowsWithin(missing, left-min(bytesOfRows(running), left/2))
	left -= bytesOfRows(a.Missing)
	a.Running, a.MoreRunning = rowsWithin(running, left)
	a.Cursor = r.CursorAfter(len(a.Settled))
	return a
}

// settledWithin is the chat in so many bytes, of which its ids and names may need more.
func settledWithin(s relay.Settlement, most int) settledChat {
	for size := min(answerBytes, most); ; {
		c := settledChat{ID: s.Chat.ID, Title: brief(s.Chat.Title, titleBytes), Status: s.Status, turn: turnOf(s.Outcome, size)}
		over := bytesOf(c.row(), c) - most
		if over <= 0 || size <= 0 {
			return c
		}
		size = max(0, size-over)
	}
}

type rower interface{ row() string }

// rowsWithin are as many rows, from the first, as have so many bytes, and how many are left.
func rowsWithin[T rower](rows []T, most int) ([]T, int) {
	n := fitting(rows, most, T.row)
	return rows[:n], len(rows) - n
}

// bytesOfRows is how long the rows are in the longer of their two forms.
func bytesOfRows[T rower](rows []T) int {
	structured, written := 0, 0
	for _, r := range rows {
		encoded, _ := json.Marshal(r) // rows of ours marshal
		structured += len(encoded) + 1
		written += len(r.row()) + 1
	}
	return max(structured, written)
}

func (a awaited) text() string {
	var b strings.Builder
	for _, c := range a.Settled {
		b.WriteString(c.row() + "\n")
	}
	if a.MoreSettled > 0 {
		fmt.Fprintf(&b, "(%d more settled: left out for size, the next call with the cursor tells them)\n", a.MoreSettled)
	}
	for _, c := range a.Missing {
		b.WriteString(c.row() + "\n")
	}
	if a.MoreMissing > 0 {
		fmt.Fprintf(&b, "(%d more cannot be waited for: left out for size, ask for fewer chats at a time)\n", a.MoreMissing)
	}
	if len(a.Running) > 0 {
		b.WriteString("Still running:\n")
		for _, c := range a.Running {
			b.WriteString(c.row() + "\n")
		}
	}
	if a.MoreRunning > 0 {
		fmt.Fprintf(&b, "(%d more run: left out for size, list_chats shows them)\n", a.MoreRunning)
	}
	if a.TimedOut {
		b.WriteString("The wait is over (timed_out). ")
	}
	if len(a.Settled)+len(a.Missing)+len(a.Running) == 0 {
		b.WriteString("Nothing new: all of them were at rest before, and told with that cursor.")
	}
	if a.Cursor != "" && len(a.Running)+a.MoreSettled > 0 {
		b.WriteString("Go on with cursor " + a.Cursor)
	}
	return strings.TrimSpace(b.String())
}
