package worker

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// ErrPaced says that a job's time ran out before it got leave to call its gateway. Nothing was sent, and it says nothing
// about the gateway.
var ErrPaced = errors.New("no leave to call the gateway before the time was up")

// LimiterConfig is what a [Limiter] keeps to.
type LimiterConfig struct {
	Concurrency int                 // calls at once; 0 = unlimited
	Rate        float64             // calls a second, of all processes together; 0 = unlimited
	Shares      map[notify.Lane]int // percent of the places by lane; nil = urgent 20, normal 60, bulk 20; a lane it lacks has 0
}

// Limiter stands before one gateway for all lanes and channels of a process. It bounds how many calls are there at once,
// shares these places over the lanes, paces the calls to this process's part of a rate for the whole cluster, and slows
// down when the provider asks. See [places] for who gets a place and [pace] for when.
//
// It starts no goroutine; a timer runs only while somebody waits for something that no release brings. A nil Limiter limits
// nothing. Its methods may be called at once from many goroutines; only Acquire waits.
type Limiter struct {
	began time.Time // time is counted from here, and never back

	mu     sync.Mutex
	last   time.Duration
	places *places
	pace   *pace
	short  bool          // it was a token that the waiting lacked last
	timer  *time.Timer   // calls tick
	wake   time.Duration // when it does; 0 = it is at rest
}

// NewLimiter gives a limiter that needs no closing. The rate is this process's alone until the first SetShare.
func NewLimiter(cfg LimiterConfig) *Limiter {
	l := &Limiter{began: time.Now(), places: newPlaces(cfg.Concurrency, cfg.Shares), pace: newPace(cfg.Rate)}
	for _, q := range l.places.queues {
		q.leave = func() { l.leave(q) }
	}
	return l
}

// Acquire waits for leave to call the gateway once, first come first served within a lane; an unknown lane is normal. It
// returns ErrPaced when ctx or patience ends first. Otherwise release must be called once when the call is over. A second time does
// nothing, except where the concurrency is unlimited: there the count of calls in flight would be wrong.
func (l *Limiter) Acquire(ctx context.Context, lane notify.Lane, patience time.Duration) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	if ctx.Err() != nil {
		return nil, ErrPaced
	}
	q := l.places.queue(lane)
	w := l.ask(q)
	if w == nil {
		return l.release(q), nil
	}
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case <-w.ready:
		return l.release(q), nil
	case <-enough.C:
	case <-ctx.Done():
	}
	l.giveUp(q, w)
	return nil, ErrPaced
}

// ask gives nil when the caller may go at once, and its place in the queue otherwise.
func (l *Limiter) ask(q *queue) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.places.waiting == 0 && l.pace.ready() && l.places.admits(q) {
		l.places.enter(q)
		l.pace.take(now)
		return nil
	}
	w := l.places.wait(q)
	l.dispatch(now)
	return w
}

// giveUp takes the waiter out of the queue. It may have got leave just now: then place and token go to the next.
func (l *Limiter) giveUp(q *queue, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if w.at == nil {
		l.places.leave(q)
		l.pace.back()
	} else {
		l.places.forget(q, w)
	}
	l.dispatch(now)
}

// release gives what ends a call. Where places are not counted, one function of the lane does for all its calls.
func (l *Limiter) release(q *queue) func() {
	if l.places.size == 0 {
		return q.leave
	}
	var once sync.Once
	return func() { once.Do(q.leave) }
}

func (l *Limiter) leave(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.places.size == 0 { // nobody waits for this
		l.places.leave(q)
		return
	}
	now := l.now() // first, so that the peaks know how long the call lasted
	l.places.leave(q)
	l.dispatch(now)
}

// dispatch gives leave for as long as there is a token and a place for somebody who waits. The order among lanes follows
// what was lacking: see places.next.
func (l *Limiter) dispatch(now time.Duration) {
	for l.places.waiting > 0 && l.pace.ready() {
		q := l.places.next(l.short)
		if q == nil {
			break
		}
		l.places.admit(q)
		l.pace.take(now)
	}
	l.short = l.places.waiting > 0 && !l.pace.ready()
	l.arm(now)
}

