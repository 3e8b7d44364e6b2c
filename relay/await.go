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

// AwaitResult is what became of the chats. One that settled before the cursor and did not move since is in none of the lists;
// one that settled and went on before the wait for any was over is in Settled and Running.
type AwaitResult struct {
	Settled  []Settlement // in the order in which they were noticed
	Running  []Running    // in the order of the request, as Missing
	Missing  []Missing
	Cursor   string
	TimedOut bool // the context ended first

	told cursor // without what settled now
}

// CursorAfter is the Cursor of a caller who passes only the first n of Settled on: a call with it tells the others at once.
func (r *AwaitResult) CursorAfter(n int) string {
	c := cursor{slices.Clone(r.told.told)}
	for _, s := range r.Settled[:n] {
		c.put(s.mark)
	}
	return c.String()
}

// Settlement is one chat at rest.
type Settlement struct {
	Chat client.Chat
	Outcome

	mark told
}

// Running is one chat that goes on.
type Running struct {
	ID               uuid.UUID
	Title            string        // "" when the server did not answer in time
	Status           client.Status // likewise
	WaitsForCapacity bool          // runs by name only; known when the wait timed out, of the first 20 that run
}

// Missing is one chat that the API refuses to show, for good.
type Missing struct {
	ID  uuid.UUID
	Err *client.Error
}

const maxAwait = 100

// Await waits until any or all of several chats settle: one watch socket, one or two list reads to begin with (a chat that
// they do not have is read by itself), and one REST read for each chat that settled. When ctx ends first, the result says
// how far the chats are and the error is nil; to see how they stand at all it takes up to firstLook, however short the wait.
// Failures that may pass are waited out; it fails with the last of them when the chats could not be seen at all, and at once
// when the API refuses the watch. The chats go on in any case.
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
	w := &await{AwaitRequest: a, relay: r, told: told, chats: map[uuid.UUID]*awaited{}}
	for _, id := range a.Chats {
		if w.chats[id] == nil {
			w.chats[id] = &awaited{chat: client.Chat{ID: id}, running: true}
			w.order = append(w.order, id)
		}
	}
	w.verdicts = make(chan verdict, maxReports*len(w.order))
	return w.run(ctx)
}

// await is one call of Await. Only the caller's goroutine touches it; judges report over verdicts.
type await struct {
	AwaitRequest
	relay *Relay
	// wait is the caller's patience. look is that for finding out how the chats stand, which may be longer.
	wait, look context.Context
	told       cursor // by earlier calls
	order      []uuid.UUID
	chats      map[uuid.UUID]*awaited
	settled    []Settlement
	verdicts   chan verdict // has room for all that judges may report at a time, so that none waits to be heard
	judges     sync.WaitGroup
	open       int   // judges that have not yet found a doubt or an end
	failed     error // ends the wait
}

type awaited struct {
	chat     client.Chat
	running  bool
	missing  *client.Error
	judging  bool
	again    bool // something happened while it was judged
	doubted  bool // its judge takes its time
	followed bool // until its turn is over
}

// verdict is what a judge found.
type verdict struct {
	id         uuid.UUID
	chat       client.Chat
	settlement *Settlement // nil: it goes on
	doubt      bool        // no verdict yet: it may take Options.Settle, or as long as a turn takes
	err        error
}

// maxReports is how often one judge reports: of a doubt, of a turn that it follows, and the verdict.
const maxReports = 3

func (w *await) run(ctx context.Context) (AwaitResult, error) {
	wait, cancelWait := context.WithCancel(ctx)
	look, cancelLook := patient(ctx)
	defer w.judges.Wait()
	defer cancelWait()
	defer cancelLook()
	w.wait, w.look = wait, look
	return w.result(w.watch())
}

// watch takes in what happens until the wait is over. It fails with wait's or look's error when that ended first.
func (w *await) watch() error {
	listener, err := w.relay.listen(w.look, firstTries)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := w.begin(listener.list); err != nil {
		return err
	}
	for {
		ended := w.patience().Err()
		wake, err := w.drain(listener.place)
		switch {
		case err != nil:
			return err
		case w.over():
			return nil
		case ended != nil && w.patience().Err() != nil:
			return ended
		}
		select {
		case <-wake:
		case v := <-w.verdicts:
			w.hear(v)
		case <-w.patience().Done():
		}
	}
}

// patience is look while it is not known of every chat whether it rests.
func (w *await) patience() context.Context {
	for _, a := range w.chats {
		if a.judging && !a.followed {
			return w.look
		}
	}
	return w.wait
}

