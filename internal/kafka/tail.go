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

// Tail reads the one partition of a topic from its start and goes on reading, outside of any group: for a topic that every
// process has to know whole.
type Tail struct {
	topic  string
	visit  func(*Record)
	conn   *lazyClient
	log    *zap.Logger
	caught chan struct{}

	mu   sync.Mutex
	seen time.Time // when the end was reached last
	err  error
}

// tailWait is how long a fetch waits at the end of the topic.
const tailWait = 200 * time.Millisecond

// NewTail makes the reader of a topic; visit is called from [Tail.Run] alone, record by record. After the topic has been
// made anew it is read from its start again.
func NewTail(cfg Config, topic string, visit func(*Record), log *zap.Logger) (*Tail, error) {
	sc, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	return &Tail{
		topic: topic, visit: visit, conn: newLazyClient(cfg.Brokers, sc), log: log, caught: make(chan struct{}),
		err: errors.New("not read yet"),
	}, nil
}

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
	at, end := int64(0), int64(-1)
	for ctx.Err() == nil {
		next, err := t.turn(at, &end)
		t.note(err, next >= end)
		switch {
		case errors.Is(err, sarama.ErrOffsetOutOfRange): // the topic was made anew
			at, end = 0, -1
		case err != nil && ctx.Err() == nil:
			log.warn("reading "+t.topic, err)
			pause(ctx, 500*time.Millisecond)
		case err == nil:
			at = next
		}
	}
	return nil
}

// turn reads what one fetch brings. end is asked for once, at the start.
func (t *Tail) turn(at int64, end *int64) (int64, error) {
	if *end < 0 {
		client, err := t.conn.get()
		if err != nil {
			return at, err
		}
		newest, err := client.GetOffset(t.topic, 0, sarama.OffsetNewest)
		if err != nil {
			return at, fmt.Errorf("ask for the end of %s: %w", t.topic, err)
		}
		*end = newest
	}
	wait := tailWait
	if at < *end {
		wait = 0
	}
	records, next, err := t.conn.fetch(t.topic, 0, at, wait)
	if err != nil {
		return at, err
	}
	for _, r := range records {
		t.visit(r)
	}
	return next, nil
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
