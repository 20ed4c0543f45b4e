package worker

import (
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// adopt gives a job the outcome that an earlier owner of its partition did not live to publish. That owner has put the job on
// the ladder, or among the dead letters: r is what it left there. over is false when r is none of this step.
func (w *Worker) adopt(a *kafka.Attempt, j *job, r *kafka.Record) (res kafka.Result, over bool) {
	e := w.event(j)
	e.Attempt = number(r, notify.HeaderAttempt)
	reason, dead := r.Header(notify.HeaderDeadReason)
	step := j.step
	switch {
	case dead:
		e.State, e.Reason = stateOf(reason), reason
		e.Code, _ = r.Header(notify.HeaderDeadCode)
		e.Gateway, _ = r.Header(notify.HeaderDeadGateway)
		e.Origin = &notify.Origin{Topic: a.Topic, Partition: a.Partition, Offset: a.Offset}
	default:
		step++
		e.State = notify.StateRetrying
		if next, ok := moment(r, notify.HeaderNotBefore); ok {
			e.NextAt = &next
			if next.Equal(j.due) {
				e.State = notify.StateScheduled
			}
		}
	}
	if number(r, notify.HeaderRun) != j.run || number(r, notify.HeaderStep) != step {
		return kafka.Result{}, false
	}
	w.log.Info("a follow-on of a former owner is adopted", zap.String("id", j.id), zap.Int("run", j.run), zap.Int("step", j.step),
		zap.String("state", string(e.State)), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	return w.left(a, j, e.State, w.cfg.Desk.End(a.Record, e)), true
}

// stateOf is what a job ended in whose dead letter bears that reason.
func stateOf(reason string) notify.State {
	switch reason {
	case notify.ReasonAmbiguous:
		return notify.StateHeld
	case notify.ReasonAttemptsUsedUp, notify.ReasonTooLarge, notify.ReasonOrder:
		return notify.StateDead
	default:
		return notify.StateRejected
	}
}

func moment(r *kafka.Record, key string) (time.Time, bool) {
	s, _ := r.Header(key)
	at, err := time.Parse(time.RFC3339Nano, s)
	return at.UTC(), err == nil
}
