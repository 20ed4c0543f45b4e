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
		r.land(f, Result{Again: time.Now(), Carry: it.carry}, nil)
		return
	}
	a := &Attempt{
		Record: it.rec, Carry: it.carry, runner: r, flight: f, intent: it.intent, left: it.left, crowded: it.crowded,
	}
	it.crowded = false
	res := r.call(r.life, a)
	if !res.Again.IsZero() {
		r.land(f, res, nil)
		return
	}
	for {
		o, err := r.publish(f, it.rec, res)
		if err != nil {
			r.log.Warn("an attempt ends with its outcome unpublished", zap.Stringer("claim", f.topicPartition),
				zap.Int64("offset", f.offset), zap.Error(err))
			f.signed = false
			r.land(f, Result{Again: time.Now()}, nil) // life is over: not done, whatever comes next
			return
		}
		end := r.land(f, res, o)
		for end == undecided && r.life.Err() == nil {
			pause(r.life, takeOverPatience)
			end = r.land(f, res, o)
		}
		if end != unsigned {
			return
		}
	}
}

// takeOverPatience is how often a flight looks whether a take-over has ended.
const takeOverPatience = 20 * time.Millisecond

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
