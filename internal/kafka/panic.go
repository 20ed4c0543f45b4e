package kafka

import (
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// A handler that panics is called again. After the third time its record is taken for the cause and becomes a dead letter.
// When many records panic, the program is: the runner stops starting attempts, buries nothing, and tries one now and then.
const (
	afterPanic     = 10 * time.Second // when a record is called again whose handler has panicked
	mostPanics     = 3                // of one record
	mostPanicking  = 5                // records within panicWindow; with more the runner stops
	panicWindow    = time.Minute
	firstPanicStop = 30 * time.Second
	mostPanicStop  = 5 * time.Minute
)

// panics is what a runner remembers of its handler's panics. The runner's lock guards it.
type panics struct {
	recent  map[recordPlace]time.Time // records whose handler has panicked lately
	until   time.Time                 // nothing is started before; zero while the runner works
	pause   time.Duration
	probing bool // one attempt finds out whether the handler works again
}

type recordPlace struct {
	topicPartition
	offset int64
}

// admits reports whether an attempt may start.
func (p *panics) admits(now time.Time) bool {
	return p.until.IsZero() || !p.probing && !now.Before(p.until)
}

func (p *panics) stopped() bool { return !p.until.IsZero() }

// note takes note of a panic and reports whether the runner has to stop, or stay so.
func (p *panics) note(at recordPlace, now time.Time) bool {
	for other, when := range p.recent {
		if now.Sub(when) > panicWindow {
			delete(p.recent, other)
		}
	}
	if p.recent == nil {
		p.recent = map[recordPlace]time.Time{}
	}
	p.recent[at] = now
	return len(p.recent) > mostPanicking || p.stopped()
}

// stopForPanics stops the runner and returns after what time a record may be called again: one that has panicked comes after
// the others. The lock is held.
func (r *Runner) stopForPanics(f *flight, now time.Time) time.Duration {
	p := &r.panics
	first := !p.stopped()
	if first || f.probe {
		p.pause = min(max(2*p.pause, firstPanicStop), mostPanicStop)
		p.until, p.probing = now.Add(p.pause), false
		if first {
			r.log.Error("the handler panics for record after record: nothing more is started until it works again, and nothing is lost. "+
				"The stacks are in the log; report the error, or go back to the version before",
				zap.Int("records", len(p.recent)), zap.Duration("next_try", p.pause))
		}
		time.AfterFunc(p.pause, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.dispatch()
		})
	}
	return p.until.Sub(now) + afterPanic
}

// worked ends a stop when the attempt that was let through has not panicked.
func (r *Runner) worked(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.probe {
		r.log.Info("the handler works again")
		r.panics = panics{}
		r.dispatch()
	}
}

// call calls the handler. What it panics with is not logged but its type: it may hold a payload.
func (r *Runner) call(a *Attempt, it *item) (res Result) {
	defer func() {
		p := recover()
		switch {
		case p != nil:
			r.log.Error("handler panicked", zap.Stringer("claim", a.flight.topicPartition), zap.Int64("offset", a.Offset),
				zap.String("type", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
			res = r.afterPanic(a, it)
		case res.Panicked:
			r.mu.Lock()
			r.stats.Panics++
			if now := time.Now(); r.panics.note(recordPlace{a.flight.topicPartition, a.Offset}, now) {
				r.stopForPanics(a.flight, now)
			}
			r.mu.Unlock()
		default:
			r.worked(a.flight)
		}
	}()
	return r.cfg.Handler.Handle(r.life, a)
}

// afterPanic returns what becomes of a record whose handler has panicked.
func (r *Runner) afterPanic(a *Attempt, it *item) (res Result) {
	now := time.Now()
	r.mu.Lock()
	r.stats.Panics++
	it.panics++
	tries, wait := it.panics, afterPanic
	stop := r.panics.note(recordPlace{a.flight.topicPartition, a.Offset}, now)
	if stop {
		wait = r.stopForPanics(a.flight, now)
	}
	r.mu.Unlock()
	again := Result{Again: now.Add(wait), Carry: a.Carry}
	if stop || tries < mostPanics || r.cfg.Panicked == nil {
		return again
	}
	defer func() {
		if recover() != nil {
			r.log.Error("a record whose handler panics cannot become a dead letter; it is tried again", zap.Stringer("claim", a.flight.topicPartition),
				zap.Int64("offset", a.Offset), zap.ByteString("stack", debug.Stack()))
			res = again
		}
	}()
	return r.cfg.Panicked(a)
}
