package kafka

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A long call frees its slot. Its key, its place and its outcome are those of any other call.
func TestFreeSlot_LetsTheNextRecordStart(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency = 1 }, func(st *stage) {
		for _, key := range []string{"a", "a", "b", "c"} {
			st.add(key)
		}
		st.join()
		st.takeOver()
		st.fetch(4)
		long := st.running(0)
		long.a.FreeSlot()
		long.a.FreeSlot()
		st.settle()
		require.Nil(t, st.running(1), "the key is held")
		require.NotNil(t, st.running(2))
		require.Nil(t, st.running(3), "one slot was freed")
		require.Equal(t, 2, st.r.InFlight())
		require.Equal(t, 2, st.c.calling, "a drain waits for both")

		st.answers(0)
		require.Equal(t, 1, st.r.room.count)
		require.Zero(t, st.r.long)
		require.Nil(t, st.running(3), "the slot was not freed twice")
		st.acknowledge(0, true)
		require.Nil(t, st.running(1), "the slot is taken")
		st.answers(2)
		st.acknowledge(0, true)
		st.answers(3)
		require.NotNil(t, st.running(1))
		st.answers(1)
		st.acknowledge(0, true)
		st.acknowledge(0, true)
		require.Zero(t, st.r.InFlight())
	})
}

// A handler may free its slot at the moment at which it returns.
func TestFreeSlot_AfterTheAnswerHasNoEffect(t *testing.T) {
	play(t, func(c *RunnerConfig) { c.Concurrency = 2 }, func(st *stage) {
		st.start(2)
		first, second := st.running(0), st.running(1)
		st.answers(0)
		first.a.FreeSlot()
		st.answer(second, Result{Again: time.Now().Add(time.Hour)})
		second.a.FreeSlot()
		st.settle()
		require.Zero(t, st.r.busy)
		require.Zero(t, st.r.long)
		st.acknowledge(0, true)
		require.Zero(t, st.r.InFlight())
	})
}

func TestUntilDrained_EndsWithinTheDrain(t *testing.T) {
	for drain, want := range map[time.Duration]time.Duration{10 * time.Second: 8 * time.Second, 2 * time.Second: 1500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			claimed, revoke := context.WithCancel(t.Context())
			a := &Attempt{runner: &Runner{cfg: RunnerConfig{Drain: drain}}, flight: &flight{claim: &claim{claimed: claimed}}}
			ctx, cancel := a.UntilDrained(t.Context())
			defer cancel()
			time.Sleep(time.Hour)
			require.NoError(t, ctx.Err(), "while the claim lasts")
			revoked := time.Now()
			revoke()
			<-ctx.Done()
			require.Equal(t, want, time.Since(revoked))

			ended, end := a.UntilDrained(t.Context())
			end()
			require.Error(t, ended.Err())
		})
	}
}
