package worker

import "container/list"

// queue is what one lane has and who of it waits.
type queue struct {
	percent int
	share   int // places, of the limit as it is now
	floor   int // places that stay free whether it has used them or not
	used    int
	long    int // of them, calls that take long
	peak    peaks
	waiters list.List // of *waiter
	leave   func()    // ends one call
}

// waiter is a caller of Acquire. It has leave once ready is closed and at is nil.
type waiter struct {
	ready chan struct{}
	at    *list.Element
}

func (p *places) wait(q *queue) *waiter {
	w := &waiter{ready: make(chan struct{})}
	w.at = q.waiters.PushBack(w)
	p.waiting++
	return w
}

func (p *places) forget(q *queue, w *waiter) {
	q.waiters.Remove(w.at)
	w.at = nil
	p.waiting--
}

// admit gives q's first waiter its leave.
func (p *places) admit(q *queue) {
	w := q.waiters.Front().Value.(*waiter)
	p.forget(q, w)
	p.enter(q)
	close(w.ready)
}

// next is the lane whose first waiter goes next, nil when none may: urgent first; then, of normal and bulk, the one that
// is further below its share; and where neither is, by turn. When tokens are short and places are not, the places that a
// lane has say nothing, as shorter calls need fewer: then it goes by turn alone.
func (p *places) next(short bool) *queue {
	urgent, normal, bulk := p.queues[0], p.queues[1], p.queues[2]
	if p.goes(urgent) {
		return urgent
	}
	switch n, b := p.goes(normal), p.goes(bulk); {
	case n && b && short:
		return p.byTurn(normal, bulk)
	case n && b:
		return p.byShare(normal, bulk)
	case n:
		return normal
	case b:
		return bulk
	default:
		return nil
	}
}

func (p *places) goes(q *queue) bool { return q.waiters.Len() > 0 && p.admits(q) }

func (p *places) byShare(normal, bulk *queue) *queue {
	switch n, b := normal.used*bulk.share, bulk.used*normal.share; {
	case normal.used >= normal.share && bulk.used >= bulk.share, n == b:
		return p.byTurn(normal, bulk)
	case bulk.used >= bulk.share, normal.used < normal.share && n < b:
		return normal
	default:
		return bulk
	}
}

// byTurn spreads turns smoothly by weight: normal, normal, bulk, normal for 60 and 20. A lane without a share has a little
// all the same, so that it does not wait for ever.
func (p *places) byTurn(normal, bulk *queue) *queue {
	n, b := max(1, normal.percent), max(1, bulk.percent)
	if 2*p.turn >= b-n {
		p.turn -= b
		return normal
	}
	p.turn += n
	return bulk
}
