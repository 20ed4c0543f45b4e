package worker

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

const (
	slowStep    = 500 * time.Millisecond // slow start: how often the places double
	slowPart    = 16                     // slow start: the part of the places it begins with
	widenEvery  = 30 * time.Second       // after a refusal for too many calls: how often one place comes back
	urgentPart  = 64                     // the part of the places that always stays free for the first urgent job
	urgentLeast = 4                      // with fewer places, none does
)

// places are the calls that may be at the gateway at once, and who waits for one.
//
// A lane may use any place that is free, but what another has lately used, and one more, stays free for it up to its
// share: thus bulk takes all that is idle and urgent comes at once all the same. Without that a campaign would fill every
// place and each OTP would wait for the end of a bulk call.
type places struct {
	size   int // as configured; 0 = unlimited
	limit  int // now: less than size in a slow start
	slow   time.Duration
	slowed bool // a slow start that began at slow is under way
	served int  // calls at once that the provider has served when it refused one; 0 = it has refused none
	since  time.Duration
	second int // the whole second that the queues' peaks have reached

	queues  [3]*queue // urgent, normal, bulk
	used    int
	waiting int
	turn    int // whose turn between normal and bulk, see byTurn
}

func newPlaces(size int, shares map[notify.Lane]int) *places {
	if shares == nil {
		shares = map[notify.Lane]int{notify.LaneUrgent: 20, notify.LaneNormal: 60, notify.LaneBulk: 20}
	}
	p := &places{size: max(0, size)}
	whole := 100
	percent := [3]int{shares[notify.LaneUrgent], shares[notify.LaneNormal], shares[notify.LaneBulk]}
	if sum := max(0, percent[0]) + max(0, percent[1]) + max(0, percent[2]); sum > whole {
		whole = sum // more than there is: in proportion
	}
	for i := range p.queues {
		p.queues[i] = &queue{percent: max(0, percent[i]) * 100 / whole}
	}
	p.setLimit(p.size)
	return p
}

func (p *places) queue(lane notify.Lane) *queue {
	switch lane {
	case notify.LaneUrgent:
		return p.queues[0]
	case notify.LaneBulk:
		return p.queues[2]
	default:
		return p.queues[1]
	}
}

// setLimit shares limit places, rounding down: what is left over belongs to nobody.
func (p *places) setLimit(limit int) {
	p.limit = limit
	for _, q := range p.queues {
		q.share = limit * q.percent / 100
	}
	urgent, normal, bulk := p.queues[0], p.queues[1], p.queues[2]
	if urgent.floor = 0; limit >= urgentLeast {
		urgent.floor = max(1, limit/urgentPart)
	}
	urgent.share = max(urgent.share, urgent.floor)
	larger := normal
	if bulk.share > normal.share {
		larger = bulk
	}
	larger.share -= max(0, urgent.share+normal.share+bulk.share-limit) // the floor may have been too much
}

// recovered begins a slow start.
func (p *places) recovered(now time.Duration) {
	p.slow, p.slowed = now, p.size > 0
	p.upTo(now)
}

// crowded takes the refusal of one call: the others are what the provider serves.
func (p *places) crowded(now time.Duration) {
	p.served, p.since = max(1, min(p.limit, p.used-1)), now
	p.upTo(now)
}

// allowed is how many places there are without a slow start.
func (p *places) allowed(now time.Duration) int {
	if p.served == 0 {
		return p.size
	}
	if n := p.served + int((now-p.since)/widenEvery); n < p.size {
		return n
	}
	p.served = 0
	return p.size
}

// upTo brings the limit and the peaks to the time.
func (p *places) upTo(now time.Duration) {
	if p.size == 0 {
		return
	}
	if second := int(now / time.Second); second > p.second {
		for _, q := range p.queues {
			q.peak.roll(p.second, second, q.used)
		}
		p.second = second
	}
	if !p.slowed && p.served == 0 {
		return
	}
	limit := p.allowed(now)
	if p.slowed {
		limit = min(limit, p.slowStart(now))
	}
	p.setLimit(limit)
}

// slowStart is how many places there are at this moment of a slow start, which ends with all of them.
func (p *places) slowStart(now time.Duration) int {
	limit := max(1, p.size/slowPart)
	for range (now - p.slow) / slowStep {
		if limit *= 2; limit >= p.size {
			break
		}
	}
	p.slowed = limit < p.size
	return limit
}

// change is when somebody who waits may get a place without a release: the slow start's next step, a place that comes back
// after a refusal, or a peak that is forgotten. 0 = never.
func (p *places) change(now time.Duration) time.Duration {
	switch {
	case p.slowed:
		return now + slowStep - (now-p.slow)%slowStep
	case p.used < p.limit:
		return time.Duration(p.second+1) * time.Second
	case p.served > 0:
		return now + widenEvery - (now-p.since)%widenEvery
	default:
		return 0
	}
}

// kept is how many places stay free for q.
func (p *places) kept(q *queue) int {
	n := 0
	if q.peak.top > 0 {
		n = min(q.share, q.peak.top+1)
	}
	return max(0, max(q.floor, n)-q.used)
}

// admits reports whether q may have a place.
func (p *places) admits(q *queue) bool {
	if p.size == 0 {
		return true
	}
	free := p.limit - p.used
	for _, other := range p.queues {
		if other != q && free > 0 {
			free -= p.kept(other)
		}
	}
	return free > 0
}

// stuck reports whether q may have no place, and only the end of a long call would give it one. A place that lane urgent gives
// back is kept for lane urgent.
func (p *places) stuck(q *queue) bool {
	if p.admits(q) {
		return false
	}
	for i, other := range p.queues {
		if other.used > other.long && (other == q || i > 0 || q == p.queues[0]) {
			return false
		}
	}
	return true
}

func (p *places) enter(q *queue) {
	p.used++
	q.used++
	q.peak.note(p.second, q.used)
}

func (p *places) leave(q *queue) {
	if q.used > 0 { // a call released twice, where places are not counted
		p.used--
		q.used--
	}
}
