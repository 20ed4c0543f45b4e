package limiter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

var lanes = []notify.Lane{notify.LaneUrgent, notify.LaneNormal, notify.LaneBulk}

// fill acquires all slots that are available to q and returns their number.
func fill(s *slots, q *laneQueue) int {
	n := 0
	for ; s.available(q) && n < 10_000; n++ {
		s.acquire(q)
	}
	return n
}

func release(s *slots, q *laneQueue, n int) {
	for range n {
		s.release(q)
	}
}

func TestSlots_LaneAloneGetsAllButUrgentFloor(t *testing.T) {
	for size, reserved := range map[int]int{1: 0, 2: 0, 3: 0, 4: 1, 16: 1, 64: 1, 127: 1, 128: 2, 640: 10} {
		for _, lane := range []notify.Lane{notify.LaneNormal, notify.LaneBulk} {
			s := newSlots(size, nil)
			require.Equal(t, size-reserved, fill(s, s.queue(lane)), "%d slots, %s", size, lane)
			require.Equal(t, reserved, fill(s, s.queue(notify.LaneUrgent)), "%d slots, urgent", size)
		}
		s := newSlots(size, nil)
		require.Equal(t, size, fill(s, s.queue(notify.LaneUrgent)))
	}
}

func TestSlots_RecentUseStaysReserved(t *testing.T) {
	s := newSlots(64, nil)
	normal, bulk := s.queue(notify.LaneNormal), s.queue(notify.LaneBulk)
	s.advance(100 * time.Second)
	for range 5 {
		s.acquire(normal)
	}
	release(s, normal, 3)
	require.Equal(t, 64-1-6, fill(s, bulk), "all but one for urgent, and five and one more for normal")
	require.Equal(t, 1+3, fill(s, normal), "normal has them at once")
	release(s, normal, 6)

	s.advance(130 * time.Second)
	release(s, bulk, 64)
	require.Equal(t, 64-1-7, fill(s, bulk), "remembered for 30 seconds")
	s.advance(132 * time.Second)
	require.Equal(t, 7, fill(s, bulk), "and forgotten")
}

func TestSlots_ReserveIsBoundedByShare(t *testing.T) {
	s := newSlots(64, nil)
	urgent := s.queue(notify.LaneUrgent)
	normal := s.queue(notify.LaneNormal)
	bulk := s.queue(notify.LaneBulk)
	for _, q := range s.queues {
		release(s, q, fill(s, q))
	}
	require.Equal(t, 64-12-38, fill(s, bulk))
	release(s, bulk, 64)
	require.Equal(t, 64-12-12, fill(s, normal))
	release(s, normal, 64)
	require.Equal(t, 64-38-12, fill(s, urgent), "urgent borrows like the others")
}

func TestSlots_CallCountsAsUseWhileItLasts(t *testing.T) {
	s := newSlots(64, nil)
	normal, bulk := s.queue(notify.LaneNormal), s.queue(notify.LaneBulk)
	s.acquire(normal)
	s.advance(100 * time.Second)
	s.release(normal)
	s.advance(129 * time.Second)
	require.Equal(t, 64-1-2, fill(s, bulk))
	s.advance(500 * time.Second)
	require.Equal(t, 2, fill(s, bulk))
}

func TestSlots_SharesAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		percent := map[notify.Lane]int{}
		for _, lane := range lanes {
			percent[lane] = rapid.IntRange(-10, 150).Draw(rt, string(lane))
		}
		size := rapid.IntRange(1, 300).Draw(rt, "size")
		s := newSlots(size, percent)
		sum := 0
		for _, q := range s.queues {
			require.GreaterOrEqual(rt, q.share, 0)
			sum += q.share
		}
		require.LessOrEqual(rt, sum, size)
		for _, q := range s.queues { // every lane has recently used all available slots
			release(s, q, fill(s, q))
		}
		for _, q := range s.queues {
			n := fill(s, q)
			require.GreaterOrEqual(rt, n, q.share, "a lane gets its share while no lane is above its own")
			release(s, q, n)
		}
	})
}

func TestSlots_SlowStart(t *testing.T) {
	for size, limits := range map[int][]int{
		64: {4, 8, 16, 32, 64, 64},
		50: {3, 6, 12, 24, 48, 50, 50},
		8:  {1, 2, 4, 8, 8},
		1:  {1, 1},
	} {
		s := newSlots(size, nil)
		began := 10 * time.Second
		s.advance(began)
		s.recovered(began)
		for i, limit := range limits {
			s.advance(began + time.Duration(i)*slowStartStep)
			require.Equal(t, limit, s.limit, "%d slots, step %d", size, i)
			s.advance(began + time.Duration(i+1)*slowStartStep - 1)
			require.Equal(t, limit, s.limit, "%d slots, end of step %d", size, i)
			require.Equal(t, limit < size, s.slowStart)
		}
	}
}

// queued returns slots for which each lane has n waiters.
func queued(size, n int) *slots {
	s := newSlots(size, nil)
	for _, q := range s.queues {
		for range n {
			s.enqueue(q)
		}
	}
	return s
}

func TestSlots_UrgentFirstThenLaneFurtherBelowShare(t *testing.T) {
	s := queued(64, 100)
	urgent, normal, bulk := s.lanes()
	for range 64 {
		require.Equal(t, urgent, s.next(false), "nobody else has used anything")
		s.admitFirst(urgent)
	}
	require.Nil(t, s.next(false))
	release(s, urgent, 64)
	for urgent.waiters.Len() > 0 {
		s.dequeue(urgent, urgent.waiters.Front().Value.(*waiter))
	}

	for range 6 { // half of bulk's share
		s.acquire(bulk)
	}
	for normal.used < 19 {
		require.Equal(t, normal, s.next(false), "further below")
		s.admitFirst(normal)
	}
	release(s, bulk, 1)
	require.Equal(t, bulk, s.next(false), "further below")
	s.acquire(bulk)
	release(s, bulk, 6)
	for range 25 {
		s.acquire(bulk)
	}
	for normal.used < 27 {
		require.Equal(t, normal, s.next(false), "bulk is above its share")
		s.admitFirst(normal)
	}
	require.Nil(t, s.next(false), "the others are reserved for urgent")
}

func TestSlots_RoundRobinByWeight(t *testing.T) {
	for _, weights := range [][2]int{{60, 20}, {20, 60}, {50, 50}, {100, 0}, {0, 0}} {
		s := newSlots(1, map[notify.Lane]int{notify.LaneNormal: weights[0], notify.LaneBulk: weights[1]})
		n, b := max(1, weights[0]), max(1, weights[1])
		had := map[*laneQueue]int{}
		for range 10 * (n + b) {
			had[s.byRoundRobin(s.queues[1], s.queues[2])]++
		}
		require.Equal(t, 10*n, had[s.queues[1]], weights)
		require.Equal(t, 10*b, had[s.queues[2]], weights)
	}
	s, order := newSlots(1, nil), ""
	for range 8 {
		if s.byRoundRobin(s.queues[1], s.queues[2]) == s.queues[1] {
			order += "n"
		} else {
			order += "b"
		}
	}
	require.Equal(t, "nnbnnnbn", order, "spread, not in blocks")
}
