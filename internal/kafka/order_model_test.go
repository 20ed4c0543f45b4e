package kafka

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// queues is a stage on which one session works on jobs of few keys, and what is known of each job.
type queues struct {
	*stage
	rand   *rand.Rand
	stays  int                 // how many of ten answers ask for another call in place
	waits  map[int64]time.Time // asks to be called again then
	leaves map[int64]time.Time // its outcome is on its way since then
	ended  []int64
}

// TestOrderings: what the runner promises of jobs with one key, by the ordering of the channel. With key and strict one is
// begun only once the one before has left its place, and they differ in how often a job that fails stays in it; with none
// nobody waits for anybody. In each, whatever may start does, as long as there is a slot, the outcomes that wait leave room,
// and none has waited for too long.
func TestOrderings(t *testing.T) {
	for name, o := range map[string]struct {
		unordered bool
		stays     int
	}{
		"key":    {false, 1},
		"strict": {false, 6},
		"none":   {true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(150) {
				play(t, func(c *RunnerConfig) { c.Concurrency, c.MaxWaiting, c.Unordered = 3, 4, o.unordered }, func(st *stage) {
					q := &queues{st, rand.New(rand.NewPCG(seed, 1)), o.stays, map[int64]time.Time{}, map[int64]time.Time{}, nil}
					st.join()
					st.takeOver()
					for range 200 {
						q.step()
						q.judge()
					}
					q.finish()
				})
				if t.Failed() {
					t.Fatalf("with seed %d", seed)
				}
			}
		})
	}
}

func (q *queues) step() {
	switch q.rand.IntN(12) {
	case 0, 1, 2:
		q.add([]string{"", "a", "a", "b"}[q.rand.IntN(4)])
	case 3, 4:
		q.fetch(1 + q.rand.IntN(3))
	case 5, 6, 7:
		if calls, _ := q.waiting(); len(calls) > 0 {
			q.reply(calls[q.rand.IntN(len(calls))], q.rand.IntN(10) < q.stays)
		}
	case 8, 9, 10:
		if _, sends := q.waiting(); len(sends) > 0 {
			q.lands(q.rand.IntN(len(sends)))
		}
	case 11:
		time.Sleep(time.Duration(q.rand.IntN(2000)) * time.Millisecond)
	}
	q.commit() // the lease holds
	q.settle()
}

func (q *queues) reply(c *call, stays bool) {
	o := c.a.Offset
	if stays {
		q.waits[o] = time.Now().Add(time.Duration(1+q.rand.IntN(3000)) * time.Millisecond)
		q.answer(c, Result{Again: q.waits[o]})
		return
	}
	delete(q.waits, o)
	q.leaves[o] = time.Now()
	q.answer(c, Result{Outcome: &Outcome{}})
}

// lands acknowledges the i-th record on its way.
func (q *queues) lands(i int) {
	_, sends := q.waiting()
	e, _ := readEntry(&Record{Headers: sends[i].m.Headers})
	delete(q.leaves, e.jobOffset)
	q.ended = append(q.ended, e.jobOffset)
	q.acknowledge(i, true)
}

// judge looks at every job that was fetched.
func (q *queues) judge() {
	calls, _ := q.waiting()
	runs := map[int64]bool{}
	for _, c := range calls {
		runs[c.a.Offset] = true
		require.False(q.t, time.Now().Before(q.waits[c.a.Offset]), "%d is called too early", c.a.Offset)
	}
	first, startable := map[string]int64{}, 0
	for o := range q.at {
		if slices.Contains(q.ended, o) {
			continue
		}
		key := string(q.log[o].Key)
		begun := runs[o] || !q.leaves[o].IsZero() || !q.waits[o].IsZero()
		before, waits := first[key]
		if waits = waits && key != "" && !q.cfg.Unordered; waits {
			require.False(q.t, begun, "%d has begun before %d of its key has ended", o, before)
			continue
		}
		first[key] = o
		if !runs[o] && q.leaves[o].IsZero() && !q.waits[o].After(time.Now()) {
			startable++
		}
	}
	late := false
	for _, since := range q.leaves {
		late = late || time.Since(since) > outcomePatience
	}
	inRoom := min(len(q.leaves), 4)
	busy := len(runs) + len(q.leaves) - inRoom // those that find no room keep their slots
	require.LessOrEqual(q.t, busy, 3)
	require.Equal(q.t, len(runs)+len(q.leaves), q.r.InFlight())
	if busy < 3 && len(q.leaves) < 4-inRoom-min(busy, 2) && !late {
		require.Zero(q.t, startable, "jobs wait although a slot is free")
	}
}

// finish lets every job end, and looks at the order.
func (q *queues) finish() {
	for len(q.ended) < len(q.log) {
		q.fetch(10)
		calls, sends := q.waiting()
		switch {
		case len(sends) > 0:
			q.lands(0)
		case len(calls) > 0:
			q.reply(calls[0], false)
		default:
			time.Sleep(time.Second)
		}
		q.commit()
		q.settle()
		q.judge()
	}
	of := map[string][]int64{}
	for _, o := range q.ended {
		key := string(q.log[o].Key)
		of[key] = append(of[key], o)
	}
	for key, offsets := range of {
		require.True(q.t, key == "" || q.cfg.Unordered || slices.IsSorted(offsets), "key %q: %v", key, offsets)
	}
}
