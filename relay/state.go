package relay

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

const (
	windowMessages = 50
	windowBytes    = 256 << 10
)

// state is what the relay knows of one chat. It takes what the stream and REST say, in whatever order May's servers say it,
// and gives out events in the order that Event documents. It does no I/O: suspect and doubtful say when REST must be read.
type state struct {
	id   uuid.UUID
	chat client.Chat
	out  []*Event

	// ordered: the server is one of August or later, which tells the last message before the status and loses nothing.
	ordered bool
	// snapshot: what the stream says now is still the beginning of a connection.
	snapshot bool

	status  client.Status // as told
	claim   client.Status // a status of rest that upstream claims and that is not believed yet
	since   time.Time     // when the claim came up
	hearsay bool          // only one REST read says so
	heardAt int64         // lastID at that read
	stir    client.Status // a busy status that came at rest on a server of May: possibly late, told with the user message
	rested  bool          // settled was told, and nothing moved since
	restID  int64         // lastID at that time
	restAs  client.Status

	messages  []client.Message // by id
	bytes     int
	floor     int64 // messages up to here are not kept: known or before our time
	older     bool  // there are some
	lastID    int64
	readAhead map[int64]bool // read over REST while the stream is up, so the stream will bring them again

	preview   preview
	late      bool                  // parts that come now belong to the message before (May)
	held      []*client.StreamEvent // parts that came while it was not known whether the chat rests (May)
	heldBytes int
	maybeVoid bool // a preview_reset that may only begin a repetition of what is known

	queue      []client.QueuedMessage
	queueTold  bool // on this connection
	pending    []client.PendingCall
	action     *Event // action_required, told with the status
	failure    *Event // error, likewise
	lastError  *client.ChatError
	retry      *client.RetryEvent
	capacity   bool
	unanswered bool

	replay   []client.Message // after history_reset
	resetRaw *Event           // the history_reset that is being replayed
	suspect  bool             // on May: the history was edited, or messages are missing
	userLast bool             // the last thing the stream said was a user message
	asked    int64            // lastID when the chat was last read
}

func (s *state) emit(e *Event)                  { s.out = append(s.out, e) }
func (s *state) emitNew(e client.StreamEvent)   { e.ChatID = s.id; s.emit(event(e)) }
func (s *state) emitFrom(e *client.StreamEvent) { s.emit(&Event{StreamEvent: *e}) }

// take gives out the events since the last take.
func (s *state) take() []*Event {
	out := s.out
	s.out = nil
	return out
}

// apply takes one frame of the stream.
func (s *state) apply(frame []client.StreamEvent) {
	for i := range frame {
		s.applyEvent(&frame[i])
	}
	if s.snapshot && slices.ContainsFunc(frame, func(e client.StreamEvent) bool { return e.Type == client.EventStatus }) {
		s.snapshot = false
		// No word of the queue can mean that it drained since it was read.
		s.suspect = s.suspect || len(s.queue) > 0 && !s.queueTold
	}
	s.believe()
}

func (s *state) applyEvent(e *client.StreamEvent) {
	if e.Type != client.EventMessage {
		s.endReplay()
	}
	userLast := s.userLast
	s.userLast = false
	switch e.Type {
	case client.EventStatus:
		if e.Status != nil {
			s.applyStatus(e.Status.Status, e)
		}
	case client.EventMessage:
		if e.Message != nil {
			s.streamMessage(e)
		}
	case client.EventMessagePart:
		if e.MessagePart != nil {
			s.applyPart(e)
		}
	case client.EventQueueUpdate:
		// The first message of a chat was edited: May sends the new message and an empty queue, nothing else (05/021).
		if userLast && !s.ordered && len(s.queue) == 0 && len(e.QueuedMessages) == 0 {
			s.suspect = true
		}
		s.queueTold = true
		s.applyQueue(e.QueuedMessages, e)
	case client.EventRetry:
		if e.Retry != nil {
			s.applyRetry(e)
		}
	case client.EventError:
		if e.Error != nil && !(s.rested && s.status == client.StatusError) {
			s.lastError, s.failure = e.Error, &Event{StreamEvent: *e}
		}
	case client.EventActionRequired:
		if e.ActionRequired != nil {
			s.applyAction(e)
		}
	case client.EventPreviewReset:
		s.ordered = true
		if s.snapshot && !s.preview.empty() {
			s.maybeVoid = true
		} else {
			s.voidPreview(e)
		}
	case client.EventHistoryReset:
		s.ordered = true
		s.replay, s.resetRaw = []client.Message{}, &Event{StreamEvent: *e}
	default:
		s.emitFrom(e)
	}
}

