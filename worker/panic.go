package worker

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// guarded is handle. A panic after the gateway was called leaves in doubt whether the message was sent: the call counts as
// ambiguous. Any other panic is left to the runner.
func (w *Worker) guarded(ctx context.Context, a *kafka.Attempt, j *job) (res kafka.Result) {
	if j.lost != "" { // what came of an earlier call could not be concluded
		return w.concludeLost(ctx, a, j)
	}
	j.called, j.panicked = "", false
	defer func() {
		if j.called == "" {
			return
		}
		if p := recover(); p != nil {
			w.logPanic(a, j, p, "the worker panicked after it had called the gateway")
			j.panicked, j.lost = true, j.called
			res = w.concludeLost(ctx, a, j)
		}
		res.Panicked = j.panicked
	}()
	return w.handle(ctx, a, j)
}

// concludeLost concludes a call whose outcome a panic has lost.
func (w *Worker) concludeLost(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	res := w.conclude(ctx, a, j, try{gateway: j.lost, verdict: notify.Ambiguous, failure: lostFailure()})
	j.lost = ""
	return res
}

func lostFailure() *notify.Failure {
	return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the worker panicked after it had called the gateway"}
}

// logPanic logs a panic. Of the value only its type: it may hold what was worked on.
func (w *Worker) logPanic(a *kafka.Attempt, j *job, p any, what string) {
	w.log.Error(what, zap.String("id", j.id), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset),
		zap.String("type", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
}

// Panicked ends a job whose record has made Handle panic before its gateway was called, time and again:
// [kafka.RunnerConfig.Panicked].
func (w *Worker) Panicked(a *kafka.Attempt) kafka.Result {
	j, again := a.Carry.(*job)
	if !again {
		j = w.readOrName(a)
	}
	if !j.entered && w.seen.enter(at(a.Record), a.Offset, j) == duplicate {
		return w.drop(a, j)
	}
	j.entered = true
	if j.lost != "" && j.hold {
		return w.hold(a, j, lostFailure())
	}
	e := w.event(j)
	e.State = notify.StateDead
	w.logEnd(a, j, e.State, notify.ReasonPanicked, "")
	return w.left(a, j, e.State, w.bury(a, e, notify.ReasonPanicked))
}

// readOrName is read. When that panics nothing is known of the job but the id that its place gives it.
func (w *Worker) readOrName(a *kafka.Attempt) (j *job) {
	defer func() {
		if recover() != nil {
			j = &job{id: identity(nil, a.Record), tenant: validate.Tenant(nil)}
		}
	}()
	return w.read(a.Record)
}
