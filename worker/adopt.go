package worker

import (
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// adopt publishes the outcome that an earlier owner of the partition did not publish before it ended. That owner has already
// written the follow-on of the step: a later step on the delay ladder, or a dead letter. Done is false if followOn belongs to
// another step.
func (w *Worker) adopt(a *kafka.Attempt, j *job, followOn *kafka.Record) (res kafka.Result, done bool) {
	e := w.baseEvent(j)
	e.Attempt = number(followOn, notify.HeaderAttempt)
	reason, dead := followOn.Header(notify.HeaderDeadReason)
	step := j.step
	switch {
	case dead:
		e.State = stateOfDeadLetter(reason)
		e.Reason = reason
		e.Code, _ = followOn.Header(notify.HeaderDeadCode)
		e.Gateway, _ = followOn.Header(notify.HeaderDeadGateway)
		e.Origin = &notify.Origin{Topic: a.Topic, Partition: a.Partition, Offset: a.Offset}
	default:
		step++
		e.State = notify.StateRetrying
		if next, ok := timeHeader(followOn, notify.HeaderNotBefore); ok {
			e.NextAt = &next
			if next.Equal(j.due) {
				e.State = notify.StateScheduled
			}
		}
	}
	if number(followOn, notify.HeaderRun) != j.run || number(followOn, notify.HeaderStep) != step {
		return kafka.Result{}, false
	}
	w.log.Info("a follow-on of a former owner is adopted", zap.String("id", j.id), zap.Int("run", j.run), zap.Int("step", j.step),
		zap.String("state", string(e.State)), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	return w.result(a, j, e.State, w.cfg.Records.End(a.Record, e)), true
}

// stateOfDeadLetter returns the state of a job that became a dead letter for this reason.
func stateOfDeadLetter(reason string) notify.State {
	switch reason {
	case notify.ReasonAmbiguous:
		return notify.StateHeld
	case notify.ReasonAttemptsUsedUp, notify.ReasonTooLarge, notify.ReasonOrder:
		return notify.StateDead
	default:
		return notify.StateRejected
	}
}

func timeHeader(r *kafka.Record, key string) (time.Time, bool) {
	s, _ := r.Header(key)
	at, err := time.Parse(time.RFC3339Nano, s)
	return at.UTC(), err == nil
}
