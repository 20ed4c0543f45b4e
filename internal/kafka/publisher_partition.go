package kafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// One Sarama producer serves all partitions, and its goroutines hand records from one to the next: a partition whose queue
// in there is full blocks its topic, and then all topics. So each partition hands over no more than a bounded part of its
// records and keeps the rest here.

// Of one partition, Sarama gets at most so many records, and no more bytes than fit one batch: with more, the goroutine that
// writes to the broker would wait until the partition's batch under way is acknowledged.
const (
	mostHanded     = 512
	producerBuffer = 2 * mostHanded // of each of Sarama's queues; its own messages about retries need room, too
)

// partitionSilence is how long a partition may acknowledge nothing, while others do, until its records are refused; shortSilence
// holds for one that has much of the room.
const (
	partitionSilence = 3 * time.Second
	shortSilence     = time.Second
)

// partitionQueue is what a connection has in hand of one partition. The publisher's lock guards it.
type partitionQueue struct {
	topicPartition
	waiting     fifo[*sending] // not handed to Sarama yet
	handed      int
	handedBytes int64
	records     int // handed or waiting
	bytes       int64
	much        int       // so many records are much of the room
	moved       time.Time // when one ended, or the first came
	failing     time.Time // since when all that ended failed; zero when the last was acknowledged
	failed      time.Time // when one failed last
	cause       error     // of the last failure
	refusing    bool      // it has been logged
}

// errUnresolved: the partitions of a record's topic have to be asked for.
var errUnresolved = errors.New("the topic's partitions are not known yet")

// queueOf chooses the partition of s. The publisher's lock is held.
func (c *uplink) queueOf(s *sending) (*partitionQueue, error) {
	topic := s.message.Topic
	n := c.counts[topic]
	if n == 0 {
		return nil, errUnresolved
	}
	switch {
	case s.home >= 0:
		s.partition = s.home % n
	case keyed(&s.message):
		p, err := c.hashed.Partition(&s.message, n)
		if err != nil {
			return nil, fmt.Errorf("choose the partition: %w", err)
		}
		s.partition = p
	default: // no order: any partition that works
		s.partition = rand.Int32N(n)
		now := time.Now()
		for range n - 1 {
			if !c.queue(topic, s.partition).dead(c.acked, now) {
				break
			}
			s.partition = (s.partition + 1) % n
		}
	}
	return c.queue(topic, s.partition), nil
}

func (c *uplink) queue(topic string, partition int32) *partitionQueue {
	tp := topicPartition{topic, partition}
	q := c.queues[tp]
	if q == nil {
		q = &partitionQueue{topicPartition: tp, much: c.p.pc.MaxRecords / 16}
		c.queues[tp] = q
	}
	return q
}

// dead reports whether the partition cannot be written, as far as is known: all that ended lately failed, or it acknowledges
// nothing for a while in which others did. acked is when any partition acknowledged last.
func (q *partitionQueue) dead(acked, now time.Time) bool {
	limit := partitionSilence
	if q.records >= q.much {
		limit = shortSilence
	}
	return !q.failing.IsZero() || q.handed > 0 && now.Sub(q.moved) >= limit && acked.Sub(q.moved) >= limit/2
}

// admits says why a record of size bytes is not taken. A dead partition is tried with one record at a time: its
// acknowledgement lets the others in again. A persistent publisher takes as many as there is room for.
func (c *uplink) admits(q *partitionQueue, size int64, now time.Time) error {
	most, mostBytes := c.share()
	switch {
	case q.records >= most || q.records > 0 && q.bytes+size > mostBytes:
		return fmt.Errorf("%w: %d records, %d bytes of %s", ErrFull, q.records, q.bytes, q.topicPartition)
	case c.p.pc.Persistent || q.records == 0 || !q.dead(c.acked, now):
		return nil
	default:
		return q.refusal()
	}
}

// share is how much of what may be in hand may be of one partition: the rest is for the others.
func (c *uplink) share() (records int, bytes int64) {
	pc := &c.p.pc
	return max(pc.MaxRecords/2, min(pc.MaxRecords, 1000)), max(pc.MaxBytes/2, int64(pc.MaxMessageBytes))
}

func (q *partitionQueue) refusal() error {
	if q.cause == nil {
		return fmt.Errorf("%w: %s acknowledges nothing", ErrUnavailable, q.topicPartition)
	}
	return fmt.Errorf("%w: %s cannot be written: %w", ErrUnavailable, q.topicPartition, q.cause)
}

// enqueue takes s into its partition's queue and hands over what may be. The publisher's lock is held.
func (c *uplink) enqueue(q *partitionQueue, s *sending) {
	if q.records == 0 {
		q.moved = time.Now()
	}
	s.queue = q
	q.records++
	q.bytes += s.size
	q.waiting.push(s)
	c.handOver(q)
}

