package worker

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// acquireTimeout is how long a job waits for a slot and a token of its gateway before the job is looked at again.
const acquireTimeout = 500 * time.Millisecond

// permit allows one call of a gateway. It holds one pass of the circuit breaker and one slot of the limiter. Release it with
// cancel or complete.
type permit struct {
	outlet      *Outlet
	pass        gateway.Pass
	releaseSlot func()
	released    bool
}

// acquire returns a permit to call o. Without one it returns nil and the next step: notJudged, othersFirst or recheckJob.
// HasOthers says that another gateway of the route may take the message. acquire blocks for acquireTimeout at most, plus the
// time of an intent.
func (w *Worker) acquire(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, hasOthers bool) (p *permit, otherwise nextStep) {
	if w.cfg.Control.PausedGateway(o.Name) {
		return nil, notJudged
	}
	if hasOthers && o.Limiter.BlockedByLongCalls(w.cfg.Lane) {
		return nil, othersFirst
	}
	pass, ok := o.Breaker.Admit(time.Now())
	if !ok {
		return nil, notJudged
	}
	if hasOthers && j.probeMayDuplicate(o, pass) {
		o.Breaker.Abandon(pass)
		return nil, othersFirst
	}
	release, err := o.Limiter.Acquire(a.Claimed(), w.cfg.Lane, acquireTimeout)
	if err != nil {
		o.Breaker.Abandon(pass)
		if hasOthers && len(w.cfg.Route.Weights) > 0 && a.Claimed().Err() == nil && o.Limiter.Full(w.cfg.Lane) {
			return nil, othersFirst // weights spread the messages: no message waits for one gateway while another is free
		}
		return nil, recheckJob
	}
	granted := &permit{outlet: o, pass: pass, releaseSlot: release}
	usable := false
	defer func() {
		if !usable { // also after a panic
			granted.cancel()
		}
	}()
	// The job may have waited for its slot and for its intent. Meanwhile its state or the lease may have changed.
	usable = !w.mustNotSend(j) && a.MayStart() && (!j.holdIfAmbiguous || w.recordIntent(ctx, a, j)) && w.controlIsFresh(a, j) && !w.mustNotSend(j)
	if !usable {
		return nil, recheckJob
	}
	return granted, decided // unused beside a permit
}

// mustNotSend reports whether a job that has waited must not be sent any more, or not now.
func (w *Worker) mustNotSend(j *job) bool {
	return !time.Now().Before(j.expiresAt) || w.cfg.Control.Cancelled(j.id) || w.cfg.Control.Settled(j.id, j.run) || w.cfg.Control.Paused(w.cfg.Channel, w.cfg.Lane)
}

// cancel releases a permit that was not used. It does nothing if the permit is already released.
func (p *permit) cancel() {
	if p.released {
		return
	}
	p.released = true
	p.releaseSlot()
	p.outlet.Breaker.Abandon(p.pass)
}

// complete releases the permit after the call. It reports the verdict to the breaker and the limiter, and returns the change of
// the breaker.
func (p *permit) complete(t try) gateway.BreakerChange {
	p.released = true
	now := time.Now()
	verdict := t.verdict
	if t.failure != nil && t.failure.Works { // a relay that refuses one recipient works as well as one that accepts
		verdict = notify.Accepted
	}
	var pause time.Duration
	if t.failure != nil {
		pause = t.failure.After
	}
	change := p.outlet.Breaker.RecordFor(p.pass, verdict, pause, now)
	switch {
	case t.verdict != notify.Throttled || t.failure.Works:
	case t.failure.Crowded:
		p.outlet.Limiter.OnCrowded(now)
	default:
		p.outlet.Limiter.OnThrottled(now)
	}
	if change == gateway.BreakerReclosed {
		p.outlet.Limiter.OnRecovered(now)
	}
	p.releaseSlot()
	return change
}
