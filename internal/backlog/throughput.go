package backlog

import (
	"math"
	"time"
)

const (
	// rateWindow is the time constant of the rates: older measurements weigh a third or less.
	rateWindow = 30 * time.Second
	// idleLimit is how long a lane with a backlog may process nothing before its drain time is unknown.
	idleLimit = time.Minute
	// maxDrainTime is the longest drain time that is reported.
	maxDrainTime = 100 * 365 * 24 * time.Hour
)

// throughput estimates the rate at which a lane is processed. It reads no clock and has no lock.
type throughput struct {
	all     decayingSum // over all measurements
	busy    decayingSum // over the measurements with a backlog throughout: the lane's capacity, not its demand
	last    float64     // jobs per second in the last measurement
	idleFor time.Duration
}

// add records how many jobs were done in a period, and whether the lane had a backlog before and after the period.
func (t *throughput) add(done int64, period time.Duration, backlogBefore, backlogAfter bool) {
	n := float64(max(0, done)) // negative after an offset was set back by hand
	t.all.add(n, period)
	t.last = n / period.Seconds()
	if backlogBefore && backlogAfter {
		t.busy.add(n, period)
	}
	t.idleFor += period
	if n > 0 || !backlogAfter {
		t.idleFor = 0
	}
}

// rate returns the number of jobs per second.
func (t *throughput) rate() float64 { return t.all.mean() }

// timeToDrain returns how long the lane takes to process a backlog. ok is false while the capacity is unknown, or when nothing
// is processed. The rate of the last measurement counts at once if it is higher than the average: with a small backlog the lane
// could not show its capacity before.
func (t *throughput) timeToDrain(backlog int64) (d time.Duration, ok bool) {
	if backlog == 0 {
		return 0, true
	}
	rate := max(t.busy.mean(), t.last)
	if rate <= 0 || t.busy.seconds == 0 || t.idleFor > idleLimit {
		return 0, false
	}
	return time.Duration(min(float64(backlog)/rate, maxDrainTime.Seconds()) * float64(time.Second)), true
}

// decayingSum is a sum over time whose older parts decay exponentially.
type decayingSum struct{ n, seconds float64 }

func (d *decayingSum) add(n float64, period time.Duration) {
	decay := math.Exp(-period.Seconds() / rateWindow.Seconds())
	d.n = d.n*decay + n
	d.seconds = d.seconds*decay + period.Seconds()
}

// mean returns the sum per second; 0 before the first add.
func (d *decayingSum) mean() float64 {
	if d.seconds == 0 {
		return 0
	}
	return d.n / d.seconds
}
