package kafka

import (
	"context"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// afterPanic is when a record is called again whose handler has panicked.
const afterPanic = 10 * time.Second

// run is one attempt: provider → follow-ons acknowledged → outcome acknowledged → done.
func (r *Runner) run(f *flight, it *item) {
	if !r.mayStart(f) { // this goroutine may have slept since the slot was taken
		r.land(f, Result{Again: time.Now(), Carry: it.carry})
		return
	}
	a := &Attempt{Record: it.rec, Carry: it.carry, runner: r, flight: f, intent: it.intent}
	res := r.call(r.life, a)
	if res.Again.IsZero() {
		if o, err := r.publish(f, it.rec, res); err != nil {
			r.log.Warn("an attempt ends with its outcome unpublished", zap.Stringer("claim", f.topicPartition),
				zap.Int64("offset", f.offset), zap.Error(err))
			res = Result{Again: time.Now()} // life is over: not done, whatever comes next
		} else if res.Ended != nil {
			res.Ended(o)
		}
	}
	r.land(f, res)
}

func (r *Runner) call(ctx context.Context, a *Attempt) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("handler panicked", zap.String("topic", a.Topic), zap.Int32("partition", a.Partition),
				zap.Int64("offset", a.Offset), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			res = Result{Again: time.Now().Add(afterPanic), Carry: a.Carry}
		}
	}()
	return r.cfg.Handler.Handle(ctx, a)
}
