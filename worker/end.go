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

// The ways a job leaves its place.

func (w *Worker) sent(a *kafka.Attempt, j *job, t try) kafka.Result {
	e := w.event(j)
	e.State = notify.StateSent
	e.Attempt++
	e.ProviderID, e.Simulated, e.Awaited = t.receipt.ProviderID, t.receipt.Simulated, t.receipt.Awaited
	e.Warnings = append(e.Warnings, t.receipt.Warnings...)
	w.counts.delivered(time.Since(j.accepted))
	return w.left(a, j, e.State, w.cfg.Desk.Sent(a.Record, e))
}

// reject ends a job for good. What is wrong with its recipient is no use to anybody later, unless they ask for it.
func (w *Worker) reject(a *kafka.Attempt, j *job, t try) kafka.Result {
	if j.message.Parts.Sent() {
		return w.sentInPart(a, j, t.gateway, t.code(), t.reason())
	}
	e := w.event(j)
	e.Attempt++
	e.State, e.Code, e.Reason = notify.StateRejected, t.failure.Code, t.failure.Reason
	if e.Reason == "" {
		e.Reason = string(t.verdict)
	}
	var res kafka.Result
	if t.failure.Gone && !w.cfg.DeadLetterRejected && !w.doubtful(j, t.failure) {
		res = w.cfg.Desk.End(a.Record, e)
	} else {
		reason := e.Reason
		e.Reason = ""
		res = w.bury(a, e, reason)
	}
	if w.cfg.Suppress != nil && w.provesGone(t.failure) && !w.isOptOut(t) {
		j.leaves = append(j.leaves, w.cfg.Suppress(j.message, "", t.gateway, t.failure)...)
	}
	return w.left(a, j, e.State, res)
}

// provesGone reports whether nothing should be sent to the recipient any more. A device token that is said to be bad may be one
// of another app, sent to by a gateway that is not configured for it: that proves nothing about the token.
func (w *Worker) provesGone(f *notify.Failure) bool {
	return f.Gone && (w.cfg.Channel != notify.ChannelPush || f.Reason == notify.ReasonRecipientGone)
}

func (w *Worker) giveUp(a *kafka.Attempt, j *job, t try, reason string) kafka.Result {
	if j.message.Parts.Sent() {
		return w.sentInPart(a, j, t.gateway, t.code(), reason)
	}
	e := w.event(j)
	e.State, e.Gateway, e.Code, e.Reason = notify.StateDead, t.gateway, t.failure.Code, t.failure.Reason
	return w.left(a, j, e.State, w.bury(a, e, reason))
}

// hold keeps a job for a person to decide about: nobody knows whether it was sent, and it must not be sent twice.
func (w *Worker) hold(a *kafka.Attempt, j *job, f *notify.Failure) kafka.Result {
	e := w.event(j)
	e.Attempt++ // it may have been sent: that uses one
	e.State, e.Code, e.Reason = notify.StateHeld, f.Code, f.Reason
	return w.left(a, j, e.State, w.bury(a, e, notify.ReasonAmbiguous))
}

// refuse ends a record that cannot be delivered as it is.
func (w *Worker) refuse(a *kafka.Attempt, j *job) kafka.Result {
	w.logEnd(a, j, notify.StateRejected, j.refusal.reason, j.refusal.code)
	e := w.event(j)
	e.State, e.Code, e.Reason = notify.StateRejected, j.refusal.code, j.refusal.detail
	return w.left(a, j, e.State, w.bury(a, e, j.refusal.reason))
}

func (w *Worker) bury(a *kafka.Attempt, e notify.Event, reason string) kafka.Result {
	w.counts.buried()
	return w.cfg.Desk.Bury(a.Record, e, reason)
}

// end ends a job that nobody wants sent any more.
func (w *Worker) end(a *kafka.Attempt, j *job, s notify.State, reason string) kafka.Result {
	w.logEnd(a, j, s, reason, "")
	e := w.event(j)
	e.State, e.Reason = s, reason
	return w.left(a, j, s, w.cfg.Desk.End(a.Record, e))
}

