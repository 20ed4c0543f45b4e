package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// file is all that is known of one letter.
type file struct {
	*letter
	v        *verdict
	requests []request
	endings  []ending
	faults   []fault
	overdue  int // attempts whose time ran out before an answer was read
}

func (c *file) wrong(what string, count *int) {
	*count++
	c.v.wrong[what] = append(c.v.wrong[what], c.String())
}

// excused is how many faults struck the letter while it was in flight.
func (c *file) excused() (n int) {
	for _, f := range c.faults {
		if slices.ContainsFunc(c.requests, f.struck) {
			n++
		}
	}
	return n
}

func (c *file) count() {
	if !c.acked.IsZero() {
		c.v.acked++
	}
	for _, end := range c.endings {
		c.v.states[end.state]++
	}
}

// fate: every promise ends in one final state, or held; what is said to be sent was taken.
func (c *file) fate() {
	taken := slices.ContainsFunc(c.requests, func(q request) bool { return q.did.taken() })
	var none int
	if taken {
		c.v.delivered++
	}
	final := slices.DeleteFunc(slices.Clone(c.endings), func(e ending) bool { return !e.state.Final() })
	switch {
	case len(c.endings) > 0:
		c.v.ended++
	case c.acked.IsZero():
	case taken:
		c.wrong("taken, and no event says how it ended", &none)
	default:
		c.wrong("lost", &c.v.lost)
	}
	if len(final) > 1 && c.excused() == 0 {
		c.wrong("more than one end", &none)
	}
	if !taken && slices.ContainsFunc(final, func(e ending) bool { return e.state == notify.StateSent }) {
		c.wrong("said to be sent, and nobody took it", &none)
	}
}

// repetitions: a letter is taken once, and once more for each answer that the provider kept to itself or that its worker did not read in
// time, and each fault that struck it; with hold, once.
func (c *file) repetitions() {
	var none, taken, unclear int
	late := c.overdue
	for _, q := range c.requests {
		if q.did == hangs || q.did == swallows {
			late--
		}
		if q.did.taken() {
			taken++
			if !q.did.clear() {
				unclear++
			}
			if taken > 1 && c.known(q.begun) {
				c.v.again++
				c.v.notes = append(c.v.notes, c.String())
			}
		}
	}
	if c.hold && taken > 1 {
		c.wrong("held, and taken more than once", &none)
	}
	excess := max(0, taken-1-unclear)
	c.v.duplicated += excess
	if excess > c.excused() && late > 0 {
		c.v.unread += min(late, excess-c.excused())
		excess -= late
	}
	if excess > c.excused() {
		c.wrong("repeated, and no fault explains it", &none)
	}
}

// known says that a final event was there before.
func (c *file) known(before time.Time) bool {
	return slices.ContainsFunc(c.endings, func(e ending) bool { return e.state.Final() && e.seen.Before(before) })
}

// times: nothing early, nothing after it expired, nothing after it was cancelled.
func (c *file) times() {
	for i, q := range c.requests {
		if q.begun.Before(c.sendAt) {
			c.wrong("before send_at", &c.v.early)
		}
		if i > 0 && c.requests[i-1].did == throttles && q.begun.Before(c.requests[i-1].ended.Add(c.requests[i-1].wait)) && c.excused() == 0 {
			c.wrong("before the provider wished", &c.v.early)
		}
		if c.asleep(q) {
			continue
		}
		if !c.expiresAt.IsZero() && c.tooLate(q.begun, c.expiresAt, beginSlack) {
			c.wrong("after it had expired", &c.v.expiredLate)
		}
		if !c.effective.IsZero() && c.tooLate(q.begun, c.effective, cancelSlack+beginSlack) {
			c.wrong("after it was cancelled", &c.v.cancelledLate)
		}
	}
	if !c.sendAt.IsZero() && len(c.requests) > 0 {
		c.v.late = append(c.v.late, c.requests[0].begun.Sub(c.sendAt))
	}
}

// asleep says that its worker was frozen, or cut off from what it had to know, while it was about to begin q.
func (c *file) asleep(q request) bool {
	return slices.ContainsFunc(c.faults, func(f fault) bool { return f.struck(q) })
}

func (c *file) tooLate(begun, limit time.Time, slack time.Duration) bool {
	c.v.slowest = max(c.v.slowest, begun.Sub(limit))
	return begun.After(limit.Add(slack))
}

func (c *file) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s acked %s", c.number, c.id, c.key, c.lane, clock4(c.acked))
	for name, at := range map[string]time.Time{"send_at": c.sendAt, "expires_at": c.expiresAt, "cancelled from": c.effective} {
		if !at.IsZero() {
			fmt.Fprintf(&b, " %s %s", name, clock4(at))
		}
	}
	fmt.Fprintf(&b, " hold %t twice %t;", c.hold, c.twice)
	for _, q := range c.requests {
		fmt.Fprintf(&b, " %s %s–%s %s;", q.worker, clock4(q.begun), clock4(q.ended), q.did)
	}
	for _, e := range c.endings {
		fmt.Fprintf(&b, " %s at %s (%d more);", e.state, clock4(e.at), e.again)
	}
	return b.String()
}

func clock4(at time.Time) string { return at.Local().Format("04:05.000") }
