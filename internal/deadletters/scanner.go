package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Scanner reads the dead letters of some channels. It is not safe for concurrent use.
type Scanner struct {
	Topics     dispatcher.Topics
	Reader     *kafka.Reader
	Lifetimes  map[notify.Lane]time.Duration // lifetimes of notifications that do not set their own
	Recipients string                        // one of notify's Recipients constants; "" = masked
	Reading    func(topic string)            // called for each record that is read; may be nil

	// LeftOut is called once for each partition that is skipped because it has no leader. If LeftOut is nil, such a partition
	// is an error. A partition that was skipped once stays skipped: otherwise a redrive would meet letters whose redrive events
	// it has not read.
	LeftOut func(topic string, partition int32)

	cluster string             // Kafka's cluster id; "" until it was needed
	skipped map[string][]int32 // skipped partitions, by topic
}

// ErrNoLetters: no channel has a topic of dead letters.
var ErrNoLetters = errors.New("there is no topic of dead letters")

// partitionRange is a partition of a topic of dead letters, and the offsets to be read from it.
type partitionRange struct {
	channel notify.Channel
	topic   string
	kafka.Bounds
}

func (s *Scanner) desk() dispatcher.Desk { return dispatcher.Desk{Topics: s.Topics} }

// partitionRanges returns the ranges to be read for the filter's channels, in the order of these channels.
func (s *Scanner) partitionRanges(f *filter) ([]partitionRange, error) {
	var all []partitionRange
	topics := 0
	for _, ch := range f.channels {
		if s.Topics.Channel(ch) == "" {
			continue
		}
		topic := s.Topics.DeadLetters(ch)
		bounds, err := s.bounds(topic, f.Since)
		if errors.Is(err, kafka.ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, err
		}
		topics++
		for _, b := range bounds {
			if b, wanted := f.clip(b); wanted {
				all = append(all, partitionRange{channel: ch, topic: topic, Bounds: b})
			}
		}
	}
	if topics == 0 && !s.anyTopicExists() {
		return nil, fmt.Errorf("%w, such as %s: a role makes them when it starts; check kafka.prefix", ErrNoLetters, s.Topics.DeadLetters(f.channels[0]))
	}
	return all, nil
}

// bounds returns the bounds of a topic's partitions. A non-zero since leaves out older records: a letter is written after it
// has died.
func (s *Scanner) bounds(topic string, since time.Time) ([]kafka.Bounds, error) {
	bounds, err := s.readableBounds(topic)
	if err != nil || since.IsZero() {
		return bounds, err
	}
	return s.Reader.Since(topic, since, bounds)
}

// readableBounds returns the bounds of the partitions that are not skipped.
func (s *Scanner) readableBounds(topic string) ([]kafka.Bounds, error) {
	if s.LeftOut == nil {
		return s.Reader.Bounds(topic)
	}
	bounds, leaderless, err := s.Reader.LedBounds(topic)
	for _, p := range leaderless {
		if slices.Contains(s.skipped[topic], p) {
			continue
		}
		if s.skipped == nil {
			s.skipped = map[string][]int32{}
		}
		s.skipped[topic] = append(s.skipped[topic], p)
		s.LeftOut(topic, p)
	}
	return slices.DeleteFunc(bounds, func(b kafka.Bounds) bool { return slices.Contains(s.skipped[topic], b.Partition) }), err
}

// anyTopicExists reports whether any channel has a topic of dead letters. A channel that was never on has none.
func (s *Scanner) anyTopicExists() bool {
	return slices.ContainsFunc(s.Topics.Channels(), func(ch notify.Channel) bool {
		_, err := s.Reader.Bounds(s.Topics.DeadLetters(ch))
		return err == nil
	})
}

// parse returns r as a letter.
func (s *Scanner) parse(r *kafka.Record) (*dispatcher.Letter, error) {
	if err := s.fetchClusterID(); err != nil {
		return nil, err
	}
	r.Cluster = s.cluster
	return s.desk().Letter(r)
}

// fetchClusterID fetches Kafka's cluster id once. The ids of some notifications are derived from it.
func (s *Scanner) fetchClusterID() error {
	if s.cluster != "" {
		return nil
	}
	id, err := s.Reader.ClusterID()
	s.cluster = id
	return err
}

// errValueGone: the value of a letter no longer exists anywhere.
var errValueGone = errors.New("its value was too large for a dead letter, and is no longer where the job was")

// withValue returns the letter's record with its value. A value that was too large for the letter is read from the letter's
// origin. Its error is errValueGone if the origin no longer has the value.
func (s *Scanner) withValue(ctx context.Context, l *dispatcher.Letter) (*kafka.Record, error) {
	if !l.ValueMissing() {
		return l.Record, nil
	}
	origin, err := s.originRecord(ctx, l)
	if err != nil {
		return nil, err
	}
	if origin != nil {
		if r, ok := l.WithValue(origin); ok {
			return r, nil
		}
	}
	return nil, errValueGone
}

// originRecord returns the record at the letter's origin; nil if that record no longer exists.
func (s *Scanner) originRecord(ctx context.Context, l *dispatcher.Letter) (*kafka.Record, error) {
	if l.Origin == nil {
		return nil, nil
	}
	bounds, err := s.Reader.Bounds(l.Origin.Topic)
	if errors.Is(err, kafka.ErrNoTopic) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found *kafka.Record
	for _, b := range bounds {
		if b.Partition != l.Origin.Partition || l.Origin.Offset < b.Oldest || l.Origin.Offset >= b.Newest {
			continue
		}
		one := []kafka.Bounds{{Partition: b.Partition, Oldest: l.Origin.Offset, Newest: l.Origin.Offset + 1}}
		err = s.Reader.Scan(ctx, l.Origin.Topic, one, func(r *kafka.Record) error {
			r.Cluster = s.cluster
			found = r
			return nil
		})
	}
	return found, err
}