// drop ends a record whose job has been dealt with: nothing is sent, and no event says so.
func (w *Worker) drop(a *kafka.Attempt, j *job) kafka.Result {
	w.counts.dropped()
	w.log.Debug("a second copy is dropped", zap.String("id", j.id), zap.Int("run", j.run), zap.Int("step", j.step),
		zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	if j.entered {
		w.seen.leave(at(a.Record), j, false)
	}
	if j.waited {
		w.gate.left(at(a.Record))
	}
	return kafka.Result{}
}

// schedule puts a job off until it is due.
func (w *Worker) schedule(a *kafka.Attempt, j *job) kafka.Result {
	e := w.event(j)
	e.State = notify.StateScheduled
	return w.later(a, j, e, j.due)
}

// putOff puts a job off because of what a gateway said. Where the order is strict it stays where it is, and those behind it
// wait, as long as that is bearable.
func (w *Worker) putOff(a *kafka.Attempt, j *job, t try, wait time.Duration) kafka.Result {
	now := time.Now()
	if w.cfg.Ordering == OrderStrict {
		return w.stay(a, j, t, now, wait)
	}
	e := w.event(j)
	e.State, e.Gateway, e.Code, e.Reason = notify.StateRetrying, t.gateway, t.failure.Code, t.failure.Reason
	return w.later(a, j, e, now.Add(wait))
}

// later puts a job on the ladder. One that is too large for it ends here: no later attempt can be brought about.
//
// A worker that was frozen does so only once it knows that the partition is still its own. Else somebody does the job anew, and
// what came back from the ladder might find nobody who remembers its end. With an intent on the ledger nobody does.
func (w *Worker) later(a *kafka.Attempt, j *job, e notify.Event, at time.Time) kafka.Result {
	if !j.stands && !a.Owned() {
		j.next = func(a *kafka.Attempt) kafka.Result { return w.later(a, j, e, at) }
		return j.again(time.Now())
	}
	res, fits := w.cfg.Desk.Later(a.Record, e, earlier(at, j.expires))
	if !fits {
		e.State = notify.StateDead
		res = w.bury(a, e, notify.ReasonTooLarge)
	}
	return w.left(a, j, e.State, res)
}

// strictMost is how long a job waits at most between two tries that keep others waiting.
const strictMost = 5 * time.Second

func (w *Worker) stay(a *kafka.Attempt, j *job, t try, now time.Time, wait time.Duration) kafka.Result {
	if j.failing.IsZero() {
		j.failing = now
	}
	if t.verdict != notify.Throttled {
		if now.Sub(j.failing) >= w.cfg.StrictWait || a.Blocks() {
			return w.giveUp(a, j, t, notify.ReasonOrder)
		}
		wait = min(wait, strictMost, time.Until(j.failing.Add(w.cfg.StrictWait)))
	}
	w.withdraw(a, j)
	return j.again(now.Add(wait))
}

// wait leaves a job where it is until a gateway works for us again.
func (w *Worker) wait(a *kafka.Attempt, j *job) kafka.Result {
	w.withdraw(a, j)
	j.waited = true
	w.gate.hold(at(a.Record), a.Pause())
	return j.again(time.Now().Add(w.nextProbe(j)))
}

// nextProbe is how long it takes until it makes sense to ask one of j's gateways again.
func (w *Worker) nextProbe(j *job) time.Duration {
	next := waitFor
	for _, o := range w.cfg.Route.order(j) {
		if !w.cfg.Control.PausedGateway(o.Name) && !w.blocked(j, o) {
			next = min(next, max(o.Breaker.NextProbe(time.Now()), 50*time.Millisecond))
		}
	}
	return next
}

// withdraw takes back an intent that stands: the job was not sent, and waits in place, here or with the next owner.
func (w *Worker) withdraw(a *kafka.Attempt, j *job) {
	if !j.stands {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitFor) // also while the partition is being given up
	defer cancel()
	if err := a.Withdraw(ctx, stepHeaders(j)...); err != nil {
		w.log.Debug("an intent stands", zap.String("id", j.id), zap.Error(err)) // whoever finds it asks a person
		return
	}
	j.stands = false
}

// left says that the job leaves its place in that state. It counts, and copies of it are dropped, only once that is
// acknowledged: else nothing would be left to bring it back, were this process to end first.
func (w *Worker) left(a *kafka.Attempt, j *job, s notify.State, r kafka.Result) kafka.Result {
	if j.waited {
		w.gate.left(at(a.Record))
	}
	// First, for whoever finds a dead letter or a later step and not the outcome does nothing more.
	if len(j.leaves) > 0 {
		r.Follow = slices.Concat(j.leaves, r.Follow)
	}
	if h, ok := j.ledgerPrint(); ok && r.Outcome != nil {
		r.Outcome.Headers = append(r.Outcome.Headers, h)
	}
	r.Intended = j.stands
	r.Ended = func(published *kafka.Outcome) {
		if published != r.Outcome { // its next step was too large for its topic
			s = notify.StateDead
			w.counts.buried()
		}
		w.counts.end(s)
		w.seen.leave(at(a.Record), j, s.Final())
	}
	r.Void = func() { w.seen.rest(at(a.Record), j) }
	return r
}

// event is what every end of j has in common. Attempt is how many attempts counted so far; one that ends the job counts too.
func (w *Worker) event(j *job) notify.Event {
	e := notify.Event{
		NotificationID: j.id, Run: j.run, Step: j.step, Attempt: j.attempt + j.used, At: time.Now().UTC(),
		Tenant: j.tenant, Channel: w.cfg.Channel, Lane: w.cfg.Lane, Reference: j.reference,
		Tries: j.tries, Warnings: warningsOf(j),
	}
	if j.message != nil {
		e.Recipients = j.message.Parts.List()
	}
	if len(j.tries) > 0 {
		e.Gateway = j.tries[len(j.tries)-1].Gateway
	}
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
