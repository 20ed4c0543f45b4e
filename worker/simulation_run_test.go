package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// simEvent is one event in a simulation.
type simEvent struct {
	what string
	n    int
}

// drawEvents draws the events. Draw before a synctest bubble begins: rapid stops a test by a panic in the goroutine that draws.
func drawEvents(rt *rapid.T) []simEvent {
	whats := []string{
		"write", "write", "start", "start", "start", "acknowledge", "acknowledge", "acknowledge", "move", "move", "move",
		"move twice", "pass", "pass", "kill", "rebalance", "doubt", "redrive", "redrive", "late", "cancel",
	}
	many := rapid.IntRange(1, 250).Draw(rt, "many") // by default rapid draws only a few
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) simEvent {
		return simEvent{rapid.SampledFrom(whats).Draw(rt, "what"), rapid.IntRange(0, 1<<10).Draw(rt, "n")}
	}), many, many).Draw(rt, "events")
}

func (x *simulation) do(h simEvent) {
	switch h.what {
	case "write":
		x.write(h.n % 8)
	case "write once":
		x.write(x.written)
		x.written++
	case "start":
		firstThat(x.lane, h.n, x.handle)
	case "acknowledge":
		firstThat(x.lane, h.n, x.acknowledge)
	case "move", "move twice":
		firstThat(x.tiers, h.n, func(e *entry) bool { return x.runMover(e, h.what == "move") })
	case "pass":
		time.Sleep(time.Duration(h.n) * time.Second / 4)
	case "kill":
		x.kill()
	case "rebalance":
		x.takeOver()
	case "doubt":
		x.ownershipUnknown = h.n%2 == 0
	case "redrive":
		if len(x.deadLetters) > 0 && number(x.deadLetters[h.n%len(x.deadLetters)], notify.HeaderRun) < 2 {
			x.redrive(x.deadLetters[h.n%len(x.deadLetters)])
		}
	case "late":
		if len(x.inTransit) > 0 {
			of := &x.inTransit[h.n%len(x.inTransit)]
			if len(*of) > 0 {
				x.append((*of)[0])
				*of = (*of)[1:]
			}
		}
	case "cancel":
		if h.n%8 == 7 {
			x.control.cancelled[fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", h.n/8%8)] = true
		}
	}
}

// firstThat calls do for the entries from the n-th on, until do returns true.
func firstThat(all []*entry, n int, do func(*entry) bool) {
	for i := range all {
		if do(all[(n+i)%len(all)]) {
			return
		}
	}
}

// runToRest handles all records until none is left. It returns false if that does not happen.
func (x *simulation) runToRest() bool {
	x.ownershipUnknown = false
	for range 20_000 {
		busy, next := false, time.Time{}
		for _, e := range x.lane {
			busy = x.handle(e) || x.acknowledge(e) || busy
		}
		for _, e := range x.tiers {
			busy = x.runMover(e, true) || busy
		}
		if busy {
			continue
		}
		left := false
		for _, all := range [][]*entry{x.lane, x.tiers} {
			for _, e := range all {
				left = left || !e.done
				if !e.done && !e.waitsUntil.IsZero() && (next.IsZero() || e.waitsUntil.Before(next)) {
					next = e.waitsUntil
				}
			}
		}
		if !left || next.IsZero() {
			return !left
		}
		time.Sleep(time.Until(next))
	}
	return false
}

// check returns the first fault of a simulation that has come to rest.
func (x *simulation) check() string {
	last := map[string]int{}
	for _, e := range x.lane {
		id := x.w.Identify(e.Record)
		last[id] = max(last[id], number(e.Record, notify.HeaderRun))
	}
	for id, run := range last {
		if !x.final(id, run) {
			x.fail("run %d of %s has no end", run, id)
		}
	}
	type named struct {
		id        string
		run, step int
	}
	calls := map[named]int{}
	for _, c := range x.calls {
		if step := (named{c.id, c.run, c.step}); !c.again && !c.lost {
			calls[step]++
			if calls[step] > 1 {
				x.fail("%+v was called %d times, and nothing explains it", step, calls[step])
			}
		}
	}
	return x.fault
}

// final reports whether a run has ended, with a dead letter if its state requires one.
func (x *simulation) final(id string, run int) bool {
	for _, o := range x.ledger {
		if o.NotificationID != id || o.Run != run || !o.Final {
			continue
		}
		if o.State != notify.StateDead && (o.State != notify.StateRejected || o.Reason == gone.Reason) {
			return true
		}
		for _, l := range x.deadLetters {
			if of, _ := l.Header(notify.HeaderID); of == id && number(l, notify.HeaderRun) == run {
				return true
			}
		}
	}
	return false
}

var allAnswers = []error{nil, transient, transient, ambiguous, permanent, gone, throttled, unavailable}

// TestSimulation_EachJobEndsOnce: workers and movers are killed between any two acknowledgements, their records in transit arrive late or
// never, producers write twice, people redrive twice, gateways fail in every way. Then each notification ends once in its last
// run, and a notification that has ended is not sent again. No step is sent twice, unless its worker was killed before the
// outcome was acknowledged. Nothing is sent early, and no cancelled notification is sent.
func TestSimulation_EachJobEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := drawEvents(rt)
		n := rapid.IntRange(0, 120).Draw(rt, "answers")
		answers := rapid.SliceOfN(rapid.SampledFrom(allAnswers), n, n).Draw(rt, "each answer")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			x := newSimulation(answers)
			for _, h := range script {
				x.do(h)
			}
			if !x.runToRest() {
				x.fail("it does not come to rest")
			}
			fault = x.check()
		})
		require.Empty(rt, fault)
	})
}

// TestSimulation_FollowOnsNeedNoDedup: workers without a memory of finished jobs are killed, freeze, and wake up when others
// have their jobs. Without copies from anybody else, no step is sent twice except the one that was in flight.
func TestSimulation_FollowOnsNeedNoDedup(t *testing.T) {
	whats := []string{
		"write once", "start", "start", "start", "acknowledge", "acknowledge", "acknowledge", "move", "move", "pass", "kill", "late", "late",
	}
	rapid.Check(t, func(rt *rapid.T) {
		many := rapid.IntRange(1, 250).Draw(rt, "many")
		script := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) simEvent {
			return simEvent{rapid.SampledFrom(whats).Draw(rt, "what"), rapid.IntRange(0, 1<<10).Draw(rt, "n")}
		}), many, many).Draw(rt, "script")
		n := rapid.IntRange(0, 120).Draw(rt, "answers")
		answers := rapid.SliceOfN(rapid.SampledFrom(allAnswers), n, n).Draw(rt, "each answer")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			x := newSimulation(answers)
			x.dedupCapacity = 1
			x.boot()
			for _, h := range script {
				x.do(h)
			}
			if !x.runToRest() {
				x.fail("it does not come to rest")
			}
			fault = x.check()
		})
		require.Empty(rt, fault)
	})
}
