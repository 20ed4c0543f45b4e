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

// Run reads until ctx ends. Kafka being away is no error: it is asked again for ever.
func (t *Tail) Run(ctx context.Context) error {
	defer t.conn.close()
	defer context.AfterFunc(ctx, t.conn.cut)()
	log := newSeldom(t.log)
	log.last = time.Now() // at the first start the topic is still to be made
	cur, end := newCursor(topicPartition{t.topic, 0}, 0, &t.large), int64(-1)
	for ctx.Err() == nil {
		err := t.checkID(cur)
		if err == nil {
			err = t.turn(cur, &end, t.visit)
		}
		t.note(err, cur.at >= end)
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

// turn reads what one fetch brings. end is asked for once, at the start.
func (t *Tail) turn(cur *cursor, end *int64, visit func(*Record)) error {
	if *end < 0 {
		newest, err := t.conn.offset(cur.topicPartition, sarama.OffsetNewest)
		if err != nil {
			return fmt.Errorf("ask for the end of %s: %w", t.topic, err)
		}
		*end = newest
	}
	wait := tailWait
	if cur.at < *end {
		wait = 0
	}
	b, err := t.conn.next(cur, wait)
	if err != nil {
		return err
	}
	if b != nil {
		if at, err := t.conn.verify(cur, b); err != nil || at >= 0 {
			return cmp.Or(err, errTruncated)
		}
		cur.load(b)
	}
	return cur.scan(&t.skipped, func(r *Record) bool { visit(r); return true })
}

// note keeps what [Tail.Ready] says, and closes Caught.
func (t *Tail) note(err error, atEnd bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err = err; err != nil || !atEnd {
		return
	}
	if t.seen.IsZero() {
		close(t.caught)
	}
	t.seen = time.Now()
}
