package relay

// Listening is how many wait for the watch or read it.
func (r *Relay) Listening() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watch == nil {
		return 0
	}
	return r.watch.shared.listeners
}
