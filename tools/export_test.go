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
		d.mu.Lock()
		if d.conn != nil {
			select {
			case <-d.conn.Done():
			default:
				alive++
			}
		}
		d.mu.Unlock()
	}
	return alive
}

// WaitForRoots changes how long a client may take to tell its roots.
func (s *Session) WaitForRoots(d time.Duration) { s.rootsPatience = d }
