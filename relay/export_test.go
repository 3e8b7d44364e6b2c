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
