package limiter

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// ErrNotAcquired is returned by [Limiter.Acquire] when the time is up before a slot and a token are free. No call was made, and
// the error says nothing about the health of the gateway.
var ErrNotAcquired = errors.New("no leave to call the gateway before the time was up")

// Config holds the limits of a [Limiter].
type Config struct {
	Concurrency int                 // calls at the same time; 0 = unlimited
	Rate        float64             // calls per second, of all processes together; 0 = unlimited
	Shares      map[notify.Lane]int // percent of the slots by lane; nil = urgent 20, normal 60, bulk 20; a missing lane has 0
}

// Limiter limits the calls of all lanes and channels of a process to one gateway. It bounds the number of concurrent calls,
// shares these slots between the lanes, limits the calls per second to this process's part of the cluster-wide rate, and slows
// down when the provider asks. [slots] decides which lane gets a slot, and [tokenBucket] decides when a call may begin.
//
// A Limiter starts no goroutine. Its timer runs only while a caller waits for something other than a release. A nil Limiter
// limits nothing. Concurrent calls are safe; only Acquire blocks.
type Limiter struct {
	start time.Time // origin of all durations here; monotonic

	mu         sync.Mutex
	lastNow    time.Duration
	slots      *slots
	bucket     *tokenBucket
	needsToken bool          // after the last dispatch, waiting callers lacked a token
	timer      *time.Timer   // calls onTimer
	timerAt    time.Duration // when the timer fires; 0 = stopped
}

// New returns a limiter that needs no Close. The whole rate belongs to this process until the first SetShare.
func New(cfg Config) *Limiter {
	l := &Limiter{start: time.Now(), slots: newSlots(cfg.Concurrency, cfg.Shares), bucket: newTokenBucket(cfg.Rate)}
	for _, q := range l.slots.queues {
		q.release = func() { l.releaseSlot(q) }
	}
	return l
}

// Acquire blocks until the caller may call the gateway once. The callers of one lane are served in their order; an unknown
// lane counts as normal. Acquire returns ErrNotAcquired when ctx or the timeout ends first. Otherwise call release once, when
// the call is over. A second release does nothing, except where the concurrency is unlimited: there it would make InFlight
// wrong.
func (l *Limiter) Acquire(ctx context.Context, lane notify.Lane, timeout time.Duration) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	if ctx.Err() != nil {
		return nil, ErrNotAcquired
	}
	q := l.slots.queue(lane)
	w := l.acquireOrWait(q)
	if w == nil {
		return l.releaseFunc(q), nil
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-w.admitted:
		return l.releaseFunc(q), nil
	case <-timer.C:
	case <-ctx.Done():
	}
	l.cancelWait(q, w)
	return nil, ErrNotAcquired
}

// acquireOrWait returns nil when the caller may call at once. Otherwise it returns the caller's entry in the queue.
func (l *Limiter) acquireOrWait(q *laneQueue) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.advanceLocked()
	if l.slots.waiting == 0 && l.bucket.ready() && l.slots.available(q) {
		l.slots.acquire(q)
		l.bucket.take(now)
		return nil
	}
	w := l.slots.enqueue(q)
	l.dispatchLocked(now)
	return w
}

// cancelWait removes the waiter from the queue. If the waiter was admitted in the meantime, its slot and token go to the next.
func (l *Limiter) cancelWait(q *laneQueue, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.advanceLocked()
	if w.element == nil {
		l.slots.release(q)
		l.bucket.putBack()
	} else {
		l.slots.dequeue(q, w)
	}
	l.dispatchLocked(now)
}

// releaseFunc returns the function that ends one call. Without a bound on the concurrency all calls of a lane share one
// function, which saves an allocation per call.
func (l *Limiter) releaseFunc(q *laneQueue) func() {
	if l.slots.size == 0 {
		return q.release
	}
	var once sync.Once
	return func() { once.Do(q.release) }
}

func (l *Limiter) releaseSlot(q *laneQueue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots.size == 0 { // nobody waits for a slot
		l.slots.release(q)
		return
	}
	now := l.advanceLocked() // before the release: the peaks count the call up to now
	l.slots.release(q)
	l.dispatchLocked(now)
}

// dispatchLocked admits waiting callers while a token and a slot are free. The order of the lanes depends on the resource that
// was short: see [slots.next].
func (l *Limiter) dispatchLocked(now time.Duration) {
	for l.slots.waiting > 0 && l.bucket.ready() {
		q := l.slots.next(l.needsToken)
		if q == nil {
			break
		}
		l.slots.admitFirst(q)
		l.bucket.take(now)
	}
	l.needsToken = l.slots.waiting > 0 && !l.bucket.ready()
	l.setTimerLocked(now)
}

