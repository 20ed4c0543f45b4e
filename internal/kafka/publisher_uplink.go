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
//	Send ─▶ the partition's queue ─▶ ready ─▶ feed ─▶ Sarama ─▶ readSuccesses, readErrors ─▶ done
//
// Its fields below p are guarded by the publisher's lock.
type uplink struct {
	p        *Publisher
	client   sarama.Client
	producer sarama.AsyncProducer
	ready    chan *sending // as large as what may be in hand: putting into it never blocks
	unknown  chan struct{} // wakes resolve; holds one
	closing  chan struct{} // ends feed, resolve and survey
	retired  chan error    // why another connection has to be made; holds one
	feeding  sync.WaitGroup
	reading  sync.WaitGroup
	repeats  sync.WaitGroup

	held       map[*sending]struct{} // taken and neither acknowledged nor refused
	moved      time.Time             // when one of held went, or the first came
	acked      time.Time             // when one was acknowledged last
	failing    time.Time             // since when all that ended failed; zero when the last was acknowledged
	failed     time.Time             // when one failed last
	cause      error                 // of that
	queues     map[topicPartition]*partitionQueue
	counts     map[string]int32   // of partitions, by topic
	hashed     sarama.Partitioner // chooses as Kafka's Java client
	unresolved []*sending         // whose topic is not in counts
	draining   bool
	idle       chan struct{} // closed once draining and nothing is held
}

func (p *Publisher) newUplink(client sarama.Client, producer sarama.AsyncProducer) *uplink {
	c := &uplink{
		p: p, client: client, producer: producer,
		ready:   make(chan *sending, p.pc.MaxRecords),
		unknown: make(chan struct{}, 1),
		queues:  map[topicPartition]*partitionQueue{},
		counts:  map[string]int32{},
		hashed:  sarama.NewMurmur2Partitioner(""),
		closing: make(chan struct{}),
		retired: make(chan error, 1),
		held:    map[*sending]struct{}{},
		idle:    make(chan struct{}),
	}
	c.feeding.Go(c.feed)
	c.feeding.Go(c.resolve)
	c.feeding.Go(c.survey)
	c.reading.Go(c.readSuccesses)
	c.reading.Go(c.readErrors)
	return c
}

// take puts s on its way, or says why not. The lock is held.
func (c *uplink) take(s *sending) error {
	q, err := c.queueOf(s)
	switch {
	case errors.Is(err, errUnresolved):
		if most, _ := c.share(); len(c.unresolved) >= most {
			return fmt.Errorf("%w: %d records of topics that are not known yet", ErrFull, len(c.unresolved))
		}
	case err != nil:
		return err
	case q.records > 0:
		if err := c.admits(q, s.size, time.Now()); err != nil {
			return err
		}
	}
	if len(c.held) == 0 {
		c.moved = time.Now()
	}
	c.p.records++
	c.p.bytes += s.size
	c.held[s] = struct{}{}
	if q != nil {
		c.enqueue(q, s)
		return nil
	}
	c.unresolved = append(c.unresolved, s)
	select {
	case c.unknown <- struct{}{}:
	default:
	}
	return nil
}

// feed hands over to Sarama. It does not wait for single partitions: of each no more is handed over than fits its queue there.
func (c *uplink) feed() {
	for {
		select {
		case <-c.closing:
			return
		case s := <-c.ready:
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
		if !m.Timestamp.IsZero() { // only of topics with LogAppendTime
			c.p.skew.take(s.begun, m.Timestamp, time.Now(), c.p.pc.Log)
		}
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
		s.answer(0, -1, fmt.Errorf("%w: %s/%d: %w", ErrUnavailable, e.Msg.Topic, s.partition, e.Err))
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
	c.left(s, acked, failure)
	c.signal()
}

// note keeps what [Publisher.Ready] and trouble judge by. The lock is held.
func (c *uplink) note(acked bool, failure error) {
	switch {
	case acked:
		c.failing = time.Time{}
	case failure != nil:
		if c.failed, c.cause = time.Now(), failure; c.failing.IsZero() {
			c.failing = c.failed
		}
	}
}

// failsNow reports whether records have failed lately and none has been acknowledged since. The lock is held.
func (c *uplink) failsNow(now time.Time) bool {
	return !c.failing.IsZero() && now.Sub(c.failed) < 2*silence
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
	var checked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case reason := <-c.retired:
			return reason
		case <-tick.C:
		}
		c.tend(time.Now())
		reason, sure := c.trouble(time.Now())
		if reason == nil || !sure && time.Since(checked) < reachEvery {
			continue
		}
		if sure || c.p.cfg.reach(ctx) != nil {
			return reason
		}
		checked = time.Now() // some partitions are in trouble, not Kafka
	}
}

// reachEvery is how often the brokers are asked at most whether they are there.
const reachEvery = 2 * time.Second

// trouble says why another connection may have to be made: nothing moves although records are in hand, or they fail and
// nothing has succeeded since. Unless it is sure, that may be due to single partitions: it counts when no broker can be reached.
func (c *uplink) trouble(now time.Time) (reason error, sure bool) {
	soon, most := min(max(time.Second, c.p.pc.Timeout/5), c.p.pc.Timeout), 3*c.p.pc.Timeout
	if c.p.pc.Persistent {
		soon, most = 90*time.Second, 90*time.Second // above what Sarama sits out by itself
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	still := c.still(now)
	switch {
	case still >= soon:
		return fmt.Errorf("no answer for %s", still.Round(time.Millisecond)), still >= most
	case !c.failing.IsZero() && now.Sub(c.failing) >= time.Second:
		return c.cause, false
	default:
		return nil, false
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
