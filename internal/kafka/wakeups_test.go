package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// twoClocks are a wall clock and a monotonic clock that a test moves apart.
type twoClocks instant

func newTwoClocks() *twoClocks {
	return &twoClocks{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *twoClocks) now() instant { return instant(*c) }

func (c *twoClocks) pass(d time.Duration) { c.mono, c.wall = c.mono+d, c.wall.Add(d) }
func (c *twoClocks) step(d time.Duration) { c.wall = c.wall.Add(d) } // also a suspension of the host

func dueOffsets(w *wakeups, c *twoClocks) (all []int64) {
	for it := w.due(c.now()); it != nil; it = w.due(c.now()) {
		all = append(all, it.rec.Offset)
	}
	return all
}

func waitingItem(offset int64) *item { return &item{rec: &Record{Offset: offset}} }

func TestWakeups_AreDueByEitherClock(t *testing.T) {
	clocks := newTwoClocks()
	w := &wakeups{clock: clocks.now}
	for i, hours := range []int{12, 1, 3} {
		w.add(waitingItem(int64(i)), time.Duration(hours)*time.Hour)
	}
	require.Empty(t, dueOffsets(w, clocks))
	clocks.pass(time.Minute)
	clocks.step(2 * time.Hour) // suspended, or stepped forward
	require.Equal(t, []int64{1}, dueOffsets(w, clocks))
	clocks.pass(time.Hour - time.Minute)
	require.Equal(t, []int64{2}, dueOffsets(w, clocks), "the rest of its time on the new clock")
	clocks.step(-24 * time.Hour)
	require.Empty(t, dueOffsets(w, clocks))
	w.add(waitingItem(3), time.Hour)
	clocks.pass(9 * time.Hour)
	require.Equal(t, []int64{3, 0}, dueOffsets(w, clocks), "a step back does not make a wait longer")
	require.Empty(t, w.items)
}

// Whatever the clocks do and whichever items leave: an item is never called before its time on both clocks, and is called once.
func TestWakeups_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clocks := newTwoClocks()
		w, live := &wakeups{clock: clocks.now}, map[int64]*item{}
		monos, walls := map[int64]time.Duration{}, map[int64]time.Time{}
		for n := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0, 1:
				wait, o := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(rt, "wait")), int64(n)
				live[o] = waitingItem(o)
				monos[o], walls[o] = clocks.mono+wait, clocks.wall.Add(wait)
				w.add(live[o], wait)
			case 2:
				clocks.pass(time.Duration(rapid.Int64Range(0, int64(30*time.Minute)).Draw(rt, "passes")))
			case 3:
				clocks.step(time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(2*time.Hour)).Draw(rt, "step")))
			default:
				for o, it := range live {
					w.remove(it)
					w.remove(it)
					delete(live, o)
					break
				}
			}
			for _, o := range dueOffsets(w, clocks) {
				require.Contains(rt, live, o)
				require.True(rt, clocks.mono >= monos[o] || !clocks.wall.Before(walls[o]))
				require.Zero(rt, live[o].slot)
				delete(live, o)
			}
			for o := range live {
				require.Greater(rt, monos[o], clocks.mono)
				require.LessOrEqual(rt, clocks.wall.Sub(walls[o]), stepped)
			}
		}
	})
}

// A job that waits for hours is called at most 15 s late after the wall clock has jumped.
func TestRunner_LongWaitFollowsTheWallClock(t *testing.T) {
	play(t, nil, func(st *stage) {
		clocks, begun, moved := newTwoClocks(), time.Now(), time.Duration(0)
		st.r.wakeups.clock = func() instant { return instant{time.Since(begun), clocks.wall.Add(time.Since(begun) + moved)} }
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		st.answer(st.running(0), Result{Again: time.Now().Add(12 * time.Hour)})
		time.Sleep(time.Minute)
		st.renew()
		st.settle()
		require.Nil(t, st.running(0))
		moved = 12 * time.Hour
		for range 15 {
			time.Sleep(time.Second)
			st.renew()
		}
		st.settle()
		require.NotNil(t, st.running(0))
	})
}

// renew confirms the lease as a commit does.
func (st *stage) renew() {
	st.commit()
	synctest.Wait()
}

// One timer serves all waits of a runner, and none is left when nothing waits.
func TestRunner_WaitsEndWithTheirClaim(t *testing.T) {
	play(t, nil, func(st *stage) {
		for range 10 {
			st.add("")
		}
		st.join()
		st.takeOver()
		st.fetch(10)
		for o := range int64(10) {
			st.answer(st.running(o), Result{Again: time.Now().Add(time.Hour)})
		}
		require.Len(t, st.r.wakeups.items, 10)
		st.leave()
		require.Empty(t, st.r.wakeups.items)
	})
}
