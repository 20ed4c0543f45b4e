package limiter

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	slowStartStep     = 500 * time.Millisecond // slow start: the slots double once per step
	slowStartDivisor  = 16                     // slow start: begins with 1/16 of the slots
	regrowEvery       = 30 * time.Second       // after a refusal for too many calls: one slot comes back per interval
	urgentDivisor     = 64                     // 1/64 of the slots, at least one, stays reserved for the next urgent job
	urgentFloorAtSize = 4                      // with fewer slots none is reserved for urgent
)

// slots are the concurrency slots of a gateway, with the callers that wait for one. Each call in flight holds one slot.
//
// A lane may use every free slot that is not reserved for another lane. Reserved for a lane are as many slots as it has used
// at the same time in the last 30 seconds, and one more, up to its share. So bulk uses all idle slots, and an urgent job still
// begins at once. Without the reserve a campaign would fill all slots, and each OTP would wait for the end of a bulk call.
//
// The caller holds the limiter's mutex.
type slots struct {
	size        int // as configured; 0 = unlimited
	limit       int // at present; below size in a slow start and after a refusal
	slowStart   bool
	slowStartAt time.Duration
	served      int           // concurrent calls that the provider served when it last refused one; 0 = no refusal
	servedAt    time.Duration // time of this refusal
	second      int           // whole second up to which the peaks of the queues are known

	queues  [3]*laneQueue // urgent, normal, bulk
	used    int
	waiting int
	balance int // state of byRoundRobin
}

func newSlots(size int, shares map[notify.Lane]int) *slots {
	if shares == nil {
		shares = map[notify.Lane]int{notify.LaneUrgent: 20, notify.LaneNormal: 60, notify.LaneBulk: 20}
	}
	s := &slots{size: max(0, size)}
	total := 100
	percent := [3]int{shares[notify.LaneUrgent], shares[notify.LaneNormal], shares[notify.LaneBulk]}
	if sum := max(0, percent[0]) + max(0, percent[1]) + max(0, percent[2]); sum > total {
		total = sum // the shares exceed 100 %: scale them down
	}
	for i := range s.queues {
		s.queues[i] = &laneQueue{percent: max(0, percent[i]) * 100 / total}
	}
	s.setLimit(s.size)
	return s
}

func (s *slots) lanes() (urgent, normal, bulk *laneQueue) {
	return s.queues[0], s.queues[1], s.queues[2]
}

func (s *slots) queue(lane notify.Lane) *laneQueue {
	switch lane {
	case notify.LaneUrgent:
		return s.queues[0]
	case notify.LaneBulk:
		return s.queues[2]
	default:
		return s.queues[1]
	}
}

// setLimit sets the limit and the share of each lane. Shares are rounded down; the remainder belongs to no lane.
func (s *slots) setLimit(limit int) {
	s.limit = limit
	for _, q := range s.queues {
		q.share = limit * q.percent / 100
	}
	urgent, normal, bulk := s.lanes()
	urgent.floor = 0
	if limit >= urgentFloorAtSize {
		urgent.floor = max(1, limit/urgentDivisor)
	}
	urgent.share = max(urgent.share, urgent.floor)
	larger := normal
	if bulk.share > normal.share {
		larger = bulk
	}
	larger.share -= max(0, urgent.share+normal.share+bulk.share-limit) // the floor may have made the sum too large
}

// recovered begins a slow start.
func (s *slots) recovered(now time.Duration) {
	s.slowStartAt = now
	s.slowStart = s.size > 0
	s.advance(now)
}

// crowded reduces the limit after the provider has refused one call: it serves the other calls in flight, and no more.
func (s *slots) crowded(now time.Duration) {
	s.served = max(1, min(s.limit, s.used-1))
	s.servedAt = now
	s.advance(now)
}

// advance brings the limit and the peaks up to the time now.
func (s *slots) advance(now time.Duration) {
	if s.size == 0 {
		return
	}
	if second := int(now / time.Second); second > s.second {
		for _, q := range s.queues {
			q.peak.advance(s.second, second, q.used)
		}
		s.second = second
	}
	if !s.slowStart && s.served == 0 {
		return
	}
	limit := s.limitAfterRefusal(now)
	if s.slowStart {
		limit = min(limit, s.limitInSlowStart(now))
	}
	s.setLimit(limit)
}

// limitAfterRefusal returns the limit without regard to a slow start. It forgets the refusal once all slots are back.
func (s *slots) limitAfterRefusal(now time.Duration) int {
	if s.served == 0 {
		return s.size
	}
	if n := s.served + int((now-s.servedAt)/regrowEvery); n < s.size {
		return n
	}
	s.served = 0
	return s.size
}

// limitInSlowStart returns the limit of a slow start at this moment. It ends the slow start once the limit reaches the size.
func (s *slots) limitInSlowStart(now time.Duration) int {
	limit := max(1, s.size/slowStartDivisor)
	for range (now - s.slowStartAt) / slowStartStep {
		limit *= 2
		if limit >= s.size {
			break
		}
	}
	s.slowStart = limit < s.size
	return limit
}

// nextChange returns when a waiting caller may get a slot without a release: at the next step of a slow start, when a slot comes
// back after a refusal, or when a peak leaves its window. 0 = never.
func (s *slots) nextChange(now time.Duration) time.Duration {
	switch {
	case s.slowStart:
		return now + slowStartStep - (now-s.slowStartAt)%slowStartStep
	case s.used < s.limit:
		return time.Duration(s.second+1) * time.Second
	case s.served > 0:
		return now + regrowEvery - (now-s.servedAt)%regrowEvery
	default:
		return 0
	}
}

// reserved returns the number of free slots that only q may use.
func (s *slots) reserved(q *laneQueue) int {
	n := 0
	if q.peak.top > 0 {
		n = min(q.share, q.peak.top+1)
	}
	return max(0, max(q.floor, n)-q.used)
}

// available reports whether a slot is free for q.
func (s *slots) available(q *laneQueue) bool {
	if s.size == 0 {
		return true
	}
	free := s.limit - s.used
	for _, other := range s.queues {
		if other != q && free > 0 {
			free -= s.reserved(other)
		}
	}
	return free > 0
}

// blockedByLongCalls reports whether no slot is free for q, and only the end of a long call would free one. A slot that the
// urgent lane releases does not count for the other lanes: it stays reserved for urgent.
func (s *slots) blockedByLongCalls(q *laneQueue) bool {
	if s.available(q) {
		return false
	}
	for i, other := range s.queues {
		if other.used > other.long && (other == q || i > 0 || q == s.queues[0]) {
			return false
		}
	}
	return true
}

func (s *slots) acquire(q *laneQueue) {
	s.used++
	q.used++
	q.peak.note(s.second, q.used)
}

func (s *slots) release(q *laneQueue) {
	if q.used > 0 { // 0 when a call is released twice, where the concurrency is unlimited
		s.used--
		q.used--
	}
}
