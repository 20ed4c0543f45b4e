package worker

import (
	"context"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// try is one call of the gateway and what it came to.
type try struct {
	gateway string
	verdict notify.Verdict
	receipt notify.Receipt  // accepted
	failure *notify.Failure // every other verdict
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

// passes reports whether the next gateway of the route is asked.
func (t try) passes() bool {
	switch t.verdict {
	case notify.Transient, notify.Unavailable:
		return true
	case notify.Permanent, notify.Throttled:
		return t.failure.Next
	}
	return false
}

// send calls the gateway once, and counts, notes and logs what it says. Rest is the part of the route after it.
func (w *Worker) send(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, rest []*Outlet) try {
	began := time.Now()
	j.called = o.Name
	receipt, err := w.call(ctx, a, j, o, rest)
	took := time.Since(began)

	t := try{gateway: o.Name, verdict: notify.Accepted, receipt: receipt}
	if t.failure = notify.Judge(err); t.failure != nil {
		t.verdict = known(t.failure.Verdict)
	} else {
		o.devices.accept()
	}
	j.calls++
	j.remember(notify.Try{
		Gateway: o.Name, Verdict: t.verdict, Code: t.code(), Reason: t.reason(), Millis: took.Milliseconds(),
	})
	w.counts.attempt(o.Name, t.verdict, took)
	w.logAttempt(a, j, t, took)
	return t
}

// call is Send with a panic taken for an ambiguous failure: one message must not end the others.
func (w *Worker) call(ctx context.Context, a *kafka.Attempt, j *job, o *Outlet, rest []*Outlet) (receipt notify.Receipt, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		w.logPanic(a, j, p, "the gateway panicked")
		j.panicked = true
		receipt, err = notify.Receipt{}, &notify.Failure{Verdict: notify.Ambiguous, Reason: "the gateway panicked"}
	}()
	long, ok := o.Sender.(gateway.LongSender)
	if p := j.message.Parts; p != nil {
		p.Waiting, p.Record = nil, func(ctx context.Context) error { return w.recordParts(ctx, a, j) }
	}
	if !ok {
		return o.Sender.Send(ctx, j.message)
	}
	another := w.another(j, rest)
	defer w.whileLong(a, o)()
	if another {
		return long.Send(ctx, j.message)
	}
	return long.SendPatiently(ctx, j.message)
}

// known makes a failure's verdict one of the contract's: unmarked is transient.
func known(v notify.Verdict) notify.Verdict {
	switch v {
	case notify.Permanent, notify.Throttled, notify.Unavailable, notify.Ambiguous:
		return v
	default:
		return notify.Transient
	}
}

// counted reports whether a try with this verdict uses up the job's budget.
func counted(v notify.Verdict) bool { return v == notify.Transient || v == notify.Ambiguous }

// remember adds a try. A job that is throttled for a day would gather thousands: beyond a handful the oldest that does
// not count makes room, so that what the job was ended for is there, or the oldest where all of them count.
func (j *job) remember(t notify.Try) {
	const most = 20
	if len(j.tries) == most {
		oldest := slices.IndexFunc(j.tries, func(old notify.Try) bool { return !counted(old.Verdict) })
		j.tries = slices.Delete(j.tries, max(oldest, 0), max(oldest, 0)+1)
	}
	j.tries = append(j.tries, t)
}
