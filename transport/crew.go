package transport

import "sync/atomic"

// crew runs functions in goroutines, any number at once, and keeps a few of them for the next: growing the stack of a
// fresh one costs a fifth of a small call.
type crew struct {
	jobs chan func()
	quit <-chan struct{} // ends those that are kept
	idle atomic.Int32
}

// crewIdle is how many goroutines are kept.
const crewIdle = 32

func newCrew(quit <-chan struct{}) *crew { return &crew{jobs: make(chan func()), quit: quit} }

// run starts f at once.
func (c *crew) run(f func()) {
	select {
	case c.jobs <- f:
	default:
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	for {
		f()
		if c.idle.Add(1) > crewIdle {
			c.idle.Add(-1)
			return
		}
		select {
		case f = <-c.jobs:
			c.idle.Add(-1)
		case <-c.quit:
			return
		}
	}
}