// arm sets the timer for what the waiting wait for, unless that is a release, which comes by itself.
func (l *Limiter) arm(now time.Duration) {
	var at time.Duration
	switch {
	case l.places.waiting == 0:
	case l.short:
		at = l.pace.due(now)
	default:
		at = l.places.change(now)
	}
	switch {
	case at == 0:
		if l.wake != 0 {
			l.timer.Stop()
			l.wake = 0
		}
	case l.timer == nil:
		l.timer, l.wake = time.AfterFunc(at-now, l.tick), at
	case l.wake == 0 || at < l.wake:
		l.timer.Reset(at - now)
		l.wake = at
	}
}

func (l *Limiter) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake = 0
	l.dispatch(l.now())
}

// now is the time, with everything brought up to it. Only under mu.
func (l *Limiter) now() time.Duration { return l.upTo(time.Since(l.began)) }

func (l *Limiter) upTo(now time.Duration) time.Duration {
	l.last = max(l.last, now)
	l.places.upTo(l.last)
	l.pace.upTo(l.last)
	return l.last
}

// change brings everything up to the time, makes a change and looks whom it lets go.
func (l *Limiter) change(now time.Time, do func(now time.Duration)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.upTo(now.Sub(l.began))
	do(at)
	l.dispatch(at)
}

// Throttled says that the provider asked to slow down: 429, 421, 4.7.x.
func (l *Limiter) Throttled(now time.Time) {
	l.change(now, func(at time.Duration) { l.pace.throttled(at) })
}

// Crowded says that the provider serves fewer calls at once than are there: one of them, which is still in flight, was refused
// for that. Without a bound of its own the limiter slows down instead.
func (l *Limiter) Crowded(now time.Time) {
	l.change(now, func(at time.Duration) {
		if l.places.size == 0 {
			l.pace.throttled(at)
			return
		}
		l.places.crowded(at)
	})
}

// Long says that a call of the lane, which has its place, will take long. Done must be called once when it ends, before its
// release.
func (l *Limiter) Long(lane notify.Lane) (done func()) {
	if l == nil {
		return func() {}
	}
	q := l.places.queue(lane)
	l.change(time.Now(), func(time.Duration) { q.long++ })
	return func() { l.change(time.Now(), func(time.Duration) { q.long-- }) }
}

// Stuck reports whether the lane has no place, and every call whose end would make room for it is long.
func (l *Limiter) Stuck(lane notify.Lane) (stuck bool) {
	l.change(time.Now(), func(time.Duration) { stuck = l.places.stuck(l.places.queue(lane)) })
	return stuck
}

// Full reports whether the lane has no place, whatever the pace.
func (l *Limiter) Full(lane notify.Lane) (is bool) {
	l.change(time.Now(), func(time.Duration) { is = !l.places.admits(l.places.queue(lane)) })
	return is
}

// Recovered says that the gateway's breaker has closed: the concurrency starts small and doubles until it is full again, so
// that the backlog does not break a provider that has only just come back.
func (l *Limiter) Recovered(now time.Time) {
	l.change(now, func(at time.Duration) { l.places.recovered(at) })
}

// SetShare says what part of the cluster-wide rate is this process's, from 0 to 1, by any key such as channel and lane. The
// parts add up, to the whole rate at most; with none held nobody is admitted. Without a configured rate they mean nothing.
func (l *Limiter) SetShare(key string, fraction float64) {
	l.change(time.Now(), func(time.Duration) { l.pace.setShare(key, fraction) })
}

// Rate is how many calls a second this process may make now; +Inf when it is unlimited.
func (l *Limiter) Rate(now time.Time) float64 {
	rate := math.Inf(1)
	l.change(now, func(time.Duration) { rate = l.pace.rate })
	return rate
}

// InFlight is how many calls have begun and not ended.
func (l *Limiter) InFlight() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places.used
}