// setTimerLocked sets the timer to the next moment at which a waiting caller may be admitted without a release.
func (l *Limiter) setTimerLocked(now time.Duration) {
	var at time.Duration
	switch {
	case l.slots.waiting == 0:
	case l.needsToken:
		at = l.bucket.nextToken(now)
	default:
		at = l.slots.nextChange(now)
	}
	switch {
	case at == 0:
		if l.timerAt != 0 {
			l.timer.Stop()
			l.timerAt = 0
		}
	case l.timer == nil:
		l.timer = time.AfterFunc(at-now, l.onTimer)
		l.timerAt = at
	case l.timerAt == 0 || at < l.timerAt:
		l.timer.Reset(at - now)
		l.timerAt = at
	}
}

func (l *Limiter) onTimer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timerAt = 0
	l.dispatchLocked(l.advanceLocked())
}

// advanceLocked brings slots and tokens up to the present time and returns that time.
func (l *Limiter) advanceLocked() time.Duration { return l.advanceToLocked(time.Since(l.start)) }

func (l *Limiter) advanceToLocked(now time.Duration) time.Duration {
	l.lastNow = max(l.lastNow, now)
	l.slots.advance(l.lastNow)
	l.bucket.advance(l.lastNow)
	return l.lastNow
}

// update brings slots and tokens up to the time now, calls do with the mutex held, and admits the callers that do let in.
func (l *Limiter) update(now time.Time, do func(now time.Duration)) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.advanceToLocked(now.Sub(l.start))
	do(at)
	l.dispatchLocked(at)
}

// OnThrottled reduces the rate. Call it when the provider asks to slow down: 429, 421, 4.7.x.
func (l *Limiter) OnThrottled(now time.Time) {
	l.update(now, func(at time.Duration) { l.bucket.throttled(at) })
}

// OnCrowded reduces the concurrency. Call it when the provider refuses a call because too many calls run at the same time, and
// before the slot of this call is released. Without a bound on the concurrency OnCrowded reduces the rate instead.
func (l *Limiter) OnCrowded(now time.Time) {
	l.update(now, func(at time.Duration) {
		if l.slots.size == 0 {
			l.bucket.throttled(at)
			return
		}
		l.slots.crowded(at)
	})
}

// OnRecovered restarts with a few slots and doubles them until all are back: a provider that has just recovered must not break
// under the backlog. Call it when the circuit breaker of the gateway closes again.
func (l *Limiter) OnRecovered(now time.Time) {
	l.update(now, func(at time.Duration) { l.slots.recovered(at) })
}

// MarkLong counts a call of the lane, which holds a slot, as a long call. Call unmark once when the call ends, before its
// release.
func (l *Limiter) MarkLong(lane notify.Lane) (unmark func()) {
	if l == nil {
		return func() {}
	}
	q := l.slots.queue(lane)
	l.update(time.Now(), func(time.Duration) { q.long++ })
	return func() { l.update(time.Now(), func(time.Duration) { q.long-- }) }
}

// BlockedByLongCalls reports whether the lane has no free slot, and only the end of a long call would free one.
func (l *Limiter) BlockedByLongCalls(lane notify.Lane) bool {
	blocked := false
	l.update(time.Now(), func(time.Duration) { blocked = l.slots.blockedByLongCalls(l.slots.queue(lane)) })
	return blocked
}

// Full reports whether the lane has no free slot, whatever the rate.
func (l *Limiter) Full(lane notify.Lane) bool {
	full := false
	l.update(time.Now(), func(time.Duration) { full = !l.slots.available(l.slots.queue(lane)) })
	return full
}

// SetShare sets one part of the cluster-wide rate that belongs to this process, from 0 to 1. The key names the part, such as
// channel and lane. The parts are added up, to the whole rate at most; if the sum is 0, nobody is admitted. Without a
// configured rate SetShare has no effect.
func (l *Limiter) SetShare(key string, fraction float64) {
	l.update(time.Now(), func(time.Duration) { l.bucket.setShare(key, fraction) })
}

// Rate returns the calls per second that this process may make now; +Inf when the rate is unlimited.
func (l *Limiter) Rate(now time.Time) float64 {
	rate := math.Inf(1)
	l.update(now, func(time.Duration) { rate = l.bucket.rate })
	return rate
}

// InFlight returns the number of calls that have begun and not ended.
func (l *Limiter) InFlight() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots.used
}
