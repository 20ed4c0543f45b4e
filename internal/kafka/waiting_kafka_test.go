package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// mill is a handler that answers at once, and knows what was called and what has ended. The jobs of every second offset go
// to a dead-letter topic, the others leave only an outcome.
type mill struct {
	mu     sync.Mutex
	called map[topicPartition]map[int64]int
	ended  map[topicPartition]int
}

func (m *mill) Identify(r *Record) string { return string(r.Value) }

func (m *mill) Handle(_ context.Context, a *Attempt) Result {
	tp := topicPartition{a.Topic, a.Partition}
	m.mu.Lock()
	if m.called[tp] == nil {
		m.called[tp] = map[int64]int{}
	}
	m.called[tp][a.Offset]++
	m.mu.Unlock()
	res := Result{
		Outcome: &Outcome{Key: a.Value, Value: []byte(`{}`)},
		Ended: func(*Outcome) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ended[tp]++
		},
	}
	if a.Offset%2 == 1 {
		res.Follow = []Message{{Topic: "dlq", Partition: a.Partition, Value: a.Value}}
	}
	return res
}

// of gives how many jobs of a partition were called, and how many have ended.
func (m *mill) of(p int32) (called, ended int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tp := topicPartition{"jobs", p}
	return len(m.called[tp]), m.ended[tp]
}

// While a partition of the ledger, or of a topic for follow-ons, takes nothing, the jobs of the other partitions are done.
func TestRunner_DeadPartitionOfWhatItWritesStopsNoOther(t *testing.T) {
	for _, dead := range []string{"ledger", "dlq"} {
		t.Run(dead, func(t *testing.T) {
			t.Parallel()
			const partitions, each = 4, 400
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "jobs", "ledger", "dlq"))
			require.NoError(t, err)
			t.Cleanup(c.Close)
			cfg := Config{Brokers: c.ListenAddrs()}
			p := runPublisher(t, cfg.Brokers, PublisherConfig{Persistent: true})
			ledger, err := NewLedger(cfg, "ledger", zap.NewNop())
			require.NoError(t, err)
			m := &mill{called: map[topicPartition]map[int64]int{}, ended: map[topicPartition]int{}}
			const slots, most = 4, 16
			r, err := NewRunner(RunnerConfig{
				Kafka: cfg, Group: "g", Topics: []string{"jobs"}, Handler: m, Ledger: ledger, Publisher: p, Log: zap.NewNop(),
				AttemptTimeout: time.Minute, Concurrency: slots, MaxWaiting: most,
			})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { _ = ledger.Run(ctx) })
			running.Go(func() { _ = r.Run(ctx) })
			defer running.Wait()
			defer cancel()
			add := func(n int) {
				for i := range n {
					for partition := range int32(partitions) {
						err := p.Send(Message{Topic: "jobs", Partition: partition, Value: fmt.Append(nil, partition, i)}, func(int32, int64, error) {})
						require.NoError(t, err)
					}
				}
			}
			reaches := func(partition int32, n int) {
				require.Eventually(t, func() bool { _, ended := m.of(partition); return ended == n }, time.Minute, 5*time.Millisecond)
			}
			add(2)
			for partition := range int32(partitions) {
				reaches(partition, 2)
			}
			fault := c.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: dead, Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1,
			})
			add(each)
			for partition := range int32(partitions) {
				if partition > 0 {
					reaches(partition, 2+each)
				}
			}
			called, ended := m.of(0)
			require.Less(t, ended, 2+each)
			require.LessOrEqual(t, called-ended, slots+most)
			require.NoError(t, r.Ready(), "it works on three of four")
			fault.Remove()
			for partition := range int32(partitions) {
				reaches(partition, 2+each)
				for o, n := range m.called[topicPartition{"jobs", partition}] {
					require.Equal(t, 1, n, "%d/%d", partition, o)
				}
			}
			require.Equal(t, []int{2 + each}, slices.Compact(slices.Collect(maps.Values(m.ended))))
		})
	}
}
