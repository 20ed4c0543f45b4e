package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/laudspeaker/laudspeaker/internal/kafka/embedded"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

func TestFrozenBroker(t *testing.T) {
	f, cfg := frozenCluster(t)
	p := runPublisher(t, cfg.Brokers, PublisherConfig{Timeout: 300 * time.Millisecond})
	_, _, err := p.Publish(t.Context(), Message{Topic: "t"})
	require.NoError(t, err)

	f.freeze()
	_, _, err = p.Publish(t.Context(), Message{Topic: "t"})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { return p.Ready() != nil }, time.Minute, 5*time.Millisecond, "it is found out")
	requireEmpty(t, p) // while it is still frozen: what is in hand is given up
	_, _, err = p.Publish(t.Context(), Message{Topic: "t"})
	require.ErrorIs(t, err, ErrUnavailable)

	f.thaw()
	require.Eventually(t, func() bool { return p.Ready() == nil }, time.Minute, 5*time.Millisecond)
	_, _, err = p.Publish(t.Context(), Message{Topic: "t"})
	require.NoError(t, err)
	requireEmpty(t, p)
}

func TestFull(t *testing.T) {
	f, cfg := frozenCluster(t)
	p := runPublisher(t, cfg.Brokers, PublisherConfig{MaxRecords: 5, MaxBytes: 50_000, MaxMessageBytes: 40_000})
	f.freeze()
	var answers atomic.Int32
	done := func(int32, int64, error) { answers.Add(1) }
	require.NoError(t, p.Send(Message{Topic: "t", Value: make([]byte, 30_000)}, done))
	require.ErrorIs(t, p.Send(Message{Topic: "t", Value: make([]byte, 30_000)}, nil), ErrFull, "in bytes")
	for range 4 {
		require.NoError(t, p.Send(Message{Topic: "t"}, done))
	}
	require.ErrorIs(t, p.Send(Message{Topic: "t"}, nil), ErrFull, "in records")
	f.thaw()
	requireEmpty(t, p)
	require.Eventually(t, func() bool { return answers.Load() == 5 }, time.Minute, 5*time.Millisecond)
	_, _, err := p.Publish(t.Context(), Message{Topic: "t"})
	require.NoError(t, err)
}

// The end of Run answers everybody, also when Kafka does not.
func TestEndOfRunAnswersAll(t *testing.T) {
	f, cfg := frozenCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := NewPublisher(cfg, PublisherConfig{CloseTimeout: 100 * time.Millisecond})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return p.Ready() == nil }, time.Minute, 5*time.Millisecond)
	f.freeze()
	answers := make(chan error, 10)
	for range 10 {
		require.NoError(t, p.Send(Message{Topic: "t"}, func(_ int32, _ int64, err error) { answers <- err }))
	}
	cancel()
	require.NoError(t, <-ended)
	for range 10 {
		require.ErrorIs(t, <-answers, ErrUnavailable)
	}
	require.ErrorIs(t, p.Send(Message{Topic: "t"}, nil), ErrUnavailable)
	requireEmpty(t, p)
}

func TestEndOfRunWaitsForAcks(t *testing.T) {
	f, cfg := frozenCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := NewPublisher(cfg, PublisherConfig{})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	require.Eventually(t, func() bool { return p.Ready() == nil }, time.Minute, 5*time.Millisecond)
	f.freeze()
	answer := make(chan error, 1)
	require.NoError(t, p.Send(Message{Topic: "t"}, func(_ int32, _ int64, err error) { answer <- err }))
	cancel()
	require.Eventually(t, func() bool { return p.Ready() != nil }, time.Minute, time.Millisecond, "nothing more is taken")
	f.thaw()
	require.NoError(t, <-answer)
	require.NoError(t, <-ended)
}

// A broker that recognises a repetition says no offset.
func TestDuplicateIsSuccess(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := runPublisher(t, c.ListenAddrs(), PublisherConfig{})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber})
	_, offset, err := p.Publish(t.Context(), Message{Topic: "t"})
	require.NoError(t, err)
	require.Equal(t, int64(-1), offset)
}

// Three failed look-ups open Sarama's circuit breaker for ten seconds. We do not wait for it.
func TestBreakerIsNotWaitedFor(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	p := runPublisher(t, brokers, PublisherConfig{})
	topic := kafkatest.Name(t)
	for range 6 {
		_, _, err := p.Publish(t.Context(), Message{Topic: topic})
		require.ErrorIs(t, err, ErrUnavailable)
	}
	_, err := Ensure(t.Context(), p.cfg, []TopicSpec{{Name: topic, Partitions: 1}}, true)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, _, err := p.Publish(t.Context(), Message{Topic: topic})
		return err == nil
	}, 8*time.Second, 10*time.Millisecond)
	require.NoError(t, p.Ready())
}

// Every record is answered exactly once and every acknowledged one is on the log, whatever happens to the broker.
func TestRestarts(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		t.Run(fmt.Sprintf("persistent=%t", persistent), func(t *testing.T) { testRestarts(t, persistent) })
	}
}

func testRestarts(t *testing.T, persistent bool) {
	dir := t.TempDir()
	b, err := embedded.Open(embedded.Config{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { b.Close() }()
	brokers := []string{b.Addr()}
	topic := kafkatest.Topic(t, brokers, 2)
	p := runPublisher(t, brokers, PublisherConfig{Persistent: persistent, Timeout: time.Second})

	load := newLoad(p, topic)
	for range 3 {
		load.waitForAcks(t, 200)
		require.NoError(t, b.Close())
		if !persistent { // a persistent one sits it out
			load.waitForErrors(t)
		}
		b, err = embedded.Open(embedded.Config{Dir: dir, Listen: brokers[0]})
		require.NoError(t, err)
	}
	load.waitForAcks(t, 200)
	load.stop()
	requireEmpty(t, p)
	require.NoError(t, p.Ready())
	load.requireOnLog(t, brokers, topic)
}

// load publishes from several goroutines and keeps the accounts.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	errs   atomic.Int64
	p      *Publisher

	mu    sync.Mutex
	acked []string
}

func newLoad(p *Publisher, topic string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, p: p}
	for range 8 {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.one(ctx, topic)
			}
		})
	}
	return l
}

func (l *load) one(ctx context.Context, topic string) {
	publish := l.p.Publish
	if l.p.pc.Persistent {
		publish = l.p.PublishForever
	}
	id := fmt.Sprint(rand.Uint64())
	_, _, err := publish(ctx, Message{Topic: topic, Partition: Hashed, Value: []byte(id)})
	if err != nil {
		l.errs.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, id)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) waitForAcks(t *testing.T, n int) {
	t.Helper()
	from := l.count()
	require.Eventually(t, func() bool { return l.count() >= from+n }, 60*time.Second, 5*time.Millisecond)
}

// waitForErrors waits until the outage shows.
func (l *load) waitForErrors(t *testing.T) {
	t.Helper()
	from := l.errs.Load()
	require.Eventually(t, func() bool { return l.errs.Load() > from }, 60*time.Second, 5*time.Millisecond)
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) requireOnLog(t *testing.T, brokers []string, topic string) {
	t.Helper()
	onLog := map[string]bool{}
	for _, r := range kafkatest.All(t, brokers, topic) {
		onLog[string(r.Value)] = true
	}
	for _, id := range l.acked {
		require.True(t, onLog[id], "an acknowledged record is lost")
	}
}
