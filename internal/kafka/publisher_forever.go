package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// PublishForever writes m again and again until it is acknowledged, ctx ends or m is found [ErrTooLarge]. It must not be
// called from the done of [Publisher.Send].
func (p *Publisher) PublishForever(ctx context.Context, m Message) (partition int32, offset int64, err error) {
	for try := 0; ; try++ {
		partition, offset, err = p.await(ctx, m)
		if err == nil || errors.Is(err, ErrTooLarge) {
			return partition, offset, err
		}
		if ctx.Err() != nil {
			return 0, -1, err
		}
		if try == 0 {
			defer p.wait()()
		}
		p.logWaiting(m.Topic, err)
		pause(ctx, producerBackoff(try, 0))
	}
}

// wait counts a record that is being tried again, for [Publisher.Ready].
func (p *Publisher) wait() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
	}
}

// logWaiting says once a minute that records wait.
func (p *Publisher) logWaiting(topic string, err error) {
	p.mu.Lock()
	waiting, due := p.waiting, time.Since(p.logged) >= time.Minute
	if due {
		p.logged = time.Now()
	}
	p.mu.Unlock()
	if due {
		p.pc.Log.Error("records wait to be published", zap.Int("records", waiting), zap.String("topic", topic), zap.Error(err))
	}
}

// publishAlone writes s over a connection of its own, so that no other record can be in its batch. One at a time: it is
// for the rare topic that takes less than was assumed.
func (p *Publisher) publishAlone(s *sending) (int32, int64, error) {
	p.alone.Lock()
	defer p.alone.Unlock()
	conf, err := p.cfg.producer(false)
	if err != nil {
		return 0, -1, err
	}
	conf.Producer.MaxMessageBytes = int(sarama.MaxRequestSize) - 1
	client, err := sarama.NewClient(p.cfg.Brokers, conf)
	if err != nil {
		return 0, -1, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return 0, -1, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer producer.Close()
	m := s.message
	m.Offset = -1
	partition, offset, err := producer.SendMessage(&m)
	switch {
	case errors.Is(err, sarama.ErrMessageSizeTooLarge):
		return 0, -1, fmt.Errorf("%w: the broker refused %d bytes", ErrTooLarge, s.size)
	case err != nil:
		return 0, -1, fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return partition, offset, nil
	}
}
