package worker

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// RetryPolicy says how often and when a job is tried again after a transient or ambiguous verdict.
type RetryPolicy struct {
	MaxAttempts    int           // the first attempt included; 0 = until the job expires
	InitialBackoff time.Duration // longest wait after the first attempt; it doubles with each further attempt
	MaxBackoff     time.Duration // end of the doubling
}

// DefaultRetryPolicy returns the policy of a lane: urgent retries until the job expires, normal makes 8 attempts in about half an
// hour, bulk makes 8 attempts in about six hours.
func DefaultRetryPolicy(lane notify.Lane) RetryPolicy {
	switch lane {
	case notify.LaneUrgent:
		return RetryPolicy{InitialBackoff: time.Second, MaxBackoff: 30 * time.Second}
	case notify.LaneBulk:
		return RetryPolicy{MaxAttempts: 8, InitialBackoff: 6 * time.Minute, MaxBackoff: 6 * time.Hour}
	default:
		return RetryPolicy{MaxAttempts: 8, InitialBackoff: 30 * time.Second, MaxBackoff: 30 * time.Minute}
	}
}

// exhausted reports whether a job is given up after this number of attempts.
func (p RetryPolicy) exhausted(attempts int) bool {
	return p.MaxAttempts > 0 && attempts >= p.MaxAttempts
}

// backoff returns the wait after this number of attempts: exponential with full jitter. The random number depends only on ID,
// run and step, so that another worker that repeats the step chooses the same wait and the same delay tier.
func (p RetryPolicy) backoff(j *job, attempts int) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.id + "|" + strconv.Itoa(j.run) + "|" + strconv.Itoa(j.step)))
	ceiling := p.MaxBackoff
	if doublings := max(attempts-1, 0); doublings < 63 && p.InitialBackoff <= p.MaxBackoff>>doublings {
		ceiling = p.InitialBackoff << doublings
	}
	return time.Duration(rand.New(rand.NewPCG(h.Sum64(), uint64(attempts))).Int64N(max(int64(ceiling), 1)) + 1)
}

const (
	defaultThrottleWait = 5 * time.Second
	maxThrottleWait     = 24 * time.Hour
)

// throttleWait returns the wait after a throttle. After is the time that the provider asked for, 0 if it named none.
func throttleWait(after time.Duration) time.Duration {
	if after <= 0 {
		return defaultThrottleWait
	}
	return min(after, maxThrottleWait)
}
