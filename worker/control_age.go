package worker

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// A provider may have accepted a message although no worker knows: the response was lost, or the worker was killed before it
// reported the call. The delivery receipt then ends the run on the control topic. A repeated call must not begin after this
// receipt was acknowledged. So a repeated call needs a recent state of the control topic; the first call of a job does not.

// MaxControlAge is how old the state of the control topic may be when a call begins that may be a repetition. The API
// acknowledges a receipt only when this time has passed since the topic got the entry. So no repetition begins after the
// acknowledgement.
const MaxControlAge = 700 * time.Millisecond

// controlRecheckEvery is how often a job that lacks a recent state checks again.
const controlRecheckEvery = 50 * time.Millisecond

// controlIsFresh reports whether the state of the control topic is recent enough to call a gateway for the job. Call it before
// [Control.Settled]: the answer of Settled is then at least as recent.
func (w *Worker) controlIsFresh(a *kafka.Attempt, j *job) bool {
	return !w.mayBeRepetition(a, j) || time.Since(w.cfg.Control.AsOf()) < MaxControlAge
}

// mayBeRepetition reports whether a gateway may have accepted the message in an earlier attempt of this run. Where the order is
// strict the answer is always yes: a job that is retried in place leaves no trace of its attempts for the next owner of the
// partition.
func (w *Worker) mayBeRepetition(a *kafka.Attempt, j *job) bool {
	return j.attempts()+j.callsBefore > 0 || a.MayRepeat() || w.cfg.Ordering == OrderStrict
}
