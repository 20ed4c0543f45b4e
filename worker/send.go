package worker

import (
	"context"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// try is one call of a gateway with its verdict.
type try struct {
	gateway string
	verdict notify.Verdict
	receipt notify.Receipt  // after Accepted
	failure *notify.Failure // after every other verdict
}

// newTry returns the try of a call that returned receipt and err.
func newTry(name string, receipt notify.Receipt, err error) try {
	t := try{gateway: name, verdict: notify.Accepted, receipt: receipt, failure: notify.Judge(err)}
	if t.failure != nil {
		t.verdict = knownVerdict(t.failure.Verdict)
	}
	return t
}

func (t try) code() string {
	if t.failure == nil {
		return ""
	}
	return t.failure.Code
}

func (t try) reason() string {
	if t.failure == nil {
		return ""
	}
	return t.failure.Reason
}

// passesOn reports whether the next gateway of the route is called.
func (t try) passesOn() bool {
	switch t.verdict {
	case notify.Transient, notify.Unavailable:
		return true
	case notify.Permanent, notify.Throttled:
		return t.failure.Next
	}
	return false
}

// send calls the gateway once. It counts and logs the try, and adds it to the job. Rest is the part of the route behind o.
func (w *Worker) send(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, rest []*Outlet) try {
	began := time.Now()
	j.calledGateway = o.Name
	receipt, err := w.call(ctx, a, j, o, rest)
	took := time.Since(began)

	t := newTry(o.Name, receipt, err)
	if t.failure == nil {
		o.unknown.onAccepted()
	}
	j.calls++
	j.addTry(notify.Try{
		Gateway: o.Name, Verdict: t.verdict, Code: t.code(), Reason: t.reason(), Millis: took.Milliseconds(),
	})
	w.metrics.attempt(o.Name, t.verdict, took)
	w.logAttempt(a, j, t, took)
	return t
}

// call calls Send and turns a panic into an ambiguous failure: one message must not end the process.
func (w *Worker) call(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, rest []*Outlet) (receipt notify.Receipt, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		w.logPanic(a, j, p, "the gateway panicked")
		j.panicked = true
		receipt = notify.Receipt{}
		err = &notify.Failure{Verdict: notify.Ambiguous, Reason: "the gateway panicked"}
	}()
	long, ok := o.Sender.(gateway.LongSender)
	if p := j.message.Parts; p != nil {
		p.Waiting = nil
		p.Record = func(ctx context.Context) error { return w.recordParts(ctx, a, j) }
	}
	if !ok {
		return o.Sender.Send(ctx, j.message)
	}
	hasAlternative := w.anyAvailable(j, rest)
	defer w.markLongCall(a, o)()
	if hasAlternative {
		return long.Send(ctx, j.message)
	}
	return long.SendPatiently(ctx, j.message)
}

// knownVerdict returns v, or Transient if v is not one of the verdicts of a failure.
func knownVerdict(v notify.Verdict) notify.Verdict {
	switch v {
	case notify.Permanent, notify.Throttled, notify.Unavailable, notify.Ambiguous:
		return v
	default:
		return notify.Transient
	}
}

// countsAsAttempt reports whether a try with this verdict uses up one of the job's attempts.
func countsAsAttempt(v notify.Verdict) bool { return v == notify.Transient || v == notify.Ambiguous }

// addTry adds a try. The list is bounded, as a job that is throttled for a day would gather thousands. Beyond the bound the
// oldest try that does not count as an attempt is removed, so that the tries that ended the job remain; if all count, the
// oldest is removed.
func (j *job) addTry(t notify.Try) {
	const maxTries = 20
	if len(j.tries) == maxTries {
		oldest := slices.IndexFunc(j.tries, func(old notify.Try) bool { return !countsAsAttempt(old.Verdict) })
		j.tries = slices.Delete(j.tries, max(oldest, 0), max(oldest, 0)+1)
	}
	j.tries = append(j.tries, t)
}
