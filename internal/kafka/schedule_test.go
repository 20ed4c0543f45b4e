package kafka

import (
	"context"
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
	play(t, func(c *RunnerConfig) { c.MaxSpan = 1 << 20 }, func(st *stage) {
		st.add("a")
		for range 8 {
			st.log = append(st.log, make([]*Record, 4000)...) // an aborted transaction
			st.add("")
		}
		st.join()
		st.takeOver()
		st.fetch(len(st.log))
		st.commit()
		require.False(t, st.c.overflow, "what holds no record takes no room")
		for o := int64(4001); o < int64(len(st.log)); o += 4001 {
			st.ends(o)
		}
		st.commit()
		require.True(t, st.c.overflow)
		st.settle()
		require.True(t, st.c.paused)
		st.ends(0) // before the next commit looks
		st.commit()
		st.settle()
		require.False(t, st.c.paused)
	})
}

func TestWithNothingUnfinishedAnOverfullCommitStopsNoFetch(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.join()
		st.takeOver()
		st.c.overflow = true
		st.c.wake()
		st.settle()
		require.False(t, st.c.paused, "only what is fetched moves the watermark")
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
		require.NotNil(t, st.running(1))
		st.answer(late, Result{Again: time.Now()})
		require.Nil(t, st.running(1), "the second of the key waits for the first")
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
		st.fetch(1)
		require.EqualValues(t, 1_000_001, st.c.low)
	})
}

func TestAnAttemptOfATopicThatIsGoneEndsNoOtherJob(t *testing.T) {
	for name, fetched := range map[string]bool{"fetched before": true, "fetched after": false} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(st *stage) {
				st.add("a")
				st.join()
				st.takeOver()
				st.fetch(1)
				late := st.running(0)
				st.leave()
				st.log[0] = &Record{Topic: "jobs", Key: []byte("a"), Value: []byte("another job")}
				st.stored = committed{offset: -1}
				st.join()
				st.takeOver()
				if fetched {
					st.fetch(1)
				}
				st.answer(late, Result{})
				st.fetch(1)
				st.ends(0)
				require.EqualValues(t, 1, st.r.Stats().Mismatches)
				require.Empty(t, st.c.pins)
			})
		})
	}
}

func TestAnAttemptOfATopicThatIsGoneAsksForNoOtherJob(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		late := st.running(0)
		st.leave()
		st.log[0] = &Record{Topic: "jobs", Key: []byte("a"), Value: []byte("another job")}
		st.stored = committed{offset: -1}
		st.join()
		st.takeOver()
		st.fetch(1)
		st.answer(late, Result{Again: time.Now().Add(time.Hour), Carry: "what was read of a job that is gone"})
		present := st.running(0)
		require.NotNil(t, present, "it is called at once: nobody has asked it to wait")
		require.Nil(t, present.a.Carry)
		st.ends(0)
	})
}

func TestALedgerThatWasMadeAnewIsNews(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.r.cfg.Ledger.raise(0, 5000)
		st.join()
		st.takeOver()
		require.False(t, st.c.hasNews())
		st.r.cfg.Ledger.end(0).at = 10
		require.True(t, st.c.hasNews())
		st.commit()
		require.False(t, st.c.hasNews())
	})
}

func TestWhatIsTooLargeEvenWithoutItsValueRepeatsNoAttempt(t *testing.T) {
	play(t, nil, func(st *stage) {
		refusals := &refusing{Outbound: st, left: 5}
		st.r.cfg.Publisher = refusals
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		st.answer(st.running(0), Result{Outcome: &Outcome{}})
		require.Nil(t, st.running(0), "the provider has had it")
		time.Sleep(time.Hour)
		st.settle()
		st.acknowledge(0, true)
		require.EqualValues(t, 1, st.c.low)
	})
}

// refusing finds some records too large.
type refusing struct {
	Outbound
	left int
}

func (o *refusing) PublishForever(ctx context.Context, m Message) (int32, int64, error) {
	if o.left--; o.left >= 0 {
		return 0, -1, ErrTooLarge
	}
	return o.Outbound.PublishForever(ctx, m)
}
