package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// span is the time of one fault, until all works again.
type span struct {
	name        string
	from, until time.Time
	affected    map[string]bool // job partitions that the fault must harm
	lifted      time.Duration   // when the fault was taken back, after from
	heals       bool            // the affected partitions must go on before that
}

// figures are what a fault did to deliveries.
type figures struct {
	p99        time.Duration   // of the partitions that were not affected, accepted → provider
	others     int             // letters of those
	standstill []time.Duration // of each affected partition: the longest time in which nothing of it reached the provider
	untaken    []time.Duration // of each affected partition: the longest time in which the API took nothing for it
	refused    int             // letters that the API did not take
	elsewhere  int             // of those, letters of partitions that were not affected
	repeated   int             // letters that the provider took more than once
}

// measure takes the figures of a span from the letters and the provider's records.
func (c *cluster) measure(s span) figures {
	var f figures
	requests := c.provider.requests()
	var waits []time.Duration
	reached, taken := map[string][]time.Time{}, map[string][]time.Time{}
	for claim, letters := range c.lettersOf(s) {
		for _, l := range letters {
			if l.acked.IsZero() {
				f.refused++
				if !s.affected[claim] {
					f.elsewhere++
				}
				continue
			}
			taken[claim] = append(taken[claim], l.acked)
			if len(slices.DeleteFunc(slices.Clone(requests[l.number]), func(q request) bool { return !q.did.taken() })) > 1 {
				f.repeated++
			}
			if qs := requests[l.number]; len(qs) > 0 {
				reached[claim] = append(reached[claim], qs[0].begun)
				if !s.affected[claim] {
					waits = append(waits, max(0, qs[0].begun.Sub(l.acked)))
				}
			}
		}
	}
	f.others, f.p99 = len(waits), percentile(waits, 99)
	for claim := range s.affected {
		f.standstill = append(f.standstill, longestGap(s, reached[claim]))
		f.untaken = append(f.untaken, longestGap(s, taken[claim]))
	}
	slices.Sort(f.standstill)
	slices.Sort(f.untaken)
	return f
}

// longestGap is the longest time within the span without any of the moments.
func longestGap(s span, moments []time.Time) (longest time.Duration) {
	slices.SortFunc(moments, time.Time.Compare)
	last := s.from
	for _, at := range append(moments, s.until) {
		longest = max(longest, at.Sub(last))
		last = at
	}
	return longest
}

func (f figures) String() string {
	return fmt.Sprintf("%d letters of other partitions, p99 %s; affected partitions stood still for %s, median %s, the API took nothing for them for %s, median %s; %d repeated; the API refused %d, of them %d of other partitions",
		f.others, f.p99.Round(time.Millisecond), ends(f.standstill), percentile(f.standstill, 50).Round(10*time.Millisecond),
		ends(f.untaken), percentile(f.untaken, 50).Round(10*time.Millisecond), f.repeated, f.refused, f.elsewhere)
}

// ends are the shortest and the longest time.
func ends(ds []time.Duration) string {
	if len(ds) == 0 {
		return "no time"
	}
	return strings.Join([]string{ds[0].Round(10 * time.Millisecond).String(), ds[len(ds)-1].Round(10 * time.Millisecond).String()}, " to ")
}

// The limits are generous: they tell a fault that stays where it is from one that spreads, not a busy machine from an idle one.
const (
	othersWithin  = 15 * time.Second // p99; the faults last for 20 s and longer
	recoverWithin = 30 * time.Second // after the fault was lifted
)

// report prints a line for each fault, and judges.
func (c *cluster) report() {
	c.t.Helper()
	c.verifyClaims()
	for _, s := range c.spans {
		f := c.measure(s)
		c.t.Logf("%s (lifted after %s, all well after %s): %s", s.name, s.lifted.Round(time.Second), s.until.Sub(s.from).Round(time.Second), f)
		if len(s.affected) > 0 && f.others > 50 {
			require.Less(c.t, f.p99, othersWithin, "%s: other partitions wait", s.name)
		}
		require.LessOrEqual(c.t, f.repeated, len(c.workers)*(slots+mostWaiting), "%s: more is repeated than can be in flight", s.name)
		limit := s.lifted + recoverWithin
		if s.heals {
			limit = s.lifted
		}
		for _, d := range f.standstill {
			require.Less(c.t, d, limit, "%s: partitions do not recover", s.name)
		}
	}
}

// verifyClaims: the figures stand on knowing the partition of each letter, also of those that the API refused.
func (c *cluster) verifyClaims() {
	c.t.Helper()
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	for number, l := range c.load.letters {
		c.events.mu.Lock()
		claim := c.events.claims[number]
		c.events.mu.Unlock()
		if claim != "" && !strings.Contains(claim, ".delay.") {
			require.Equal(c.t, claim, c.claimOf(l))
		}
	}
}
