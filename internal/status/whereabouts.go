package status

import (
	"context"
	"fmt"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// Topics looks at the job topics, as [kafka.Reader] does. One call at a time is made.
type Topics interface {
	// TopicIDs leaves out topics that are not there.
	TopicIDs(topics []string) (map[string]kafka.TopicID, error)
	Bounds(topic string) ([]kafka.Bounds, error)
	Positions(group, topic string) (map[int32]*kafka.Position, error)
	Scan(ctx context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error
	Close()
}

// fate says what has become of a record.
type fate int

const (
	fateUnknown   fate = iota // its topic is not one of ours any more
	fateThere                 // it is there, and its group is not done with it
	fateDone                  // its group is done with it
	fateDeleted               // Kafka has deleted it, and its group was not done with it
	fateTopicGone             // its topic was deleted, and perhaps created again
)

// whereabouts answers what has become of records, from one look at Kafka: each thing is asked once.
type whereabouts struct {
	kafka     Topics
	groups    map[string]string // of the topics that may hold records
	gaps      []Gap             // that were published
	ids       map[string]kafka.TopicID
	bounds    map[string]map[int32]kafka.Bounds
	positions map[string]map[int32]*kafka.Position
}

func newWhereabouts(k Topics, groups map[string]string, gaps []Gap) (*whereabouts, error) {
	var topics []string
	for topic := range groups {
		topics = append(topics, topic)
	}
	w := &whereabouts{kafka: k, groups: groups, gaps: gaps, bounds: map[string]map[int32]kafka.Bounds{}, positions: map[string]map[int32]*kafka.Position{}}
	var err error
	if w.ids, err = k.TopicIDs(topics); err != nil {
		return nil, err
	}
	return w, nil
}

// gone reports whether the log is no more: its topic is one of ours, and was deleted.
func (w *whereabouts) gone(l Log) bool {
	if _, ours := w.groups[l.Topic]; !ours {
		return false
	}
	now, there := w.ids[l.Topic]
	return !there || now.Differs(l.ID)
}

// of says what has become of the record at p.
func (w *whereabouts) of(p RecordPlace) (fate, error) {
	if _, ours := w.groups[p.Topic]; !ours || p.Topic == "" {
		return fateUnknown, nil
	}
	if w.gone(p.Log) {
		return fateTopicGone, nil
	}
	if err := w.ask(p.Topic); err != nil {
		return fateUnknown, err
	}
	b, there := w.bounds[p.Topic][p.Partition]
	if !there {
		return fateUnknown, nil
	}
	at := w.positions[p.Topic][p.Partition]
	if at != nil && at.Offset <= b.Newest && !at.Topic.Differs(w.ids[p.Topic]) && at.Done(p.Offset) {
		return fateDone, nil
	}
	if p.Offset < b.Oldest || p.Offset >= b.Newest {
		return fateDeleted, nil
	}
	return fateThere, nil
}

// holds reports whether a record of the notification's step is at p. After a truncation another record may have its offset.
func (w *whereabouts) holds(ctx context.Context, p RecordPlace, same func(*kafka.Record) bool) (found bool, err error) {
	one := kafka.Bounds{Partition: p.Partition, Oldest: p.Offset, Newest: p.Offset + 1}
	err = w.kafka.Scan(ctx, p.Topic, []kafka.Bounds{one}, func(r *kafka.Record) error {
		found = found || r.Offset == p.Offset && same(r)
		return nil
	})
	return found, err
}

func (w *whereabouts) ask(topic string) error {
	if w.bounds[topic] != nil {
		return nil
	}
	// The positions first: what they promise lies within the bounds.
	positions, err := w.kafka.Positions(w.groups[topic], topic)
	if err != nil {
		return fmt.Errorf("ask how far %s has come: %w", w.groups[topic], err)
	}
	bounds, err := w.kafka.Bounds(topic)
	if err != nil {
		return err
	}
	byPartition := map[int32]kafka.Bounds{}
	for _, b := range bounds {
		byPartition[b.Partition] = b
	}
	w.bounds[topic], w.positions[topic] = byPartition, positions
	return nil
}
