package kafka_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// scale multiplies the length of the restart tests: LAUDSPEAKER_TEST_SCALE, 1 without it.
func scale() int {
	n, _ := strconv.Atoi(os.Getenv("LAUDSPEAKER_TEST_SCALE"))
	return max(n, 1)
}

// field is a topic full of work, a ledger and a sink.
type field struct {
	t                    testing.TB
	brokers              []string
	topic, ledger, group string
	sink                 *sink
	jobs                 int
	spawned              int
}

func newField(t testing.TB, partitions int, delay time.Duration) *field {
	brokers := kafkatest.Brokers(t)
	return &field{
		t: t, brokers: brokers, sink: newSink(t, delay), group: kafkatest.Name(t),
		topic: kafkatest.Topic(t, brokers, partitions), ledger: kafkatest.Topic(t, brokers, partitions),
	}
}

// fill writes n jobs over that many keys: value "key/number", numbers growing by one within a key.
func (f *field) fill(n, keys int) {
	sc := sarama.NewConfig()
	sc.Producer.Return.Successes = true
	sc.Producer.RequiredAcks = sarama.WaitForAll
	p, err := sarama.NewSyncProducer(f.brokers, sc)
	require.NoError(f.t, err)
	defer p.Close()
	var batch []*sarama.ProducerMessage
	for i := range n {
		key := fmt.Sprintf("k%d", (f.jobs+i)%keys)
		batch = append(batch, &sarama.ProducerMessage{
			Topic: f.topic, Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(fmt.Sprintf("%s/%d", key, 1+(f.jobs+i)/keys)),
		})
		if len(batch) == 1000 || i == n-1 {
			require.NoError(f.t, p.SendMessages(batch))
			batch = batch[:0]
		}
	}
	f.jobs += n
}

func (f *field) spawn(concurrency int) *child {
	f.spawned++
	return spawn(f.t, fmt.Sprintf("w%d", f.spawned), f.brokers, f.group, f.topic, f.ledger, f.sink.URL, concurrency)
}

// awaitBusy returns when every worker has messages in flight: a fault that strikes an idle worker proves nothing.
func (f *field) awaitBusy(ws ...*child) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		for _, w := range ws {
			if f.sink.inFlight(w.name) == 0 {
				return false
			}
		}
		return true
	}, time.Minute, 5*time.Millisecond, "not all workers are busy")
}

// finish waits for the rest and judges: nothing lost, order kept, no more repeated than may be.
func (f *field) finish(mayRepeat int) {
	f.t.Helper()
	f.sink.await(f.t, f.jobs, 3*time.Minute)
	n, repeated := f.sink.distinct()
	f.t.Logf("%s; %d jobs, at most %d may be repeated", f.sink, f.jobs, mayRepeat)
	require.Equal(f.t, f.jobs, n)
	require.LessOrEqual(f.t, repeated, mayRepeat, "%s", strings.Join(f.sink.repetitions(), "\n"))
	require.Zero(f.t, f.sink.disorder)
}

func TestRollingRestartsRepeatNothing(t *testing.T) {
	f := newField(t, 12, 50*time.Millisecond)
	restarts := 3 * scale()
	f.fill(4000+9000*restarts, 500)
	ws := []*child{f.spawn(64), f.spawn(64), f.spawn(64)}
	for i := range restarts {
		f.awaitBusy(ws...)
		ws[i%3].term(t)
		ws[i%3] = f.spawn(64)
	}
	f.finish(0)
	for _, w := range ws {
		w.term(t)
	}
}

func TestKilledWorkersRepeatAtMostWhatWasInFlight(t *testing.T) {
	f := newField(t, 12, 50*time.Millisecond)
	kills := 2 * scale()
	f.fill(4000+20000*kills, 500)
	ws := []*child{f.spawn(64), f.spawn(64), f.spawn(64)}
	bound := 0
	for i := range kills {
		f.awaitBusy(ws...)
		bound += slots + awaiting
		ws[i%3].kill()
		ws[i%3] = f.spawn(64)
	}
	f.finish(bound)
	for _, w := range ws {
		w.term(t)
	}
}

func TestARunnerTakesUpWhatAnotherLeft(t *testing.T) {
	f := newField(t, 3, time.Millisecond)
	f.fill(500, 20)
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		done := f.inProcess(ctx, nil)
		f.sink.await(t, f.jobs, time.Minute)
		cancel()
		require.NoError(t, <-done)
		f.fill(500, 20)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := f.inProcess(ctx, nil)
	f.finish(0)
	cancel()
	require.NoError(t, <-done)
}

// inProcess runs a node in this process until ctx ends.
func (f *field) inProcess(ctx context.Context, more func(*kafka.RunnerConfig)) <-chan error {
	n, err := newNode(kafka.Config{Brokers: f.brokers}, f.group, []string{f.topic}, f.ledger, newCourier(f.sink.URL, "here"), testLog(f.t), more)
	require.NoError(f.t, err)
	done := make(chan error, 1)
	go func() { done <- n.run(ctx) }()
	return done
}
