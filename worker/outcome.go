package worker

import (
	"context"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// This file has the outcomes of an attempt: the job ends, becomes a dead letter, is published to the delay ladder, or waits in
// place.

func (w *Worker) sent(a *kafka.Attempt, j *job, t try) kafka.Result {
	e := w.baseEvent(j)
	e.State = notify.StateSent
	e.Attempt++
	e.ProviderID = t.receipt.ProviderID
	e.Simulated = t.receipt.Simulated
	e.Awaited = t.receipt.Awaited
	e.Warnings = append(e.Warnings, t.receipt.Warnings...)
	w.metrics.delivered(time.Since(j.acceptedAt))
	return w.result(a, j, e.State, w.cfg.Records.Sent(a.Record, e))
}

// reject ends a job after a permanent failure. A failure that is about the recipient makes a dead letter only if the
// configuration asks for it: a replay would fail again.
func (w *Worker) reject(a *kafka.Attempt, j *job, t try) kafka.Result {
	if j.message.Parts.Sent() {
		return w.sentPartially(a, j, t.gateway, t.code(), t.reason())
	}
	e := w.baseEvent(j)
	e.Attempt++
	e.State = notify.StateRejected
	e.Code = t.failure.Code
	e.Reason = t.failure.Reason
	if e.Reason == "" {
		e.Reason = string(t.verdict)
	}
	var res kafka.Result
	if t.failure.Gone && !w.cfg.DeadLetterRejected && !w.mayBeMisconfigured(j, t.failure) {
		res = w.cfg.Records.End(a.Record, e)
	} else {
		reason := e.Reason
		e.Reason = ""
		res = w.deadLetter(a, e, reason)
	}
	if w.cfg.Suppress != nil && w.provesGone(t.failure) && !w.isOptOut(t) {
		j.suppressions = append(j.suppressions, w.cfg.Suppress(j.message, "", t.gateway, t.failure)...)
	}
	return w.result(a, j, e.State, res)
}

// provesGone reports whether nothing should be sent to the recipient any more. A device token that a provider calls bad may
// belong to another app, for which this gateway is not configured. So the answer proves nothing about the token.
func (w *Worker) provesGone(f *notify.Failure) bool {
	return f.Gone && (w.cfg.Channel != notify.ChannelPush || f.Reason == notify.ReasonRecipientGone)
}

func (w *Worker) giveUp(a *kafka.Attempt, j *job, t try, reason string) kafka.Result {
	if j.message.Parts.Sent() {
		return w.sentPartially(a, j, t.gateway, t.code(), reason)
	}
	return w.result(a, j, notify.StateDead, w.deadLetter(a, w.failureEvent(j, notify.StateDead, t), reason))
}

// hold keeps a job for a person to decide about: nobody knows whether it was sent, and it must not be sent twice.
func (w *Worker) hold(a *kafka.Attempt, j *job, f *notify.Failure) kafka.Result {
	e := w.baseEvent(j)
	e.Attempt++ // the message may have been sent, so the attempt counts
	e.State = notify.StateHeld
	e.Code = f.Code
	e.Reason = f.Reason
	return w.result(a, j, e.State, w.deadLetter(a, e, notify.ReasonAmbiguous))
}

// rejectRecord ends a record that cannot be delivered as it is.
func (w *Worker) rejectRecord(a *kafka.Attempt, j *job) kafka.Result {
	w.logNoAttempt(a, j, notify.StateRejected, j.rejection.reason, j.rejection.code)
	e := w.baseEvent(j)
	e.State = notify.StateRejected
	e.Code = j.rejection.code
	e.Reason = j.rejection.detail
	return w.result(a, j, e.State, w.deadLetter(a, e, j.rejection.reason))
}

func (w *Worker) deadLetter(a *kafka.Attempt, e notify.Event, reason string) kafka.Result {
	w.metrics.deadLettered()
	return w.cfg.Records.Bury(a.Record, e, reason)
}

// finish ends a job that must not be sent any more.
func (w *Worker) finish(a *kafka.Attempt, j *job, s notify.State, reason string) kafka.Result {
	w.logNoAttempt(a, j, s, reason, "")
	e := w.baseEvent(j)
	e.State = s
	e.Reason = reason
	return w.result(a, j, s, w.cfg.Records.End(a.Record, e))
}

// dropDuplicate ends a record whose job is already finished. It sends nothing and publishes no event.
func (w *Worker) dropDuplicate(a *kafka.Attempt, j *job) kafka.Result {
	w.metrics.duplicate()
	w.log.Debug("a second copy is dropped", zap.String("id", j.id), zap.Int("run", j.run), zap.Int("step", j.step),
		zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	if j.inFlight {
		w.dedup.finish(partitionOf(a.Record), j, false)
	}
	if j.pausedPartition {
		w.paused.resume(partitionOf(a.Record))
	}
	return kafka.Result{}
}

// schedule publishes a job to the ladder until it is due.
func (w *Worker) schedule(a *kafka.Attempt, j *job) kafka.Result {
	e := w.baseEvent(j)
	e.State = notify.StateScheduled
	return w.delay(a, j, e, j.due)
}

// retryLater repeats a job after a failure. The job goes to the ladder; where the order is strict it stays in place.
func (w *Worker) retryLater(a *kafka.Attempt, j *job, t try, wait time.Duration) kafka.Result {
	now := time.Now()
	if w.cfg.Ordering == OrderStrict {
		return w.retryInOrder(a, j, t, now, wait)
	}
	return w.delay(a, j, w.failureEvent(j, notify.StateRetrying, t), now.Add(wait))
}

// delay publishes a job to the ladder. A job that is too large for the ladder becomes a dead letter: it cannot be retried.
//
// A worker that was frozen publishes only once it knows that the partition is still its own. Otherwise a second owner may have
// finished the job already, and the retry that comes back from the ladder might not be recognised as a duplicate. With an open
// intent on the ledger no second owner sends the job, so there is no need to wait.
func (w *Worker) delay(a *kafka.Attempt, j *job, e notify.Event, at time.Time) kafka.Result {
	if !j.intentOpen && !a.Owned() {
		j.continuation = func(a *kafka.Attempt) kafka.Result { return w.delay(a, j, e, at) }
		return j.retryInPlace(time.Now())
	}
	res, fits := w.cfg.Records.Later(a.Record, e, earlier(at, j.expiresAt))
	if !fits {
		e.State = notify.StateDead
		res = w.deadLetter(a, e, notify.ReasonTooLarge)
	}
	return w.result(a, j, e.State, res)
}

// maxStrictBackoff is the longest wait between two tries of a job that keeps other jobs waiting.
const maxStrictBackoff = 5 * time.Second

// retryInOrder repeats a job in place, so that the jobs of the same key behind it wait. A job that keeps them waiting for too
// long becomes a dead letter.
func (w *Worker) retryInOrder(a *kafka.Attempt, j *job, t try, now time.Time, wait time.Duration) kafka.Result {
	if j.failingSince.IsZero() {
		j.failingSince = now
	}
	if t.verdict != notify.Throttled {
		if now.Sub(j.failingSince) >= w.cfg.StrictWait || a.Blocks() {
			return w.giveUp(a, j, t, notify.ReasonOrder)
		}
		wait = min(wait, maxStrictBackoff, time.Until(j.failingSince.Add(w.cfg.StrictWait)))
	}
	w.withdrawIntent(a, j)
	return j.retryInPlace(now.Add(wait))
}

// waitForGateway pauses the partition and keeps the job in place until a gateway is available.
func (w *Worker) waitForGateway(a *kafka.Attempt, j *job) kafka.Result {
	w.withdrawIntent(a, j)
	j.pausedPartition = true
	w.paused.add(partitionOf(a.Record), a.Pause())
	return j.retryInPlace(time.Now().Add(w.untilNextProbe(j)))
}

// untilNextProbe returns the time until one of j's gateways may be probed.
func (w *Worker) untilNextProbe(j *job) time.Duration {
	next := recheckEvery
	for _, o := range w.cfg.Route.order(j) {
		if !w.cfg.Control.PausedGateway(o.Name) && !w.senderBlocked(j, o) {
			next = min(next, max(o.Breaker.NextProbe(time.Now()), 50*time.Millisecond))
		}
	}
	return next
}

// withdrawIntent withdraws an open intent of a job that was not sent: the job waits in place, here or at the next owner.
func (w *Worker) withdrawIntent(a *kafka.Attempt, j *job) {
	if !j.intentOpen {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), recheckEvery) // also works while the partition is revoked
	defer cancel()
	if err := a.Withdraw(ctx, stepHeaders(j)...); err != nil {
		w.log.Debug("an intent stands", zap.String("id", j.id), zap.Error(err)) // the next owner holds the job for a person
		return
	}
	j.intentOpen = false
}

// result completes the result of a job that ends in this place with state s. The metrics and the duplicate check learn of the
// end only when the outcome is acknowledged: if this process ended before, a copy would be dropped although no outcome exists.
func (w *Worker) result(a *kafka.Attempt, j *job, s notify.State, r kafka.Result) kafka.Result {
	if j.pausedPartition {
		w.paused.resume(partitionOf(a.Record))
	}
	// The suppressions go first: an owner that finds a dead letter or a later step without the outcome publishes no suppressions.
	if len(j.suppressions) > 0 {
		r.Follow = slices.Concat(j.suppressions, r.Follow)
	}
	if h, ok := j.ledgerTag(); ok && r.Outcome != nil {
		r.Outcome.Headers = append(r.Outcome.Headers, h)
	}
	r.Intended = j.intentOpen
	r.Ended = func(published *kafka.Outcome) {
		if published != r.Outcome { // the next step was too large for its topic
			s = notify.StateDead
			w.metrics.deadLettered()
		}
		w.metrics.ended(s)
		w.dedup.finish(partitionOf(a.Record), j, s.Final())
	}
	r.Void = func() { w.dedup.park(partitionOf(a.Record), j) }
	return r
}

// baseEvent returns the fields that all events of j have in common. Attempt is the number of attempts counted so far; the caller
// adds the one that ends the job.
func (w *Worker) baseEvent(j *job) notify.Event {
	e := notify.Event{
		NotificationID: j.id, Run: j.run, Step: j.step, Attempt: j.attempts(), At: time.Now().UTC(),
		Tenant: j.tenant, Channel: w.cfg.Channel, Lane: w.cfg.Lane, Reference: j.reference,
		Tries: j.tries, Warnings: eventWarnings(j),
	}
	if j.message != nil {
		e.Recipients = j.message.Parts.List()
	}
	if len(j.tries) > 0 {
		e.Gateway = j.tries[len(j.tries)-1].Gateway
	}
	return e
}

// failureEvent returns the event of a state that the failed try t has caused.
func (w *Worker) failureEvent(j *job, s notify.State, t try) notify.Event {
	e := w.baseEvent(j)
	e.State = s
	e.Gateway = t.gateway
	e.Code = t.failure.Code
	e.Reason = t.failure.Reason
	return e
}

func stepHeaders(j *job) []kafka.Header {
	return []kafka.Header{
		{Key: notify.HeaderRun, Value: strconv.AppendInt(nil, int64(j.run), 10)},
		{Key: notify.HeaderStep, Value: strconv.AppendInt(nil, int64(j.step), 10)},
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
