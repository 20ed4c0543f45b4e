package kafka

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deaths are the ways in which partition 0 of topic t can be impossible to write.
var deaths = map[string]func(c *offlineCluster) (heal func()){
	"not enough replicas": func(c *offlineCluster) func() {
		return c.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Partitions: []int32{0}, Err: kerr.NotEnoughReplicas, Count: -1,
		}).Remove
	},
	"no leader": func(c *offlineCluster) func() {
		c.fail("t", 0)
		return func() { c.restore("t", 0) }
	},
}

// forEachDeath runs f with a publisher whose partition t/0 cannot be written until heal is called.
func forEachDeath(t *testing.T, pc PublisherConfig, f func(t *testing.T, c *offlineCluster, p *Publisher, heal func())) {
	for name, die := range deaths {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, used before %t", name, used), func(t *testing.T) {
				t.Parallel()
				c := newOfflineCluster(t, map[string]int32{"t": 4, "other": 2})
				p := runPublisher(t, c.ListenAddrs(), pc)
				if used {
					_, _, err := p.Publish(t.Context(), Message{Topic: "t", Partition: 0})
					require.NoError(t, err)
				}
				f(t, c, p, die(c))
			})
		}
	}
}

// flood sends n records to t/0 and counts the answers.
func flood(p *Publisher, n int) (taken int, answers *atomic.Int32) {
	answers = &atomic.Int32{}
	for i := range n {
		if p.Send(Message{Topic: "t", Partition: 0, Value: fmt.Append(nil, i)}, func(int32, int64, error) { answers.Add(1) }) == nil {
			taken++
		}
	}
	return taken, answers
}

// others publishes n records beside t/0, from a few goroutines, and returns once all are acknowledged.
func others(t *testing.T, p *Publisher, n int) {
	t.Helper()
	var wg sync.WaitGroup
	var failed atomic.Int32
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				m := Message{Topic: "t", Partition: int32(1 + i%3), Value: []byte("v")}
				if i%4 == 3 {
					m.Topic = "other"
				}
				if _, _, err := p.Publish(t.Context(), m); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load())
}

// A persistent publisher keeps what is for the dead partition, delays nobody, and writes it all once the partition works.
func TestPublisher_DeadPartitionDelaysNoOther(t *testing.T) {
	pc := PublisherConfig{Persistent: true, MaxRecords: 20_000, MaxMessageBytes: 20_000}
	forEachDeath(t, pc, func(t *testing.T, c *offlineCluster, p *Publisher, heal func()) {
		taken, answers := flood(p, 3000)
		require.Equal(t, 3000, taken)
		others(t, p, 2000)
		require.Zero(t, answers.Load(), "still dead")
		require.NoError(t, p.Ready(), "others are acknowledged")
		heal()
		require.Eventually(t, func() bool { return answers.Load() == 3000 }, time.Minute, 5*time.Millisecond)
		others(t, p, 100)
		requireEmpty(t, p)
	})
}

// Large records fill the batch that waits behind the one under way long before their number does.
func TestPublisher_DeadPartitionDelaysNoOtherByBytes(t *testing.T) {
	pc := PublisherConfig{Persistent: true, MaxMessageBytes: 20_000}
	forEachDeath(t, pc, func(t *testing.T, c *offlineCluster, p *Publisher, heal func()) {
		var acked atomic.Int32
		for range 60 {
			err := p.Send(Message{Topic: "t", Value: make([]byte, 4000)}, func(_ int32, _ int64, err error) {
				if err == nil {
					acked.Add(1)
				}
			})
			require.NoError(t, err)
		}
		p.mu.Lock()
		handed := p.up.queue("t", 0).handedBytes
		p.mu.Unlock()
		require.Less(t, handed, int64(p.recordLimit()), "it fits one batch")
		others(t, p, 500)
		require.Zero(t, acked.Load())
		heal()
		require.Eventually(t, func() bool { return acked.Load() == 60 }, time.Minute, 5*time.Millisecond)
		requireEmpty(t, p)
	})
}

// What must not wait is refused for the dead partition alone, at any load, and is taken again once the partition works.
func TestPublisher_DeadPartitionIsRefusedAlone(t *testing.T) {
	pc := PublisherConfig{MaxRecords: 4000}
	forEachDeath(t, pc, func(t *testing.T, c *offlineCluster, p *Publisher, heal func()) {
		others(t, p, 20)
		taken, answers := flood(p, 10_000)
		p.mu.Lock()
		inHand := p.up.queue("t", 0).records
		p.mu.Unlock()
		require.LessOrEqual(t, inHand, 2000, "half of what may be in hand")
		others(t, p, 2000)
		refused := func() bool {
			others(t, p, 10)
			return p.Send(Message{Topic: "t"}, func(int32, int64, error) {}) != nil
		}
		require.Eventually(t, refused, time.Minute, time.Millisecond)
		require.Eventually(t, func() bool { return int(answers.Load()) == taken }, time.Minute, 5*time.Millisecond, "nobody waits for ever")
		for i := range 200 { // without an order: any partition that works
			if i%20 == 0 {
				others(t, p, 10)
			}
			partition, _, err := p.Publish(t.Context(), Message{Topic: "t", Partition: Hashed})
			require.NoError(t, err)
			require.NotZero(t, partition)
		}
		require.NoError(t, p.Ready())
		heal()
		require.Eventually(t, func() bool {
			_, _, err := p.Publish(t.Context(), Message{Topic: "t"})
			return err == nil
		}, time.Minute, time.Millisecond, "it finds out by itself")
		for range 20 {
			_, _, err := p.Publish(t.Context(), Message{Topic: "t"})
			require.NoError(t, err)
		}
		requireEmpty(t, p)
	})
}

// One record at a time tries a dead partition; the others get their answer at once.
func TestPublisher_DeadPartitionIsTriedByOneRecord(t *testing.T) {
	forEachDeath(t, PublisherConfig{}, func(t *testing.T, c *offlineCluster, p *Publisher, heal func()) {
		_, _, err := p.Publish(t.Context(), Message{Topic: "t"}) // finds out
		require.ErrorIs(t, err, ErrUnavailable)
		require.Eventually(t, func() bool {
			taken, _ := flood(p, 50)
			return taken == 1
		}, time.Minute, time.Millisecond)
		heal()
	})
}

// Records of one partition keep their order through the queues.
func TestPublisher_KeepsOrderBehindADeadPartition(t *testing.T) {
	forEachDeath(t, PublisherConfig{Persistent: true}, func(t *testing.T, c *offlineCluster, p *Publisher, heal func()) {
		const n = 2000
		var offsets [n]int64
		var acked atomic.Int32
		for i := range n {
			require.NoError(t, p.Send(Message{Topic: "t", Value: []byte("v")}, func(_ int32, offset int64, err error) {
				if err == nil {
					offsets[i] = offset
					acked.Add(1)
				}
			}))
		}
		others(t, p, 20)
		heal()
		require.Eventually(t, func() bool { return acked.Load() == n }, time.Minute, 5*time.Millisecond)
		last := int64(-1)
		for i, offset := range offsets {
			if offset >= 0 { // else the broker has recognised a repetition
				require.Greater(t, offset, last, "record %d", i)
				last = offset
			}
		}
	})
}
