package relay

import "github.com/google/uuid"

// Listeners is how many listeners a chat has.
func (r *Relay) Listeners(chat uuid.UUID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.chats[chat]; f != nil {
		return f.shared.listeners
	}
	return 0
}

// Listening is how many wait for the watch or read it.
func (r *Relay) Listening() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch == nil {
		return 0
	}
	return r.watch.shared.listeners
}
