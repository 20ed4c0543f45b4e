package drain

import (
	"math"
	"time"
)

// memory is how far back a rate looks: what is older counts for a third, and less.
const memory = 30 * time.Second

// patience is for how long a lane that has something to do may do nothing before its rate counts as none.
const patience = time.Minute

// meter turns counts into rates. It is pure.
type meter struct {
	all  decaying // every second
	busy decaying // the seconds in which there was something to do throughout: what the lane can, not what it is asked for
	last float64  // done a second when it was measured last
	idle time.Duration
}

// add takes what was done in a time, and whether there was something to do at its beginning and at its end.
func (m *meter) add(done int64, in time.Duration, before, after bool) {
	n := float64(max(0, done)) // less than before: an offset was set by hand
	m.all.add(n, in)
	m.last = n / in.Seconds()
	if before && after {
		m.busy.add(n, in)
	}
	if m.idle += in; n > 0 || !after {
		m.idle = 0
	}
}

// rate is how many are done a second.
func (m *meter) rate() float64 { return m.all.mean() }

// drain is how long it takes to do so many; ok is false while that is not known, or when nothing is being done. What the lane
// has just shown that it can counts at once: with little to do it could not show it before.
func (m *meter) drain(left int64) (takes time.Duration, ok bool) {
	if left == 0 {
		return 0, true
	}
	rate := max(m.busy.mean(), m.last)
	if rate <= 0 || m.busy.seconds == 0 || m.idle > patience {
		return 0, false
	}
	return time.Duration(min(float64(left)/rate, century.Seconds()) * float64(time.Second)), true
}

// century is the longest time that is told.
const century = 100 * 365 * 24 * time.Hour

// decaying is a sum over time in which the past fades.
type decaying struct{ n, seconds float64 }

func (d *decaying) add(n float64, in time.Duration) {
	fade := math.Exp(-in.Seconds() / memory.Seconds())
	d.n, d.seconds = d.n*fade+n, d.seconds*fade+in.Seconds()
}

func (d *decaying) mean() float64 {
	if d.seconds == 0 {
		return 0
	}
	return d.n / d.seconds
}
