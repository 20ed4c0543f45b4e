package limiter

import "container/list"

// laneQueue holds the slots of one lane and the callers of the lane that wait for one.
type laneQueue struct {
	percent int // configured share of all slots
	share   int // the same in slots, of the present limit
	floor   int // slots that are reserved even if the lane has not used them
	used    int // calls in flight
	long    int // of them, long calls
	peak    peakWindow
	waiters list.List // of *waiter
	release func()    // ends one call
}

// waiter is a caller of Acquire in a queue. The caller is admitted once the channel is closed; then element is nil.
type waiter struct {
	admitted chan struct{}
	element  *list.Element
}

func (s *slots) enqueue(q *laneQueue) *waiter {
	w := &waiter{admitted: make(chan struct{})}
	w.element = q.waiters.PushBack(w)
	s.waiting++
	return w
}

func (s *slots) dequeue(q *laneQueue, w *waiter) {
	q.waiters.Remove(w.element)
	w.element = nil
	s.waiting--
}

// admitFirst gives a slot to the first waiter of q.
func (s *slots) admitFirst(q *laneQueue) {
	w := q.waiters.Front().Value.(*waiter)
	s.dequeue(q, w)
	s.acquire(q)
	close(w.admitted)
}

// next returns the lane whose first waiter is admitted next, or nil if none is runnable. Urgent goes first. Of normal and bulk,
// the lane that is further below its share goes first; if neither is below, they take turns. When tokens are short, the lanes
// only take turns: the slots that a lane uses then depend on how long its calls last, and do not show which lane is behind.
func (s *slots) next(tokensShort bool) *laneQueue {
	urgent, normal, bulk := s.lanes()
	if s.runnable(urgent) {
		return urgent
	}
	switch n, b := s.runnable(normal), s.runnable(bulk); {
	case n && b && tokensShort:
		return s.byRoundRobin(normal, bulk)
	case n && b:
		return s.byShare(normal, bulk)
	case n:
		return normal
	case b:
		return bulk
	default:
		return nil
	}
}

// runnable reports whether q has a waiter and a slot is free for it.
func (s *slots) runnable(q *laneQueue) bool { return q.waiters.Len() > 0 && s.available(q) }

func (s *slots) byShare(normal, bulk *laneQueue) *laneQueue {
	switch n, b := normal.used*bulk.share, bulk.used*normal.share; {
	case normal.used >= normal.share && bulk.used >= bulk.share, n == b:
		return s.byRoundRobin(normal, bulk)
	case bulk.used >= bulk.share, normal.used < normal.share && n < b:
		return normal
	default:
		return bulk
	}
}

// byRoundRobin is a smooth weighted round robin: for 60 and 20 the order is normal, normal, bulk, normal. A lane with a share
// of 0 counts as 1, so that it does not starve.
func (s *slots) byRoundRobin(normal, bulk *laneQueue) *laneQueue {
	n, b := max(1, normal.percent), max(1, bulk.percent)
	if 2*s.balance >= b-n {
		s.balance -= b
		return normal
	}
	s.balance += n
	return bulk
}
