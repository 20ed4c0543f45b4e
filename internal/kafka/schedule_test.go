package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPausedClaimIsHeldOnlyWhereItsJobWillAskAgain(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.add("b")
		st.join()
		st.takeOver()
		st.fetch(1)
		late := st.running(0)
		st.leave()
		st.join() // a rebalance, and the attempt has outlasted its drain
		late.a.Pause()
		st.answer(late, Result{Again: time.Now()})
		st.takeOver()
		require.False(t, st.c.paused, "nobody would be left to resume it")
		st.fetch(2)
		st.ends(0)
		st.ends(1)
	})
}

func TestAWindowThatDidNotFitACommitOpensAgain(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		for range 30_000 { // an aborted transaction
			st.log = append(st.log, nil)
		}
		st.add("b")
		st.join()
		st.takeOver()
		st.fetch(len(st.log))
		st.commit()
		require.True(t, st.c.overflow)
		st.settle()
		require.True(t, st.c.paused)
		st.ends(0)
		st.ends(int64(len(st.log) - 1)) // before the next commit looks
		st.commit()
		st.settle()
		require.False(t, st.c.paused)
	})
}

func TestATakeOverThatDoesNotFitACommitStillFetches(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.MaxSpan = 1 << 20 }, func(st *stage) {
		for range 60_000 {
			st.log = append(st.log, nil)
		}
		st.add("a")
		st.stored = committed{offset: 60_000}
		st.join()
		st.takeOver()
		st.fetch(1)
		late := st.running(60_000)
		st.leave()
		for i := range 60_000 {
			st.log[i] = &Record{Topic: "jobs", Offset: int64(i), Value: fmt.Appendf(nil, "job%d", i)}
		}
		st.stored = committed{offset: 10_000} // an operator goes back
		st.join()
		st.answer(late, Result{})
		st.takeOver()
		st.settle()
		require.False(t, st.c.paused, "only what is fetched can move the watermark")
	})
}

func TestWhatIsParkedAndEndsElsewhereIsNotRunAgain(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.MaxSpan = 4 }, func(st *stage) {
		for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
			st.add(k)
		}
		st.join()
		st.takeOver()
		st.fetch(4)
		before := st.stored
		for o := range int64(3) {
			st.ends(o)
		}
		st.fetch(2)
		late := st.running(5)
		require.NotNil(t, late)
		st.leave()
		st.stored, st.ledger = before, nil // nothing of it was committed, and the ledger is lost
		st.done = map[int64]bool{}
		st.join()
		st.takeOver()
		st.fetch(6)
		require.False(t, st.c.parked.empty())
		st.answer(late, Result{Outcome: &Outcome{}})
		st.acknowledge(0, true)
		for o := range int64(5) {
			if o >= 3 { // still running from before
				continue
			}
			st.ends(o)
		}
		st.ends(3)
		st.ends(4)
		require.EqualValues(t, 6, st.c.low)
		require.Empty(t, st.c.items)
	})
}

func TestWhatAsksAgainWaitsForThoseBeforeItInTheNextSession(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(2)
		before := st.stored
		st.answer(st.running(0), Result{}) // done, without an outcome
		late := st.running(1)
		st.leave()
		st.stored = before // the brokers never heard of it
		st.join()
		st.takeOver()
		st.fetch(2)
		require.NotNil(t, st.running(0))
		require.Len(t, st.calls, 2)
		st.answer(late, Result{Again: time.Now()})
		require.Len(t, st.calls, 1, "the second of the key waits for the first")
		st.ends(0)
		st.ends(1)
	})
}

func TestAnAckThatComesBeforeTheTakeOverCostsNoMemory(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.log = make([]*Record, 1_000_000)
		st.add("a")
		st.stored = committed{offset: 1_000_000}
		st.join()
		st.takeOver()
		st.fetch(1)
		late := st.running(1_000_000)
		st.leave()
		st.join()
		st.answer(late, Result{})
		require.Less(t, cap(st.c.words), 100)
		st.takeOver()
		require.EqualValues(t, 1_000_001, st.c.low)
	})
}
