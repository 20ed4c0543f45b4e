package worker

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Retries is how often and when a job is tried again after a transient or ambiguous verdict.
type Retries struct {
	Attempts int           // in all, the first included; 0 = until the job expires
	First    time.Duration // the longest wait after the first attempt; each later one is twice as long
	Longest  time.Duration // what the doubling ends at
}

// DefaultRetries are the contract's: urgent until it expires, normal 8 attempts in about half an hour, bulk 8 in about six.
func DefaultRetries(lane notify.Lane) Retries {
	switch lane {
	case notify.LaneUrgent:
		return Retries{First: time.Second, Longest: 30 * time.Second}
	case notify.LaneBulk:
		return Retries{Attempts: 8, First: 6 * time.Minute, Longest: 6 * time.Hour}
	default:
		return Retries{Attempts: 8, First: 30 * time.Second, Longest: 30 * time.Minute}
	}
}

// usedUp reports whether a job that has been tried so often is given up.
func (p Retries) usedUp(attempts int) bool { return p.Attempts > 0 && attempts >= p.Attempts }

// after is how long to wait after so many attempts: exponential with full jitter. It is drawn from what names the step, so
// that a repetition elsewhere waits as long and goes to the same tier.
func (p Retries) after(j *job, attempts int) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.id + "|" + strconv.Itoa(j.run) + "|" + strconv.Itoa(j.step)))
	ceiling := p.Longest
	if doublings := max(attempts-1, 0); doublings < 63 && p.First <= p.Longest>>doublings {
		ceiling = p.First << doublings
	}
	return time.Duration(rand.New(rand.NewPCG(h.Sum64(), uint64(attempts))).Int64N(max(int64(ceiling), 1)) + 1)
}

const (
	throttleDefault = 5 * time.Second
	throttleMost    = 24 * time.Hour
)

// throttle is how long to wait when a provider asks for after; 0 when it did not say.
func throttle(after time.Duration) time.Duration {
	if after <= 0 {
		return throttleDefault
	}
	return min(after, throttleMost)
}
