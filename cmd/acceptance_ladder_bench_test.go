package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/kafka/kafkatest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// BenchmarkLadderMoves: the movers of one process, and jobs of lane bulk that are all due on the shortest tier of a real Kafka.
func BenchmarkLadderMoves(b *testing.B) {
	brokers := realKafka(b)
	const n = 50_000
	for b.Loop() {
		name := kafkatest.Name(b)
		prefix := "bench-" + name[strings.LastIndexByte(name, '.')+1:] + "."
		cfg, err := config.Load(config.Source{Env: []string{
			"LAUDSPEAKER_KAFKA_BROKERS=" + brokers, "LAUDSPEAKER_KAFKA_PREFIX=" + prefix,
			"LAUDSPEAKER_GATEWAYS_SIM_TYPE=sim", "LAUDSPEAKER_CHANNELS_SMS_GATEWAYS=sim",
		}})
		require.NoError(b, err)
		p, err := newProcess(cfg, io.Discard, "work", false)
		require.NoError(b, err)
		require.NoError(b, p.makeTopics(b.Context()))
		fillTier(b, p.kafka.Brokers, p.topics.Delay(notify.ChannelSMS, notify.LaneBulk, 0), n)

		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- p.work(ctx, []notify.Channel{notify.ChannelSMS}, nil, func() {}) }()
		reader, err := kafka.NewReader(p.kafka)
		require.NoError(b, err)
		require.Eventually(b, func() bool {
			bounds, err := reader.Bounds(p.topics.Job(notify.ChannelSMS, notify.LaneBulk))
			moved := 0
			for _, at := range bounds {
				moved += int(at.Newest)
			}
			return err == nil && moved >= n
		}, 5*time.Minute, 20*time.Millisecond)
		b.ReportMetric(n/time.Since(began).Seconds(), "moves/s")
		cancel()
		require.NoError(b, <-ended)
		reader.Close()
		kafkatest.Forget(b, p.kafka.Brokers, prefix)
	}
}

// fillTier writes jobs to a delay topic that are due.
func fillTier(b *testing.B, brokers []string, topic string, n int) {
	ctx, cancel := context.WithCancel(b.Context())
	publisher := kafka.NewPublisher(kafka.Config{Brokers: brokers}, kafka.PublisherConfig{Persistent: true})
	ended := make(chan error, 1)
	go func() { ended <- publisher.Run(ctx) }()
	var all sync.WaitGroup
	work := make(chan int)
	for range 500 {
		all.Go(func() {
			for i := range work {
				_, _, err := publisher.PublishForever(ctx, kafka.Message{
					Topic: topic, Partition: int32(i % 12), Key: fmt.Append(nil, i), Value: []byte(`{"channel":"sms","recipient":"+14155550100","payload":{"body":"hello"}}`),
					Headers: []kafka.Header{
						{Key: notify.HeaderID, Value: []byte(notify.NewID())},
						{Key: notify.HeaderLane, Value: []byte("bulk")},
						{Key: notify.HeaderHome, Value: fmt.Append(nil, i%12)},
						{Key: notify.HeaderStep, Value: []byte("1")},
						{Key: notify.HeaderNotBefore, Value: []byte(time.Now().UTC().Format(time.RFC3339Nano))},
					},
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
	cancel()
	require.NoError(b, <-ended)
}
