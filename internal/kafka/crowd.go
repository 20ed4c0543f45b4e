package kafka

import "time"

// A topic whose records wait in any order ([RunnerConfig.ByDue]) must not be blocked by a window full of records that wait for
// long: one behind them may be due at once. The handler is then asked to put the oldest of them to the topic's end.

// crowdedAfter is how long a record stays in a full window before it has to make room: a bound on how often it is written.
const crowdedAfter = time.Second

// crowdAtOnce is how many records of a partition make room at once.
const crowdAtOnce = 128

// stuckWaiting reports whether the window is full of records that wait for a time. The lock is held.
func (c *claim) stuckWaiting() bool {
	return c.taken && !c.over && c.r.cfg.ByDue[c.topic] > 0 && c.full() && c.running == 0 && c.called.empty() && c.queued.empty()
}

// crowded reports whether a window is full of records that wait for a time. The lock is held.
func (r *Runner) crowded() bool {
	if len(r.cfg.ByDue) == 0 || r.session == nil {
		return false
	}
	for _, c := range r.session.claims {
		if c.stuckWaiting() {
			return true
		}
	}
	return false
}

// makeRoom calls the oldest records of a window that is full of waiting ones, for their handler to make room. Records that
// are due soon stay, they leave by themselves. The lock is held.
func (c *claim) makeRoom() {
	if !c.stuckWaiting() {
		return
	}
	now, n := c.r.wakeups.now(), 0
	for o := c.low; o < min(c.next, c.low+c.r.cfg.MaxSpan) && n < crowdAtOnce; o++ {
		it := c.items[o]
		if it == nil || it.slot == 0 || it.until-now.mono < crowdedAfter || now.wall.Sub(it.rec.Timestamp) < crowdedAfter {
			continue
		}
		c.r.wakeups.remove(it)
		it.crowded = true
		c.enqueue(it, &c.called)
		n++
	}
}

// Crowded reports whether the record is called before its time because the window of its partition is full of records that
// wait; see [RunnerConfig.ByDue].
func (a *Attempt) Crowded() bool {
	if a.runner == nil {
		return a.Played.crowded()
	}
	return a.crowded
}
