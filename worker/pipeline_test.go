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

// happening is one thing that happens to a world.
type happening struct {
	what string
	n    int
}

// happenings are drawn before a bubble begins: rapid stops a test by a panic in the goroutine that draws.
func happenings(rt *rapid.T) []happening {
	whats := []string{
		"write", "write", "start", "start", "start", "acknowledge", "acknowledge", "acknowledge", "move", "move", "move",
		"move twice", "pass", "pass", "kill", "rebalance", "doubt", "redrive", "redrive", "late", "cancel",
	}
	many := rapid.IntRange(1, 250).Draw(rt, "many") // left to itself rapid draws a handful
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) happening {
		return happening{rapid.SampledFrom(whats).Draw(rt, "what"), rapid.IntRange(0, 1<<10).Draw(rt, "n")}
	}), many, many).Draw(rt, "happenings")
}

func (x *world) do(h happening) {
	switch h.what {
	case "write":
		x.write(h.n % 8)
	case "write once":
		x.write(x.written)
		x.written++
	case "start":
		each(x.lane, h.n, x.start)
	case "acknowledge":
		each(x.lane, h.n, x.acknowledge)
	case "move", "move twice":
		each(x.tiers, h.n, func(e *entry) bool { return x.move(e, h.what == "move") })
	case "pass":
		time.Sleep(time.Duration(h.n) * time.Second / 4)
	case "kill":
		x.kill()
	case "rebalance":
		x.takeOver()
	case "doubt":
		x.doubt = h.n%2 == 0
	case "redrive":
		if len(x.letters) > 0 && number(x.letters[h.n%len(x.letters)], notify.HeaderRun) < 2 {
			x.redrive(x.letters[h.n%len(x.letters)])
		}
	case "late":
		if len(x.leftover) > 0 {
			of := &x.leftover[h.n%len(x.leftover)]
			if len(*of) > 0 {
				x.land((*of)[0])
				*of = (*of)[1:]
			}
		}
	case "cancel":
		if h.n%8 == 7 {
			x.told.cancelled[fmt.Sprintf("018f4e9a-0000-7000-8000-%012d", h.n/8%8)] = true
		}
	}
}

// each tries entries from the n-th on until something is done with one.
func each(all []*entry, n int, do func(*entry) bool) {
	for i := range all {
		if do(all[(n+i)%len(all)]) {
			return
		}
	}
}

// settleDown lets everything come to its end; false when it does not.
func (x *world) settleDown() bool {
	x.doubt = false
	for range 20_000 {
		busy, next := false, time.Time{}
		for _, e := range x.lane {
			busy = x.start(e) || x.acknowledge(e) || busy
		}
		for _, e := range x.tiers {
			busy = x.move(e, true) || busy
		}
		if busy {
			continue
		}
		left := false
		for _, all := range [][]*entry{x.lane, x.tiers} {
			for _, e := range all {
				left = left || !e.done
				if !e.done && !e.waits.IsZero() && (next.IsZero() || e.waits.Before(next)) {
					next = e.waits
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

// verdict says what is wrong with a world that has come to rest.
func (x *world) verdict() string {
	last := map[string]int{}
	for _, e := range x.lane {
		id := x.w.Identify(e.Record)
		last[id] = max(last[id], number(e.Record, notify.HeaderRun))
	}
	for id, run := range last {
		if !x.final(id, run) {
			x.wrong("run %d of %s has no end", run, id)
		}
	}
	type named struct {
		id        string
		run, step int
	}
	calls := map[named]int{}
	for _, c := range x.calls {
		if step := (named{c.id, c.run, c.step}); !c.again && !c.lost {
			if calls[step]++; calls[step] > 1 {
				x.wrong("%+v was called %d times, and nothing explains it", step, calls[step])
			}
		}
	}
	return x.fault
}

// final reports whether a run has ended, with its dead letter where there has to be one.
func (x *world) final(id string, run int) bool {
	for _, o := range x.ledger {
		if o.NotificationID != id || o.Run != run || !o.Final {
			continue
		}
		if o.State != notify.StateDead && (o.State != notify.StateRejected || o.Reason == gone.Reason) {
			return true
		}
		for _, l := range x.letters {
			if of, _ := l.Header(notify.HeaderID); of == id && number(l, notify.HeaderRun) == run {
				return true
			}
		}
	}
	return false
}

var allAnswers = []error{nil, transient, transient, ambiguous, permanent, gone, throttled, unavailable}

// TestIdentityAndDedupe: workers and movers are killed between any two acknowledgements, what they had on its way lands
// late or never, producers write twice, people redrive twice, gateways fail in every way. Then each notification ends once
// in its last run; what has ended is not sent again; and no step is sent twice unless its worker was killed while its end
// was on its way. Nothing is early, and nothing is sent that was cancelled.
func TestIdentityAndDedupe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := happenings(rt)
		answers := rapid.IntRange(0, 120).Draw(rt, "answers")
		says := rapid.SliceOfN(rapid.SampledFrom(allAnswers), answers, answers).Draw(rt, "says")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			x := newWorld(says)
			for _, h := range script {
				x.do(h)
			}
			if !x.settleDown() {
				x.wrong("it does not come to rest")
			}
			fault = x.verdict()
		})
		require.Empty(rt, fault)
	})
}

// TestFollowOnsNeedNoMemory: workers that remember nothing are killed, freeze, and wake up when others have their jobs. Without
// a second copy from anybody else, no step is sent twice but for the one that was in flight.
func TestFollowOnsNeedNoMemory(t *testing.T) {
	whats := []string{
		"write once", "start", "start", "start", "acknowledge", "acknowledge", "acknowledge", "move", "move", "pass", "kill", "late", "late",
	}
	rapid.Check(t, func(rt *rapid.T) {
		many := rapid.IntRange(1, 250).Draw(rt, "many")
		script := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) happening {
			return happening{rapid.SampledFrom(whats).Draw(rt, "what"), rapid.IntRange(0, 1<<10).Draw(rt, "n")}
		}), many, many).Draw(rt, "script")
		answers := rapid.IntRange(0, 120).Draw(rt, "answers")
		says := rapid.SliceOfN(rapid.SampledFrom(allAnswers), answers, answers).Draw(rt, "says")
		fault := ""
		synctest.Test(t, func(*testing.T) {
			x := newWorld(says)
			x.remember = 1
			x.boot()
			for _, h := range script {
				x.do(h)
			}
			if !x.settleDown() {
				x.wrong("it does not come to rest")
			}
			fault = x.verdict()
		})
		require.Empty(rt, fault)
	})
}
