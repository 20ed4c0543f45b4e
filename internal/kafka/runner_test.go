package kafka_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// play is a handler whose behaviour is the test's; it remembers what it was called with.
type play struct {
	act func(ctx context.Context, a *kafka.Attempt) kafka.Result

	mu    sync.Mutex
	calls []string
}

func (p *play) Identify(r *kafka.Record) string { return string(r.Value) }

func (p *play) Handle(ctx context.Context, a *kafka.Attempt) kafka.Result {
	p.mu.Lock()
	p.calls = append(p.calls, string(a.Value))
	p.mu.Unlock()
	return p.act(ctx, a)
}

func (p *play) called() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls...)
}

func done(a *kafka.Attempt) kafka.Result {
	return kafka.Result{Outcome: &kafka.Outcome{Key: a.Value, Value: []byte("{}")}}
}

// run works on the field with h until the test ends, or stop is called.
func (f *field) run(h kafka.Handler, more func(*kafka.RunnerConfig)) (stop func()) {
	n, err := newNode(kafka.Config{Brokers: f.brokers}, f.group, []string{f.topic}, f.ledger, h, testLog(f.t), more)
	require.NoError(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); require.NoError(f.t, <-ended) })
	f.t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, what func() bool, msg string) {
	t.Helper()
	require.Eventually(t, what, time.Minute, 5*time.Millisecond, msg)
}

func TestARecordIsCalledAgainAtItsTimeAndKeepsItsKey(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(6, 2) // k0/1 k1/1 k0/2 k1/2 k0/3 k1/3
	var first time.Time
	h := &play{}
	h.act = func(_ context.Context, a *kafka.Attempt) kafka.Result {
		if string(a.Value) != "k0/1" {
			return done(a)
		}
		tries, _ := a.Carry.(int)
		if tries == 0 {
			first = time.Now()
		}
		if tries < 2 {
			return kafka.Result{Again: time.Now().Add(100 * time.Millisecond), Carry: tries + 1}
		}
		if time.Since(first) < 200*time.Millisecond {
			t.Errorf("called again too early: after %s", time.Since(first))
		}
		return done(a)
	}
	f.run(h, nil)
	eventually(t, func() bool { return len(h.called()) == 8 }, "six records, one of them three times")
	var k0 []string
	for i, c := range h.called() {
		if strings.HasPrefix(c, "k0") {
			k0 = append(k0, c)
		} else {
			require.Less(t, i, 6, "another key waits for nothing")
		}
	}
	require.Equal(t, []string{"k0/1", "k0/1", "k0/1", "k0/2", "k0/3"}, k0)
}

func TestAPausedPartitionStartsNothingButWhatAskedToBeCalledAgain(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(200, 200)
	var held *kafka.Claim
	var open sync.Once
	gate := make(chan struct{})
	h := &play{}
	h.act = func(_ context.Context, a *kafka.Attempt) kafka.Result {
		select {
		case <-gate:
			return done(a)
		default:
			held = a.Pause()
			return kafka.Result{Again: time.Now().Add(20 * time.Millisecond)}
		}
	}
	f.run(h, func(rc *kafka.RunnerConfig) { rc.Concurrency = 1 })
	eventually(t, func() bool { return len(h.called()) >= 10 }, "the one that asked is called again and again")
	for _, c := range h.called() {
		require.Equal(t, h.called()[0], c, "nothing else is started")
	}
	open.Do(func() { close(gate) })
	eventually(t, func() bool { // the next call is done, and its handler's partition still held
		last := len(h.called())
		return last > 10
	}, "it goes on")
	held.Resume()
	eventually(t, func() bool {
		seen := map[string]bool{}
		for _, c := range h.called() {
			seen[c] = true
		}
		return len(seen) == 200
	}, "all come once the partition is resumed")
}

