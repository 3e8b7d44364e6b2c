package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// AwaitRequest says which chats to wait for.
type AwaitRequest struct {
	Chats   []uuid.UUID      // 1..100
	All     bool             // until all of them settled, not any one
	Cursor  string           // of an earlier AwaitResult: what that told is not told again
	Observe func(AwaitEvent) // called from the caller's goroutine
}

// AwaitEvent is progress: a chat of the request changed its status, or settled.
type AwaitEvent struct {
	Chat                    client.Chat
	Settlement              *Settlement // set when it settled
	Settled, Running, Total int         // chats
}

// AwaitResult is what became of the chats. One that settled before the cursor and did not move since is in none of the lists.
type AwaitResult struct {
	Settled  []Settlement // in the order in which they were noticed
	Running  []Running    // in the order of the request, as Missing
	Missing  []Missing
	Cursor   string
	TimedOut bool // the context ended first
}

// Settlement is one chat at rest.
type Settlement struct {
	Chat client.Chat
	Outcome
}

// Running is one chat that goes on.
type Running struct {
	ID               uuid.UUID
	Title            string        // "" while the chat was not read yet
	Status           client.Status // likewise
	WaitsForCapacity bool          // known only of chats that are in no list: those are read one by one
}

// Missing is one chat that cannot be read.
type Missing struct {
	ID  uuid.UUID
	Err *client.Error
}

const maxAwait = 100

// Await waits until any or all of several chats settle: one watch socket, one or two list reads to begin with (a chat that
// they do not have is read by itself), and one REST read for each chat that settled. When ctx ends first, the result says
// how far the chats are and the error is nil. The chats go on in any case.
func (r *Relay) Await(ctx context.Context, a AwaitRequest) (AwaitResult, error) {
	told, err := parseCursor(a.Cursor)
	if err != nil {
		return AwaitResult{}, err
	}
	if len(a.Chats) == 0 || len(a.Chats) > maxAwait {
		return AwaitResult{}, &client.Error{
			Kind: client.KindInvalidArgument, Message: fmt.Sprintf("Await takes 1 to %d chats, not %d.", maxAwait, len(a.Chats)),
		}
	}
	w := &await{AwaitRequest: a, relay: r, told: told, now: newCursor(), chats: map[uuid.UUID]*awaited{}}
	for _, id := range a.Chats {
		if w.chats[id] == nil {
			w.chats[id] = &awaited{chat: client.Chat{ID: id}, running: true}
			w.order = append(w.order, id)
		}
	}
	return w.run(ctx)
}

// await is one call of Await. Only the caller's goroutine touches it; judges report over verdicts.
type await struct {
	AwaitRequest
	relay    *Relay
	told     cursor // by earlier calls
	now      cursor // what this call will have told
	order    []uuid.UUID
	chats    map[uuid.UUID]*awaited
	settled  []Settlement
	verdicts chan verdict
	judges   sync.WaitGroup
	open     int // judges that have not yet found a doubt or an end
}

type awaited struct {
	chat    client.Chat
	running bool
	missing *client.Error
	judging bool
	again   bool // something happened while it was judged
	doubted bool // its judge takes its time
	listed  bool // a list has it, so that no change of it gets lost with the socket
}

// verdict is what a judge found.
type verdict struct {
	id         uuid.UUID
	chat       client.Chat
	settlement *Settlement // nil: it goes on
	doubt      bool        // no verdict yet: it may take Options.Settle, or as long as a turn takes
	err        error
}

func (w *await) run(ctx context.Context) (AwaitResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	w.verdicts = make(chan verdict)
	defer w.judges.Wait()
	defer cancel()
	listener, err := w.relay.Watch(ctx)
	if err != nil && !ended(ctx, err) {
		return AwaitResult{}, err
	}
	if err != nil {
		return w.result(ctx, err)
	}
	defer listener.Close()
	if err := w.begin(ctx, listener.list); err != nil {
		return w.result(ctx, err)
	}
	events := make(chan *watchItem)
	failed := make(chan error, 1)
	w.judges.Go(func() { failed <- pump(ctx, listener, events) })
	for !w.over() {
		select {
		case i := <-events:
			w.take(ctx, i)
		case v := <-w.verdicts:
			w.hear(ctx, v)
		case err := <-failed:
			return w.result(ctx, err)
		}
	}
	return w.result(ctx, nil)
}

