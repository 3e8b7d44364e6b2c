package replay

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// player replays one recording: what the recorder did, in its order, each step as soon as the simulator is where the
// server was when the step was recorded. Nothing waits for a clock.
type player struct {
	*session
	list     *mismatches
	sockets  map[int]*wire
	pending  map[int]chan sent // requests that overlap later steps
	evidence map[string][]seen // statuses of chats over time
	born     map[string]birth
	outcomes []outcome
}

// outcome is how one exchange or one WebSocket compared; frames are those that the recorder received on it.
type outcome struct {
	key    string
	frames int
	socket bool
	err    error // nil: it matches
	class  bool  // outside the product and not sent
}

type sent struct {
	answer answer
	err    error
}

type seen struct {
	at     float64
	status string
}

// birth is when a chat was made, in the recording and now.
type birth struct {
	at   float64
	live time.Time
}

type moment struct {
	at  float64
	act func()
}

const (
	mustCome = 20 * time.Second // until what is compared is as recorded; only a failure takes that long
	patience = 15 * time.Second // until a state is reached that some recordings never show
	abreast  = 6 * time.Second  // until a stream has told as much as the recorded one, which lost turns never do
	hurry    = 700 * time.Millisecond
	tick     = 15 * time.Millisecond
)

// eventually polls until done says true; false when the time is over.
func eventually(within time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(tick) {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func (p *player) play(calls []call) {
	p.collectEvidence()
	moments := []moment{}
	add := func(at float64, act func()) { moments = append(moments, moment{at, act}) }
	for _, c := range calls {
		add(c.at, func() { p.implied(c) })
	}
	for i := range p.recording.Steps {
		s := p.recording.Steps[i]
		switch {
		case s.Kind == "poll":
			at, status := pollEnd(s)
			add(at, func() { p.awaitStatus(s.Chat, status, patience) })
		case p.overlaps(s):
			add(s.TMs, func() { p.begin(s) })
			add(s.TMs+s.ElapsedMs, func() { p.finish(s) })
		default:
			add(p.turnOf(i), func() { p.exchange(s) })
		}
	}
	for i := range p.recording.WebSockets {
		ws := &p.recording.WebSockets[i]
		add(ws.TConnectMs, func() { p.open(i, ws) })
		for _, f := range ws.Frames {
			if f.Dir == "sent" && slices.Contains([]string{"text", "binary", "ping"}, f.Opcode) {
				at := f.TMs
				if ws.Close != nil && ws.Close.By == "server" {
					at = min(at, ws.Close.TMs-justBefore) // what the server hung up on was noted after that
				}
				add(at, func() {
					p.caughtUp(at)
					p.sendFrame(i, f)
				})
			}
		}
		if ws.Close != nil {
			add(ws.Close.TMs, func() { p.shut(i, ws) })
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	for _, m := range moments {
		m.act()
	}
	for _, w := range p.sockets {
		w.close(0, "")
	}
}

// turnOf puts requests that the recorder sent at once into the order in which it wrote them down.
func (p *player) turnOf(i int) float64 {
	const atOnce = 2 // ms
	at := p.recording.Steps[i].TMs
	for _, earlier := range p.recording.Steps[:i] {
		if earlier.Kind == "http" && earlier.TMs > at && earlier.TMs < at+atOnce {
			at = earlier.TMs
		}
	}
	return at
}

// overlaps tells a request during which the recorder sent others.
func (p *player) overlaps(s Step) bool {
	const much = 50 // ms
	return slices.ContainsFunc(p.recording.Steps, func(other Step) bool {
		return other.Kind == "http" && other.TMs > s.TMs && other.TMs+much < s.TMs+s.ElapsedMs
	})
}

func (p *player) note(o outcome) { p.outcomes = append(p.outcomes, o) }

func (p *player) key(rest string) string { return p.generation + "/" + p.recording.Name + rest }

// implied makes a call that the recording only implies. It is no exchange and is not compared; what breaks here shows
// in the exchanges after it.
func (p *player) implied(c call) {
	if c.settle == idleBefore {
		p.awaitIdle(c.chat, patience)
	}
	got, err := p.send(c.method, c.path, withToken(c), c.body)
	if err != nil || got.status >= http.StatusBadRequest {
		p.t.Logf("implied %s %s: status %d %s %v", c.method, c.path, got.status, brief(string(got.body)), err)
		return
	}
	if c.create {
		v, _ := decode(got.body)
		object, _ := v.(map[string]any)
		if id, _ := object["id"].(string); id != "" {
			p.ids.pair(c.chat, id)
			p.born[c.chat] = birth{c.at, time.Now()}
		}
	}
	if c.settle == idleAfter {
		p.awaitIdle(c.chat, patience)
	}
}

func withToken(c call) map[string]string {
	headers := map[string]string{"Coder-Session-Token": c.token, "Content-Type": "application/json"}
	for name, value := range c.headers {
		headers[name] = value
	}
	return headers
}

func (p *player) exchange(s Step) {
	o := outcome{key: p.key(fmt.Sprintf("#%d", s.Index))}
	if p.list.excludes(s.Request) {
		o.class = true
		p.note(o)
		return
	}
	p.ready(s)
	within := mustCome
	if p.list.lists(o.key) {
		within = 150 * time.Millisecond
	}
	if !p.repeatable(s) {
		within = 0
	}
	p.soon = p.nextSeen(s)
	var got answer
	eventually(within, func() bool {
		got, o.err = p.send(s.Request.Method, s.Request.Path, s.Request.Headers, s.Request.Body)
		if o.err == nil {
			o.err = p.compare(s, got)
		}
		return o.err == nil
	})
	p.settle(s, got, o)
}

// repeatable requests may be sent until the answer is the recorded one: what the server does in the background
// (titles, summaries, the end of a turn) has then come as far as in the recording.
func (p *player) repeatable(s Step) bool {
	return s.Request.Method == http.MethodGet && p.unlimited() && chatPath.MatchString(s.Request.Path) ||
		s.Request.Method == http.MethodGet && p.unlimited() && strings.HasPrefix(strings.TrimPrefix(s.Request.Path, apiPrefix), "/chats?") ||
		s.Request.Method == http.MethodGet && p.unlimited() && strings.HasSuffix(s.Request.Path, "/chats")
}

// unlimited recordings do not count requests.
func (p *player) unlimited() bool { return !strings.Contains(p.recording.Name, "rate-limit") }

func (p *player) settle(s Step, got answer, o outcome) {
	if o.err != nil {
		p.learn(s.Response, got)
	}
	if strings.HasSuffix(s.Request.Path, "/download-url") {
		if _, token, ok := strings.Cut(string(got.body), "token="); ok {
			p.signed, _, _ = strings.Cut(token, `"`)
		}
	}
	p.note(o)
}

// begin sends a request and leaves its answer for later.
func (p *player) begin(s Step) {
	if p.list.excludes(s.Request) {
		p.note(outcome{key: p.key(fmt.Sprintf("#%d", s.Index)), class: true})
		return
	}
	p.ready(s)
	answered := make(chan sent, 1)
	p.pending[s.Index] = answered
	other := *p.session
	other.ids = p.ids.clone()
	before := p.requests()
	go func() {
		got, err := other.send(s.Request.Method, s.Request.Path, s.Request.Headers, s.Request.Body)
		answered <- sent{got, err}
	}()
	eventually(hurry, func() bool { return p.requests() > before })
}

func (p *player) requests() int {
	n := 0
	for _, count := range p.server.Requests() {
		n += count
	}
	return n
}

func (p *player) finish(s Step) {
	answered, ok := p.pending[s.Index]
	if !ok {
		return
	}
	got := <-answered
	o := outcome{key: p.key(fmt.Sprintf("#%d", s.Index)), err: got.err}
	if o.err == nil {
		o.err = p.compare(s, got.answer)
	}
	p.settle(s, got.answer, o)
}

// ready waits until the simulator is where the server was when a request was recorded: the streams have told as much,
// and the chat has the status that was last seen.
func (p *player) ready(s Step) {
	if !p.unlimited() {
		return
	}
	p.caughtUp(s.TMs)
	match := chatPath.FindStringSubmatch(s.Request.Path)
	if match == nil || s.Request.Method == http.MethodGet {
		return
	}
	if strings.HasSuffix(s.Request.Path, "/messages") && s.Response.Status == http.StatusOK {
		if strings.Contains(string(s.Response.Body), `"queued":false`) || strings.Contains(string(s.Response.Body), `"queued": false`) {
			p.awaitIdle(match[1], patience)
			return
		}
	}
	if strings.HasSuffix(s.Request.Path, "/interrupt") && !strings.Contains(string(s.Response.Body), `"pending"`) {
		p.awaitPickUp(match[1])
		p.letTalk(match[1], s.TMs)
	}
	status, ok := p.lastSeen(strings.ToLower(match[1]), s.TMs)
	if strings.Contains(string(s.Response.Body), `"queued_message"`) && !unsettled(status) && status != "requires_action" && status != "error" {
		return // it was busy, whatever was last seen
	}
	if ok {
		p.awaitStatus(match[1], status, hurry)
	}
}

// caughtUp waits until every open stream has told as much as its recording had at that time.
func (p *player) caughtUp(at float64) {
	for i, w := range p.sockets {
		ws := &p.recording.WebSockets[i]
		if socketKind(ws) != "stream" {
			continue
		}
		want := progressOf(framesUntil(ws, at))
		last := -1
		eventually(abreast, func() bool {
			received, closed := w.seen()
			if closed != nil || len(received) == last {
				return closed != nil
			}
			last = len(received)
			return progressOf(texts(received)).reached(want)
		})
	}
}

// progress is how far a stream has come.
type progress struct {
	messages, parts, queues, retries int
	status                           string
}

func progressOf(frames [][]byte) progress {
	var p progress
	for _, frame := range frames {
		v, _ := decode(frame)
		events, _ := v.([]any)
		for _, e := range events {
			event, _ := e.(map[string]any)
			switch event["type"] {
			case "message":
				p.messages++
				p.parts = 0
			case "message_part":
				p.parts++
			case "queue_update":
				p.queues++
			case "retry":
				p.retries++
			case "status":
				payload, _ := event["status"].(map[string]any)
				p.status, _ = payload["status"].(string)
			}
		}
	}
	return p
}

func (p progress) reached(want progress) bool {
	if p.messages != want.messages {
		return p.messages > want.messages
	}
	return p.parts >= want.parts && p.queues >= want.queues && p.retries >= want.retries && (p.status == want.status || unsettled(p.status) && unsettled(want.status))
}

func framesUntil(ws *Socket, at float64) [][]byte {
	var frames [][]byte
	for _, f := range ws.Frames {
		if f.Dir == "recv" && f.Opcode == "text" && f.TMs < at {
			frames = append(frames, []byte(f.Data))
		}
	}
	return frames
}

// recordedMessages joins the fragments of what the recorder received.
func recordedMessages(ws *Socket) []message {
	var whole []message
	open := false
	for _, f := range ws.Frames {
		if f.Dir != "recv" || !slices.Contains([]string{"text", "binary", "cont"}, f.Opcode) {
			continue
		}
		data := []byte(f.Data)
		if f.DataB64 != "" {
			data, _ = base64.StdEncoding.DecodeString(f.DataB64)
		}
		if !open {
			whole = append(whole, message{opcode: opcodes[f.Opcode]})
		}
		last := &whole[len(whole)-1]
		last.data = append(last.data, data...)
		open = f.Fin != nil && !*f.Fin
	}
	return whole
}

func texts(messages []message) [][]byte {
	frames := make([][]byte, 0, len(messages))
	for _, m := range messages {
		if m.opcode == opText {
			frames = append(frames, m.data)
		}
	}
	return frames
}

// collectEvidence notes every status of a chat that the recording shows.
func (p *player) collectEvidence() {
	p.evidence = map[string][]seen{}
	note := func(chat string, at float64, status string) {
		if status != "" {
			p.evidence[chat] = append(p.evidence[chat], seen{at, status})
		}
	}
	ofChat := func(v any, at float64) {
		chat, _ := v.(map[string]any)
		if _, ok := chat["root_chat_id"]; ok {
			id, _ := chat["id"].(string)
			status, _ := chat["status"].(string)
			note(id, at, status)
		}
	}
	for _, s := range p.recording.Steps {
		if s.Kind == "poll" {
			at, status := pollEnd(s)
			note(s.Chat, at, status)
			continue
		}
		v, _ := decode(s.Response.Body)
		ofChat(v, s.TMs+s.ElapsedMs)
	}
	for _, ws := range p.recording.WebSockets {
		for _, f := range ws.Frames {
			v, _ := decode([]byte(f.Data))
			if event, ok := v.(map[string]any); ok {
				ofChat(event["chat"], f.TMs)
			}
			events, _ := v.([]any)
			for _, e := range events {
				event, _ := e.(map[string]any)
				chat, _ := event["chat_id"].(string)
				payload, _ := event["status"].(map[string]any)
				status, _ := payload["status"].(string)
				note(chat, f.TMs, status)
			}
		}
	}
	for chat := range p.evidence {
		slices.SortStableFunc(p.evidence[chat], func(a, b seen) int { return cmp.Compare(a.at, b.at) })
	}
}

func (p *player) lastSeen(chat string, at float64) (string, bool) {
	const fresh = 400 // ms: an older busy status may have ended unseen
	var last seen
	for _, s := range p.evidence[chat] {
		if s.at <= at {
			last = s
		}
	}
	for _, s := range p.recording.Steps {
		changes := s.Kind == "http" && s.Request.Method != http.MethodGet && s.Response.Status < http.StatusMultipleChoices
		if changes && s.TMs < at && s.TMs >= last.at && strings.Contains(strings.ToLower(s.Request.Path), chat) {
			return "", false // nobody looked since
		}
	}
	stale := unsettled(last.status) && at-last.at > fresh
	return last.status, last.status != "" && !stale
}

// nextSeen is the next status of the chat that a request names, if it was seen within a moment: a replay that is a
// little faster sees it already.
func (p *player) nextSeen(s Step) string {
	const moment = 300 // ms
	match := chatPath.FindStringSubmatch(s.Request.Path)
	if match == nil {
		return ""
	}
	for _, next := range p.evidence[strings.ToLower(match[1])] {
		if next.at > s.TMs+s.ElapsedMs && next.at < s.TMs+moment && !unsettled(next.status) {
			return next.status
		}
	}
	return ""
}

func (p *player) liveStatus(chat string) string {
	got, err := p.send(http.MethodGet, apiPrefix+"/chats/"+chat, map[string]string{
		"Coder-Session-Token": "<ADMIN_TOKEN>", "X-Coder-Bypass-Ratelimit": "true",
	}, nil)
	if err != nil {
		return ""
	}
	v, _ := decode(got.body)
	object, _ := v.(map[string]any)
	status, _ := object["status"].(string)
	return status
}

func (p *player) awaitStatus(chat, status string, within time.Duration) {
	eventually(within, func() bool {
		live := p.liveStatus(chat)
		return live == status || unsettled(live) && unsettled(status)
	})
}

// letTalk gives the model of a young chat the time that it had in the recording before it was interrupted: it talks by
// the clock.
func (p *player) letTalk(chat string, at float64) {
	const firstWords = 400 // ms
	b, ok := p.born[chat]
	if !ok || at-b.at > 1000 {
		return
	}
	gap := at - b.at
	if gap < 1 && p.leftPartial(chat) { // its create is not on record
		gap = firstWords
	}
	time.Sleep(time.Until(b.live.Add(time.Duration(gap / p.speed * float64(time.Millisecond)))))
}

// leftPartial tells whether an interrupted answer of a chat is shown later.
func (p *player) leftPartial(chat string) bool {
	return slices.ContainsFunc(p.recording.Steps, func(s Step) bool {
		return s.Kind == "http" && strings.HasSuffix(s.Request.Path, chat+"/messages") && strings.Contains(string(s.Response.Body), "chunk-0001 ")
	})
}

// awaitPickUp waits until a worker has a chat that was just created.
func (p *player) awaitPickUp(chat string) {
	eventually(hurry, func() bool { return p.liveStatus(chat) != "pending" })
}

func (p *player) awaitIdle(chat string, within time.Duration) {
	eventually(within, func() bool {
		live := p.liveStatus(chat)
		return live == "waiting" || live == "error"
	})
}
