package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A window full of records that wait for long makes room for what is behind it: the oldest are called early, a record that is
// due soon or has just come is left alone.
func TestRunner_FullWindowOfWaitingRecordsMakesRoom(t *testing.T) {
	byDue := func(c *RunnerConfig) { c.MaxRecords, c.ByDue, c.Unordered = 2, map[string]int{"jobs": 4}, true }
	play(t, byDue, func(st *stage) {
		for range 6 {
			st.add("")
		}
		for _, rec := range st.log {
			rec.Timestamp = time.Now()
		}
		st.join()
		st.takeOver()
		st.fetch(4)
		for o := range int64(4) {
			wait := 20 * time.Second
			if o == 0 {
				wait = 500 * time.Millisecond
			}
			require.False(t, st.running(o).a.Crowded())
			st.answer(st.running(o), Result{Again: time.Now().Add(wait)})
		}
		require.True(t, st.c.paused, "the window is full")
		calls, _ := st.waiting()
		require.Empty(t, calls, "each stays for a while")

		time.Sleep(crowdedAfter)
		st.commit()
		st.settle()
		require.False(t, st.running(0).a.Crowded(), "it is due")
		st.ends(0)
		require.Nil(t, st.running(1), "there is room again")

		st.fetch(1)
		st.answer(st.running(4), Result{Again: time.Now().Add(time.Minute)})
		require.True(t, st.c.paused)
		time.Sleep(crowdedAfter)
		st.commit()
		st.settle()
		for o := int64(1); o < 4; o++ {
			require.True(t, st.running(o).a.Crowded())
		}
		st.answer(st.running(1), Result{Again: time.Now().Add(19 * time.Second)}) // its handler keeps it
		st.ends(2)
		st.ends(3)
		require.False(t, st.c.paused)
		st.fetch(1)
		require.NotNil(t, st.running(5), "what is behind a full window is seen")
	})
}

// Without ByDue a window of waiting records stays as it is.
func TestRunner_WindowInOrderMakesNoRoom(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.MaxRecords = 2 }, func(st *stage) {
		for range 3 {
			st.add("")
		}
		st.join()
		st.takeOver()
		st.fetch(2)
		for o := range int64(2) {
			st.answer(st.running(o), Result{Again: time.Now().Add(20 * time.Second)})
		}
		time.Sleep(15 * time.Second)
		st.commit()
		st.settle()
		calls, _ := st.waiting()
		require.Empty(t, calls)
		require.True(t, st.c.paused)
	})
}
