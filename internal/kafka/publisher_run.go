package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

const (
	reconnectPause = 500 * time.Millisecond
	silence        = 5 * time.Second // without an answer, until Ready says so
)

// Run keeps a connection until ctx ends; then it takes nothing more, waits a few seconds for what is in hand and answers
// the rest with [ErrUnavailable]. Kafka not being there is no error: it is tried again for ever, and logged.
func (p *Publisher) Run(ctx context.Context) error {
	var old sync.WaitGroup
	defer waitFor(&old, time.Second) // by then nobody waits for an answer any more
	for {
		c := p.connect(ctx)
		if c == nil {
			return nil
		}
		reason := c.watch(ctx)
		p.disconnect(reason)
		if ctx.Err() != nil {
			p.finish(c, &old, p.pc.CloseTimeout, errClosed)
			return nil
		}
		p.pc.Log.Warn("the connection for publishing is made anew", zap.NamedError("reason", reason))
		p.finish(c, &old, reconnectPause, reason)
	}
}

// finish lets what is in hand end, for a while, and gives up the rest.
func (p *Publisher) finish(c *uplink, old *sync.WaitGroup, atMost time.Duration, reason error) {
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	c.drain(ctx)
	c.abandon(reason)
	old.Go(c.close)
}

var errClosed = errors.New("the publisher is closed")

// waitFor waits for wg, but not for ever: a frozen broker holds a socket for the length of its timeouts.
func waitFor(wg *sync.WaitGroup, atMost time.Duration) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(atMost):
	}
}

// connect tries until it has a connection, or gives nil when ctx ends.
func (p *Publisher) connect(ctx context.Context) *uplink {
	log := newSeldom(p.pc.Log.With(zap.Strings("brokers", p.cfg.Brokers)))
	for ctx.Err() == nil {
		c, err := p.dial(ctx)
		if err == nil {
			p.mu.Lock()
			p.up, p.down = c, nil
			p.mu.Unlock()
			p.pc.Log.Info("connected for publishing", zap.Strings("brokers", p.cfg.Brokers))
			return c
		}
		p.disconnect(err)
		log.warn("Kafka does not answer; publishing waits for it", err)
		pause(ctx, reconnectPause)
	}
	p.disconnect(errClosed)
	return nil
}

func (p *Publisher) disconnect(reason error) {
	if reason == nil {
		reason = errClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = nil, reason
}

func (p *Publisher) dial(ctx context.Context) (*uplink, error) {
	conf, err := p.cfg.producer(p.pc.Persistent)
	if err != nil {
		return nil, err
	}
	conf.Producer.MaxMessageBytes = p.recordLimit()
	if err := p.cfg.reach(ctx); err != nil {
		return nil, err
	}
	patience := 100 * time.Millisecond
	if p.pc.Persistent {
		patience = conf.Metadata.Timeout
	}
	client, err := newProducerClient(p.cfg.Brokers, conf, patience)
	if err != nil {
		return nil, err
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	return p.newUplink(client, producer), nil
}

// reach asks the brokers in turn until one answers: a producer that is made while none does tries for minutes.
func (c Config) reach(ctx context.Context) error {
	conf, err := c.producer(false)
	if err != nil {
		return err
	}
	bound(ctx, conf, c.Brokers)
	var errs []error
	for _, addr := range c.Brokers {
		b := sarama.NewBroker(addr)
		err := b.Open(conf)
		if err == nil {
			_, err = b.Connected() // waits for the connection, the login and the first answer
		}
		if err == nil {
			return b.Close()
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
