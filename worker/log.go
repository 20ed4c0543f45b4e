package worker

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// logAttempt writes one line per call of a gateway.
func (w *Worker) logAttempt(a *kafka.Attempt, j *job, t try, took time.Duration) {
	level := zapcore.WarnLevel
	if t.verdict == notify.Accepted {
		level = zapcore.InfoLevel
	}
	line := w.log.Check(level, "attempt")
	if line == nil {
		return
	}
	fields := append(make([]zap.Field, 0, 11),
		zap.String("id", j.id), zap.String("gateway", t.gateway), zap.String("verdict", string(t.verdict)), zap.Int("try", j.calls),
		zap.Int64("ms", took.Milliseconds()), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
	if t.failure != nil {
		fields = append(fields, zap.String("code", notify.Clip(t.code(), 64)), zap.String("reason", notify.Clip(t.reason(), 500)))
	}
	switch w.cfg.Recipients {
	case notify.RecipientsNone:
	case notify.RecipientsFull:
		fields = append(fields, zap.String("recipient", j.message.Recipient))
	default:
		fields = append(fields, zap.String("recipient", notify.Mask(j.message.Address)))
	}
	line.Write(fields...)
}

// logNoAttempt writes the line of a job that ends without a further call of a gateway.
func (w *Worker) logNoAttempt(a *kafka.Attempt, j *job, s notify.State, reason, code string) {
	w.log.Warn("no attempt", zap.String("id", j.id), zap.String("state", string(s)), zap.String("reason", reason),
		zap.String("code", code), zap.Int("tries", j.calls), zap.Int32("partition", a.Partition), zap.Int64("offset", a.Offset))
}

// logBreakerChange logs what the breaker of a gateway did, once per change, and what an operator does about it.
func (w *Worker) logBreakerChange(o *Outlet, j *job, t try, change gateway.BreakerChange) {
	if change == gateway.BreakerUnchanged {
		return
	}
	o.circuit.record(change, time.Now(), anonymize(t.code(), j.message, maxCircuitCode), anonymize(t.reason(), j.message, maxCircuitReason))
	log := w.log.With(zap.String("gateway", o.Name))
	switch change {
	case gateway.BreakerReclosed:
		log.Info("the gateway serves us again")
	case gateway.BreakerOpened, gateway.BreakerReopened:
		if t.verdict == notify.Unavailable {
			w.logUnavailable(log, t.failure, change)
			return
		}
		if change == gateway.BreakerOpened {
			log.Error("the gateway fails: it is left alone but for a probe now and then; without another one the backlog waits, and nothing is lost",
				zap.String("code", notify.Clip(t.code(), 64)), zap.String("reason", notify.Clip(t.reason(), 500)))
		}
	case gateway.BreakerUnchanged: // returned above
	}
}

func (w *Worker) logUnavailable(log *zap.Logger, f *notify.Failure, change gateway.BreakerChange) {
	if change == gateway.BreakerReopened {
		return // already logged when the breaker opened
	}
	remedy := f.Remedy
	if remedy == "" {
		remedy = "check the gateway's credentials and account; `laudspeaker gateways check` tries them without sending"
	}
	log.Error("the gateway refuses us: without another one the backlog waits until it serves us again, and nothing is lost",
		zap.String("code", notify.Clip(f.Code, 64)), zap.String("reason", notify.Clip(f.Reason, 500)), zap.String("remedy", remedy))
}
