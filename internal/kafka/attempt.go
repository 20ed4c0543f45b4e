package kafka

import (
	"time"

	"go.uber.org/zap"
)

// run is one attempt: provider → follow-ons acknowledged → outcome acknowledged → done.
func (r *Runner) run(f *flight, it *item) {
	if !r.mayStart(f) { // this goroutine may have slept since the slot was taken
		r.land(f, Result{Again: time.Now(), Carry: it.carry}, nil)
		return
	}
	a := &Attempt{
		Record: it.rec, Carry: it.carry, runner: r, flight: f, intent: it.intent, left: it.left, begun: it.begun, crowded: it.crowded,
	}
	it.crowded = false
	res := r.attempt(a, it)
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

// attempt calls the handler. A batch that cannot be decoded has none: it leaves a dead letter and no outcome.
func (r *Runner) attempt(a *Attempt, it *item) Result {
	switch {
	case it.damaged == nil:
		return r.call(a, it)
	case r.cfg.Undecodable == nil:
		return Result{}
	default:
		return Result{Follow: []Message{r.cfg.Undecodable(it.damaged)}, cut: true}
	}
}
