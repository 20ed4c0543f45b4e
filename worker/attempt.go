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

// attempt calls the gateways of the route in turn, under one deadline, until one of them decides about the message.
func (w *Worker) attempt(ctx context.Context, a *kafka.Attempt, j *job) kafka.Result {
	var r round
	j.callsBefore = j.calls
	calls := callContexts{attempt: a, parent: ctx, last: ctx}
	defer calls.cancel()
	route := w.cfg.Route.order(j)
	size := len(route) // gateways that are called again later are appended
	for i := 0; i < len(route); i++ {
		if i >= size && r.hasVerdict() {
			break // no waiting for a gateway that was left for later
		}
		o := route[i]
		t, next := w.tryGateway(&calls, a, j, o, route[i+1:], i < size && size > 1)
		switch next {
		case decided:
			return w.conclude(calls.last, a, j, t)
		case passedOn:
			r.add(t, o)
			if calls.last.Err() != nil {
				r.incomplete = true // even without a further gateway: this one may have failed for lack of time
				return w.endRound(calls.last, a, j, r)
			}
		case senderBlocked: // as if the gateway were not in the route
		case notJudged:
			r.incomplete = true
		case othersFirst:
			r.incomplete = true
			route = append(slices.Clip(route), o)
		case checkSucceeded:
			w.withdrawIntent(a, j)
			return j.retryInPlace(time.Now())
		case recheckJob:
			if r.hasVerdict() { // the calls before have used up the attempt
				r.incomplete = true
				return w.endRound(calls.last, a, j, r)
			}
			w.withdrawIntent(a, j)
			return j.retryInPlace(time.Now())
		}
	}
	return w.endRound(calls.last, a, j, r)
}

// nextStep is what [Worker.attempt] does after it has asked one gateway.
type nextStep int

const (
	decided        nextStep = iota // the gateway has decided about the message
	passedOn                       // the gateway was called, and the next gateway of the route may do better
	senderBlocked                  // the recipient has opted out of the gateway's sender
	notJudged                      // the gateway was not called: it is paused, its breaker is open, or it cannot take this message
	othersFirst                    // the gateway is to be called after the others of the route
	checkSucceeded                 // the gateway works again: the job starts over
	recheckJob                     // not about the gateway: the job may have changed, and is looked at again
)

// tryGateway asks one gateway to send the message. Rest is the part of the route behind o; hasOthers says that another gateway
// of the route may take the message.
func (w *Worker) tryGateway(calls *callContexts, a *kafka.Attempt, j *job, o *Outlet, rest []*Outlet, hasOthers bool) (try, nextStep) {
	if w.senderBlocked(j, o) { // per gateway: the try before may have shown an opt-out of the same sender
		return try{}, senderBlocked
	}
	if !j.canContinueAt(o) {
		return try{}, notJudged
	}
	p, otherwise := w.acquire(calls.parent, a, j, o, hasOthers)
	if p == nil {
		return try{}, otherwise
	}
	defer p.cancel() // after a panic; otherwise the breaker would wait for this probe for ever
	ctx := calls.forGateway(o)
	if j.probeMayDuplicate(o, p.pass) {
		if w.checkGateway(ctx, a, j, p) {
			return try{}, checkSucceeded
		}
		return try{}, notJudged
	}
	t := w.send(ctx, a, j, o, rest)
	change := p.complete(t)
	w.logBreakerChange(o, j, t, change)
	if w.recordOptOut(j, o, t) || t.passesOn() {
		return t, passedOn
	}
	return t, decided
}

// checkTimeout bounds the check of a gateway in place of a probe with a message.
const checkTimeout = 30 * time.Second

// checkGateway reports whether the gateway works again. It checks the gateway without a message, as the gateway may have
// accepted this one before. It completes the permit.
func (w *Worker) checkGateway(ctx context.Context, a *kafka.Attempt, j *job, p *permit) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	o := p.outlet
	defer w.markLongCall(a, o)()
	t := newTry(o.Name, notify.Receipt{}, o.Sender.Check(ctx))
	w.logBreakerChange(o, j, t, p.complete(t))
	return t.failure == nil
}

// round collects the verdicts of one attempt while no gateway has decided.
type round struct {
	transient  *try // last transient failure: the attempt counts
	throttled  *try // last throttle that passed the message on
	refused    *try // last permanent failure for a reason of the gateway
	incomplete bool // at least one gateway has not judged the message: it was not called, or is unavailable
}

func (r *round) hasVerdict() bool {
	return r.transient != nil || r.throttled != nil || r.refused != nil
}

func (r *round) add(t try, o *Outlet) {
	switch {
	case t.verdict == notify.Permanent:
		r.refused = &t
	case t.verdict == notify.Throttled:
		r.throttled = &t
	case t.verdict == notify.Transient && (t.failure.Works || o.Breaker.State() == gateway.BreakerClosed):
		r.transient = &t
	default: // the failure of a gateway that is out of order is not about the message
		r.incomplete = true
	}
}

// endRound returns the result of an attempt in which every gateway has passed the message on. Only a refusal by all of them is
// final.
func (w *Worker) endRound(ctx context.Context, a *kafka.Attempt, j *job, r round) kafka.Result {
	switch {
	case r.throttled != nil:
		return w.conclude(ctx, a, j, *r.throttled)
	case r.transient != nil:
		return w.conclude(ctx, a, j, *r.transient)
	case r.refused != nil && r.incomplete:
		return w.retryLater(a, j, *r.refused, w.cfg.Retries.backoff(j, j.step+1))
	case r.refused != nil:
		return w.conclude(ctx, a, j, *r.refused)
	default:
		return w.waitForGateway(a, j)
	}
}

// conclude returns the result of a verdict.
func (w *Worker) conclude(ctx context.Context, a *kafka.Attempt, j *job, t try) kafka.Result {
	switch t.verdict {
	case notify.Accepted:
		return w.sent(a, j, t)
	case notify.Permanent:
		return w.reject(a, j, t)
	case notify.Throttled:
		return w.retryLater(a, j, t, throttleWait(t.failure.After))
	default: // transient or ambiguous
		if errors.Is(ctx.Err(), context.Canceled) && t.verdict == notify.Transient { // this process ended the call: not a failure of the gateway
			return j.retryInPlace(time.Now())
		}
		if t.verdict == notify.Ambiguous && j.holdIfAmbiguous {
			return w.hold(a, j, t.failure)
		}
		j.attemptsHere++
		if w.cfg.Retries.exhausted(j.attempts()) {
			return w.giveUp(a, j, t, notify.ReasonAttemptsUsedUp)
		}
		return w.retryLater(a, j, t, w.cfg.Retries.backoff(j, j.attempts()))
	}
}

// recordIntent writes to the ledger that the provider is about to be called, for a job that must not be sent twice. It reports
// whether the call may begin.
func (w *Worker) recordIntent(ctx context.Context, a *kafka.Attempt, j *job) bool {
	err := a.Intent(ctx, stepHeaders(j)...)
	j.doubtResolved = true
	j.intentOpen = true // the intent may be on the ledger even after an error
	switch {
	case err == nil:
		return true
	case errors.Is(err, kafka.ErrLeaseLost):
		w.withdrawIntent(a, j) // otherwise the next owner would assume that the message may have been sent
	default:
		w.log.Warn("recording an intent", zap.String("id", j.id), zap.Error(err))
	}
	return false
}