// applyAction keeps the calls until the chat rests on them. Servers repeat them to every new stream.
func (s *state) applyAction(e *client.StreamEvent) {
	calls := e.ActionRequired.ToolCalls
	same := slices.EqualFunc(calls, s.pending, func(a, b client.PendingCall) bool { return a.ToolCallID == b.ToolCallID })
	if s.status == client.StatusRequiresAction {
		if s.rested && same {
			return
		}
		s.rested, s.claim, s.since = false, s.status, time.Now()
	}
	s.pending, s.action = calls, &Event{StreamEvent: *e}
}

// ---- status

func (s *state) applyStatus(st client.Status, e *client.StreamEvent) {
	switch {
	case st.Busy():
		s.applyBusy(st, e)
		s.disclaim()
	case st.Idle() || st == client.StatusRequiresAction:
		s.stir = ""
		if s.rested && st == s.status {
			s.dropHeld()
			return // May tells everything twice
		}
		if s.rested && s.status == client.StatusRequiresAction && !s.ordered {
			s.suspect = e != nil // the calls were refused; May's stream does not have the rows (05/025)
		}
		if s.claim != st {
			s.claim, s.since, s.hearsay = st, time.Now(), true
		}
		s.hearsay = s.hearsay && e == nil
	case st != s.status:
		s.claim, s.stir = "", ""
		s.tellStatus(st, e)
	}
}

func (s *state) applyBusy(st client.Status, e *client.StreamEvent) {
	if s.rested && !s.ordered {
		if s.stir != client.StatusRunning {
			s.stir, s.since = st, time.Now()
		}
		// No message will say so when the calls were answered: results of dynamic tools are not on May's stream (3.3).
		s.suspect = s.suspect || s.status == client.StatusRequiresAction
		return
	}
	if st == client.StatusPending && s.status == client.StatusRunning {
		return // the double of an earlier one
	}
	s.tellStatus(st, e)
}

func (s *state) tellStatus(st client.Status, e *client.StreamEvent) {
	if st.Busy() {
		s.rested, s.late, s.unanswered = false, false, false
		s.pending, s.action, s.failure, s.lastError = nil, nil, nil, nil
	}
	if st == s.status {
		return
	}
	s.status = st
	if e != nil {
		s.emitFrom(e)
		return
	}
	s.emitNew(client.StreamEvent{Type: client.EventStatus, Status: &client.StatusEvent{Status: st}})
}

// ---- messages

func (s *state) streamMessage(e *client.StreamEvent) {
	m := e.Message
	switch {
	case s.resetRaw != nil:
		s.replay = append(s.replay, *m)
	case s.readAhead[m.ID]:
		delete(s.readAhead, m.ID)
	case m.ID <= s.floor:
		s.suspect = s.suspect || !s.ordered && !s.snapshot
	case s.index(m.ID) >= 0:
		// May sends everything again after an edit, and no word about what is gone (05/021).
		s.suspect = s.suspect || !s.ordered && !s.snapshot
	case s.suspect && !s.ordered:
		// What follows in the repetition is told after the history was read.
	default:
		// An edit between the read and this connection shows only the message that replaced another.
		s.suspect = s.suspect || s.snapshot && len(s.messages) > 0 && m.Role == client.RoleUser && !m.IsContextOnly()
		s.addMessage(*m, e)
	}
}

