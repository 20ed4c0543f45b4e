package kafka

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// script plays a relay step by step. Its processes remember no ids, so nothing but follow-ons and fences keeps copies apart.
func script(t *testing.T, play func(x *relay)) {
	synctest.Test(t, func(t *testing.T) {
		x := newRelay(t, 0)
		defer x.close()
		x.land(Message{Topic: "jobs", Value: []byte("job")})
		x.begins(0)
		play(x)
	})
}

func (x *relay) close() {
	for _, n := range x.nodes {
		if x.owner == n {
			n.r.close(n.c)
		}
		close(n.quit)
		n.r.hands.dismiss()
	}
}

// begins gives the partition to a process, which fetches all there is.
func (x *relay) begins(i int) {
	x.takeOver(x.nodes[i])
	x.fetchAll()
}

func (x *relay) fetchAll() {
	for x.at < int64(len(x.jobs)) {
		x.fetch()
	}
	x.settle()
}

// answers lets the only call of a process end: with another step, or accepted.
func (x *relay) answers(i int, retried bool) {
	n := x.nodes[i]
	x.mu.Lock()
	require.Len(x.t, n.calls, 1, "calls of process %d", i)
	c := n.calls[0]
	n.calls = nil
	x.mu.Unlock()
	x.answer(c, retried)
	x.settle()
}

// lands lets the next record of a process arrive.
func (x *relay) lands(i int) {
	require.NotEmpty(x.t, x.nodes[i].sends, "records of process %d", i)
	x.acknowledge(x.nodes[i])
	x.settle()
}

// strikes kills a process; what it was publishing never arrives.
func (x *relay) strikes(i int) {
	n := x.nodes[i]
	n.sends = nil
	x.kill(i)
	x.orphans = nil
}

// back moves the n-th record of the tier to the lane.
func (x *relay) back(n int) {
	x.land(Message{Topic: "jobs", Value: x.tier[n].Value, Headers: x.tier[n].Headers})
	if x.owner != nil {
		x.fetchAll()
	}
}

// called requires that the provider was called so often for each step.
func (x *relay) called(want string) {
	var got []string
	for step := range 3 {
		if n := x.calls[fmt.Sprintf("job/%d", step)]; n > 0 {
			got = append(got, fmt.Sprintf("%d×%d", step, n))
		}
	}
	require.Equal(x.t, want, strings.Join(got, " "), "%s", strings.Join(x.trace, "\n"))
}

func TestFollowOn_AcknowledgedWithoutItsOutcomeIsAdopted(t *testing.T) {
	script(t, func(x *relay) {
		x.answers(0, true)
		x.lands(0) // the next step
		x.strikes(0)
		x.begins(1)
		x.called("0×1")
		require.Len(t, x.nodes[1].sends, 1, "the outcome that is missing")
		x.lands(1)
		x.back(0)
		x.answers(1, false)
		x.lands(1)
		x.called("0×1 1×1")
		require.EqualValues(t, 2, x.owner.c.low)
	})
}

// However long the copies are apart: the worker's memory has no part in it.
func TestFollowOn_OfAFrozenOwnerIsDropped(t *testing.T) {
	for name, apart := range map[string]time.Duration{"a pause of an hour": time.Hour, "a 12 h tier": 12 * time.Hour, "a schedule of 30 days": 30 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			script(t, func(x *relay) {
				x.answers(0, true) // it has asked whether the partition is its own, and is frozen before it publishes
				x.begins(1)
				x.answers(1, false)
				x.lands(1)
				x.commit()
				x.lands(0) // it wakes up: its next step
				x.lands(0) // and its outcome
				time.Sleep(apart)
				x.back(0)
				x.called("0×2")
				require.EqualValues(t, 2, x.owner.c.low, "it is done without a call")
				require.EqualValues(t, 1, x.owner.r.stats.Void)
			})
		})
	}
}

// The frozen owner's copy and the new owner's come back in either order, before and after another take-over.
func TestFollowOn_CopiesInEitherOrder(t *testing.T) {
	for _, first := range []int{0, 1} {
		for _, rebalance := range []bool{false, true} {
			t.Run(fmt.Sprintf("copy %d first, rebalance %t", first, rebalance), func(t *testing.T) {
				script(t, func(x *relay) {
					x.answers(0, true)
					x.begins(1)
					x.answers(1, true)
					x.lands(1) // copy 0: the new owner's
					x.lands(1)
					x.lands(0) // copy 1: void
					x.back(first)
					if rebalance {
						x.lose()
						x.begins(2)
					}
					x.back(1 - first)
					who := 1
					if rebalance {
						who = 2
					}
					x.answers(who, false)
					x.lands(who)
					x.called(map[bool]string{false: "0×2 1×1", true: x.expected(first)}[rebalance])
					require.EqualValues(t, 3, x.owner.c.low)
				})
			})
		}
	}
}

