package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch/batchtest"
)

// seen is a handler that ends every job and remembers the values.
type seen struct {
	mu     sync.Mutex
	values []string
}

func (s *seen) Identify(r *Record) string { return string(r.Value) }

func (s *seen) Handle(_ context.Context, a *Attempt) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, fmt.Sprintf("%d=%s", a.Partition, a.Value))
	return Result{Outcome: &Outcome{Key: a.Value, Value: []byte("{}")}}
}

func (s *seen) sorted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.values))
}

// run works on the topic jobs until the test ends, or stop is called.
func (s *seen) run(t *testing.T, cfg Config, more func(*RunnerConfig)) (r *Runner, stop func()) {
	ledger, err := NewLedger(cfg, "ledger", zap.NewNop())
	require.NoError(t, err)
	p := NewPublisher(cfg, PublisherConfig{Persistent: true, Log: zap.NewNop()})
	rc := RunnerConfig{
		Kafka: cfg, Group: "g", Topics: []string{"jobs"}, Handler: s, Ledger: ledger, Publisher: p, Log: zap.NewNop(), AttemptTimeout: time.Minute,
	}
	if more != nil {
		more(&rc)
	}
	r, err = NewRunner(rc)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	rest, end := context.WithCancel(context.Background())
	var parts, run sync.WaitGroup
	parts.Go(func() { _ = ledger.Run(rest) })
	parts.Go(func() { _ = p.Run(rest) })
	run.Go(func() { _ = r.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); run.Wait(); end(); parts.Wait() })
	t.Cleanup(stop)
	return r, stop
}