// index finds a message that is kept; -1: none.
func (s *state) index(id int64) int {
	i, ok := slices.BinarySearchFunc(s.messages, id, func(m client.Message, id int64) int {
		switch {
		case m.ID < id:
			return -1
		case m.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// addMessage tells a message that is new. e is how it came, nil over REST.
func (s *state) addMessage(m client.Message, e *client.StreamEvent) {
	at, _ := slices.BinarySearchFunc(s.messages, m.ID, func(m client.Message, id int64) int { return int(min(max(m.ID-id, -1), 1)) })
	s.messages = slices.Insert(s.messages, at, m)
	s.bytes += weighMessage(&m)
	s.lastID = max(s.lastID, m.ID)
	s.moved(&m)
	if e == nil {
		e = &client.StreamEvent{Type: client.EventMessage, ChatID: s.id, Message: &m}
		e.Raw = rawEvent(e)
	}
	s.emitFrom(e)
	if m.Role == client.RoleUser && s.stir != "" {
		stir := s.stir
		s.stir = ""
		s.tellStatus(stir, nil)
		s.disclaim()
	}
	s.trim()
}

// moved notes what a new message means for the turn.
func (s *state) moved(m *client.Message) {
	switch {
	case m.IsContextOnly():
		return
	case m.Role == client.RoleUser:
		s.rested, s.late, s.userLast = false, false, true
	default:
		s.late = m.Role == client.RoleAssistant && !callsTools(m)
		s.preview.reset()
		s.dropHeld()
		s.maybeVoid = false
		s.setCapacity(false)
		if s.restAs == client.StatusRequiresAction || s.unanswered {
			s.rested = false // the turn went on, or was answered late
		}
	}
	s.retry = nil
}

func (s *state) trim() {
	drop := 0
	for len(s.messages)-drop > windowMessages || s.bytes > windowBytes && len(s.messages)-drop > 1 {
		s.bytes -= weighMessage(&s.messages[drop])
		s.floor, s.older = s.messages[drop].ID, true
		drop++
	}
	if drop > 0 {
		s.messages = slices.Clone(s.messages[drop:])
	}
}

func weighMessage(m *client.Message) int {
	n := 200
	for i := range m.Content {
		p := &m.Content[i]
		n += 300 + len(p.Text) + len(p.Args) + len(p.Result) + len(p.Content)
	}
	return n
}

// callsTools: the model will go on with the results, so this is not its last word. Tools of the provider are done already.
func callsTools(m *client.Message) bool {
	return slices.ContainsFunc(m.Content, func(p client.Part) bool {
		return p.Type == client.PartToolCall && !p.ProviderExecuted
	})
}

// endReplay compares what followed a history_reset with what is known.
func (s *state) endReplay() {
	if s.resetRaw == nil {
		return
	}
	replay, reset := s.replay, s.resetRaw
	s.replay, s.resetRaw = nil, nil
	s.reconcile(replay, true, reset)
}

// reconcile takes the truth about the last messages, oldest first; complete: about all of them. It tells what is gone, then
// what is new. reset is upstream's history_reset, nil when the relay found out by itself.
func (s *state) reconcile(truth []client.Message, complete bool, reset *Event) {
	from := int64(0)
	if !complete && len(truth) > 0 {
		from = truth[0].ID
	}
	stands := make(map[int64]bool, len(truth))
	for i := range truth {
		stands[truth[i].ID] = true
	}
	var gone []int64
	s.messages = slices.DeleteFunc(s.messages, func(m client.Message) bool {
		if m.ID < from || stands[m.ID] {
			return false
		}
		gone = append(gone, m.ID)
		s.bytes -= weighMessage(&m)
		return true
	})
	if len(gone) > 0 {
		s.tellGone(gone, truth, reset)
	}
	for i := range truth {
		if m := &truth[i]; m.ID > s.floor && s.index(m.ID) < 0 {
			s.addMessage(*m, nil)
			s.setReadAhead(m.ID, reset == nil)
		}
	}
}

func (s *state) tellGone(gone []int64, truth []client.Message, reset *Event) {
	if reset == nil {
		reset = event(client.StreamEvent{Type: client.EventHistoryReset, ChatID: s.id})
	}
	first, last := gone[0], gone[len(gone)-1]
	for i := range truth {
		if id := truth[i].ID; id < first {
			reset.GoneAfter = id
		} else if id > last && reset.GoneBefore == 0 {
			reset.GoneBefore = id
		}
	}
	s.rested = false
	s.emit(reset)
	s.voidPreview(nil)
}

func (s *state) setReadAhead(id int64, ahead bool) {
	if !ahead || s.snapshot {
		return
	}
	if s.readAhead == nil {
		s.readAhead = map[int64]bool{}
	}
	s.readAhead[id] = true
}

// ---- the answer in progress

func (s *state) applyPart(e *client.StreamEvent) {
	p := e.MessagePart
	if p.Seq > 0 {
		s.ordered = true
	}
	switch {
	case !s.ordered && (s.late || s.inMessage(p)):
		return // the message is there
	case s.holds():
		s.hold(e)
		return
	case !s.status.Busy() || s.claim != "":
		return // late: the message is about to be there
	}
	if p.Seq > 0 && !s.preview.empty() {
		same := p.HistoryVersion == s.preview.version && p.GenerationAttempt == s.preview.attempt
		if same && p.Seq <= s.preview.seq {
			s.maybeVoid = false // a new connection repeats the attempt from its beginning
			return
		}
		if !same {
			s.maybeVoid = true
		}
		if same {
			s.maybeVoid = false
		}
	}
	if s.maybeVoid {
		s.voidPreview(nil)
	}
	s.setCapacity(false)
	s.retry = nil
	s.preview.add(p)
	ev := &Event{StreamEvent: *e, Parts: 1}
	s.emit(ev)
}

// holds: it is not known whether the chat rests, so neither whether parts are late ones of before or the first of an answer.
func (s *state) holds() bool { return !s.ordered && (s.claim != "" || s.stir != "") }

// holdsAll: the frame brings nothing but parts to hold, and so nothing new about what is in doubt.
func (s *state) holdsAll(frame []client.StreamEvent) bool {
	return s.holds() && !slices.ContainsFunc(frame, func(e client.StreamEvent) bool { return e.Type != client.EventMessagePart })
}

func (s *state) hold(e *client.StreamEvent) {
	if s.heldBytes > previewLimit {
		return
	}
	own := *e // the frame is the caller's
	s.held, s.heldBytes = append(s.held, &own), s.heldBytes+len(e.Raw)
}

// disclaim gives up what was claimed: the chat works, and the parts that came meanwhile are of its answer.
func (s *state) disclaim() {
	held := s.held
	s.claim = ""
	s.dropHeld()
	for _, e := range held {
		s.applyPart(e)
	}
}

func (s *state) dropHeld() { s.held, s.heldBytes = nil, 0 }

// inMessage: the part is of a tool call or result that a durable message has. May sends parts after their message (05/027).
func (s *state) inMessage(p *client.PartEvent) bool {
	if p.Part.ToolCallID == "" {
		return false
	}
	for i := len(s.messages) - 1; i >= 0 && s.messages[i].Role != client.RoleUser; i-- {
		for j := range s.messages[i].Content {
			if c := &s.messages[i].Content[j]; c.Type == p.Part.Type && c.ToolCallID == p.Part.ToolCallID {
				return true
			}
		}
	}
	return false
}

// voidPreview tells that the preview is void, when there is one.
func (s *state) voidPreview(e *client.StreamEvent) {
	s.maybeVoid = false
	s.dropHeld()
	if s.preview.empty() {
		return
	}
	s.preview.reset()
	if e != nil {
		s.emitFrom(e)
		return
	}
	s.emitNew(client.StreamEvent{Type: client.EventPreviewReset})
}

func (s *state) applyRetry(e *client.StreamEvent) {
	old := s.retry
	if !s.status.Busy() || s.claim != "" ||
		old != nil && old.Attempt == e.Retry.Attempt && old.RetryingAt.Equal(e.Retry.RetryingAt) {
		return // stale, or a repetition
	}
	if !s.ordered {
		s.voidPreview(nil) // later servers say so themselves, when the next attempt starts
	}
	s.retry = e.Retry
	s.emitFrom(e)
}

// ---- queue and capacity

func (s *state) applyQueue(queue []client.QueuedMessage, e *client.StreamEvent) {
	same := slices.EqualFunc(s.queue, queue, func(a, b client.QueuedMessage) bool { return a.ID == b.ID })
	s.queue = queue
	if same {
		return
	}
	if e != nil {
		s.emitFrom(e)
		return
	}
	s.emitNew(client.StreamEvent{Type: client.EventQueueUpdate, QueuedMessages: queue})
}

func (s *state) setCapacity(waits bool) {
	if s.capacity == waits {
		return
	}
	s.capacity = waits
	s.emit(&Event{StreamEvent: client.StreamEvent{Type: EventCapacity, ChatID: s.id}, WaitsForCapacity: waits})
}

// ---- rest

// believe settles the turn when what upstream claims is certain.
func (s *state) believe() {
	if s.claim == "" || s.suspect || s.resetRaw != nil || !s.certain() {
		return
	}
	s.settle()
}

// certain: the claim needs no more proof.
func (s *state) certain() bool {
	last := lastSaid(s.messages)
	switch {
	case s.hearsay && last != nil && last.Role == client.RoleUser:
		return false // it may have been sent after the status was read
	case s.claim == client.StatusError:
		return s.failure != nil
	case s.claim == client.StatusRequiresAction:
		return s.action != nil && s.hasCalls() && !s.haveResults()
	case s.ordered:
		return true
	case s.status == client.StatusRequiresAction: // nothing ran, unless somebody spoke since
		return last == nil || last.Role != client.RoleUser || last.ID <= s.restID
	case len(s.queue) > 0 || !s.fresh():
		return false
	}
	return last != nil && endsTurn(last)
}

// fresh: something durable came since the chat last rested.
func (s *state) fresh() bool {
	return s.lastID > s.restID || s.restAs == client.StatusRequiresAction && s.claim != client.StatusRequiresAction
}

// lastSaid is the last message that somebody wrote.
func lastSaid(messages []client.Message) *client.Message {
	for i := len(messages) - 1; i >= 0; i-- {
		if !messages[i].IsContextOnly() {
			return &messages[i]
		}
	}
	return nil
}

// endsTurn: after this message the model has nothing more to say. It goes on after tool results, but not after those of
// the tools that ask the user (05/032), unless they failed (05/028).
func endsTurn(m *client.Message) bool {
	switch m.Role {
	case client.RoleAssistant:
		return !callsTools(m)
	case client.RoleTool:
		return slices.ContainsFunc(m.Content, func(p client.Part) bool { return asksUser[p.ToolName] && !p.IsError })
	}
	return false
}

var asksUser = map[string]bool{"ask_user_question": true, "propose_plan": true}

// hasCalls: the message with the pending calls is there.
func (s *state) hasCalls() bool {
	last := s.lastOf(client.RoleAssistant)
	if last == nil {
		return false
	}
	for _, c := range s.pending {
		if !slices.ContainsFunc(last.Content, func(p client.Part) bool { return p.ToolCallID == c.ToolCallID }) {
			return false
		}
	}
	return true
}

// haveResults: a pending call of the last message was answered, so that what asks for it is a word of before: May's stream
// may be behind a read.
func (s *state) haveResults() bool {
	for i := len(s.messages) - 1; i >= 0 && s.messages[i].Role == client.RoleTool; i-- {
		if slices.ContainsFunc(s.messages[i].Content, func(p client.Part) bool {
			return slices.ContainsFunc(s.pending, func(c client.PendingCall) bool { return c.ToolCallID == p.ToolCallID })
		}) {
			return true
		}
	}
	return false
}

func (s *state) lastOf(role client.Role) *client.Message {
	for i := len(s.messages) - 1; i >= 0; i-- {
		if s.messages[i].Role == role {
			return &s.messages[i]
		}
	}
	return nil
}

// settle tells that the chat rests as it claims: status, why, settled.
func (s *state) settle() {
	st, fresh := s.claim, s.fresh()
	s.voidPreview(nil)
	s.setCapacity(false)
	s.claim, s.stir, s.retry, s.status = "", "", nil, st
	if st != client.StatusError {
		s.failure, s.lastError = nil, nil
	}
	if st != client.StatusRequiresAction {
		s.pending, s.action = nil, nil
	}
	s.emitNew(client.StreamEvent{Type: client.EventStatus, Status: &client.StatusEvent{Status: st}})
	for _, why := range []*Event{s.failure, s.action} {
		if why != nil {
			s.emit(why)
		}
	}
	s.rest(st)
	if fresh {
		o := s.outcome()
		s.emit(&Event{StreamEvent: client.StreamEvent{Type: EventSettled, ChatID: s.id}, Outcome: &o})
	}
}

func (s *state) rest(st client.Status) {
	s.rested, s.restID, s.restAs = true, s.lastID, st
	last := lastSaid(s.messages)
	s.unanswered = st.Idle() && st != client.StatusError && len(s.queue) == 0 && last != nil && last.Role == client.RoleUser
}

// outcome is how the chat stands now.
func (s *state) outcome() Outcome {
	return Outcome{
		Reason: reasonOf(s.status), Status: s.status, Message: answer(s.messages), LastID: s.lastID, Pending: s.pending,
		LastError: s.lastError, Unanswered: s.unanswered, Queued: len(s.queue),
	}
}

// sync takes what REST says: the chat, and then its last messages, oldest first.
func (s *state) sync(h *history) {
	s.chat = h.chat
	defer func() { s.asked = s.lastID }()
	s.ordered = s.ordered || h.chat.OwnerUsername != "" // servers of May name no owner
	s.suspect = false
	if s.floor == 0 && len(s.messages) == 0 && h.older && len(h.messages) > 0 {
		s.floor, s.older = h.messages[0].ID-1, true
	}
	s.replay, s.resetRaw = nil, nil // this is newer
	s.reconcile(h.messages, !h.older, nil)
	s.applyQueue(h.queue, nil)
	switch st := h.chat.Status; {
	case st.Busy():
		s.stir = ""
		if st != client.StatusPending || s.status != client.StatusRunning {
			s.tellStatus(st, nil)
		}
		s.disclaim()
		s.setCapacity(h.chat.QueuedForCapacity)
	case s.rested && st == s.status:
		s.stir = ""
		s.dropHeld()
	default:
		again := s.claim == st && s.heardAt == s.lastID
		s.explain(&h.chat)
		s.applyStatus(st, nil)
		s.hearsay, s.heardAt = s.hearsay && !again, s.lastID
	}
	s.believe()
}

// explain finds what the stream of May does not tell a late listener: why the chat failed, what it asks for.
func (s *state) explain(chat *client.Chat) {
	switch {
	case chat.Status == client.StatusError && chat.LastError != nil && s.failure == nil:
		s.lastError = chat.LastError
		s.failure = event(client.StreamEvent{Type: client.EventError, ChatID: s.id, Error: chat.LastError})
	case chat.Status == client.StatusRequiresAction && (s.action == nil || !s.hasCalls() || s.haveResults()):
		if calls := pendingCalls(s.messages); len(calls) > 0 {
			s.pending = calls
			s.action = event(client.StreamEvent{
				Type: client.EventActionRequired, ChatID: s.id, ActionRequired: &client.ActionRequired{ToolCalls: calls},
			})
		}
	}
}

// pendingCalls are the calls of the last assistant message that have no result.
func pendingCalls(messages []client.Message) []client.PendingCall {
	done := map[string]bool{}
	for i := len(messages) - 1; i >= 0; i-- {
		m := &messages[i]
		if m.Role == client.RoleUser && !m.IsContextOnly() {
			return nil
		}
		for _, p := range m.Content {
			done[p.ToolCallID] = done[p.ToolCallID] || p.Type == client.PartToolResult
		}
		if m.Role == client.RoleAssistant {
			var calls []client.PendingCall
			for _, p := range m.ToolCalls() {
				if !done[p.ToolCallID] && !p.ProviderExecuted {
					calls = append(calls, client.PendingCall{ToolCallID: p.ToolCallID, ToolName: p.ToolName, Args: string(p.Args)})
				}
			}
			return calls
		}
	}
	return nil
}

// doubtful: what is told may not be how the chat stands; only REST can say.
func (s *state) doubtful() bool {
	return s.claim != "" || s.stir != "" || !s.rested && (s.status.Idle() || s.status == client.StatusRequiresAction)
}

// answer is the last assistant message since the last user message.
func answer(messages []client.Message) *client.Message {
	for i := len(messages) - 1; i >= 0; i-- {
		m := &messages[i]
		if m.Role == client.RoleAssistant {
			own := *m // the window moves
			return &own
		}
		if m.Role == client.RoleUser && !m.IsContextOnly() {
			return nil
		}
	}
	return nil
}

func (s *state) picture() Picture {
	return Picture{
		Chat: s.chat, Status: s.status, Messages: slices.Clone(s.messages), Truncated: s.older || s.preview.truncated, LastID: s.lastID,
		Preview: s.preview.snapshot(), Queue: s.queue, Pending: s.pending, LastError: s.lastError, Retry: s.retry,
		Settled: s.rested, Unanswered: s.rested && s.unanswered, WaitsForCapacity: s.capacity,
	}
}
