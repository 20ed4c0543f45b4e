package worker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// soon is how near a job's time must be for it to wait in place.
const soon = time.Second

// settle ends or puts off a job for which no gateway is to be called now; over is false for all others.
func (w *Worker) settle(ctx context.Context, a *kafka.Attempt, j *job) (res kafka.Result, over bool) {
	now := time.Now()
	if left := a.Left(); left != nil { // before all else: it may have been sent
		if res, over := w.adopt(a, j, left); over {
			return res, true
		}
	}
	switch {
	case j.refusal != nil:
		return w.refuse(a, j), true
	case w.cfg.Control.Settled(j.id, j.run): // which also ends a doubt
		return w.end(a, j, notify.StateDelivered, notify.ReasonReceipt), true
	case j.doubt(a): // before what follows: it may have been sent
		return w.resolve(ctx, a, j, now)
	case w.cfg.Control.Cancelled(j.id):
		return w.end(a, j, notify.StateCancelled, notify.ReasonCancelled), true
	case w.cfg.Control.Suppressed(j.tenant, w.cfg.Channel, j.message.Address):
		return w.end(a, j, notify.StateSuppressed, notify.ReasonSuppressed), true
	case w.allBlocked(j):
		return w.end(a, j, notify.StateSuppressed, notify.ReasonOptedOut), true
	case !now.Before(j.expires) && j.message.Parts.Sent():
		return w.sentInPart(a, j, "", "", notify.ReasonExpired), true
	case !now.Before(j.expires):
		return w.end(a, j, notify.StateExpired, notify.ReasonExpired), true
	case j.planned || j.due.Sub(now) > soon:
		return w.schedule(a, j), true
	case j.due.After(now):
		return j.again(j.due), true
	case w.cfg.Control.Paused(w.cfg.Channel, w.cfg.Lane):
		return j.again(now.Add(waitFor)), true
	case !w.informed(a, j):
		return j.again(now.Add(informedEvery)), true
	default:
		return kafka.Result{}, false
	}
}

// doubt reports whether an earlier owner meant to send a job that must not be sent twice, and nobody knows what came of it.
func (j *job) doubt(a *kafka.Attempt) bool {
	if !j.hold || j.intent {
		return false
	}
	_, doubt := a.InDoubt()
	return doubt
}

// resolve waits for as long as the earlier owner may be at it, then looks what it left on the ledger.
func (w *Worker) resolve(ctx context.Context, a *kafka.Attempt, j *job, now time.Time) (res kafka.Result, over bool) {
	until, _ := a.InDoubt()
	if now.Before(until) {
		return kafka.Result{Again: until, Carry: j}, true
	}
	switch fate, err := a.Fate(ctx); {
	case err != nil:
		w.log.Warn("asking what became of a job in doubt", zap.String("id", j.id), zap.Error(err))
		return kafka.Result{Again: now.Add(waitFor), Carry: j}, true
	case fate == kafka.FateConcluded:
		return w.drop(a, j), true
	case fate == kafka.FateWithdrawn:
		j.intent = true // no doubt about an earlier owner is left
		return j.again(now), true
	default:
		return w.hold(a, j, &notify.Failure{Verdict: notify.Ambiguous, Reason: "a worker ended while it was sending"}), true
	}
}
