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

// handleGuarded calls handle. After a panic that follows a gateway call nobody knows whether the message was sent, so the call
// counts as ambiguous. Any other panic goes on to the runner.
func (w *Worker) handleGuarded(ctx context.Context, a *kafka.Attempt, j *job) (res kafka.Result) {
	if j.lostCallGateway != "" { // an earlier call panicked before it was concluded
		return w.concludeLostCall(ctx, a, j)
	}
	j.calledGateway = ""
	j.panicked = false
	defer func() {
		if j.calledGateway == "" {
			return
		}
		if p := recover(); p != nil {
			w.logPanic(a, j, p, "the worker panicked after it had called the gateway")
			j.panicked = true
			j.lostCallGateway = j.calledGateway
			res = w.concludeLostCall(ctx, a, j)
		}
		res.Panicked = j.panicked
	}()
	return w.handle(ctx, a, j)
}

// concludeLostCall concludes a call whose answer was lost by a panic.
func (w *Worker) concludeLostCall(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	res := w.conclude(ctx, a, j, try{gateway: j.lostCallGateway, verdict: notify.Ambiguous, failure: lostCallFailure()})
	j.lostCallGateway = ""
	return res
}

func lostCallFailure() *notify.Failure {
	return &notify.Failure{Verdict: notify.Ambiguous, Reason: "the worker panicked after it had called the gateway"}
}

// logPanic logs a panic with the type of its value. The value itself may hold parts of the message.
func (w *Worker) logPanic(a *kafka.Attempt, j *job, p any, what string) {
	w.log.Error(what, zap.String("id", j.id), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset),
		zap.String("type", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
}

// Panicked makes a dead letter of a job for which Handle has panicked repeatedly before its gateway was called:
// [kafka.RunnerConfig.Panicked].
func (w *Worker) Panicked(a *kafka.Attempt) kafka.Result {
	j, again := a.Carry.(*job)
	if !again {
		j = w.parseOrIdentify(a)
	}
	if !j.inFlight && w.dedup.begin(partitionOf(a.Record), a.Offset, j) == duplicate {
		return w.dropDuplicate(a, j)
	}
	j.inFlight = true
	if j.lostCallGateway != "" && j.holdIfAmbiguous {
		return w.hold(a, j, lostCallFailure())
	}
	e := w.baseEvent(j)
	e.State = notify.StateDead
	w.logNoAttempt(a, j, e.State, notify.ReasonPanicked, "")
	return w.result(a, j, e.State, w.deadLetter(a, e, notify.ReasonPanicked))
}

// parseOrIdentify calls parse. If parse panics, the job has only the ID that follows from the offset of the record.
func (w *Worker) parseOrIdentify(a *kafka.Attempt) (j *job) {
	defer func() {
		if recover() != nil {
			j = &job{id: identity(nil, a.Record), tenant: validate.Tenant(nil)}
		}
	}()
	return w.parse(a.Record)
}