// drain takes in all that is there already, and returns what is closed when there are more events.
func (w *await) drain(events *place[*watchItem]) (<-chan struct{}, error) {
	for {
		select {
		case v := <-w.verdicts:
			w.hear(v)
			continue
		default:
		}
		i, wake, err := events.poll()
		if err := cmp.Or(w.failed, err); err != nil || wake != nil {
			return wake, err
		}
		w.take(i)
	}
}

// begin finds out how all chats stand.
func (w *await) begin(chats []client.Chat) error {
	if chats == nil {
		list, err := insist(w.look, w.relay.options, firstTries, func() (chatList, error) { return w.relay.lists.try(w.look, struct{}{}) })
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
			w.see(c)
		} else {
			w.judge(client.Chat{ID: id})
		}
	}
	return nil
}

// see takes a chat whose status is true, unless what is known is newer: events overtake each other on servers of May, and
// those that came before a list was read are behind it.
func (w *await) see(c client.Chat) {
	a := w.chats[c.ID]
	if c.UpdatedAt.Before(a.chat.UpdatedAt) {
		return
	}
	same := a.chat.Status == c.Status && a.chat.UpdatedAt.Equal(c.UpdatedAt)
	a.chat = c
	if atRest(c.Status) {
		if same && (a.judging || !a.running) {
			return // the list was faster than the event
		}
		if w.told.find(c.ID).list == listMark(c.ID, c.Status, c.UpdatedAt) {
			a.running = false
			return
		}
		w.judge(c)
		return
	}
	a.running = true
	if w.All { // any one has settled, even if it went on before the others were judged
		w.unsettle(c.ID)
	}
	w.observe(a, nil)
}

func atRest(s client.Status) bool { return s.Idle() || s == client.StatusRequiresAction }

func (w *await) take(i *watchItem) {
	if i.event == nil {
		for id, a := range w.chats {
			if a.running && !i.seen[id] {
				w.judge(client.Chat{ID: id})
			}
		}
		return
	}
	e := i.event
	switch {
	case w.chats[e.Chat.ID] == nil:
	case e.Kind == client.KindDeleted:
		w.judge(client.Chat{ID: e.Chat.ID})
	case tellsStatus(e.Kind):
		c := e.Chat
		if e.Kind == client.KindActionRequired {
			c.Status = client.StatusRequiresAction
		}
		w.see(c)
	}
}

// judge starts finding out whether a chat came to rest for good. A chat without a status is read first.
func (w *await) judge(c client.Chat) {
	a := w.chats[c.ID]
	if a.judging {
		a.again = true
		return
	}
	a.judging, a.running = true, true
	w.open++
	w.judges.Go(func() {
		j := judge{relay: w.relay, wait: w.wait, look: w.look, report: func(v verdict) { w.verdicts <- v }}
		w.verdicts <- j.judge(c)
	})
}

// hear takes what a judge found.
func (w *await) hear(v verdict) {
	a := w.chats[v.id]
	if !a.doubted {
		w.open--
	}
	overtaken := a.chat.UpdatedAt.After(v.chat.UpdatedAt) // by an event
	if v.chat.Status != "" && !overtaken {
		a.chat = v.chat
	}
	if v.doubt {
		a.doubted, a.followed = true, !atRest(v.chat.Status)
		return
	}
	a.judging, a.doubted, a.followed = false, false, false
	switch {
	case a.again:
		a.again = false
		w.judge(client.Chat{ID: v.id})
		return
	case v.err != nil:
		w.mourn(a, v.err)
		return
	}
	a.running = v.settlement == nil
	if overtaken {
		a.running = !atRest(a.chat.Status)
	}
	switch {
	case v.settlement != nil && !(overtaken && w.All):
		w.settle(a, v.settlement)
		return
	case a.running && w.All:
		w.unsettle(v.id)
	}
	w.observe(a, nil)
}

// mourn takes a judge's failure: the chat is out of reach, or the wait is over, or cannot go on.
func (w *await) mourn(a *awaited, err error) {
	var api *client.Error
	switch {
	case refused(err) && errors.As(err, &api):
		a.missing, a.running = api, false
		w.observe(a, nil)
	case w.wait.Err() == nil && w.look.Err() == nil:
		w.failed = err
	}
}

