package tools

import "time"

// KeepDesktops changes how long idle connections to desktops are kept.
func (c *Caller) KeepDesktops(d time.Duration) { c.desktops.idle = d }

// Desktops counts the connections to desktops that live.
func (c *Caller) Desktops() int {
	c.desktops.mu.Lock()
	defer c.desktops.mu.Unlock()
	alive := 0
	for _, d := range c.desktops.open {
		if d.conn == nil {
			continue
		}
		select {
		case <-d.conn.Done():
		default:
			alive++
		}
	}
	return alive
}

// KnownDesktops counts the desktops that something is kept of.
func (c *Caller) KnownDesktops() int {
	c.desktops.mu.Lock()
	defer c.desktops.mu.Unlock()
	return len(c.desktops.open)
}

// MaxDesktops is how many connections a caller may have.
const MaxDesktops = maxDesktops

// WaitForRoots changes how long a client may take to tell its roots.
func (s *Session) WaitForRoots(d time.Duration) { s.rootsPatience = d }
