package worker

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// The ways a job ends, and the one way it waits.

func (w *Worker) sent(a *kafka.Attempt, j *job, t try) kafka.Result {
	e := w.event(j)
	e.Attempt++
	e.ProviderID, e.Simulated = t.receipt.ProviderID, t.receipt.Simulated
	return w.ended(a, j, notify.StateSent, w.cfg.Desk.Sent(a.Record, e))
}

// reject ends a job for good. What is wrong with its recipient is no use to anybody later, unless they ask for it.
func (w *Worker) reject(a *kafka.Attempt, j *job, t try) kafka.Result {
	e := w.event(j)
	e.Attempt++
	e.State, e.Code = notify.StateRejected, t.failure.Code
	reason := t.failure.Reason
	if reason == "" {
		reason = string(t.verdict)
	}
	if t.failure.Gone && !w.cfg.DeadLetterRejected {
		e.Reason = reason
		return w.ended(a, j, e.State, w.cfg.Desk.Reject(a.Record, e))
	}
	return w.ended(a, j, e.State, w.cfg.Desk.Bury(a.Record, e, reason))
}

func (w *Worker) giveUp(a *kafka.Attempt, j *job, t try) kafka.Result {
	e := w.event(j)
	e.State, e.Code, e.Reason = notify.StateDead, t.failure.Code, t.failure.Reason
	return w.ended(a, j, e.State, w.cfg.Desk.Bury(a.Record, e, notify.ReasonAttemptsUsedUp))
}

func (w *Worker) expire(a *kafka.Attempt, j *job) kafka.Result {
	w.logEnd(a, j, notify.StateExpired, "", "")
	return w.ended(a, j, notify.StateExpired, w.cfg.Desk.Expire(a.Record, w.event(j)))
}

// refuse ends a record that cannot be delivered as it is.
func (w *Worker) refuse(a *kafka.Attempt, j *job) kafka.Result {
	w.logEnd(a, j, notify.StateRejected, j.refusal.reason, j.refusal.code)
	e := w.event(j)
	e.State, e.Code, e.Reason = notify.StateRejected, j.refusal.code, j.refusal.detail
	return w.ended(a, j, e.State, w.cfg.Desk.Bury(a.Record, e, j.refusal.reason))
}

func (w *Worker) ended(a *kafka.Attempt, j *job, s notify.State, r kafka.Result) kafka.Result {
	w.counts.end(s)
	if j.waited {
		w.gate.left(partition{a.Topic, a.Partition})
	}
	return r
}

// wait leaves a job where it is until the gateway works for us again.
func (w *Worker) wait(a *kafka.Attempt, j *job) kafka.Result {
	j.waited = true
	w.gate.hold(partition{a.Topic, a.Partition}, func() claim { return w.pause(a) })
	return j.again(time.Now().Add(waitFor))
}

// event is what every end of j has in common. Attempt is how many tries counted so far; a try that ends the job counts too.
func (w *Worker) event(j *job) notify.Event {
	e := notify.Event{
		NotificationID: j.id, Run: j.run, Step: j.step, Attempt: j.attempt + j.used, At: time.Now().UTC(),
		Tenant: j.tenant, Channel: w.cfg.Channel, Lane: notify.LaneNormal, Reference: j.reference,
		Tries: j.tries, Warnings: j.warnings,
	}
	if j.calls > 0 {
		e.Gateway = w.cfg.Gateway
	}
	return e
}
