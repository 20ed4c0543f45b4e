package kafka

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka/recordbatch"
)

// fetchBytes is how much one fetch brings at most; a larger record comes whole all the same.
const fetchBytes = 1 << 20

var errNoRecord = errors.New("the answer holds no whole record")

// errUndecided: all that is there waits for a transaction that is still open.
var errUndecided = errors.New("a transaction is open")

// load fetches the next block of the cursor. What has been deleted is skipped. With nothing there it waits as long as told,
// and the block is empty.
func (c *lazyClient) load(cur *cursor, wait time.Duration) error {
	b, err := c.next(cur, wait)
	if b != nil {
		cur.load(b)
	}
	return err
}

// next fetches the block that load loads. Without a block and without an error, the position was moved to the log's start.
func (c *lazyClient) next(cur *cursor, wait time.Duration) (*block, error) {
	broker, err := c.leader(cur.topicPartition)
	if err != nil {
		return nil, err
	}
	req := newFetch(1, 16*fetchBytes, wait, c.decided)
	addPartition(req, cur.topicPartition, cur.at, cur.fetchSize(fetchBytes))
	answers, err := c.wire(broker.Addr()).fetch(req)
	if err != nil {
		c.lookUp(cur.topic)
		return nil, err
	}
	a, ok := answers[cur.topicPartition]
	switch {
	case !ok:
		return nil, errLeftOut
	case a.err == nil:
		if lso := a.block.lastStable; c.decided && lso >= 0 && cur.at >= lso && cur.at < a.block.highWatermark {
			return nil, errUndecided
		}
		return a.block, nil
	case errors.Is(a.err, sarama.ErrOffsetOutOfRange):
		oldest, err := c.offset(cur.topicPartition, sarama.OffsetOldest)
		if err == nil && oldest <= cur.at {
			err = a.err
		}
		if err == nil {
			cur.at = oldest
		}
		return nil, err
	default:
		c.lookUp(cur.topic)
		return nil, a.err
	}
}

// lookUp asks for the leaders of a topic.
func (c *lazyClient) lookUp(topic string) {
	if client, err := c.get(); err == nil && errors.Is(client.RefreshMetadata(topic), sarama.ErrOutOfBrokers) {
		c.reset() // nobody answers: begin from the addresses of the configuration
	}
}

// scan gives visit the records of the cursor's block in order until it returns false, and skips batches that cannot be
// decoded: they are counted by skipped. The error says that nothing of the block could be read.
func (c *cursor) scan(skipped *skippedBatches, visit func(*Record) bool) error {
	defer c.close()
	for {
		rec, bad := c.next()
		switch {
		case bad != nil:
			skipped.add(bad)
		case rec == nil:
			return c.noProgress()
		case !visit(rec):
			return nil
		}
	}
}

// noProgress returns why reading the block has not moved the position, nil if it has, or if the block is to be fetched once
// more.
func (c *cursor) noProgress() error {
	switch {
	case c.at > c.loadedAt || c.stuck < mostStuck:
		return nil
	case c.trouble != nil:
		return c.trouble
	default:
		return errNoRecord
	}
}

// skippedBatches counts the batches that a reader has skipped because they cannot be decoded. Its zero value logs nothing.
type skippedBatches struct {
	log  *zap.Logger
	what string // may be missing now
	n    atomic.Uint64
}

func (s *skippedBatches) add(b *damagedBatch) {
	s.n.Add(1)
	if s.log != nil {
		s.log.Error("a record batch cannot be decoded and was skipped: "+s.what+" may be missing until the next start", b.fields()...)
	}
}

// fields describe the batch in a log, without any of its content.
func (b *damagedBatch) fields() []zap.Field {
	return []zap.Field{
		zap.String("topic", b.topic), zap.Int32("partition", b.partition), zap.Int64("offset", b.base), zap.Int64("last_offset", b.next-1),
		zap.Int32("records", b.count), zap.Int("bytes", len(b.raw)), zap.Error(b.reason),
	}
}

// aborted are the transactions that came to nothing, which a broker names to whoever reads only what is committed.
type aborted []abortedTransaction

type abortedTransaction struct{ producerID, firstOffset int64 }

// skips reports whether the next batch holds nothing to read: it is a marker, or part of an aborted transaction. A marker ends
// the one transaction that its producer has open. Only an intact header tells.
func (a *aborted) skips(b *recordbatch.Batch) bool {
	if !b.Control() && !b.Transactional() || !b.Intact() {
		return false
	}
	begun := func(t abortedTransaction) bool {
		return t.producerID == b.ProducerID && t.firstOffset <= b.Base
	}
	if b.Control() {
		*a = slices.DeleteFunc(*a, begun)
		return true
	}
	return slices.ContainsFunc(*a, begun)
}
