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

// What publishing can end in besides success; match them with errors.Is.
var (
	// ErrUnavailable: no acknowledgement came. The record may be on the log all the same.
	ErrUnavailable = errors.New("kafka is unavailable")
	// ErrFull: so much waits for an acknowledgement already that this record was not taken.
	ErrFull = errors.New("too many records wait for kafka")
	// ErrTooLarge: the encoded record is larger than the topic takes. Repeating does not help.
	ErrTooLarge = errors.New("the record is larger than its topic takes")
)

// PublisherConfig is how a [Publisher] behaves. Every field has a default.
type PublisherConfig struct {
	MaxRecords      int           // in hand at once; 10,000
	MaxBytes        int64         // of them, encoded; 64 MiB, and never less than one record of the largest size
	MaxMessageBytes int           // the smallest max.message.bytes of the topics; 1,048,588, the brokers' default
	Timeout         time.Duration // after which [Publisher.Publish] gives up; 5s
	CloseTimeout    time.Duration // for which the end of Run waits for what is in hand; 5s
	Persistent      bool          // for workers: sit out an outage instead of failing fast
	Log             *zap.Logger
}

// Publisher writes records and waits until Kafka has them for good (acks=all). It is idempotent within a connection and
// keeps the order of a partition; a record whose publishing failed may be on the log and, published again, twice.
//
// Until [Publisher.Run] has connected, and whenever it has lost Kafka, everything is refused at once. What is in hand is
// bounded in records and bytes, of all partitions and of each. A partition that cannot be written does not delay the others;
// unless the publisher is persistent, what is for that partition is refused at once. All methods may be called at once from
// many goroutines.
type Publisher struct {
	cfg   Config
	pc    PublisherConfig
	limit atomic.Int64 // PublisherConfig.MaxMessageBytes, or what LimitRecords said
	alone sync.Mutex   // see publishAlone
	skew  clockSkew

	mu      sync.Mutex
	up      *uplink // nil while there is none
	down    error   // why there is none
	records int
	bytes   int64
	waiting int // calls of PublishForever that have failed at least once
	logged  time.Time
}

// NewPublisher makes a publisher that does nothing before [Publisher.Run].
func NewPublisher(cfg Config, pc PublisherConfig) *Publisher {
	pc.MaxRecords = cmp.Or(pc.MaxRecords, 10_000)
	pc.MaxMessageBytes = cmp.Or(pc.MaxMessageBytes, 1_048_588)
	pc.MaxBytes = max(cmp.Or(pc.MaxBytes, 64<<20), int64(pc.MaxMessageBytes))
	pc.Timeout = cmp.Or(pc.Timeout, 5*time.Second)
	pc.CloseTimeout = cmp.Or(pc.CloseTimeout, 5*time.Second)
	if pc.Log == nil {
		pc.Log = zap.NewNop()
	}
	p := &Publisher{cfg: cfg, pc: pc, down: errors.New("not connected yet")}
	p.limit.Store(int64(pc.MaxMessageBytes))
	return p
}

// LimitRecords lowers the largest encoded record, once the topics have been asked for theirs. A publisher must not believe
// more than the topics take: records are batched up to this size, and a broker refuses a batch as a whole.
func (p *Publisher) LimitRecords(maxMessageBytes int) {
	if int64(maxMessageBytes) >= p.limit.Load() {
		return
	}
	p.limit.Store(int64(maxMessageBytes))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up != nil {
		p.up.retire(errors.New("the topics take smaller records than was assumed"))
	}
}

// Publish writes m and waits for its acknowledgement, at most PublisherConfig.Timeout. The offset is -1 when the broker
// says that it has had the record before.
func (p *Publisher) Publish(ctx context.Context, m Message) (partition int32, offset int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.pc.Timeout)
	defer cancel()
	return p.await(ctx, m)
}

// PublishAll writes ms, in their order as far as they go to one partition, and waits for all of them as [Publisher.Publish]
// does for one. It gives an error or nil for each.
func (p *Publisher) PublishAll(ctx context.Context, ms []Message) []error {
	ctx, cancel := context.WithTimeout(ctx, p.pc.Timeout)
	defer cancel()
	errs := make([]error, len(ms))
	sent := make([]awaited, len(ms))
	for i, m := range ms {
		sent[i], errs[i] = p.begin(m)
	}
	for i, a := range sent {
		if errs[i] == nil {
			errs[i] = a.end(ctx).err
		}
	}
	return errs
}

