package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// inPlaceWait is the longest time until a job is due for which the job waits in place. For longer times it goes to the ladder.
const inPlaceWait = time.Second

// preflight returns the result of a job for which no gateway is to be called now. Done is false for all other jobs.
func (w *Worker) preflight(ctx context.Context, a *kafka.Attempt, j *job) (res kafka.Result, done bool) {
	now := time.Now()
	if followOn := a.Left(); followOn != nil { // first: the job may have been sent
		if res, done := w.adopt(a, j, followOn); done {
			return res, true
		}
	}
	switch {
	case j.rejection != nil:
		return w.rejectRecord(a, j), true
	case w.cfg.Control.Settled(j.id, j.run): // also ends a doubt
		return w.finish(a, j, notify.StateDelivered, notify.ReasonReceipt), true
	case j.inDoubt(a): // before the cases below: the job may have been sent
		return w.resolveDoubt(ctx, a, j, now)
	case w.cfg.Control.Cancelled(j.id):
		return w.finish(a, j, notify.StateCancelled, notify.ReasonCancelled), true
	case w.cfg.Control.Suppressed(j.tenant, w.cfg.Channel, j.message.Address):
		return w.finish(a, j, notify.StateSuppressed, notify.ReasonSuppressed), true
	case w.allSendersBlocked(j):
		return w.finish(a, j, notify.StateSuppressed, notify.ReasonOptedOut), true
	case !now.Before(j.expiresAt) && j.message.Parts.Sent():
		return w.sentPartially(a, j, "", "", notify.ReasonExpired), true
	case !now.Before(j.expiresAt):
		return w.finish(a, j, notify.StateExpired, notify.ReasonExpired), true
	case j.startsOnLadder || j.due.Sub(now) > inPlaceWait:
		return w.schedule(a, j), true
	case j.due.After(now):
		return j.retryInPlace(j.due), true
	case w.cfg.Control.Paused(w.cfg.Channel, w.cfg.Lane):
		return j.retryInPlace(now.Add(recheckEvery)), true
	case !w.controlIsFresh(a, j):
		return j.retryInPlace(now.Add(controlRecheckEvery)), true
	default:
		return kafka.Result{}, false
	}
}

// inDoubt reports whether an earlier owner recorded an intent to send a job that must not be sent twice, and the outcome is
// unknown.
func (j *job) inDoubt(a *kafka.Attempt) bool {
	if !j.holdIfAmbiguous || j.doubtResolved {
		return false
	}
	_, doubt := a.InDoubt()
	return doubt
}

// resolveDoubt waits for as long as the earlier owner may still work on the job. Then it reads from the ledger how that attempt
// ended.
func (w *Worker) resolveDoubt(ctx context.Context, a *kafka.Attempt, j *job, now time.Time) (res kafka.Result, done bool) {
	until, _ := a.InDoubt()
	if now.Before(until) {
		return kafka.Result{Again: until, Carry: j}, true
	}
	switch fate, err := a.Fate(ctx); {
	case err != nil:
		w.log.Warn("asking what became of a job in doubt", zap.String("id", j.id), zap.Error(err))
		return kafka.Result{Again: now.Add(recheckEvery), Carry: j}, true
	case fate == kafka.FateConcluded:
		return w.dropDuplicate(a, j), true
	case fate == kafka.FateWithdrawn:
		j.doubtResolved = true
		return j.retryInPlace(now), true
	default:
		return w.hold(a, j, &notify.Failure{Verdict: notify.Ambiguous, Reason: "a worker ended while it was sending"}), true
	}
}