func TestFollowOnsComeBeforeTheOutcome(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(1, 1)
	dlq := kafkatest.Topic(t, f.brokers, 2)
	h := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		r := done(a)
		r.Follow = []kafka.Message{
			{Topic: dlq, Partition: 5, Key: a.Key, Value: a.Value, Headers: []kafka.Header{{Key: "n", Value: []byte("1")}}},
			{Topic: dlq, Partition: 5, Key: a.Key, Value: a.Value, Headers: []kafka.Header{{Key: "n", Value: []byte("2")}}},
		}
		return r
	}}
	f.run(h, nil)
	follow := kafkatest.Records(t, f.brokers, dlq, 2)
	for i, m := range follow {
		require.EqualValues(t, 1, m.Partition, "the partition is taken modulo the topic's count")
		require.EqualValues(t, i, m.Offset)
	}
	outcome := kafkatest.Records(t, f.brokers, f.ledger, 1)[0]
	require.False(t, outcome.Timestamp.Before(follow[1].Timestamp))
	headers := map[string]string{}
	for _, hd := range outcome.Headers {
		headers[string(hd.Key)] = string(hd.Value)
	}
	require.Regexp(t, "^[A-Za-z0-9_-]{22}$", headers["ls-job-topic-id"])
	delete(headers, "ls-job-topic-id")
	require.Equal(t, map[string]string{
		"ls-kind": "outcome", "ls-group": f.group, "ls-job-topic": f.topic, "ls-job-partition": "0", "ls-job-offset": "0", "ls-id": "k0/1",
	}, headers)
}

func TestWhatIsTooLargeGoesWithoutItsValue(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(1, 1)
	dlq := kafkatest.Topic(t, f.brokers, 1, "max.message.bytes", "2000")
	told := make(chan string, 1)
	h := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result {
		r := done(a)
		// not compressible, or it would fit
		r.Follow = []kafka.Message{{Topic: dlq, Partition: 0, Key: a.Key, Value: noise(5000)}}
		r.Ended = func(published *kafka.Outcome) { told <- string(published.Value) }
		return r
	}}
	f.run(h, func(rc *kafka.RunnerConfig) {
		rc.Shrink = func(_ *kafka.Record, res kafka.Result) kafka.Result {
			first := &res.Follow[0]
			if first.Headers == nil { // smaller, and still too large: it is asked once more
				first.Value, first.Headers = noise(3000), []kafka.Header{{Key: "reason", Value: []byte("too_large")}}
				return res
			}
			first.Value, res.Outcome = nil, &kafka.Outcome{Value: []byte("another end")}
			res.Follow = append(res.Follow, kafka.Message{Topic: dlq, Partition: 0, Value: []byte("and one more")})
			return res
		}
	})
	ms := kafkatest.Records(t, f.brokers, dlq, 2)
	require.Nil(t, ms[0].Value)
	require.Equal(t, "too_large", string(ms[0].Headers[0].Value))
	require.Equal(t, "and one more", string(ms[1].Value))
	require.Equal(t, "another end", string(kafkatest.Records(t, f.brokers, f.ledger, 1)[0].Value))
	require.Equal(t, "another end", <-told)
}

func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func TestAPanicIsNotTheEndOfTheProcessNorOfTheRecord(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(3, 3)
	h := &play{}
	h.act = func(_ context.Context, a *kafka.Attempt) kafka.Result {
		if string(a.Value) == "k1/1" {
			panic("poison")
		}
		return done(a)
	}
	n, err := newNode(kafka.Config{Brokers: f.brokers}, f.group, []string{f.topic}, f.ledger, h, quiet(), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	kafkatest.Records(t, f.brokers, f.ledger, 2)
	cancel()
	require.NoError(t, <-ended)
	f.group += "" // the same group: what panicked was not done
	h2 := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result { return done(a) }}
	f.run(h2, nil)
	kafkatest.Records(t, f.brokers, f.ledger, 3)
	require.Equal(t, []string{"k1/1"}, h2.called())
}

func TestAnIntentIsOnTheLedgerBeforeItReturnsAndStandsUntilTheOutcome(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(1, 1)
	var failed error
	reached := make(chan struct{})
	h := &play{act: func(ctx context.Context, a *kafka.Attempt) kafka.Result {
		failed = a.Intent(ctx, kafka.Header{Key: "ls-run", Value: []byte("0")})
		close(reached)
		return kafka.Result{Again: time.Now().Add(time.Hour)} // as if it were killed before the outcome
	}}
	stop := f.run(h, nil)
	<-reached
	require.NoError(t, failed)
	intent := kafkatest.Records(t, f.brokers, f.ledger, 1)[0]
	require.Empty(t, intent.Value)
	stop()

	var seen []string
	h2 := &play{act: func(_ context.Context, a *kafka.Attempt) kafka.Result { return done(a) }}
	f.run(h2, func(rc *kafka.RunnerConfig) {
		rc.OnLedger = func(_ string, _ int32, r *kafka.Record) {
			kind, _ := r.Header(kafka.HeaderKind)
			seen = append(seen, kind)
		}
	})
	kafkatest.Records(t, f.brokers, f.ledger, 2)
	require.Equal(t, []string{"intent"}, seen, "L stayed before the intent")
	require.Equal(t, []string{"k0/1"}, h2.called())
}

