package kafka

import (
	"container/heap"
	"time"
)

// recheckEvery bounds how long a wait trusts a timer. Timers run on the monotonic clock, which stands still while a host is
// suspended and does not follow a wall clock that is stepped.
const recheckEvery = 15 * time.Second

// stepped is by how much wall clock and monotonic clock have to drift apart to count as a step.
const stepped = 100 * time.Millisecond

// instant is one moment on both clocks.
type instant struct {
	mono time.Duration // since the runner's first wait
	wall time.Time
}

// wakeups holds the items of a runner that are to be called again at a time of their own, with one timer for all. An item is
// due once either clock says so: after a forward step of the wall clock, or the suspension of the host, at most recheckEvery
// late; after a backward step as planned. Whoever must not be early looks at the wall clock again.
//
// Its zero value is empty. The runner's lock guards it.
type wakeups struct {
	items  waitHeap
	base   time.Time
	offset time.Duration // wall clock minus monotonic clock, when the order was made last
	timer  *time.Timer
	armed  time.Duration  // when the timer fires
	clock  func() instant // nil outside of tests
}

func (w *wakeups) now() instant {
	if w.clock != nil {
		return w.clock()
	}
	now := time.Now()
	if w.base.IsZero() {
		w.base = now
	}
	return instant{now.Sub(w.base), now.Round(0)}
}

func (i instant) offset() time.Duration { return time.Duration(i.wall.UnixNano()) - i.mono }

// add makes it wait for so long.
func (w *wakeups) add(it *item, wait time.Duration) {
	now := w.now()
	if len(w.items) == 0 {
		w.offset = now.offset()
	}
	it.until, it.wall = now.mono+wait, now.wall.Add(wait).UnixNano()
	heap.Push(&w.items, it)
}

// remove ends the wait of it, if it waits.
func (w *wakeups) remove(it *item) {
	if it.slot > 0 {
		heap.Remove(&w.items, it.slot-1)
	}
}

// due removes and returns the next item whose time has come; nil when there is none.
func (w *wakeups) due(now instant) *item {
	if d := now.offset() - w.offset; d > stepped || d < -stepped {
		w.rearrange(now)
	}
	if len(w.items) == 0 || w.items[0].until > now.mono {
		return nil
	}
	return heap.Pop(&w.items).(*item)
}

// rearrange follows a step of the wall clock.
func (w *wakeups) rearrange(now instant) {
	w.offset = now.offset()
	for _, it := range w.items {
		it.until = min(it.until, now.mono+time.Duration(it.wall-now.wall.UnixNano()))
	}
	heap.Init(&w.items)
}

// waitHeap is a heap of items by the time until which they wait.
type waitHeap []*item

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *waitHeap) Push(x any) {
	it := x.(*item)
	*h = append(*h, it)
	it.slot = len(*h)
}

func (h *waitHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h, it.slot = old[:len(old)-1], 0
	return it
}

// wait calls it again after so long. The lock is held.
func (r *Runner) wait(c *claim, it *item, wait time.Duration) {
	it.claim = c
	r.wakeups.add(it, wait)
	r.arm()
}

// arm sets the timer for the item that is due next, at most recheckEvery ahead. The lock is held.
func (r *Runner) arm() {
	w := &r.wakeups
	if len(w.items) == 0 {
		return
	}
	now, most := w.now().mono, recheckEvery
	if r.crowded() {
		most = crowdedAfter
	}
	at := min(w.items[0].until, now+most)
	switch {
	case w.timer == nil:
		w.timer = time.AfterFunc(at-now, r.wake)
	case w.armed <= now || at < w.armed:
		w.timer.Reset(at - now)
	default:
		return
	}
	w.armed = at
}

// wake calls the items whose time has come.
func (r *Runner) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.wakeups.now()
	for it := r.wakeups.due(now); it != nil; it = r.wakeups.due(now) {
		it.claim.enqueue(it, &it.claim.called)
	}
	if r.session != nil {
		for _, c := range r.session.claims {
			c.makeRoom()
		}
	}
	r.dispatch()
	r.arm()
}
