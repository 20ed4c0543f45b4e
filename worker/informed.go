package worker

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// A provider may have taken a message although no worker knows: the response was lost, or the worker was killed before it
// reported the call. Its receipt then settles the run on the control topic. A repeated call must not begin after that receipt
// was acknowledged, so it needs recent knowledge of the topic. The first attempt of a job needs none.

// ControlAge is how old the knowledge of the control topic may be when a call begins that may be a repetition. The API
// acknowledges a receipt later than this after the topic has the entry, so that no such call begins after the acknowledgement.
const ControlAge = 700 * time.Millisecond

// informedEvery is how often a job that lacks this knowledge looks again.
const informedEvery = 50 * time.Millisecond

// informed reports whether the worker knows enough of the control topic to call a gateway for the job. Ask it before
// [Control.Settled], whose answer is then at least as recent.
func (w *Worker) informed(a *kafka.Attempt, j *job) bool {
	return !w.mayBeTaken(a, j) || time.Since(w.cfg.Control.AsOf()) < ControlAge
}

// mayBeTaken reports whether a gateway may have taken the message in an earlier attempt of this run. A job that is tried again
// in its place says nothing about its attempts to the next owner of the partition: where the order is strict, the answer is yes.
func (w *Worker) mayBeTaken(a *kafka.Attempt, j *job) bool {
	return j.attempt+j.used+j.before > 0 || a.MayRepeat() || w.cfg.Ordering == OrderStrict
}