// expected is what a rebalance in the middle makes of it: the new owner's copy may have been in flight, and is repeated once.
func (x *relay) expected(first int) string {
	if first == 0 {
		return "0×2 1×2"
	}
	return "0×2 1×1"
}

// What retention has taken from the ledger makes no difference: done bits and fences are in the commits.
func TestFollowOn_LedgerIsTrimmed(t *testing.T) {
	script(t, func(x *relay) {
		x.answers(0, true)
		x.begins(1)
		x.answers(1, false)
		x.lands(1)
		x.commit()
		x.lands(0)
		x.lands(0)
		for i := range x.ledger {
			x.ledger[i] = &Record{Offset: int64(i)}
		}
		x.lose()
		x.begins(2)
		x.back(0)
		x.called("0×2")
		require.EqualValues(t, 2, x.owner.c.low)
	})
}

// The new owner is killed in its turn, before its own outcome: the void outcome of the frozen one must not end the job, for
// nothing would go on from it.
func TestFollowOn_VoidOutcomeEndsNothing(t *testing.T) {
	script(t, func(x *relay) {
		x.answers(0, true)
		x.begins(1)
		x.lands(0) // void
		x.lands(0) // its outcome
		x.back(0)
		x.strikes(1)
		x.begins(2)
		x.called("0×3")
		x.answers(2, false)
		x.lands(2)
		require.EqualValues(t, 2, x.owner.c.low)
		x.called("0×3")
	})
}

func TestFences_Text(t *testing.T) {
	var many []span
	for i := range int64(5000) {
		many = append(many, span{7 * i, 7*i + 3})
	}
	for name, c := range map[string]struct {
		fences fences
		want   int // how many are kept
		cut    bool
	}{
		"none":     {nil, 0, false},
		"one":      {fences{{by: 7, undone: []span{{1 << 40, 1<<40 + 5}, {1 << 41, 1 << 42}}}}, 1, false},
		"empty":    {fences{{by: 7}}, 1, false},
		"too wide": {fences{{by: 9, undone: many}, {by: 7, undone: []span{{1, 2}}}}, 1, true},
		"too old":  {fences{{by: 9, undone: many[:100]}, {by: 8, undone: many[:100]}, {by: 7, undone: many[:100]}}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.fences.encode()
			require.LessOrEqual(t, len(text), fencesLimit)
			got, err := decodeFences(text)
			require.NoError(t, err)
			require.Len(t, got, c.want)
			if c.want == 0 {
				return
			}
			require.Equal(t, c.cut, got[0].cut)
			if !c.cut {
				require.Equal(t, c.fences[:c.want], got)
				return
			}
			last := got[0].undone[len(got[0].undone)-1].to
			require.True(t, got.voidFollowOn(8, 0))
			require.False(t, got.voidFollowOn(9, 0), "its own")
			require.False(t, got.voidFollowOn(0, 0), "unknown")
			require.False(t, got.voidFollowOn(8, last+100), "what the fence does not know is not dropped")
			require.True(t, got.voidOutcome(8, last+100), "and does not end a job")
		})
	}
	for _, bad := range []string{"!", "gA", "AQI", "AQL_____________AQ"} {
		_, err := decodeFences(bad)
		require.Error(t, err, bad)
	}
}

func FuzzFences(f *testing.F) {
	f.Add("BwQBAQIC")
	f.Fuzz(func(t *testing.T, text string) {
		fs, err := decodeFences(text)
		if err == nil {
			_, err = decodeFences(fs.encode())
			require.NoError(t, err)
		}
	})
}

func TestSource_Text(t *testing.T) {
	for _, s := range []source{{TopicID{7}, 3, 1 << 40, 9}, {TopicID{}, 0, 0, 0}} {
		got, ok := sourceOf(&Record{Headers: []Header{{HeaderSource, []byte(s.String())}}})
		require.True(t, ok)
		require.Equal(t, s, got)
	}
	for _, bad := range []string{"", "a", "///", "//1/", "/1/-1/1", "/-1/1/1", "/1/1/-1", "x/1/1/1", "/1/1/1/1", "/99999999999/1/1"} {
		_, ok := sourceOf(&Record{Headers: []Header{{HeaderSource, []byte(bad)}}})
		require.False(t, ok, bad)
	}
}

func TestNewest(t *testing.T) {
	parts := func(lengths ...int64) (ps []part) {
		for _, n := range lengths {
			ps = append(ps, part{span: span{100, 100 + n}})
		}
		return ps
	}
	for _, c := range []struct {
		in   []part
		most int64
		want int64
	}{{parts(5, 5), 10_000, 10}, {parts(50_000, 5, 20_000), 10_000, 10_000}, {parts(), 10, 0}, {parts(9_000, 9_000), 10_000, 10_000}} {
		total := int64(0)
		for _, p := range newest(c.in, c.most) {
			total += p.to - p.from
			require.GreaterOrEqual(t, p.from, int64(100))
		}
		require.Equal(t, c.want, total)
	}
}