func TestRunner_HostileBatchBecomesADeadLetterAndStopsNothing(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "jobs"), kfake.SeedTopics(2, "ledger"), kfake.SeedTopics(1, "dead"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	addr := c.ListenAddrs()[0]
	write := func(p int32, raw []byte) bool { return kafkatest.ProduceRaw(t, addr, "jobs", p, raw) == 0 }
	var want []string
	hostile := 0
	for i, h := range batchtest.HostileBatches() {
		good := fmt.Sprintf("good%d", i)
		require.True(t, write(0, goodBatch(0, good)))
		require.True(t, write(1, goodBatch(0, good)))
		want = append(want, "0="+good, "1="+good)
		b, err := recordbatch.Next(h.Raw)
		if err == nil && b.Each(func(*recordbatch.Record) {}) != nil && write(0, h.Raw) {
			hostile++
		}
	}
	require.Greater(t, hostile, 20)
	slices.Sort(want)
	s := &seen{}
	r, stop := s.run(t, Config{Brokers: c.ListenAddrs()}, func(rc *RunnerConfig) {
		rc.Undecodable = func(b *UndecodableBatch) Message {
			return Message{Topic: "dead", Key: fmt.Append(nil, b.Offset, "-", b.LastOffset), Value: b.Value}
		}
	})
	require.Eventually(t, func() bool { return len(s.sorted()) >= len(want) }, time.Minute, 5*time.Millisecond)
	require.Eventually(t, func() bool { return r.InFlight() == 0 && r.Stats().Undecodable >= uint64(hostile) }, time.Minute, 5*time.Millisecond)
	require.Equal(t, want, s.sorted())
	stop()
	require.EqualValues(t, hostile, r.Stats().Undecodable)
	require.Len(t, kafkatest.All(t, c.ListenAddrs(), "dead"), hostile)

	again := &seen{} // nothing of it comes again
	r, _ = again.run(t, Config{Brokers: c.ListenAddrs()}, nil)
	require.True(t, write(0, goodBatch(0, "last")))
	require.Eventually(t, func() bool { return len(again.sorted()) > 0 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, []string{"0=last"}, again.sorted())
	require.Zero(t, r.Stats().Undecodable)
}

// waiter is a handler whose first job waits in place until it is let go.
type waiter struct {
	seen
	free atomic.Bool
}

func (w *waiter) Handle(ctx context.Context, a *Attempt) Result {
	if string(a.Value) == "waits" && !w.free.Load() {
		return Result{Again: time.Now().Add(time.Hour)}
	}
	return w.seen.Handle(ctx, a)
}

// The last commit of a session says that dead letters were left, however many offsets their batches take and whatever is
// unfinished before them.
func TestRunner_DeadLettersOfWideBatchesAreLeftOnce(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "jobs"), kfake.SeedTopics(1, "ledger"), kfake.SeedTopics(1, "dead"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cfg := Config{Brokers: c.ListenAddrs()}
	write := func(raw []byte) { require.Zero(t, kafkatest.ProduceRaw(t, c.ListenAddrs()[0], "jobs", 0, raw)) }
	write(goodBatch(0, "waits"))
	write(goodBatch(0, "first"))
	widths := []int32{4000, 4000, 4000, 4000, 381, 4096, 1 << 20, 1 << 30} // the last two begin beyond what may start
	for _, n := range widths {
		write(batchtest.Batch(0, n-1, n, []byte("garbage")))
	}
	letters := func() int { return len(kafkatest.All(t, cfg.Brokers, "dead")) }
	w := &waiter{}
	bury := func(rc *RunnerConfig) {
		rc.Handler, rc.FollowTopics = w, []string{"dead"}
		rc.Undecodable = func(b *UndecodableBatch) Message { return Message{Topic: "dead", Value: b.Value} }
	}
	for range 2 {
		r, stop := w.run(t, cfg, bury)
		require.Eventually(t, func() bool { return letters() >= 6 && r.InFlight() == 0 && r.fetchedTo() > 20_000 }, time.Minute, 5*time.Millisecond)
		stop()
		require.Equal(t, 6, letters())
	}
	w.free.Store(true)
	_, stop := w.run(t, cfg, bury)
	write(goodBatch(0, "last"))
	require.Eventually(t, func() bool { return len(w.sorted()) == 3 }, time.Minute, 5*time.Millisecond)
	stop()
	require.Equal(t, len(widths), letters())
}

func TestRunner_PartitionWithoutLeaderStopsOnlyItself(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 3, "ledger": 3})
	addr := c.ListenAddrs()[0]
	cfg := Config{Brokers: c.ListenAddrs()}
	write := func(p int32, value string) {
		require.Zero(t, kafkatest.ProduceRaw(t, addr, "jobs", p, goodBatch(0, value)))
	}
	write(1, "waits")
	c.fail("jobs", 1)
	s := &seen{}
	_, stop := s.run(t, cfg, nil)
	write(0, "a")
	write(2, "b")
	require.Eventually(t, func() bool { return len(s.sorted()) == 2 }, time.Minute, 5*time.Millisecond, "it joins")
	stop()
	_, stop = s.run(t, cfg, nil)
	write(0, "c")
	write(2, "d")
	require.Eventually(t, func() bool { return len(s.sorted()) == 4 }, time.Minute, 5*time.Millisecond, "a restart")
	other := &seen{}
	_, leave := other.run(t, cfg, nil)
	write(0, "e")
	write(2, "f")
	both := func() int { return len(s.sorted()) + len(other.sorted()) }
	require.Eventually(t, func() bool { return both() == 6 }, time.Minute, 5*time.Millisecond, "a rebalance")
	c.restore("jobs", 1)
	require.Eventually(t, func() bool { return both() == 7 }, time.Minute, 5*time.Millisecond, "it resumes by itself")
	leave()
	c.fail("jobs", 2) // now under a session that goes on
	write(0, "g")
	require.Eventually(t, func() bool { return both() == 8 }, time.Minute, 5*time.Millisecond)
	c.restore("jobs", 2)
	write(2, "h")
	require.Eventually(t, func() bool { return both() == 9 }, time.Minute, 5*time.Millisecond)
	stop()
	require.Equal(t, []string{"0=a", "0=c", "0=e", "0=g", "1=waits", "2=b", "2=d", "2=f", "2=h"},
		slices.Sorted(slices.Values(append(s.sorted(), other.sorted()...))))
}

// A partition that holds nothing new brings no record by which its claim could learn that it is read again.
func TestRunner_IsReadyAgainAlthoughThereIsNothingToRead(t *testing.T) {
	c := newOfflineCluster(t, map[string]int32{"jobs": 2, "ledger": 2})
	s := &seen{}
	r, _ := s.run(t, Config{Brokers: c.ListenAddrs()}, nil)
	require.Eventually(t, func() bool { return r.Ready() == nil }, time.Minute, 5*time.Millisecond)
	later := func() string { // what Ready says once the trouble has lasted
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Sprint(r.stuck(time.Now().Add(2 * silentFor)))
	}
	c.fail("jobs", 1)
	require.Eventually(t, func() bool { return strings.Contains(later(), "jobs/1 is not read") }, time.Minute, 5*time.Millisecond)
	c.restore("jobs", 1)
	require.Eventually(t, func() bool { return later() == "<nil>" }, time.Minute, 5*time.Millisecond)
	require.NoError(t, r.Ready())
}
