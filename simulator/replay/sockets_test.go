package replay

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// socketKind is the route behind a recorded WebSocket: watch, stream, git, desktop or parts.
func socketKind(ws *Socket) string {
	path, _, _ := strings.Cut(ws.Request.Path, "?")
	return path[strings.LastIndex(path, "/")+1:]
}

func (p *player) open(i int, ws *Socket) {
	if p.unlimited() {
		p.caughtUp(ws.TConnectMs)
		p.settled(ws)
	}
	o := outcome{key: p.key("~" + strings.ReplaceAll(ws.ID, " ", "_")), socket: true, frames: len(recordedMessages(ws))}
	w, err := dialWire(p.host, p.livePath(ws.Request.Path), p.liveHeader(ws.Request.Headers), strings.Contains(ws.ID, "no-pong"))
	if err != nil {
		o.err = err
		p.note(o)
		return
	}
	c := p.comparer()
	o.err = c.handshake(&ws.Handshake, answer{w.status, w.header, w.body})
	if o.err != nil || w.status != http.StatusSwitchingProtocols {
		w.close(0, "")
		p.note(o)
		return
	}
	p.sockets[i] = w
	if kind := socketKind(ws); kind == "stream" && len(ws.Frames) > 0 && ws.Frames[0].Dir == "recv" {
		eventually(abreast, func() bool { // what is done next must not show in the snapshot
			received, closed := w.seen()
			return len(received) > 0 || closed != nil
		})
	}
}

// settled waits for the end of a turn that was over when the recorder opened its stream.
func (p *player) settled(ws *Socket) {
	match := chatPath.FindStringSubmatch(ws.Request.Path)
	if socketKind(ws) != "stream" || match == nil || len(ws.Frames) == 0 {
		return
	}
	snapshot := progressOf([][]byte{[]byte(ws.Frames[0].Data)})
	if snapshot.status != "" && !unsettled(snapshot.status) {
		p.awaitStatus(match[1], snapshot.status, patience)
	}
}

// handshake compares how a handshake was answered; whether compression was agreed on counts for what a client must be
// ready for.
func (c *comparer) handshake(want *Response, got answer) error {
	if want.Status == http.StatusSwitchingProtocols {
		want = &Response{Status: want.Status, Headers: want.Headers}
	}
	return c.answer(want, got)
}

func (p *player) sendFrame(i int, f Frame) {
	w, ok := p.sockets[i]
	if !ok {
		return
	}
	data := []byte(p.ids.liveText(f.Data))
	if f.DataB64 != "" {
		data, _ = base64.StdEncoding.DecodeString(f.DataB64)
	}
	_ = w.send(opcodes[f.Opcode], data) // a server that has hung up shows in the comparison
}

// shut ends a WebSocket the way the recorder did, once it has told what it had told the recorder.
func (p *player) shut(i int, ws *Socket) {
	w, ok := p.sockets[i]
	if !ok {
		return
	}
	delete(p.sockets, i)
	o := outcome{key: p.key("~" + strings.ReplaceAll(ws.ID, " ", "_")), socket: true, frames: len(recordedMessages(ws))}
	within := mustCome
	if p.list.lists(o.key) {
		within = 150 * time.Millisecond
	}
	if ws.Close.By != "server" && ws.Close.Code == 0 {
		w.muted = true
	}
	last := ""
	eventually(within, func() bool {
		state := w.state()
		if state != last {
			o.err, last = p.compareSocket(ws, w), state
		}
		return o.err == nil
	})
	switch {
	case ws.Close.By == "server":
		<-p.hangUp(w)
	default:
		w.close(ws.Close.Code, ws.Close.Reason)
		if _, closed := w.seen(); o.err == nil && ws.Close.Code != 0 && closed.Code != ws.Close.Code {
			o.err = fmt.Errorf("want the close code %d back, got %d", ws.Close.Code, closed.Code)
		}
	}
	p.note(o)
}

// hangUp drops a connection that the server should have closed by now.
func (p *player) hangUp(w *wire) <-chan struct{} {
	w.conn.Close()
	return w.done
}

func (p *player) compareSocket(ws *Socket, w *wire) error {
	received, closed := w.seen()
	c := p.comparer()
	if err := c.socket(ws, received); err != nil {
		return err
	}
	if err := comparePings(ws, w); err != nil {
		return err
	}
	if ws.Close.By != "server" {
		if closed != nil {
			return fmt.Errorf("the server hung up: %d %q", closed.Code, closed.Reason)
		}
		p.ids = c.ids
		return nil
	}
	if closed == nil || closed.By != "server" {
		return fmt.Errorf("want the server to close with %d %q", ws.Close.Code, ws.Close.Reason)
	}
	if closed.Code != ws.Close.Code || closed.Reason != ws.Close.Reason {
		return fmt.Errorf("want close %d %q, got %d %q", ws.Close.Code, ws.Close.Reason, closed.Code, closed.Reason)
	}
	p.ids = c.ids
	return nil
}

func (c *comparer) socket(ws *Socket, received []message) error {
	recorded := recordedMessages(ws)
	switch socketKind(ws) {
	case "stream", "parts":
		return c.compareStream(texts(recorded), texts(received))
	case "watch":
		return c.compareWatch(texts(recorded), texts(received))
	case "desktop":
		return compareBytes(recorded, received)
	}
	return c.compareMessages(recorded, received)
}

// comparePings looks at recordings that waited for the heartbeat; pings come every 15 s.
func comparePings(ws *Socket, w *wire) error {
	recorded := 0
	for _, f := range ws.Frames {
		if f.Dir == "recv" && f.Opcode == "ping" {
			recorded++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ws.Close.TMs > 30_000 && w.pings < recorded && strings.Contains(ws.ID, "watch") {
		return fmt.Errorf("want %d pings, got %d", recorded, w.pings)
	}
	return nil
}

// compareMessages compares JSON messages one by one.
func (c *comparer) compareMessages(recorded, received []message) error {
	for i := range min(len(recorded), len(received)) {
		if recorded[i].compressed || received[i].compressed {
			continue
		}
		want, errWant := decode(recorded[i].data)
		got, errGot := decode(received[i].data)
		if errWant != nil || errGot != nil {
			continue
		}
		if err := c.json(want, got); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	if len(recorded) != len(received) {
		return fmt.Errorf("want %d messages, got %d", len(recorded), len(received))
	}
	return nil
}

// compareBytes compares a desktop: the server speaks first, and where messages begin and end is free.
func compareBytes(recorded, received []message) error {
	join := func(messages []message) []byte {
		var all []byte
		for _, m := range messages {
			all = append(all, m.data...)
		}
		return all
	}
	want, got := join(recorded), join(received)
	const greeting = len("RFB 003.008\n")
	if n := min(greeting, len(want)); !bytes.HasPrefix(got, want[:n]) {
		return fmt.Errorf("want %q first, got %q", want[:n], got[:min(len(got), greeting)])
	}
	return nil
}
