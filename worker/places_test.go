package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var lanes = []notify.Lane{notify.LaneUrgent, notify.LaneNormal, notify.LaneBulk}

// fill takes as many places for q as it may have and says how many that were.
func fill(p *places, q *queue) int {
	n := 0
	for ; p.admits(q) && n < 10_000; n++ {
		p.enter(q)
	}
	return n
}

func leave(p *places, q *queue, n int) {
	for range n {
		p.leave(q)
	}
}

func TestALaneAloneHasAllPlacesButTheFirstUrgent(t *testing.T) {
	for size, kept := range map[int]int{1: 0, 2: 0, 3: 0, 4: 1, 16: 1, 64: 1, 127: 1, 128: 2, 640: 10} {
		for _, lane := range []notify.Lane{notify.LaneNormal, notify.LaneBulk} {
			p := newPlaces(size, nil)
			require.Equal(t, size-kept, fill(p, p.queue(lane)), "%d places, %s", size, lane)
			require.Equal(t, kept, fill(p, p.queue(notify.LaneUrgent)), "%d places, urgent", size)
		}
		p := newPlaces(size, nil)
		require.Equal(t, size, fill(p, p.queue(notify.LaneUrgent)))
	}
}

func TestWhatALaneHasLatelyUsedStaysFree(t *testing.T) {
	p := newPlaces(64, nil)
	normal, bulk := p.queue(notify.LaneNormal), p.queue(notify.LaneBulk)
	p.upTo(100 * time.Second)
	for range 5 {
		p.enter(normal)
	}
	leave(p, normal, 3)
	require.Equal(t, 64-1-6, fill(p, bulk), "all but the first urgent and normal's five and one more")
	require.Equal(t, 1+3, fill(p, normal), "normal has them at once")
	leave(p, normal, 6)

	p.upTo(130 * time.Second)
	leave(p, bulk, 64)
	require.Equal(t, 64-1-7, fill(p, bulk), "remembered for 30 seconds")
	p.upTo(132 * time.Second)
	require.Equal(t, 7, fill(p, bulk), "and forgotten")
}

func TestNoMoreThanItsShareStaysFreeForALane(t *testing.T) {
	p := newPlaces(64, nil)
	urgent, normal, bulk := p.queue(notify.LaneUrgent), p.queue(notify.LaneNormal), p.queue(notify.LaneBulk)
	for _, q := range p.queues {
		leave(p, q, fill(p, q))
	}
	require.Equal(t, 64-12-38, fill(p, bulk))
	leave(p, bulk, 64)
	require.Equal(t, 64-12-12, fill(p, normal))
	leave(p, normal, 64)
	require.Equal(t, 64-38-12, fill(p, urgent), "urgent borrows like the others")
}

func TestACallIsUseForAsLongAsItLasts(t *testing.T) {
	p := newPlaces(64, nil)
	normal, bulk := p.queue(notify.LaneNormal), p.queue(notify.LaneBulk)
	p.enter(normal)
	p.upTo(100 * time.Second)
	p.leave(normal)
	p.upTo(129 * time.Second)
	require.Equal(t, 64-1-2, fill(p, bulk))
	p.upTo(500 * time.Second)
	require.Equal(t, 2, fill(p, bulk))
}

func TestPlacesAreSharedWithoutLosingOrInventingAny(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		percent := map[notify.Lane]int{}
		for _, lane := range lanes {
			percent[lane] = rapid.IntRange(-10, 150).Draw(rt, string(lane))
		}
		size := rapid.IntRange(1, 300).Draw(rt, "size")
		p := newPlaces(size, percent)
		sum := 0
		for _, q := range p.queues {
			require.GreaterOrEqual(rt, q.share, 0)
			sum += q.share
		}
		require.LessOrEqual(rt, sum, size)
		for _, q := range p.queues { // all have lately used all that they could
			leave(p, q, fill(p, q))
		}
		for _, q := range p.queues {
			n := fill(p, q)
			require.GreaterOrEqual(rt, n, q.share, "a lane has its share whenever nobody is over his")
			leave(p, q, n)
		}
	})
}

func TestSlowStart(t *testing.T) {
	for size, limits := range map[int][]int{
		64: {4, 8, 16, 32, 64, 64},
		50: {3, 6, 12, 24, 48, 50, 50},
		8:  {1, 2, 4, 8, 8},
		1:  {1, 1},
	} {
		p := newPlaces(size, nil)
		began := 10 * time.Second
		p.upTo(began)
		p.recovered(began)
		for i, limit := range limits {
			p.upTo(began + time.Duration(i)*slowStep)
			require.Equal(t, limit, p.limit, "%d places, step %d", size, i)
			p.upTo(began + time.Duration(i+1)*slowStep - 1)
			require.Equal(t, limit, p.limit, "%d places, end of step %d", size, i)
			require.Equal(t, limit < size, p.slowed)
		}
	}
}

// queued gives places where each lane has n waiters.
func queued(size, n int) *places {
	p := newPlaces(size, nil)
	for _, q := range p.queues {
		for range n {
			p.wait(q)
		}
	}
	return p
}

func TestUrgentFirstThenTheLaneThatIsFurtherBelowItsShare(t *testing.T) {
	p := queued(64, 100)
	urgent, normal, bulk := p.queues[0], p.queues[1], p.queues[2]
	for range 64 {
		require.Equal(t, urgent, p.next(false), "nobody else has used anything")
		p.admit(urgent)
	}
	require.Nil(t, p.next(false))
	leave(p, urgent, 64)
	for urgent.waiters.Len() > 0 {
		p.forget(urgent, urgent.waiters.Front().Value.(*waiter))
	}

	for range 6 { // half of bulk's share
		p.enter(bulk)
	}
	for normal.used < 19 {
		require.Equal(t, normal, p.next(false), "further below")
		p.admit(normal)
	}
	leave(p, bulk, 1)
	require.Equal(t, bulk, p.next(false), "further below")
	p.enter(bulk)
	leave(p, bulk, 6)
	for range 25 {
		p.enter(bulk)
	}
	for normal.used < 27 {
		require.Equal(t, normal, p.next(false), "bulk is above its share")
		p.admit(normal)
	}
	require.Nil(t, p.next(false), "the others stay free for urgent")
}

func TestTurnsGoByWeight(t *testing.T) {
	for _, weights := range [][2]int{{60, 20}, {20, 60}, {50, 50}, {100, 0}, {0, 0}} {
		p := newPlaces(1, map[notify.Lane]int{notify.LaneNormal: weights[0], notify.LaneBulk: weights[1]})
		n, b := max(1, weights[0]), max(1, weights[1])
		had := map[*queue]int{}
		for range 10 * (n + b) {
			had[p.byTurn(p.queues[1], p.queues[2])]++
		}
		require.Equal(t, 10*n, had[p.queues[1]], weights)
		require.Equal(t, 10*b, had[p.queues[2]], weights)
	}
	p, order := newPlaces(1, nil), ""
	for range 8 {
		if p.byTurn(p.queues[1], p.queues[2]) == p.queues[1] {
			order += "n"
		} else {
			order += "b"
		}
	}
	require.Equal(t, "nnbnnnbn", order, "spread, not in blocks")
}