// Send is Publish without the waiting. done is called exactly once, unless Send returns an error: then never. It runs on
// the goroutine that reads the acknowledgements and must not block.
func (p *Publisher) Send(m Message, done func(partition int32, offset int64, err error)) error {
	return p.send(newSending(m, done))
}

// Ready is nil while publishing works; otherwise it says what is wrong. It is also nil while some partitions cannot be written
// and others acknowledge: those are logged.
func (p *Publisher) Ready() error {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.up == nil:
		return fmt.Errorf("%w: %w (%d records wait to be published again)", ErrUnavailable, p.down, p.waiting)
	case p.up.failsNow(now):
		return fmt.Errorf("%w: %w (%d records wait to be published again)", ErrUnavailable, p.up.cause, p.waiting)
	case p.waiting > 0 && now.Sub(p.up.acked) > silence:
		return fmt.Errorf("%w: %d records wait to be published again", ErrUnavailable, p.waiting)
	case p.up.still(now) > silence:
		return fmt.Errorf("%w: %d records have had no answer for %s", ErrUnavailable, p.records, silence)
	default:
		return nil
	}
}

// result is what became of a sending.
type result struct {
	partition int32
	offset    int64
	err       error
}

func (p *Publisher) await(ctx context.Context, m Message) (int32, int64, error) {
	a, err := p.begin(m)
	if err != nil {
		return 0, -1, err
	}
	r := a.end(ctx)
	return r.partition, r.offset, r.err
}

// awaited is a sending whose caller waits.
type awaited struct {
	*sending
	answer chan result // of this call alone: a late acknowledgement must not meet another's channel
}

func (p *Publisher) begin(m Message) (awaited, error) {
	answer := make(chan result, 1)
	s := newSending(m, func(partition int32, offset int64, err error) { answer <- result{partition, offset, err} })
	return awaited{s, answer}, p.send(s)
}

// end waits for the answer, and gives the sending up when ctx ends.
func (a awaited) end(ctx context.Context) result {
	select {
	case r := <-a.answer:
		return r
	case <-ctx.Done():
	}
	if a.answered.CompareAndSwap(false, true) {
		return result{0, -1, fmt.Errorf("%w: no acknowledgement in time: %w", ErrUnavailable, context.Cause(ctx))}
	}
	return <-a.answer
}

func (p *Publisher) send(s *sending) error {
	if limit := p.recordLimit(); s.size > int64(limit) {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, s.size, limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up == nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, p.down)
	}
	if p.records >= p.pc.MaxRecords || p.bytes+s.size > p.pc.MaxBytes {
		return fmt.Errorf("%w: %d records, %d bytes", ErrFull, p.records, p.bytes)
	}
	return p.up.take(s)
}

// recordLimit leaves room in max.message.bytes for what a batch adds, and for what compression adds to the incompressible.
func (p *Publisher) recordLimit() int {
	limit := int(p.limit.Load())
	return max(limit-1024, limit/2)
}

// sending is a message on its way.
type sending struct {
	message   sarama.ProducerMessage
	home      int32 // Message.Partition
	partition int32 // once it is chosen
	queue     *partitionQueue
	handed    bool // to Sarama
	size      int64
	begun     time.Time // when it was handed over
	done      func(partition int32, offset int64, err error)
	answered  atomic.Bool // done has been called, or its caller has given up
}

func newSending(m Message, done func(int32, int64, error)) *sending {
	s := &sending{home: m.Partition, begun: time.Now(), done: done}
	s.message = sarama.ProducerMessage{
		Topic:    m.Topic,
		Headers:  make([]sarama.RecordHeader, len(m.Headers)),
		Metadata: s,
		Offset:   -1, // Sarama leaves it alone when the broker recognises a repetition
	}
	if m.Key != nil {
		s.message.Key = sarama.ByteEncoder(m.Key)
	}
	if m.Value != nil {
		s.message.Value = sarama.ByteEncoder(m.Value)
	}
	keys := make([]byte, 0, 128) // of all headers, in one piece: an outcome has eight
	for i, h := range m.Headers {
		keys = append(keys, h.Key...)
		s.message.Headers[i] = sarama.RecordHeader{Key: keys[len(keys)-len(h.Key):], Value: h.Value}
	}
	s.size = int64(s.message.ByteSize(2))
	return s
}

func (s *sending) answer(partition int32, offset int64, err error) {
	if s.answered.CompareAndSwap(false, true) {
		s.done(partition, offset, err)
	}
}
