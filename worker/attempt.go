package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// patience is how long a job waits for its gateway's pace before it looks once more whether it is still to be sent.
const patience = 500 * time.Millisecond

// attempt asks the gateways of the route in turn, under one deadline, until one of them decides about the message.
func (w *Worker) attempt(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	var r round
	j.before = j.calls
	calls := callsOf{a: a, life: ctx}
	defer calls.end()
	route := w.cfg.Route.order(j)
	whole := len(route)
	for i := 0; i < len(route); i++ {
		o, elsewhere := route[i], i < whole && whole > 1
		if i >= whole && r.decided() {
			break // it is not waited for
		}
		if w.blocked(j, o) { // asked for each: the one before may have the same sender
			continue
		}
		if !j.fits(o) {
			r.open = true
			continue
		}
		leave, said := w.enter(calls.life, a, j, o, elsewhere)
		switch said {
		case shut:
			r.open = true
			continue
		case othersFirst:
			r.open = true
			route = append(slices.Clip(route), o)
			continue
		case notNow:
			if r.decided() { // the gateways that were called have used up the attempt
				r.open = true
				return w.endRound(ctx, a, j, r)
			}
			w.withdraw(a, j)
			return j.again(time.Now())
		}
		defer leave.nothing() // when something panics, or the breaker would wait for this probe for ever
		ctx = calls.of(o)
		if j.copies(o, leave.pass) {
			if w.probe(ctx, a, j, leave) {
				w.withdraw(a, j)
				return j.again(time.Now())
			}
			r.open = true
			continue
		}
		t := w.send(ctx, a, j, o, route[i+1:])
		change := leave.with(t)
		w.tell(o, j, t, change)
		if !w.optsOut(j, o, t) && !t.passes() {
			return w.conclude(ctx, a, j, t)
		}
		r.add(t, o)
		if ctx.Err() != nil {
			r.open = true // whether or not a gateway is left: it may have answered for want of time
			break
		}
	}
	return w.endRound(ctx, a, j, r)
}

// probe finds out whether a gateway works again without sending it a message that it may have accepted before.
func (w *Worker) probe(ctx context.Context, a *kafka.Attempt, j *job, leave *entered) (works bool) {
	ctx, end := context.WithTimeout(ctx, probeTimeout)
	defer end()
	o := leave.outlet
	defer w.whileLong(a, o)()
	t := try{gateway: o.Name, verdict: notify.Accepted}
	if t.failure = notify.Judge(o.Sender.Check(ctx)); t.failure != nil {
		t.verdict = known(t.failure.Verdict)
	}
	w.tell(o, j, t, leave.with(t))
	return t.failure == nil
}

// probeTimeout bounds a check in place of a probe.
const probeTimeout = 30 * time.Second

// round is what the gateways of a route have said in one attempt, as long as none has decided.
type round struct {
	failed  *try // transient: this attempt counts
	slowed  *try // throttled by the last gateway that could take the message
	refused *try // permanent, for a reason that is about that gateway
	open    bool // a gateway has not judged the message: it was not asked, or refuses us
}

func (r *round) decided() bool { return r.failed != nil || r.slowed != nil || r.refused != nil }

func (r *round) add(t try, o *Outlet) {
	switch {
	case t.verdict == notify.Permanent:
		r.refused = &t
	case t.verdict == notify.Throttled:
		r.slowed = &t
	case t.verdict == notify.Transient && (t.failure.Works || o.Breaker.State() == gateway.BreakerClosed):
		r.failed = &t
	default: // what fails at a gateway that is out of order says nothing about the message
		r.open = true
	}
}

// endRound decides when every gateway has passed the message on. Only the refusal of all of them is final.
func (w *Worker) endRound(ctx context.Context, a *kafka.Attempt, j *job, r round) kafka.Result {
	switch {
	case r.slowed != nil:
		return w.conclude(ctx, a, j, *r.slowed)
	case r.failed != nil:
		return w.conclude(ctx, a, j, *r.failed)
	case r.refused != nil && r.open:
		return w.putOff(a, j, *r.refused, w.cfg.Retries.after(j, j.step+1))
	case r.refused != nil:
		return w.conclude(ctx, a, j, *r.refused)
	default:
		return w.wait(a, j)
	}
}

// pastDue reports whether a job that waited for its place must not be sent any more, or not now.
func (w *Worker) pastDue(j *job) bool {
	return !time.Now().Before(j.expires) || w.cfg.Control.Cancelled(j.id) || w.cfg.Control.Settled(j.id, j.run) || w.cfg.Control.Paused(w.cfg.Channel, w.cfg.Lane)
}

