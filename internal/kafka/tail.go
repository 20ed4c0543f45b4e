package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.uber.org/zap"
)

// Tail reads the one partition of a topic from its start and goes on reading, outside of any group: for a topic that every
// process has to know whole.
type Tail struct {
	topic   string
	visit   func(*Record)
	conn    *lazyClient
	log     *zap.Logger
	caught  chan struct{}
	large   sync.Mutex // see cursor
	skipped skippedBatches

	id       TopicID   // of the topic that is being read; zero while it is unknown
	askedID  time.Time // when it was asked for last
	restart  func(ctx context.Context, read func(visit func(*Record)) error) error
	restarts atomic.Uint64

	mu   sync.Mutex
	seen time.Time // when the end was reached last
	asOf time.Time // see AsOf
	err  error
}

// tailWait is how long a fetch waits at the end of the topic.
const tailWait = 200 * time.Millisecond

// NewTail makes the reader of a topic; visit is called from [Tail.Run] alone, record by record. A topic that was
// deleted and created again is read from its start again, see [Tail.BeforeRestart].
func NewTail(cfg Config, topic string, visit func(*Record), log *zap.Logger) (*Tail, error) {
	sc, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	return &Tail{
		topic: topic, visit: visit, conn: newLazyClient(cfg.Brokers, sc), log: log, caught: make(chan struct{}),
		err:     errors.New("not read yet"),
		skipped: skippedBatches{log: log, what: "pauses, cancellations or suppressions"},
	}, nil
}

// Undecodable returns how many record batches were skipped because they cannot be decoded. What they said is missing until
// the next start.
func (t *Tail) Undecodable() uint64 { return t.skipped.n.Load() }

// Caught is closed once the topic has been read to its end as it stood when reading began.
func (t *Tail) Caught() <-chan struct{} { return t.caught }

// Ready says why the topic may hold what has not been read: it was never read whole, or Kafka has not answered for 5 s.
func (t *Tail) Ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen.IsZero() || time.Since(t.seen) > silentFor {
		return fmt.Errorf("%s: not read to its end: %w", t.topic, t.err)
	}
	return nil
}

// AsOf returns the time up to which the topic has been read: every record that was acknowledged before that time has been visited.
// It is zero before the end was reached first. While Kafka answers, it is at most about 400 ms ago.
func (t *Tail) AsOf() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asOf
}

// Run reads until ctx ends. Kafka being away is no error: it is asked again for ever.
func (t *Tail) Run(ctx context.Context) error {
	defer t.conn.close()
	defer context.AfterFunc(ctx, t.conn.cut)()
	log := newSeldom(t.log)
	log.last = time.Now() // at the first start the topic is still to be made
	cur, end := newCursor(topicPartition{t.topic, 0}, 0, &t.large), int64(-1)
	for ctx.Err() == nil {
		var asOf time.Time
		err := t.checkID(cur)
		if err == nil {
			asOf, err = t.turn(cur, &end, t.visit)
		}
		t.note(err, cur.at >= end, asOf)
		switch {
		case mustStartAgain(err):
			t.startAgain(ctx)
			cur, end = newCursor(cur.topicPartition, 0, &t.large), -1
		case err != nil && ctx.Err() == nil:
			t.askedID = time.Time{} // the topic may be another one when it is there again
			log.warn("reading "+t.topic, err)
			pause(ctx, 500*time.Millisecond)
		}
	}
	return nil
}

// turn reads what one fetch brings. end is asked for once, at the start. asOf is that of [Tail.AsOf]; it is zero when the topic has
// more than what was read.
func (t *Tail) turn(cur *cursor, end *int64, visit func(*Record)) (asOf time.Time, err error) {
	if *end < 0 {
		newest, err := t.conn.offset(cur.topicPartition, sarama.OffsetNewest)
		if err != nil {
			return time.Time{}, fmt.Errorf("ask for the end of %s: %w", t.topic, err)
		}
		*end = newest
	}
	wait := tailWait
	if cur.at < *end {
		wait = 0
	}
	asked := time.Now() // what was acknowledged before is below the high watermark of the answer
	b, err := t.conn.next(cur, wait)
	if err != nil || b == nil {
		return time.Time{}, err
	}
	if at, err := t.conn.verify(cur, b); err != nil || at >= 0 {
		return time.Time{}, cmp.Or(err, errTruncated)
	}
	cur.load(b)
	if err := cur.scan(&t.skipped, func(r *Record) bool { visit(r); return true }); err != nil {
		return time.Time{}, err
	}
	if cur.at < b.highWatermark {
		return time.Time{}, nil
	}
	return asked, nil
}

// note keeps what [Tail.Ready] and [Tail.AsOf] say, and closes Caught.
func (t *Tail) note(err error, atEnd bool, asOf time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !asOf.IsZero() {
		t.asOf = asOf
	}
	if t.err = err; err != nil || !atEnd {
		return
	}
	if t.seen.IsZero() {
		close(t.caught)
	}
	t.seen = time.Now()
}
