package cmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// finish lets the load come to its length, waits until every promise has an end, ends all processes and judges.
func (c *chaos) finish() *verdict {
	c.t.Helper()
	c.settle()
	c.another()
	c.api.term()
	return c.judged(fmt.Sprintf("take-over within %s of %s; first delivery %s after the broker was back", durations(c.takeOvers), sessionTimeout, durations(c.services)))
}

// settle lets the load come to its length, waits until every promise has an end, and ends the workers.
func (c *chaos) settle() {
	c.t.Helper()
	c.awaitLetters()
	c.stop()
	c.awaitEnds(3 * time.Minute)
	for _, w := range c.workers {
		w.term()
	}
}

// judged reads the events to their end and judges.
func (c *chaos) judged(times string) *verdict {
	c.t.Helper()
	c.finished()
	v := judge(c.load.letters, c.provider.requests(), c.events, c.faults)
	v.report(c.t, fmt.Sprintf("%s: seed %d", c.t.Name(), c.seed), times)
	c.t.Logf("refused: %v; states: %v", c.load.refused, v.states)
	return v
}

// another worker shows that the others have left nothing behind.
func (c *chaos) another() {
	last := c.newWorker(0)
	c.load.plain = true
	before := c.load.count()
	stop := c.load.background(c.t)
	require.Eventually(c.t, func() bool { return c.load.count() >= before+500 }, time.Minute, 10*time.Millisecond)
	stop()
	c.awaitEnds(time.Minute)
	last.term()
}

func (c *chaos) awaitLetters() {
	c.t.Helper()
	limit := time.Minute + time.Duration(c.letters/100)*time.Second
	require.Eventually(c.t, func() bool { return c.load.count() >= c.letters }, limit, 20*time.Millisecond, "the load does not come to its length")
}

// awaitEnds waits until each letter that was acknowledged has an end. What has none is for the judge.
func (c *chaos) awaitEnds(limit time.Duration) {
	eventually(limit, func() bool { return len(c.load.open()) == 0 })
}

// open are the letters with a promise and without an end.
func (p *post) open() (numbers []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, l := range p.letters {
		if !l.acked.IsZero() && len(p.events.of(number)) == 0 {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// report prints the line of a run and fails the test for what must not be.
func (v *verdict) report(t testing.TB, run, times string) {
	t.Helper()
	t.Logf("%s: accepted %d, delivered %d, lost %d, duplicated %d (bound %d, %d of them after their end was known, %d since an answer came too late), early %d, after expiry %d, after cancel %d (the latest %s), late p99 %s, out of order %d; %s",
		run, v.acked, v.delivered, v.lost, v.duplicated, v.bound, v.again, v.unread, v.early, v.expiredLate, v.cancelledLate,
		v.slowest.Round(time.Millisecond), percentile(v.late, 99), v.disorder, times)
	for _, note := range v.notes[:min(len(v.notes), 10)] {
		t.Logf("taken again after its end was known: %s", note)
	}
	var what []string
	for name, cases := range v.wrong {
		slices.Sort(cases)
		what = append(what, fmt.Sprintf("%s: %d\n  %s", name, len(cases), strings.Join(cases[:min(len(cases), 10)], "\n  ")))
	}
	slices.Sort(what)
	require.Empty(t, what, "%s\n%s", run, strings.Join(what, "\n"))
	require.LessOrEqual(t, v.duplicated, v.bound)
	require.LessOrEqual(t, v.unread, 1+v.acked/10_000, "only a machine that stands still reads an answer too late")
	require.Positive(t, v.acked)
}

func percentile(ds []time.Duration, p int) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, len(ds)*p/100)].Round(time.Millisecond)
}

func durations(ds []time.Duration) string {
	var all []string
	for _, d := range ds {
		all = append(all, d.Round(10*time.Millisecond).String())
	}
	return "[" + strings.Join(all, " ") + "]"
}