// handOver passes records on to feed as far as the bounds allow. The publisher's lock is held.
func (c *uplink) handOver(q *partitionQueue) {
	most := int64(c.p.recordLimit()) - 1024
	for !q.waiting.empty() {
		s := q.waiting.peek()
		if q.handed > 0 && (q.handed >= mostHanded || q.handedBytes+s.size > most) {
			return
		}
		q.waiting.pop()
		s.handed = true
		q.handed++
		q.handedBytes += s.size
		c.ready <- s
	}
}

// left takes note that s is in hand no more, acknowledged, failed or neither. The publisher's lock is held.
func (c *uplink) left(s *sending, acked bool, failure error) {
	q, now := s.queue, time.Now()
	c.moved = now
	if q == nil { // its partition was never known
		return
	}
	q.records--
	q.bytes -= s.size
	if s.handed {
		q.handed--
		q.handedBytes -= s.size
	}
	q.moved = now
	switch {
	case acked:
		q.failing, q.cause, c.acked = time.Time{}, nil, now
		if q.refusing {
			q.refusing = false
			c.p.pc.Log.Info("a partition can be written again", zap.Stringer("partition", q))
		}
	case failure != nil:
		q.cause, q.failed = failure, now
		if q.failing.IsZero() {
			q.failing = now
		}
	}
	c.handOver(q)
}

// tend logs the partitions that cannot be written, and answers what waits for them where nobody should wait for long.
func (c *uplink) tend(now time.Time) {
	c.p.mu.Lock()
	var answers []*sending
	var causes []error
	for _, q := range c.queues {
		if !q.dead(c.acked, now) {
			continue
		}
		if !q.refusing {
			q.refusing = true
			c.p.pc.Log.Warn("a partition cannot be written; the others go on", zap.Stringer("partition", q), zap.Error(q.cause))
		}
		if c.p.pc.Persistent {
			continue
		}
		for !q.waiting.empty() {
			s := q.waiting.pop()
			c.forget(s)
			answers, causes = append(answers, s), append(causes, q.refusal())
		}
	}
	c.signal()
	c.p.mu.Unlock()
	for i, s := range answers {
		s.answer(0, -1, causes[i])
	}
}

// forget drops s, which waits in its queue. The publisher's lock is held.
func (c *uplink) forget(s *sending) {
	s.queue.records--
	s.queue.bytes -= s.size
	c.p.records--
	c.p.bytes -= s.size
	delete(c.held, s)
}

// resolve asks for the partitions of topics that are not known yet, and takes the records that waited for them.
func (c *uplink) resolve() {
	for {
		select {
		case <-c.closing:
			return
		case <-c.unknown:
		}
		c.p.mu.Lock()
		topics := map[string]struct{}{}
		for _, s := range c.unresolved {
			topics[s.message.Topic] = struct{}{}
		}
		c.p.mu.Unlock()
		for topic := range topics {
			ps, err := partitionsOf(c.client, topic)
			c.resolved(topic, int32(len(ps)), err)
		}
	}
}

// resolved takes the records that waited for the topic's partitions, n of them, or answers them with err.
func (c *uplink) resolved(topic string, n int32, err error) {
	c.p.mu.Lock()
	if n > 0 {
		c.counts[topic] = n
	} else if err == nil {
		err = sarama.ErrUnknownTopicOrPartition
	}
	var rest, failed []*sending
	var causes []error
	now := time.Now()
	for _, s := range c.unresolved {
		if s.message.Topic != topic {
			rest = append(rest, s)
			continue
		}
		q, cause := c.queueOf(s)
		if errors.Is(cause, errUnresolved) {
			cause = fmt.Errorf("%w: %w", ErrUnavailable, err)
		} else if cause == nil {
			cause = c.admits(q, s.size, now)
		}
		if cause != nil {
			failed, causes = append(failed, s), append(causes, cause)
			continue
		}
		c.enqueue(q, s)
	}
	c.unresolved = rest
	c.p.mu.Unlock()
	for i, s := range failed {
		c.release(s, false, err)
		s.answer(0, -1, causes[i])
	}
}

// survey keeps the counts of partitions as Sarama's client learns them, now and then.
func (c *uplink) survey() {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.closing:
			return
		case <-tick.C:
		}
		c.p.mu.Lock()
		topics := make([]string, 0, len(c.counts))
		for topic := range c.counts {
			topics = append(topics, topic)
		}
		c.p.mu.Unlock()
		for _, topic := range topics {
			if ps, err := c.client.Partitions(topic); err == nil && len(ps) > 0 {
				c.resolved(topic, int32(len(ps)), nil)
			}
		}
	}
}
