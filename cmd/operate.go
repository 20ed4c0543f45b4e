package cmd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// publishFor is how long a command tries to have one record acknowledged, connecting included.
const publishFor = 15 * time.Second

// openedBus is Kafka as a command meets it that operates on what runs elsewhere: it belongs to no group and makes no topics.
// Its topics are those of all channels: whoever operates need not have the gateways in the configuration.
type openedBus struct {
	topics    dispatcher.Topics
	kafka     kafka.Config
	reader    *kafka.Reader
	publisher *kafka.Publisher
	connect   func() // runs the publisher; the second call does nothing
}

// openBus connects to kafka.brokers or, where that is empty, to the broker that the role all brings on this host. Whoever
// called it calls what it gives, to end the connections.
func openBus(ctx context.Context, cfg *config.Config) (*openedBus, func(), error) {
	b := &openedBus{topics: everyTopic(cfg), kafka: kafkaConfig(cfg)}
	if len(b.kafka.Brokers) == 0 {
		b.kafka.Brokers = []string{cfg.Kafka.Embedded.Listen}
	}
	if err := b.kafka.Validate(); err != nil {
		return nil, nil, err
	}
	var err error
	if b.reader, err = kafka.NewReader(b.kafka); err != nil {
		return nil, nil, err
	}
	b.publisher = kafka.NewPublisher(b.kafka, kafka.PublisherConfig{Timeout: publishFor, MaxMessageBytes: recordBytes(cfg)})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	b.connect = sync.OnceFunc(func() { running.Go(func() { _ = b.publisher.Run(ctx) }) }) // it ends with ctx and has no error
	stop := context.AfterFunc(ctx, b.reader.Close)                                        // its calls know no context
	end := func() {
		cancel()
		running.Wait()
		if stop() {
			b.reader.Close()
		}
	}
	if _, err := b.reader.ClusterID(); err != nil {
		end()
		return nil, nil, unreachable(cfg, err)
	}
	return b, end, nil
}

// publish waits until the record is acknowledged. It may be called at once from many goroutines.
func (b *openedBus) publish(ctx context.Context, m kafka.Message) error {
	b.connect()
	ctx, cancel := context.WithTimeout(ctx, publishFor)
	defer cancel()
	_, _, err := b.publisher.PublishForever(ctx, m)
	return err
}

// everyTopic names the topics of every channel, whether it has a gateway or not.
func everyTopic(cfg *config.Config) dispatcher.Topics {
	t := dispatcher.Topics{Prefix: cfg.Kafka.Prefix, Jobs: map[notify.Channel]string{}, Tiers: cfg.Kafka.Tiers()}
	for name, section := range cfg.Channels.ByName() {
		t.Jobs[notify.Channel(name)] = section.Topic
	}
	return t
}

// unreachable says what does not answer, and what starts it.
func unreachable(cfg *config.Config, err error) error {
	if len(cfg.Kafka.Brokers) == 0 {
		return fmt.Errorf("no broker answers at %s (kafka.embedded.listen): start it with \"laudspeaker all\", or name your Kafka, such as --brokers kafka-1:9092: %w",
			cfg.Kafka.Embedded.Listen, err)
	}
	return fmt.Errorf("no Kafka answers at %s (kafka.brokers): start it, or leave kafka.brokers empty for the broker that \"laudspeaker all\" brings: %w",
		strings.Join(cfg.Kafka.Brokers, ", "), err)
}