func pump(ctx context.Context, l *WatchListener, events chan<- *watchItem) error {
	for {
		i, err := l.place.next(ctx)
		if err != nil {
			return err
		}
		select {
		case events <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin finds out how all chats stand.
func (w *await) begin(ctx context.Context, chats []client.Chat) error {
	if chats == nil {
		list, err := w.relay.lists.get(ctx, struct{}{})
		if err != nil {
			return err
		}
		chats = list.chats
	}
	listed := map[uuid.UUID]client.Chat{}
	for _, c := range chats {
		listed[c.ID] = c
	}
	for _, id := range w.order {
		if c, ok := listed[id]; ok {
			w.chats[id].listed = true
			w.see(ctx, c)
		} else {
			w.judge(ctx, client.Chat{ID: id})
		}
	}
	return nil
}

// see takes a chat whose status is true.
func (w *await) see(ctx context.Context, c client.Chat) {
	a := w.chats[c.ID]
	same := a.chat.Status == c.Status && a.chat.UpdatedAt.Equal(c.UpdatedAt)
	a.chat = c
	if atRest(c.Status) {
		if same && (a.judging || !a.running) {
			return // the list was faster than the event
		}
		if message, ok := w.told.told[listMark(c.ID, c.Status, c.UpdatedAt)]; ok {
			w.now.add(listMark(c.ID, c.Status, c.UpdatedAt), message)
			a.running = false
			return
		}
		w.judge(ctx, c)
		return
	}
	a.running = true
	w.unsettle(c.ID)
	w.observe(a, nil)
}

func atRest(s client.Status) bool { return s.Idle() || s == client.StatusRequiresAction }

func (w *await) take(ctx context.Context, i *watchItem) {
	if i.event == nil {
		for _, a := range w.chats {
			if a.running && !a.listed {
				w.judge(ctx, client.Chat{ID: a.chat.ID})
			}
		}
		return
	}
	e := i.event
	a := w.chats[e.Chat.ID]
	switch {
	case a == nil:
	case e.Kind == client.KindDeleted:
		w.judge(ctx, client.Chat{ID: e.Chat.ID})
	case tellsStatus(e.Kind):
		c := e.Chat
		if e.Kind == client.KindActionRequired {
			c.Status = client.StatusRequiresAction
		}
		w.see(ctx, c)
	}
}

// judge starts finding out whether a chat came to rest for good. A chat without a status is read first.
func (w *await) judge(ctx context.Context, c client.Chat) {
	a := w.chats[c.ID]
	if a.judging {
		a.again = true
		return
	}
	a.judging, a.running = true, true
	w.open++
	w.judges.Go(func() {
		v := w.relay.judge(ctx, c, func(v verdict) { w.report(ctx, v) })
		w.report(ctx, v)
	})
}

func (w *await) report(ctx context.Context, v verdict) {
	select {
	case w.verdicts <- v:
	case <-ctx.Done():
	}
}

// hear takes what a judge found.
func (w *await) hear(ctx context.Context, v verdict) {
	a := w.chats[v.id]
	if v.doubt {
		w.open--
		a.doubted, a.chat = true, v.chat
		return
	}
	if !a.doubted {
		w.open--
	}
	a.judging, a.doubted = false, false
	switch {
	case a.again:
		a.again = false
		w.judge(ctx, client.Chat{ID: v.id})
		return
	case v.err != nil && ctx.Err() != nil:
		return
	case v.err != nil:
		w.lose(a, v.err)
		return
	}
	a.chat = v.chat
	a.running = v.settlement == nil
	if v.settlement != nil {
		w.settle(a, v.settlement)
		return
	}
	w.observe(a, nil)
}

func (w *await) lose(a *awaited, err error) {
	if !errors.As(err, &a.missing) {
		a.missing = &client.Error{Kind: client.KindUnavailable, Message: err.Error()}
	}
	a.running = false
	w.observe(a, nil)
}

func (w *await) settle(a *awaited, s *Settlement) {
	id := a.chat.ID
	list := listMark(id, s.Status, a.chat.UpdatedAt)
	message := messageMark(id, s.Status, s.LastID)
	w.unsettle(id)
	w.now.add(list, message)
	if w.told.ids[message] {
		return // only something else of the chat changed
	}
	w.settled = append(w.settled, *s)
	w.observe(a, s)
}

// unsettle forgets what a chat that moved on had settled with.
func (w *await) unsettle(id uuid.UUID) {
	w.settled = slices.DeleteFunc(w.settled, func(s Settlement) bool { return s.Chat.ID == id })
}

func (w *await) observe(a *awaited, s *Settlement) {
	if w.Observe != nil {
		w.Observe(AwaitEvent{Chat: a.chat, Settlement: s, Settled: len(w.settled), Running: w.running(), Total: len(w.order)})
	}
}

func (w *await) running() int {
	n := 0
	for _, a := range w.chats {
		if a.running {
			n++
		}
	}
	return n
}

// over: enough settled, and of what else may have settled at the same time nothing is unread.
func (w *await) over() bool {
	if w.open > 0 {
		return false
	}
	return w.running() == 0 || !w.All && len(w.settled) > 0
}

// result says how all chats stand.
func (w *await) result(ctx context.Context, err error) (AwaitResult, error) {
	r := AwaitResult{Settled: w.settled, TimedOut: err != nil && ctx.Err() != nil}
	if err != nil && !r.TimedOut {
		return AwaitResult{}, err
	}
	for _, id := range w.order {
		a := w.chats[id]
		switch {
		case a.missing != nil:
			r.Missing = append(r.Missing, Missing{ID: id, Err: a.missing})
		case a.running:
			r.Running = append(r.Running, Running{
				ID: id, Title: a.chat.Title, Status: a.chat.Status, WaitsForCapacity: a.chat.QueuedForCapacity,
			})
		}
	}
	r.Cursor = w.now.String()
	return r, nil
}

// judge finds out whether the chat came to rest for good: one read of its messages when these end the turn. Otherwise the
// chat is read, and on servers of May again until Options.Settle passed. doubt hears of that.
func (r *Relay) judge(ctx context.Context, c client.Chat, doubt func(verdict)) verdict {
	v := verdict{id: c.ID, chat: c}
	began := time.Now()
	for n := 0; ; n++ {
		if v.chat.Status == "" || n > 0 {
			chat, err := r.states.get(ctx, c.ID)
			if err != nil {
				v.err = err
				return v
			}
			v.chat = *chat
		}
		if !atRest(v.chat.Status) {
			return r.judgeRunning(ctx, v, doubt)
		}
		page, err := r.pages.get(ctx, c.ID)
		if err != nil {
			v.err = err
			return v
		}
		s := settlementOf(v.chat, page)
		// Servers since August store the last message before the status; but a user message may be newer than the status.
		certain := v.chat.OwnerUsername != "" && (n > 1 || n == 1 && !s.Unanswered)
		if certain || proven(s, page) || time.Since(began) >= r.options.Settle {
			v.settlement = s
			return v
		}
		if n == 0 {
			doubt(verdict{id: c.ID, chat: v.chat, doubt: true})
		}
		select {
		case <-time.After(doubtAfter[min(n, len(doubtAfter)-1)]):
		case <-ctx.Done():
			v.err = ctx.Err()
			return v
		}
	}
}

// judgeRunning leaves a chat that runs to the watch. That tells nothing of somebody else's chats: those are followed.
func (r *Relay) judgeRunning(ctx context.Context, v verdict, doubt func(verdict)) verdict {
	me, err := r.client.Me(ctx)
	if err != nil || me.ID == v.chat.OwnerID {
		return v
	}
	doubt(verdict{id: v.id, chat: v.chat, doubt: true})
	out, err := r.Turn(ctx, v.id, TurnOptions{}, nil)
	if err != nil || out.Reason == ReasonTimedOut {
		v.err = cmp.Or(err, ctx.Err())
		return v
	}
	v.chat.Status, v.chat.LastError = out.Status, out.LastError
	v.settlement = &Settlement{Chat: v.chat, Outcome: out}
	return v
}

// settlementOf is a chat at rest with its last messages, newest first.
func settlementOf(c client.Chat, page *client.MessagesPage) *Settlement {
	messages := slices.Clone(page.Messages) // the page is shared
	slices.Reverse(messages)
	s := &Settlement{Chat: c, Outcome: Outcome{
		Reason: reasonOf(c.Status), Status: c.Status, Message: answer(messages), LastError: c.LastError, Queued: len(page.Queued),
	}}
	if len(messages) > 0 {
		s.LastID = messages[len(messages)-1].ID
	}
	if c.Status == client.StatusRequiresAction {
		s.Pending = pendingCalls(messages)
	}
	last := lastSaid(messages)
	s.Unanswered = s.Reason == ReasonSettled && s.Queued == 0 && last != nil && last.Role == client.RoleUser
	return s
}

// proven: nothing more can follow the messages.
func proven(s *Settlement, page *client.MessagesPage) bool {
	switch s.Reason {
	case ReasonError:
		return s.LastError != nil
	case ReasonRequiresAction:
		return len(s.Pending) > 0
	}
	for i := range page.Messages {
		if m := &page.Messages[i]; !m.IsContextOnly() {
			return s.Queued == 0 && endsTurn(m)
		}
	}
	return false
}
