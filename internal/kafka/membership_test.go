package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// A coordinator may go on confirming heartbeats of a member that another one has given up: the commit says so.
func TestRunner_AFencedMemberJoinsAnewThoughItsHeartbeatsAreConfirmed(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "jobs", "ledger"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	f := &field{t: t, brokers: c.ListenAddrs(), topic: "jobs", ledger: "ledger", group: "g"}
	h := &play{}
	h.act = func(_ context.Context, a *kafka.Attempt) kafka.Result { return done(a) }
	sessions := make(chan int, 100)
	f.run(h, func(rc *kafka.RunnerConfig) { rc.OnClaims = func(held, _ int) { sessions <- held } })
	f.fill(1, 1)
	eventually(t, func() bool { return len(h.called()) == 1 }, "it works")
	require.Equal(t, 1, next(t, sessions))

	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownMemberID, Count: 1})
	f.fill(1, 1)
	require.Equal(t, 0, next(t, sessions), "the session ends")
	require.Equal(t, 1, next(t, sessions), "and another one begins")
	f.fill(1, 1)
	eventually(t, func() bool { calls := h.called(); return calls[len(calls)-1] == "k0/3" }, "it works again")
}

func TestPartitionsAddedAreFoundByEveryReader(t *testing.T) {
	brokers := []string{kafkatest.Embedded(t).Addr()}
	f := &field{t: t, brokers: brokers, topic: kafkatest.Topic(t, brokers, 1), ledger: kafkatest.Topic(t, brokers, 1), group: "g"}
	cfg := kafka.Config{Brokers: brokers, RefreshInterval: 50 * time.Millisecond}
	h := &play{}
	h.act = func(_ context.Context, a *kafka.Attempt) kafka.Result { return done(a) }
	type claims struct{ held, total int }
	sessions := make(chan claims, 100)
	f.run(h, func(rc *kafka.RunnerConfig) {
		rc.Kafka = cfg
		rc.OnClaims = func(held, total int) { sessions <- claims{held, total} }
	})
	require.Equal(t, claims{1, 1}, next(t, sessions))
	meter, err := kafka.NewMeter(cfg)
	require.NoError(t, err)
	t.Cleanup(meter.Close)
	left := func() int64 {
		depths, err := meter.Measure([]kafka.Watched{{Topic: f.topic, Group: "another"}})
		if err != nil {
			return 0
		}
		return depths[f.topic].Left
	}
	require.Zero(t, left())
	follower, _ := followWith(t, cfg, []string{f.topic}, oldest)

	f.grow(3)
	require.Equal(t, claims{0, 1}, next(t, sessions))
	require.Equal(t, claims{3, 3}, next(t, sessions))
	f.fill(30, 30) // some to each partition
	eventually(t, func() bool { return len(h.called()) == 30 }, "new partitions are worked on")
	eventually(t, func() bool { return left() == 30 }, "and measured")
	follower.await("and followed", func() bool { return len(follower.counts()) == 30 })
}

// next receives from c, and fails the test when nothing comes.
func next[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		require.Fail(t, "nothing comes")
	}
	return v
}

// grow adds partitions to the topic.
func (f *field) grow(partitions int32) {
	f.t.Helper()
	sc := sarama.NewConfig()
	admin, err := sarama.NewClusterAdmin(f.brokers, sc)
	require.NoError(f.t, err)
	defer admin.Close()
	require.NoError(f.t, admin.CreatePartitions(f.topic, partitions, nil, false))
}