func (w *await) settle(a *awaited, s *Settlement) {
	id := s.Chat.ID
	s.mark = told{chatMark(id), listMark(id, s.Status, s.Chat.UpdatedAt), messageMark(id, s.Status, s.LastID)}
	w.unsettle(id)
	if w.told.find(id).message == s.mark.message {
		w.told.put(s.mark) // only something else of the chat changed
		return
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
func (w *await) result(err error) (AwaitResult, error) {
	if err != nil && !w.ranOut(err) {
		return AwaitResult{}, err
	}
	r := AwaitResult{Settled: w.settled, TimedOut: err != nil}
	if errors.Is(w.wait.Err(), context.DeadlineExceeded) {
		w.askForCapacity()
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
	for _, id := range w.order {
		if t := w.told.find(id); t != (told{chat: t.chat}) {
			w.told.put(t) // who is asked for is not forgotten
		}
	}
	r.told = w.told
	r.Cursor = r.CursorAfter(len(r.Settled))
	return r, nil
}

// ranOut: err says no more than that the wait is over. What the server failed with is worth more, unless nobody waits.
func (w *await) ranOut(err error) bool {
	switch {
	case w.wait.Err() == nil:
		return false
	case errors.Is(w.wait.Err(), context.Canceled):
		return true
	}
	return client.KindOf(err) == "" && errors.Is(err, context.DeadlineExceeded)
}

const (
	capacityReads    = 20
	capacityPatience = 2 * time.Second // beyond the wait
)

// askForCapacity reads those that run by name: since August a chat can wait for its turn to generate, and only the read of
// that one chat tells.
func (w *await) askForCapacity() {
	var running []*awaited
	for _, id := range w.order {
		a := w.chats[id]
		if a.running && a.chat.Status == client.StatusRunning && a.chat.OwnerUsername != "" && len(running) < capacityReads {
			running = append(running, a)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.wait), capacityPatience)
	defer cancel()
	each(running, func(a *awaited) {
		if chat, err := w.relay.states.get(ctx, a.chat.ID); err == nil && chat.Status == client.StatusRunning {
			a.chat.QueuedForCapacity = chat.QueuedForCapacity
		}
	})
}

// judge finds out about one chat.
type judge struct {
	relay      *Relay
	wait, look context.Context // those of the await
	report     func(verdict)   // hears of doubts
}

// judge finds out whether the chat came to rest for good: one read of its messages when these end the turn. Otherwise the
// chat is read, and on servers of May again until Options.Settle passed.
func (j *judge) judge(c client.Chat) verdict {
	r := j.relay
	v := verdict{id: c.ID, chat: c}
	began := time.Now()
	for n := 0; ; n++ {
		if v.chat.Status == "" || n > 0 {
			chat, err := r.states.get(j.look, c.ID)
			if err != nil {
				v.err = err
				return v
			}
			v.chat = *chat
		}
		if !atRest(v.chat.Status) {
			return j.running(v)
		}
		page, err := r.pages.get(j.look, c.ID)
		if err != nil {
			v.err = err
			return v
		}
		s := settlementOf(v.chat, page)
		// Servers since August store the last message before the status; but a user message may be newer than the status.
		certain := v.chat.OwnerUsername != "" && (n > 1 || n == 1 && !s.Unanswered)
		if certain || proven(s, page) && !overtaken(&v.chat, page.Messages) || time.Since(began) >= r.options.Settle {
			v.settlement = s
			return v
		}
		if n == 0 {
			j.doubt(v)
		}
		select {
		case <-time.After(doubtAfter[min(n, len(doubtAfter)-1)]):
		case <-j.look.Done():
			v.err = j.look.Err()
			return v
		}
	}
}

func (j *judge) doubt(v verdict) { j.report(verdict{id: v.id, chat: v.chat, doubt: true}) }

// running leaves a chat that runs to the watch. That tells nothing of somebody else's chats: those are followed, as are all
// when the server does not say who the caller is.
func (j *judge) running(v verdict) verdict {
	r := j.relay
	me, err := insist(j.look, r.options, always, func() (*client.User, error) { return r.client.Me(client.Once(j.look)) })
	switch {
	case err == nil && me.ID == v.chat.OwnerID:
		return v
	case err != nil && !refused(err):
		v.err = err
		return v
	}
	j.doubt(v)
	out, err := insist(j.wait, r.options, always, func() (Outcome, error) { return r.Turn(j.wait, v.id, TurnOptions{UntilRest: true}, nil) })
	if err != nil || out.Reason == ReasonTimedOut {
		v.err = cmp.Or(err, j.wait.Err())
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
