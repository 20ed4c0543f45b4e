package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// diary keeps, the long way round, what a lane used when.
type diary []struct {
	at   time.Duration
	used int
}

func (d *diary) note(at time.Duration, used int) {
	*d = append(*d, struct {
		at   time.Duration
		used int
	}{at, used})
}

// peak is the highest use from since on.
func (d diary) peak(since time.Duration) int {
	top := 0
	for i, e := range d {
		if i+1 == len(d) || d[i+1].at >= since {
			top = max(top, e.used)
		}
	}
	return top
}

// Whatever happens in whatever order: no more places are given than there are, what a lane lately used stays free for it,
// and nobody waits for a place that is kept for no one.
func TestPlacesKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(rt, "size")
		p := newPlaces(size, nil)
		var days [3]diary
		var now time.Duration
		kept := func(i int, memory time.Duration) int {
			q, n := p.queues[i], 0
			if peak := days[i].peak(now - memory); peak > 0 {
				n = min(p.limit*[]int{20, 60, 20}[i]/100, peak+1)
			}
			if i == 0 && p.limit >= 4 {
				n = max(n, 1, p.limit/64)
			}
			return max(0, n-q.used)
		}
		left := func(but int, memory time.Duration) int {
			n := p.limit - p.used
			for i := range p.queues {
				if i != but {
					n -= kept(i, memory)
				}
			}
			return n
		}
		for range rapid.IntRange(1, 150).Draw(rt, "steps") {
			i := rapid.IntRange(0, 2).Draw(rt, "lane")
			q := p.queues[i]
			switch rapid.SampledFrom([]string{"wait", "wait", "leave", "leave", "forget", "pass", "pass", "recover"}).Draw(rt, "what") {
			case "wait":
				for range rapid.IntRange(1, 8).Draw(rt, "n") {
					p.wait(q)
				}
			case "leave":
				for range min(q.used, rapid.IntRange(1, 8).Draw(rt, "n")) {
					p.leave(q)
					days[i].note(now, q.used)
				}
			case "forget":
				if q.waiters.Len() > 0 {
					p.forget(q, q.waiters.Back().Value.(*waiter))
				}
			case "pass":
				now += time.Duration(rapid.IntRange(0, 12_000).Draw(rt, "ms")) * time.Millisecond
			case "recover":
				if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
					p.recovered(now)
				}
			}
			p.upTo(now)
			for {
				short := rapid.Bool().Draw(rt, "short")
				q := p.next(short)
				if q == nil {
					break
				}
				p.admit(q)
				for i := range p.queues {
					if p.queues[i] == q {
						require.GreaterOrEqual(rt, left(i, 30*time.Second), 0, "what others lately used is free")
						days[i].note(now, q.used)
					}
				}
				require.LessOrEqual(rt, p.used, p.limit)
			}
			waiting, used := 0, 0
			for i, q := range p.queues {
				waiting += q.waiters.Len()
				used += q.used
				if q.waiters.Len() > 0 {
					require.Less(rt, left(i, 31*time.Second), 1, "nobody waits in vain")
				}
			}
			require.Equal(rt, waiting, p.waiting)
			require.Equal(rt, used, p.used)
		}
	})
}
