package replay

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// wire is a WebSocket client that works on frames: recordings tell frames, fragments and closing handshakes apart, and
// some of their clients break the rules on purpose.
type wire struct {
	conn   net.Conn
	status int
	header http.Header
	body   []byte // of a refused handshake

	muted bool // answers no pings

	mu       sync.Mutex
	received []message
	pings    int
	closed   *Close // by whom and how, once it is over
	leaving  bool   // we sent a close frame
	changed  chan struct{}
	done     chan struct{}
}

// message is one whole message of a WebSocket, its fragments joined.
type message struct {
	opcode     byte
	compressed bool
	data       []byte
}

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

var opcodes = map[string]byte{"text": opText, "binary": opBinary, "close": opClose, "ping": opPing, "pong": opPong, "cont": opContinuation}

// dialWire opens a WebSocket, or brings home the answer that refused it.
func dialWire(host, path string, header http.Header, muted bool) (*wire, error) {
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	request.Header = header
	key := make([]byte, 16)
	rand.Read(key)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(key),
	} {
		request.Header.Set(name, value)
	}
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		conn.Close()
		return nil, err
	}
	w := &wire{
		conn: conn, status: response.StatusCode, header: response.Header, muted: muted,
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		close(w.done)
		w.body, err = io.ReadAll(response.Body)
		return w, err
	}
	go w.read(reader)
	return w, nil
}

func (w *wire) read(reader *bufio.Reader) {
	defer close(w.done)
	defer w.conn.Close()
	var whole message
	for {
		fin, compressed, opcode, payload, err := readFrame(reader)
		if err != nil {
			w.end(Close{By: "EOF"})
			return
		}
		switch opcode {
		case opPing:
			w.mu.Lock()
			w.pings++
			w.mu.Unlock()
			if !w.muted {
				_ = w.send(opPong, payload)
			}
		case opPong:
		case opClose:
			w.finish(payload)
			return
		default:
			if opcode != opContinuation {
				whole = message{opcode: opcode, compressed: compressed}
			}
			whole.data = append(whole.data, payload...)
			if fin {
				w.mu.Lock()
				w.received = append(w.received, whole)
				w.mu.Unlock()
				w.signal()
			}
		}
	}
}

func (w *wire) finish(payload []byte) {
	c := Close{By: "server"}
	if len(payload) >= 2 {
		c.Code, c.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	}
	w.mu.Lock()
	if w.leaving {
		c.By = "client (server echoed)"
	}
	w.mu.Unlock()
	if c.By == "server" {
		_ = w.send(opClose, payload)
	}
	w.end(c)
}

func (w *wire) end(c Close) {
	w.mu.Lock()
	w.closed = &c
	w.mu.Unlock()
	w.signal()
}

func (w *wire) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// seen returns the messages so far and, if the socket is closed, how.
func (w *wire) seen() ([]message, *Close) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.received, w.closed
}

// state changes with everything that arrives.
func (w *wire) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprint(len(w.received), w.pings, w.closed)
}

// send writes one masked frame.
func (w *wire) send(opcode byte, payload []byte) error {
	frame := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := make([]byte, 4)
	rand.Read(mask)
	frame = append(frame, mask...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := w.conn.Write(frame)
	return err
}

// close says goodbye with a code and waits for the server's echo; a code of 0 drops the connection instead.
func (w *wire) close(code int, reason string) {
	if w.status != http.StatusSwitchingProtocols {
		return
	}
	if code != 0 {
		w.mu.Lock()
		w.leaving = true
		w.mu.Unlock()
		if err := w.send(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)); err == nil {
			select {
			case <-w.done:
				return
			case <-time.After(3 * time.Second):
			}
		}
	}
	w.conn.Close()
	<-w.done
}

func readFrame(reader *bufio.Reader) (fin, compressed bool, opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(reader, head); err != nil {
		return
	}
	fin, compressed, opcode = head[0]&0x80 != 0, head[0]&0x40 != 0, head[0]&0x0f
	if head[1]&0x80 != 0 {
		return fin, compressed, opcode, nil, fmt.Errorf("a frame of the server is masked")
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		extended := make([]byte, 2)
		if _, err = io.ReadFull(reader, extended); err != nil {
			return
		}
		length = uint64(binary.BigEndian.Uint16(extended))
	case 127:
		extended := make([]byte, 8)
		if _, err = io.ReadFull(reader, extended); err != nil {
			return
		}
		length = binary.BigEndian.Uint64(extended)
	}
	const most = 64 << 20
	if length > most {
		return fin, compressed, opcode, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(reader, payload)
	return
}
