package worker

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// Retries is how often a job is called again after a transient or ambiguous verdict: with the first, four tries.
const Retries = 3

const (
	backoffBase = time.Second
	backoffMost = 30 * time.Second

	throttleDefault = 5 * time.Second
	throttleMost    = 5 * time.Minute
)

// again asks for another attempt at that time, or at the job's expiry if that is sooner.
func (j *job) again(at time.Time) kafka.Result {
	if at.After(j.expires) {
		at = j.expires
	}
	return kafka.Result{Again: at, Carry: j}
}

// backoff is how long to wait before the n-th retry, counted from 1: exponential with full jitter. It is drawn from what
// names the retry, so that a repetition elsewhere waits as long.
func backoff(id string, run, step, n int) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + "|" + strconv.Itoa(run) + "|" + strconv.Itoa(step)))
	ceiling := min(backoffBase<<min(n-1, 5), backoffMost)
	return time.Duration(rand.New(rand.NewPCG(h.Sum64(), uint64(n))).Int64N(int64(ceiling)) + 1)
}

// throttle is how long to wait when a provider asks for after; 0 when it did not say.
func throttle(after time.Duration) time.Duration {
	if after <= 0 {
		return throttleDefault
	}
	return min(after, throttleMost)
}