// entered is leave to call a gateway once: its breaker's pass and its place.
type entered struct {
	outlet  *Outlet
	pass    gateway.Pass
	release func()
	ended   bool
}

// admission is the answer to whether a gateway may be called.
type admission int

const (
	admitted    admission = iota
	shut                  // the gateway is not asked: it is paused, or its breaker is open
	othersFirst           // the gateway is asked once the others of the route have been
	notNow                // not about the gateway: the job has to be looked at once more
)

// enter asks for leave to call o. Elsewhere says that another gateway of the route may take the message.
func (w *Worker) enter(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, elsewhere bool) (*entered, admission) {
	if w.cfg.Control.PausedGateway(o.Name) {
		return nil, shut
	}
	if elsewhere && o.Limiter.Stuck(w.cfg.Lane) {
		return nil, othersFirst
	}
	pass, ok := o.Breaker.Admit(time.Now())
	if !ok {
		return nil, shut
	}
	if elsewhere && j.copies(o, pass) {
		o.Breaker.Abandon(pass)
		return nil, othersFirst
	}
	release, err := o.Limiter.Acquire(a.Claimed(), w.cfg.Lane, patience)
	if err != nil {
		o.Breaker.Abandon(pass)
		if elsewhere && len(w.cfg.Route.Weights) > 0 && a.Claimed().Err() == nil && o.Limiter.Full(w.cfg.Lane) {
			return nil, othersFirst // the weights share the messages out: none waits for a gateway while another one is free
		}
		return nil, notNow
	}
	taken, good := &entered{outlet: o, pass: pass, release: release}, false
	defer func() {
		if !good { // or when something panics
			taken.nothing()
		}
	}()
	// It may have waited, for its place and for its intent: times have changed, or the lease has run out.
	if good = !w.pastDue(j) && a.MayStart() && (!j.hold || w.intend(ctx, a, j)) && w.informed(a, j) && !w.pastDue(j); !good {
		return nil, notNow
	}
	return taken, admitted
}

// nothing gives the leave back unused, unless it has ended already. Without one there is nothing to give.
func (e *entered) nothing() {
	if e == nil || e.ended {
		return
	}
	e.ended = true
	e.release()
	e.outlet.Breaker.Abandon(e.pass)
}

// with ends the leave with what the gateway said.
func (e *entered) with(t try) gateway.BreakerChange {
	e.ended = true
	now := time.Now()
	shown := t.verdict
	if t.failure != nil && t.failure.Works { // a relay that answers for one recipient is as good as one that accepts
		shown = notify.Accepted
	}
	var pause time.Duration
	if t.failure != nil {
		pause = t.failure.After
	}
	change := e.outlet.Breaker.RecordFor(e.pass, shown, pause, now)
	switch {
	case t.verdict != notify.Throttled || t.failure.Works:
	case t.failure.Crowded:
		e.outlet.Limiter.Crowded(now)
	default:
		e.outlet.Limiter.Throttled(now)
	}
	if change == gateway.BreakerReclosed {
		e.outlet.Limiter.Recovered(now)
	}
	e.release()
	return change
}

// intend records that the provider is about to be called for a job that must not be sent twice.
func (w *Worker) intend(ctx context.Context, a *kafka.Attempt, j *job) bool {
	err := a.Intent(ctx, stepHeaders(j)...)
	j.intent, j.stands = true, true // it may be on the ledger, whatever the error says
	switch {
	case err == nil:
		return true
	case errors.Is(err, kafka.ErrLeaseLost):
		w.withdraw(a, j) // or the next owner would think that it may have been sent
	default:
		w.log.Warn("recording an intent", zap.String("id", j.id), zap.Error(err))
	}
	return false
}

// conclude says what comes after the verdict of a gateway.
func (w *Worker) conclude(ctx context.Context, a *kafka.Attempt, j *job, t try) kafka.Result {
	switch t.verdict {
	case notify.Accepted:
		return w.sent(a, j, t)
	case notify.Permanent:
		return w.reject(a, j, t)
	case notify.Throttled:
		return w.putOff(a, j, t, throttle(t.failure.After))
	default: // transient or ambiguous
		if errors.Is(ctx.Err(), context.Canceled) && t.verdict == notify.Transient { // we ended it ourselves, which says nothing of the gateway
			return j.again(time.Now())
		}
		if t.verdict == notify.Ambiguous && j.hold {
			return w.hold(a, j, t.failure)
		}
		if j.used++; w.cfg.Retries.usedUp(j.attempt + j.used) {
			return w.giveUp(a, j, t, notify.ReasonAttemptsUsedUp)
		}
		return w.putOff(a, j, t, w.cfg.Retries.after(j, j.attempt+j.used))
	}
}
