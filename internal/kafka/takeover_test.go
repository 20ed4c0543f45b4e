package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// A lease that other claims have earned is not enough: what a claim has learnt, and the ledger's partition count, must be
// committed before it starts anything.
func TestNothingStartsBeforeTheFirstCommitOfItsClaim(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "jobs"), kfake.SeedTopics(3, "ledger"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := Config{Brokers: c.ListenAddrs()}
	st := newStage(t, func(rc *RunnerConfig) { rc.Topics = []string{"jobs"} })
	t.Cleanup(func() { st.r.hands.dismiss() })
	st.r.cfg.Ledger, err = NewLedger(cfg, "ledger", zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(st.r.cfg.Ledger.conn.close)
	st.r.offsets, err = newOffsets(cfg, "g")
	require.NoError(t, err)
	t.Cleanup(st.r.offsets.conn.close)

	st.add("a")
	st.join()
	st.s.member.generation = -1                                                                // commits as no member
	_, err = st.r.offsets.commit(st.s.member, []committed{{topicPartition{"jobs", 1}, 0, ""}}) // so that there is a group
	require.NoError(t, err)
	st.s.leased = time.Now().Add(time.Hour)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: 1})
	require.ErrorIs(t, st.c.tryTakeOver(t.Context()), sarama.ErrOffsetsLoadInProgress)
	require.False(t, st.c.taken)
	require.Zero(t, st.r.InFlight())

	require.NoError(t, st.c.tryTakeOver(t.Context()))
	st.c.arrived(st.log, nil, 1)
	require.Equal(t, 1, st.r.InFlight())
	was, err := st.r.offsets.fetch(st.tp)
	require.NoError(t, err)
	m, err := decodeMetadata(was.metadata)
	require.NoError(t, err)
	require.EqualValues(t, 3, m.count)
	close(st.quit)
	st.leave()
	st.r.attempts.Wait()
	st.r.hands.dismiss()
}
