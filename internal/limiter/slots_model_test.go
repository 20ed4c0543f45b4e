package limiter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// useHistory is the naive model of a peakWindow: every change of the slots that a lane uses.
type useHistory []slotUse

type slotUse struct {
	at   time.Duration
	used int
}

func (h *useHistory) note(at time.Duration, used int) { *h = append(*h, slotUse{at, used}) }

// peak returns the highest use from since on.
func (h useHistory) peak(since time.Duration) int {
	top := 0
	for i, e := range h {
		if i+1 == len(h) || h[i+1].at >= since {
			top = max(top, e.used)
		}
	}
	return top
}

// For any events in any order: no more slots are used than exist, the slots that a lane has recently used stay reserved for it,
// and nobody waits while a slot is free and not reserved.
func TestSlots_ModelOfAnyEvents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(rt, "size")
		s := newSlots(size, nil)
		var histories [3]useHistory
		var now time.Duration
		reserved := func(i int, window time.Duration) int {
			q, n := s.queues[i], 0
			if peak := histories[i].peak(now - window); peak > 0 {
				n = min(s.limit*[]int{20, 60, 20}[i]/100, peak+1)
			}
			if i == 0 && s.limit >= 4 {
				n = max(n, 1, s.limit/64)
			}
			return max(0, n-q.used)
		}
		free := func(lane int, window time.Duration) int {
			n := s.limit - s.used
			for i := range s.queues {
				if i != lane {
					n -= reserved(i, window)
				}
			}
			return n
		}
		for range rapid.IntRange(1, 150).Draw(rt, "steps") {
			i := rapid.IntRange(0, 2).Draw(rt, "lane")
			q := s.queues[i]
			switch rapid.SampledFrom([]string{"enqueue", "enqueue", "release", "release", "dequeue", "pass", "pass", "recover"}).Draw(rt, "what") {
			case "enqueue":
				for range rapid.IntRange(1, 8).Draw(rt, "n") {
					s.enqueue(q)
				}
			case "release":
				for range min(q.used, rapid.IntRange(1, 8).Draw(rt, "n")) {
					s.release(q)
					histories[i].note(now, q.used)
				}
			case "dequeue":
				if q.waiters.Len() > 0 {
					s.dequeue(q, q.waiters.Back().Value.(*waiter))
				}
			case "pass":
				now += time.Duration(rapid.IntRange(0, 12_000).Draw(rt, "ms")) * time.Millisecond
			case "recover":
				if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
					s.recovered(now)
				}
			}
			s.advance(now)
			for {
				q := s.next(rapid.Bool().Draw(rt, "tokens short"))
				if q == nil {
					break
				}
				s.admitFirst(q)
				for i := range s.queues {
					if s.queues[i] == q {
						require.GreaterOrEqual(rt, free(i, 30*time.Second), 0, "the slots that other lanes have recently used are free")
						histories[i].note(now, q.used)
					}
				}
				require.LessOrEqual(rt, s.used, s.limit)
			}
			waiting, used := 0, 0
			for i, q := range s.queues {
				waiting += q.waiters.Len()
				used += q.used
				if q.waiters.Len() > 0 {
					require.Less(rt, free(i, 31*time.Second), 1, "nobody waits beside a free slot")
				}
			}
			require.Equal(rt, waiting, s.waiting)
			require.Equal(rt, used, s.used)
		}
	})
}
