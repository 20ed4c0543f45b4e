package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Reader reads topics outside of any group: for an operator's commands, which look at what is there and take nothing.
// One goroutine at a time uses it.
type Reader struct {
	conn    *lazyClient
	offsets func(group string) (*offsets, error)
	large   sync.Mutex // see cursor
	skipped skippedBatches
}

// Bounds says what a partition holds.
type Bounds struct {
	Partition      int32
	Oldest, Newest int64 // the first offset, and the one after the last
}

// NewReader makes a reader; it connects when it is first asked.
func NewReader(cfg Config) (*Reader, error) {
	sc, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	conn := newLazyClient(cfg.Brokers, sc)
	conn.decided = true
	return &Reader{conn: conn, offsets: func(group string) (*offsets, error) { return newOffsets(cfg, group) }}, nil
}

// Close ends its connections.
func (r *Reader) Close() { r.conn.close() }

// ClusterID is Kafka's own.
func (r *Reader) ClusterID() (string, error) { return r.conn.clusterID() }

// Bounds gives the partitions of a topic in order. An error that errors.Is [ErrNoTopic] means that there is none. It fails while
// a partition has no leader, and names it.
func (r *Reader) Bounds(topic string) ([]Bounds, error) {
	bounds, without, err := r.LedBounds(topic)
	if err == nil && len(without) > 0 {
		return nil, fmt.Errorf("ask for the bounds of %s: %w: partitions %v", topic, errNoLeader, without)
	}
	return bounds, err
}

var errNoLeader = errors.New("a broker is away, and some partitions have no leader until it is back")

// LedBounds is Bounds for partitions with a leader. It returns the partitions without a leader separately.
func (r *Reader) LedBounds(topic string) (bounds []Bounds, without []int32, err error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, nil, err
	}
	ps, err := partitionsOf(client, topic)
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoTopic, topic)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the partitions of %s: %w", topic, err)
	}
	ps = slices.Sorted(slices.Values(ps))
	for _, p := range ps {
		b := Bounds{Partition: p}
		if b.Newest, err = client.GetOffset(topic, p, sarama.OffsetNewest); err == nil {
			b.Oldest, err = client.GetOffset(topic, p, sarama.OffsetOldest)
		}
		switch {
		case errors.Is(err, sarama.ErrLeaderNotAvailable):
			without = append(without, p)
		case err != nil:
			return nil, nil, fmt.Errorf("ask for the bounds of %s/%d: %w", topic, p, err)
		default:
			bounds = append(bounds, b)
		}
	}
	return bounds, without, nil
}

// ErrNoTopic: Kafka has no topic of that name.
var ErrNoTopic = errors.New("there is no such topic")

// Since narrows bounds to what was written at that time or later.
func (r *Reader) Since(topic string, at time.Time, bounds []Bounds) ([]Bounds, error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, err
	}
	later := slices.Clone(bounds)
	ms := max(at.UnixMilli(), 0) // below it Kafka's protocol has words: -1 is the end
	for i := range later {
		from, err := client.GetOffset(topic, later[i].Partition, ms)
		if err != nil {
			return nil, fmt.Errorf("ask what %s/%d holds since %s: %w", topic, later[i].Partition, at.Format(time.RFC3339), err)
		}
		if from < 0 { // nothing is as late
			from = later[i].Newest
		}
		later[i].Oldest = max(later[i].Oldest, from)
	}
	return later, nil
}

// Scan gives visit every record within bounds, partition after partition. It ends with ctx, or with visit's error. What a
// producer has written in a transaction that is open or was aborted is left out, as workers leave it out.
func (r *Reader) Scan(ctx context.Context, topic string, bounds []Bounds, visit func(*Record) error) error {
	for _, b := range bounds {
		if err := r.scan(ctx, topic, b, visit); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) scan(ctx context.Context, topic string, b Bounds, visit func(*Record) error) error {
	cur := newCursor(topicPartition{topic, b.Partition}, b.Oldest, &r.large)
	for cur.at < b.Newest {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := cur.at
		err := r.conn.load(cur, 0)
		if errors.Is(err, errUndecided) {
			return nil
		}
		if err == nil && len(cur.rest) == 0 && cur.at == at {
			err = errNoRecord
		}
		over, failed := false, error(nil)
		if err == nil {
			err = cur.scan(&r.skipped, func(rec *Record) bool {
				if over = rec.Offset >= b.Newest; !over {
					failed = visit(rec)
				}
				return !over && failed == nil
			})
		}
		switch {
		case failed != nil:
			return failed
		case over:
			return nil
		case err != nil:
			return fmt.Errorf("read %s at %d: %w", cur.topicPartition, at, err)
		}
	}
	return nil
}

// Undecodable returns how many record batches were skipped because they cannot be decoded.
func (r *Reader) Undecodable() uint64 { return r.skipped.n.Load() }
