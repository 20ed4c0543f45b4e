package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Desk writes what a job leaves behind when it ends. Its methods are pure and may be called at once from many goroutines.
// The worker gives it events with everything but a state, which Bury alone needs: rejected or dead.
type Desk interface {
	Sent(r *kafka.Record, e notify.Event) kafka.Result
	Expire(r *kafka.Record, e notify.Event) kafka.Result
	Reject(r *kafka.Record, e notify.Event) kafka.Result
	Bury(r *kafka.Record, e notify.Event, reason string) kafka.Result
}

// How recipients are logged.
const (
	RecipientsMasked = "masked" // a***@example.com
	RecipientsFull   = "full"
	RecipientsNone   = "none"
)

// Config is what a [Worker] works with.
type Config struct {
	Channel            notify.Channel
	Gateway            string // the name that the configuration gives to Sender
	Sender             gateway.Sender
	Desk               Desk
	Rules              validate.Rules
	DeadLetterRejected bool          // also keep what was rejected because of its recipient
	ExpiresAfter       time.Duration // how long after its record a job lives that does not say so itself; 24h
	Metrics            *Metrics      // nil counts nothing
	Log                *zap.Logger   // nil logs nothing
	Recipients         string        // one of the Recipients constants; masked
}

// Worker is the handler of one channel's jobs. Its methods may be called at once from many goroutines.
type Worker struct {
	cfg    Config
	log    *zap.Logger
	counts counts
	gate   *gate
	pause  func(*kafka.Attempt) claim
}

// New gives a worker that needs no closing; the sender stays the caller's.
func New(cfg Config) *Worker {
	if cfg.ExpiresAfter == 0 {
		cfg.ExpiresAfter = 24 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	counts := cfg.Metrics.of(cfg.Channel, cfg.Gateway)
	return &Worker{
		cfg:    cfg,
		log:    cfg.Log.With(zap.String("channel", string(cfg.Channel)), zap.String("gateway", cfg.Gateway)),
		counts: counts,
		gate:   &gate{paused: map[partition]claim{}, state: counts.unavailable},
		pause:  func(a *kafka.Attempt) claim { return a.Pause() },
	}
}

// Identify gives the id of r's notification, whether r can be delivered or not.
func (w *Worker) Identify(r *kafka.Record) string {
	n, _, _ := validate.Decode(r.Value, false)
	return identity(n, r)
}

// Handle makes one attempt at a's job.
func (w *Worker) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	j, again := a.Carry.(*job)
	if !again {
		j = w.read(a.Record)
	}
	now := time.Now()
	if j.refusal != nil {
		return w.refuse(a, j)
	}
	if !now.Before(j.expires) {
		return w.expire(a, j)
	}
	pass, open := w.gate.enter(now)
	if !open {
		return w.wait(a, j)
	}
	return w.conclude(ctx, a, j, pass, w.send(ctx, a, j))
}

// conclude says what comes after one call of the gateway.
func (w *Worker) conclude(ctx context.Context, a *kafka.Attempt, j *job, p pass, t try) kafka.Result {
	w.judgeGateway(p, t)
	switch t.verdict {
	case notify.Accepted:
		return w.sent(a, j, t)
	case notify.Permanent:
		return w.reject(a, j, t)
	case notify.Throttled:
		return j.again(time.Now().Add(throttle(t.failure.After)))
	case notify.Unavailable:
		return w.wait(a, j)
	default: // transient or ambiguous
		if errors.Is(ctx.Err(), context.Canceled) { // we ended it ourselves, which says nothing of the gateway
			return j.again(time.Now())
		}
		if j.used++; j.used > Retries {
			return w.giveUp(a, j, t)
		}
		return j.again(time.Now().Add(backoff(j.id, j.run, j.step, j.used)))
	}
}
