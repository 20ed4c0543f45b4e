package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
)

// runPublisher runs p until the test ends, and waits until it is ready.
func runPublisher(t *testing.T, brokers []string, pc PublisherConfig) *Publisher {
	t.Helper()
	p := startPublisher(t, brokers, pc)
	require.Eventually(t, func() bool { return p.Ready() == nil }, time.Minute, 5*time.Millisecond)
	return p
}

func startPublisher(t *testing.T, brokers []string, pc PublisherConfig) *Publisher {
	t.Helper()
	pc.Log = zaptest.NewLogger(t)
	p := NewPublisher(Config{Brokers: brokers}, pc)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return p
}

func TestPublish(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	p := runPublisher(t, brokers, PublisherConfig{})

	partition, offset, err := p.Publish(t.Context(), Message{
		Topic: topic, Partition: 4, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"ls-id", []byte("1")}},
	})
	require.NoError(t, err)
	require.Equal(t, int32(1), partition, "4 modulo 3")
	require.Zero(t, offset)

	r := kafkatest.Records(t, brokers, topic, 1)[0]
	require.Equal(t, "k", string(r.Key))
	require.Equal(t, "v", string(r.Value))
	require.Equal(t, "ls-id", string(r.Headers[0].Key))
	require.Equal(t, "1", string(r.Headers[0].Value))
}

// The partitions that Kafka's Java client chooses of 12: from its own test of Utils.murmur2, masked and taken modulo.
func TestHashedAsJava(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 12)
	p := runPublisher(t, brokers, PublisherConfig{})
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		partition, _, err := p.Publish(t.Context(), Message{Topic: topic, Partition: Hashed, Key: []byte(key), Value: []byte("v")})
		require.NoError(t, err)
		require.Equal(t, hash&0x7fffffff%12, partition, key)
		require.Equal(t, partition, Home([]byte(key))%12, key)
	}
}

// Records without an order must not form one queue.
func TestKeylessSpreads(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 4)
	p := runPublisher(t, brokers, PublisherConfig{})
	for name, key := range map[string][]byte{"null": nil, "empty": {}} {
		count := map[int32]int{}
		for range 200 {
			partition, _, err := p.Publish(t.Context(), Message{Topic: topic, Partition: Hashed, Key: key, Value: []byte("v")})
			require.NoError(t, err)
			count[partition]++
		}
		for partition := range int32(4) {
			require.Greater(t, count[partition], 20, "%s key, partition %d of %v", name, partition, count)
		}
	}
}

func TestNullValue(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	p := runPublisher(t, brokers, PublisherConfig{})
	for _, value := range [][]byte{nil, {}} {
		_, _, err := p.Publish(t.Context(), Message{Topic: topic, Key: []byte("k"), Value: value})
		require.NoError(t, err)
	}
	rs := kafkatest.Records(t, brokers, topic, 2)
	require.Nil(t, rs[0].Value, "a tombstone")
	require.NotNil(t, rs[1].Value, "an empty value")
}

func TestSendKeepsOrder(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	p := runPublisher(t, brokers, PublisherConfig{Persistent: true})
	const n = 2000
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		require.NoError(t, p.Send(Message{Topic: topic, Value: fmt.Append(nil, i)}, func(_ int32, offset int64, err error) {
			defer wg.Done()
			if err != nil || offset != int64(i) {
				t.Errorf("record %d: offset %d, %v", i, offset, err)
			}
		}))
	}
	wg.Wait()
	for i, r := range kafkatest.Records(t, brokers, topic, n) {
		require.Equal(t, fmt.Sprint(i), string(r.Value))
	}
}

func TestTooLargeForUs(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	p := runPublisher(t, brokers, PublisherConfig{MaxMessageBytes: 10_000})
	fits := Message{Topic: topic, Value: make([]byte, 8900)}
	_, _, err := p.Publish(t.Context(), fits)
	require.NoError(t, err)
	for name, m := range map[string]Message{
		"value":   {Topic: topic, Value: make([]byte, 10_000)},
		"key":     {Topic: topic, Key: make([]byte, 10_000)},
		"headers": {Topic: topic, Headers: []Header{{"h", make([]byte, 10_000)}}},
	} {
		_, _, err := p.Publish(t.Context(), m)
		require.ErrorIs(t, err, ErrTooLarge, name)
		_, _, err = p.PublishForever(t.Context(), m)
		require.ErrorIs(t, err, ErrTooLarge, name)
		require.ErrorIs(t, p.Send(m, nil), ErrTooLarge, name)
	}
	require.NoError(t, p.Ready(), "a large record says nothing of Kafka")

	p.LimitRecords(5_000)
	_, _, err = p.Publish(t.Context(), fits)
	require.ErrorIs(t, err, ErrTooLarge)
}

// A topic that takes less than we assume: what is too large is refused, and takes nothing along that was in its batch.
func TestTooLargeForTheTopic(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1, "max.message.bytes", "3000")
	p := runPublisher(t, brokers, PublisherConfig{})
	var wg sync.WaitGroup
	for i := range 20 {
		size, want := 1000, error(nil)
		if i%5 == 4 {
			size, want = 5000, ErrTooLarge
		}
		wg.Add(1)
		require.NoError(t, p.Send(Message{Topic: topic, Value: random(size)}, func(_ int32, _ int64, err error) {
			defer wg.Done()
			if !errors.Is(err, want) {
				t.Errorf("record %d of %d bytes: %v", i, size, err)
			}
		}))
	}
	wg.Wait()
	kafkatest.Records(t, brokers, topic, 16)
	require.NoError(t, p.Ready())
	requireEmpty(t, p)
}

// random does not compress, as an attachment.
func random(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestDeadlineOfTheCaller(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	p := runPublisher(t, brokers, PublisherConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := p.Publish(ctx, Message{Topic: topic, Value: []byte("v")})
	if err != nil { // the acknowledgement may have been quicker
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, context.Canceled)
	}
	requireEmpty(t, p)
}

// requireEmpty: nothing stays in hand.
func requireEmpty(t *testing.T, p *Publisher) {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.records == 0 && p.bytes == 0 && p.waiting == 0
	}, time.Minute, 5*time.Millisecond)
}

func TestNoKafka(t *testing.T) {
	p := startPublisher(t, []string{"127.0.0.1:1"}, PublisherConfig{})
	_, _, err := p.Publish(t.Context(), Message{Topic: "t"})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, p.Ready(), ErrUnavailable)
	require.Eventually(t, func() bool { return strings.Contains(p.Ready().Error(), "refused") }, time.Minute, 5*time.Millisecond,
		"the cause is named")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := p.PublishForever(ctx, Message{Topic: "t"})
		ended <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(p.Ready().Error(), "1 records wait") }, time.Minute, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, ErrUnavailable)
	requireEmpty(t, p)
}

func TestProducerValues(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		sc, err := Config{Brokers: []string{"b:1"}}.producer(persistent)
		require.NoError(t, err)
		require.NoError(t, sc.Validate())
		require.True(t, sc.Producer.Idempotent)
		require.Equal(t, sarama.WaitForAll, sc.Producer.RequiredAcks)
		require.Zero(t, sc.Producer.Flush, "no linger")
		require.Greater(t, sc.Net.ReadTimeout, sc.Producer.Timeout, "the broker gives up first")
	}
}
