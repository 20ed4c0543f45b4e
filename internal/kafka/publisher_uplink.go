package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// uplink is one Sarama producer, from its making to its end.
//
//	Send ─▶ queue ─▶ feed ─▶ Sarama ─▶ readSuccesses, readErrors ─▶ done
//
// Its fields below p are guarded by the publisher's lock.
type uplink struct {
	p        *Publisher
	client   sarama.Client
	producer sarama.AsyncProducer
	queue    chan *sending // as large as what may be in hand: putting into it never blocks
	closing  chan struct{} // ends feed
	retired  chan error    // why another connection has to be made; holds one
	feeding  sync.WaitGroup
	reading  sync.WaitGroup
	repeats  sync.WaitGroup

	held     map[*sending]struct{} // taken and neither acknowledged nor refused
	moved    time.Time             // when one of held went, or the first came
	failing  time.Time             // since when all that ended failed; zero when the last was acknowledged
	draining bool
	idle     chan struct{} // closed once draining and nothing is held
}

func (p *Publisher) newUplink(client sarama.Client, producer sarama.AsyncProducer) *uplink {
	c := &uplink{
		p: p, client: client, producer: producer,
		queue:   make(chan *sending, p.pc.MaxRecords),
		closing: make(chan struct{}),
		retired: make(chan error, 1),
		held:    map[*sending]struct{}{},
		idle:    make(chan struct{}),
	}
	c.feeding.Go(c.feed)
	c.reading.Go(c.readSuccesses)
	c.reading.Go(c.readErrors)
	return c
}

// take puts s on its way. The lock is held.
func (c *uplink) take(s *sending) {
	if len(c.held) == 0 {
		c.moved = time.Now()
	}
	c.held[s] = struct{}{}
	c.queue <- s
}

// feed hands over to Sarama, which blocks while it looks for a leader.
func (c *uplink) feed() {
	for {
		select {
		case <-c.closing:
			return
		case s := <-c.queue:
			if s.answered.Load() { // its caller has given up
				c.release(s, false, nil)
				continue
			}
			select {
			case c.producer.Input() <- &s.message:
			case <-c.closing:
				return
			}
		}
	}
}

func (c *uplink) readSuccesses() {
	for m := range c.producer.Successes() {
		s := m.Metadata.(*sending)
		c.release(s, true, nil)
		s.answer(m.Partition, m.Offset, nil)
	}
}

func (c *uplink) readErrors() {
	for e := range c.producer.Errors() {
		s := e.Msg.Metadata.(*sending)
		if errors.Is(e.Err, sarama.ErrMessageSizeTooLarge) {
			c.repeats.Go(func() { c.again(s) })
			continue
		}
		c.release(s, false, e.Err)
		s.answer(0, -1, fmt.Errorf("%w: %w", ErrUnavailable, e.Err))
	}
}

// again publishes s by itself: what the broker has refused was the batch that s was in.
func (c *uplink) again(s *sending) {
	partition, offset, err := c.p.publishAlone(s)
	failure := err
	if errors.Is(err, ErrTooLarge) {
		failure = nil // of the record, not of Kafka
	}
	c.release(s, err == nil, failure)
	s.answer(partition, offset, err)
}

// release forgets s, which is no longer on its way. A failure is Kafka's, not the record's.
func (c *uplink) release(s *sending, acked bool, failure error) {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	c.note(acked, failure)
	if _, ok := c.held[s]; !ok {
		return // abandoned
	}
	delete(c.held, s)
	p.records--
	p.bytes -= s.size
	c.moved = time.Now()
	c.signal()
}

// note keeps what [Publisher.Ready] and trouble judge by. The lock is held.
func (c *uplink) note(acked bool, failure error) {
	switch {
	case acked:
		c.failing, failure = time.Time{}, nil
	case failure == nil:
		return
	case c.failing.IsZero():
		c.failing = time.Now()
	}
	if c.p.up == c {
		c.p.down = failure
	}
}

// signal tells drain that nothing is held. The lock is held.
func (c *uplink) signal() {
	if c.draining && len(c.held) == 0 {
		close(c.idle)
		c.draining = false
	}
}

// watch returns when ctx ends, or with the reason why this connection is of no more use.
func (c *uplink) watch(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case reason := <-c.retired:
			return reason
		case <-tick.C:
			if reason := c.trouble(time.Now()); reason != nil {
				return reason
			}
		}
	}
}

// trouble: nothing moves although records are in hand, or they fail and nothing has succeeded since. Sarama would find
// out of both by itself, the first after minutes, the second once its circuit breaker closes.
func (c *uplink) trouble(now time.Time) error {
	limit := c.p.pc.Timeout
	if c.p.pc.Persistent {
		limit = 90 * time.Second // above what Sarama sits out by itself
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	switch {
	case c.still(now) >= limit:
		return fmt.Errorf("no answer for %s", limit)
	case !c.failing.IsZero() && now.Sub(c.failing) >= time.Second:
		return c.p.down
	default:
		return nil
	}
}

// still is how long nothing has moved although records are in hand. The lock is held.
func (c *uplink) still(now time.Time) time.Duration {
	if len(c.held) == 0 {
		return 0
	}
	return now.Sub(c.moved)
}

// retire asks for another connection. The lock is held.
func (c *uplink) retire(reason error) {
	select {
	case c.retired <- reason:
	default:
	}
}

// drain waits until nothing is in hand or ctx ends. Nothing must be taken meanwhile.
func (c *uplink) drain(ctx context.Context) {
	c.p.mu.Lock()
	c.draining = true
	c.signal()
	c.p.mu.Unlock()
	select {
	case <-c.idle:
	case <-ctx.Done():
	}
}

// abandon answers all that is still in hand. An acknowledgement that comes later finds nobody.
func (c *uplink) abandon(reason error) {
	c.p.mu.Lock()
	left := c.held
	c.held = map[*sending]struct{}{}
	for s := range left {
		c.p.records--
		c.p.bytes -= s.size
	}
	c.p.mu.Unlock()
	for s := range left {
		s.answer(0, -1, fmt.Errorf("%w: %w", ErrUnavailable, reason))
	}
}

// close ends the producer. Closing the client first cuts short what Sarama would try for minutes.
func (c *uplink) close() {
	close(c.closing)
	c.feeding.Wait() // Sarama closes the channel that feed writes to
	c.client.Close()
	c.producer.AsyncClose()
	c.reading.Wait()
	c.repeats.Wait()
}