func TestThreeGroupsShareALedger(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	ledger := kafkatest.Topic(t, brokers, 1)
	const jobs = 300
	var fields []*field
	var stops []func()
	for range 3 { // offsets of the three overlap on purpose
		f := &field{t: t, brokers: brokers, ledger: ledger, topic: kafkatest.Topic(t, brokers, 2), group: kafkatest.Name(t), sink: newSink(t, 2*time.Millisecond)}
		f.fill(jobs, 30)
		fields = append(fields, f)
		stops = append(stops, f.run(newCourier(f.sink.URL, "a"), nil))
	}
	for i, f := range fields {
		f.sink.await(t, jobs/3, time.Minute)
		stops[i]() // in the middle of it
		f.run(newCourier(f.sink.URL, "b"), nil)
	}
	for _, f := range fields {
		f.finish(0)
	}
}

func TestADeletedGroupFindsEverythingOnTheLedger(t *testing.T) {
	f := newField(t, 2, 0)
	f.fill(400, 40)
	stop := f.run(newCourier(f.sink.URL, "a"), nil)
	f.sink.await(t, 400, time.Minute)
	kafkatest.Records(t, f.brokers, f.ledger, 400)
	stop()
	admin := f.admin()
	require.Eventually(t, func() bool { return admin.DeleteConsumerGroup(f.group) == nil }, time.Minute, 100*time.Millisecond)
	f.fill(40, 40)
	f.run(newCourier(f.sink.URL, "b"), nil)
	f.finish(0)
}

func TestAnOperatorsResetRunsAgainWhatItNames(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(100, 10)
	stop := f.run(newCourier(f.sink.URL, "a"), nil)
	f.sink.await(t, 100, time.Minute)
	kafkatest.Records(t, f.brokers, f.ledger, 100)
	stop()
	f.commit(60)
	f.run(newCourier(f.sink.URL, "b"), nil)
	eventually(t, func() bool { _, again := f.sink.distinct(); return again == 40 }, "offsets 60 to 99 are sent again")
	f.fill(10, 10)
	f.sink.await(t, 110, time.Minute)
	_, again := f.sink.distinct()
	require.Equal(t, 40, again)
}

func TestACommitBeyondTheEndLosesNothing(t *testing.T) {
	f := newField(t, 1, 0)
	f.fill(50, 5)
	f.commit(350)
	f.run(newCourier(f.sink.URL, "a"), nil)
	f.finish(0)
}

// commit sets the group's offset as an operator's tool does: without metadata.
func (f *field) commit(offset int64) {
	sc := sarama.NewConfig()
	c, err := sarama.NewClient(f.brokers, sc)
	require.NoError(f.t, err)
	defer c.Close()
	var failed error
	require.Eventually(f.t, func() bool {
		b, err := c.Coordinator(f.group)
		if err != nil {
			failed = err
			return false
		}
		req := sarama.NewOffsetCommitRequest(sc, f.group)
		req.AddBlockWithLeaderEpoch(f.topic, 0, offset, -1, 0, "")
		resp, err := b.CommitOffset(req)
		if err != nil {
			failed = err
			return false
		}
		if kerr := resp.Errors[f.topic][0]; kerr != sarama.ErrNoError {
			failed = kerr
			return false
		}
		return true
	}, time.Minute, 100*time.Millisecond, "%v", failed)
}

func (f *field) admin() sarama.ClusterAdmin {
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	a, err := sarama.NewClusterAdmin(f.brokers, sc)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestARunnerRefusesADrainBeyondTheRebalance(t *testing.T) {
	_, err := newNode(kafka.Config{Brokers: []string{"127.0.0.1:1"}}, "g", []string{"t"}, "l", &play{}, quiet(),
		func(rc *kafka.RunnerConfig) { rc.Drain = time.Minute })
	require.ErrorContains(t, err, "drain")
}

func TestARunnerWaitsForKafka(t *testing.T) {
	addr := freePort(t)
	n, err := newNode(kafka.Config{Brokers: []string{addr}}, "g", []string{"t"}, "l", &play{}, quiet(), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	eventually(t, func() bool { return n.runner.Ready() != nil && !errors.Is(n.runner.Ready(), context.Canceled) }, "it says why")
	cancel()
	require.NoError(t, <-ended)
}
