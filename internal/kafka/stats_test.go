package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestReadySaysThatOutcomesWait(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		st.fetch(1)
		st.answer(st.running(0), Result{Outcome: &Outcome{}})
		require.NoError(t, st.r.Ready())
		time.Sleep(12 * time.Second)
		err := st.r.Ready()
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorContains(t, err, "g: kafka is unavailable: the outcomes of 1 attempts wait to be published, the first for 12s")
		st.acknowledge(0, true)
		require.NoError(t, st.r.Ready())
	})
}

func TestReadySaysThatNoCommitIsConfirmed(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.join()
		st.takeOver()
		time.Sleep(time.Hour) // at rest nobody needs a lease
		require.NoError(t, st.r.Ready())
		st.fetch(1)
		require.Nil(t, st.running(0))
		require.EqualValues(t, 1, st.r.Stats().LeaseWaits)
		time.Sleep(6 * time.Second)
		st.s.lastErr = errors.New("nobody listens")
		require.ErrorContains(t, st.r.Ready(), "g: nothing is started, for no commit is confirmed: nobody listens")
		st.commit()
		st.settle()
		require.NoError(t, st.r.Ready())
		require.NotNil(t, st.running(0))
		require.Equal(t, Stats{TakeOvers: 1, LeaseWaits: 1}, st.r.Stats())
	})
}

func TestStatsCountWhatIsSkipped(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.add("a")
		st.add("b")
		st.join()
		st.takeOver()
		before := st.stored
		st.fetch(2)
		st.ends(0)
		st.ends(1)
		st.leave()
		st.stored = before // killed before it could commit
		st.boot()
		st.ledger[1].id = "another job"
		st.done = map[int64]bool{}
		st.join()
		st.takeOver()
		st.fetch(2)
		require.Equal(t, Stats{TakeOvers: 1, Skipped: 1, Mismatches: 1}, st.r.Stats())
	})
}

func TestAFencedSessionConfirmsNoTakeOver(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.join()
		st.s.fenced = true
		require.ErrorIs(t, st.s.commit(func() []*claim { return []*claim{st.c} }), errFenced)
	})
}

// against gives the stage's session a coordinator that refuses every commit.
func (st *stage) against(t *testing.T, refuse func(*kfake.Cluster)) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	refuse(c)
	st.r.offsets, err = newOffsets(Config{Brokers: c.ListenAddrs()}, "g")
	require.NoError(t, err)
	t.Cleanup(st.r.offsets.conn.close)
}

func TestARefusedCommitIsNotRepeatedAtOnce(t *testing.T) {
	st := newStage(t, nil)
	t.Cleanup(func() { st.r.hands.dismiss() })
	st.against(t, func(c *kfake.Cluster) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	})
	st.join()
	st.c.taken = true
	st.c.queued.push(&item{rec: &Record{}}) // wants to start, so that each commit that fails asks for the next
	tries := 0
	st.r.cfg.CommitEvery = 50 * time.Millisecond
	st.c.session.ended.Go(st.s.commitLoop)
	began := time.Now()
	st.s.nudge()
	require.Eventually(t, func() bool {
		st.r.mu.Lock()
		defer st.r.mu.Unlock()
		tries = st.s.refused
		return tries >= 10
	}, time.Minute, time.Millisecond)
	close(st.s.stop)
	st.s.ended.Wait()
	require.Greater(t, time.Since(began), 200*time.Millisecond, "at most one try for each turn of the loop, and one when asked")
}

func TestAfterACommitWithoutAnAnswerAnEndingSessionTriesNoMore(t *testing.T) {
	st := newStage(t, nil)
	t.Cleanup(func() { st.r.hands.dismiss() })
	o, err := newOffsets(Config{Brokers: []string{"127.0.0.1:1"}}, "g")
	require.NoError(t, err)
	t.Cleanup(o.conn.close)
	st.r.offsets = o
	st.join()
	st.s.over = true
	all := func() []*claim { return []*claim{st.c} }
	first := st.s.commit(all)
	require.Error(t, first)
	st.r.offsets = nil // not asked again
	require.Equal(t, first, st.s.commit(all))
}
