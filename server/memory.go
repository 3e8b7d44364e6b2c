package server

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"
)

const (
	// messagesKept are more than any call tells from the past of a chat, so that none of those is told again.
	messagesKept = 256
	// chatsKept bounds what a long session that speaks of ever new chats remembers: about 256 KiB.
	chatsKept = 128
)

// memory is which messages of which chats a session was told as events: those that were told last, of the chats that were spoken of last. What one call
// tells late, from the past of a chat, another may have told live, or the other way round. The zero value is ready for use.
type memory struct {
	mu    sync.Mutex
	chats map[uuid.UUID]*toldMessages
	uses  int64
}

// toldMessages are those of one chat.
type toldMessages struct {
	turn chan struct{} // holds a token while one is told: whoever has the same one waits for what comes of it
	ids  []int64       // a ring once it is full
	next int
	used int64 // memory.uses when the chat was spoken of last
}

// once tells a message of the chat unless that was told. What failed to be told may be told by the next who has it.
func (m *memory) once(ctx context.Context, chat uuid.UUID, id int64, tell func() error) error {
	told := m.of(chat)
	select {
	case told.turn <- struct{}{}:
		defer func() { <-told.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if slices.Contains(told.ids, id) {
		return nil
	}
	if err := tell(); err != nil {
		return err
	}
	told.note(id)
	return nil
}

func (m *memory) of(chat uuid.UUID) *toldMessages {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uses++
	told := m.chats[chat]
	if told == nil {
		m.makeRoom()
		told = &toldMessages{turn: make(chan struct{}, 1)}
		m.chats[chat] = told
	}
	told.used = m.uses
	return told
}

// makeRoom forgets the chat that nobody spoke of for the longest time when there are enough of them.
func (m *memory) makeRoom() {
	if m.chats == nil {
		m.chats = map[uuid.UUID]*toldMessages{}
	}
	if len(m.chats) < chatsKept {
		return
	}
	var oldest uuid.UUID
	since := m.uses
	for chat, told := range m.chats {
		if told.used < since {
			oldest, since = chat, told.used
		}
	}
	delete(m.chats, oldest)
}

func (t *toldMessages) note(id int64) {
	if len(t.ids) < messagesKept {
		t.ids = append(t.ids, id)
		return
	}
	t.ids[t.next] = id
	t.next = (t.next + 1) % messagesKept
}
