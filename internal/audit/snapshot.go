package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Log reads Kafka. [kafka.Reader] implements it. It is not called concurrently.
type Log interface {
	Topics() ([]string, error)
	TopicIDs(topics []string) (map[string]kafka.TopicID, error)
	Bounds(topic string) ([]kafka.Bounds, error)
	Since(topic string, at time.Time, bounds []kafka.Bounds) ([]kafka.Bounds, error)
	Positions(group, topic string) (map[int32]*kafka.Position, error)
	Scan(ctx context.Context, topic string, bounds []kafka.Bounds, visit func(*kafka.Record) error) error
}

// Topic is a topic that holds notifications, and the consumer group that reads it.
type Topic struct {
	Name      string
	Group     string // empty for dead letters
	Channel   notify.Channel
	Lane      notify.Lane // of the topic's jobs; empty for delay tiers and dead letters
	DelayTier bool        // the topic belongs to the delay ladder
}

// topicState is the state of a topic in a snapshot.
type topicState struct {
	Topic
	index     uint16         // in snapshot.topics
	bounds    []kafka.Bounds // of the records that the audit reads
	whole     []kafka.Bounds // of all records
	positions map[int32]*kafka.Position
	newest    map[int32]int64 // end of each partition
	id        kafka.TopicID
}

// done reports whether the group has processed a record. A commit beyond the end of the log, or with another topic id, belongs
// to a deleted log and counts as no commit.
func (t *topicState) done(partition int32, offset int64) bool {
	p := t.positions[partition]
	return p != nil && p.Offset <= t.newest[partition] && !p.Topic.Differs(t.id) && p.Done(offset)
}

// snapshot holds the bounds of the records that an audit accounts for.
type snapshot struct {
	log    Log
	since  time.Time
	began  time.Time
	status string         // the status topic
	bounds []kafka.Bounds // of the status topic: the records that the audit reads
	whole  []kafka.Bounds // of the status topic: all records
	ids    map[string]kafka.TopicID
	topics []*topicState
	total  int64 // number of records to be read

	// completeSince holds, for each partition of the status topic that has lost records, the time since when it is complete, in
	// Unix ms. A partition without an entry is complete.
	completeSince map[int32]int64
}

// clocksApart is the maximum difference between the clocks that wrote the times of records and events.
const clocksApart = time.Hour

// takeSnapshot reads the commits of all groups, then the end of the status topic, then the ends of all other topics. The
// accounting depends on this order; see the package documentation.
func takeSnapshot(log Log, status string, topics []Topic, since time.Time) (*snapshot, error) {
	s := &snapshot{log: log, since: since, began: time.Now(), status: status, completeSince: map[int32]int64{}}
	existing, err := log.Topics()
	if err != nil {
		return nil, err
	}
	for _, topic := range topics {
		if !slices.Contains(existing, topic.Name) { // its channel was never on
			continue
		}
		t := &topicState{Topic: topic, index: uint16(len(s.topics)), newest: map[int32]int64{}}
		if topic.Group != "" {
			t.positions, err = log.Positions(topic.Group, topic.Name)
			if err != nil {
				return nil, err
			}
		}
		s.topics = append(s.topics, t)
	}
	if len(s.topics) == 0 {
		return nil, fmt.Errorf("there is no topic such as %s: a role makes them when it starts; check kafka.prefix", topics[0].Name)
	}
	s.ids, err = log.TopicIDs(existing)
	if err != nil {
		return nil, err
	}
	s.bounds, s.whole, err = s.measure(status, clocksApart)
	if err != nil {
		return nil, err
	}
	for _, t := range s.topics {
		if err := s.addBounds(t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// addBounds sets the bounds of a topic. Since is exact for the topics of jobs only: records of other topics may have earlier
// times.
func (s *snapshot) addBounds(t *topicState) error {
	slack := clocksApart
	if t.Lane != "" {
		slack = 0
	}
	bounds, whole, err := s.measure(t.Name, slack)
	if err != nil {
		return err
	}
	t.bounds, t.whole = bounds, whole
	t.id = s.ids[t.Name]
	for _, b := range whole {
		t.newest[b.Partition] = b.Newest
	}
	return nil
}

// later returns the bounds of the records that were written to a topic after the snapshot. whole is the bounds in the snapshot.
func (s *snapshot) later(topic string, whole []kafka.Bounds) ([]kafka.Bounds, error) {
	ends := map[int32]int64{}
	for _, b := range whole {
		ends[b.Partition] = b.Newest
	}
	now, err := s.log.Bounds(topic)
	for i := range now {
		now[i].Oldest = max(now[i].Oldest, ends[now[i].Partition])
	}
	return now, err
}

// measure returns the bounds of the records to be read from a topic, and the bounds of all its records.
func (s *snapshot) measure(topic string, slack time.Duration) (bounds, whole []kafka.Bounds, err error) {
	whole, err = s.log.Bounds(topic)
	if err != nil {
		return nil, nil, err
	}
	bounds = whole
	if !s.since.IsZero() {
		bounds, err = s.log.Since(topic, s.since.Add(-slack), whole)
		if err != nil {
			return nil, nil, err
		}
	}
	for _, b := range bounds {
		s.total += max(0, b.Newest-b.Oldest)
	}
	return bounds, whole, nil
}

// laneTopic returns the topic of a channel's lane; nil if that topic does not exist.
func (s *snapshot) laneTopic(ch notify.Channel, lane notify.Lane) *topicState {
	for _, t := range s.topics {
		if t.Channel == ch && t.Lane == lane {
			return t
		}
	}
	return nil
}

// ledgerPartition returns the partition of the status topic that has the outcomes of a lane's partition. count is the number of
// partitions that the status topic has now.
func (t *topicState) ledgerPartition(partition int32, count int) int32 {
	n := int32(count)
	if p := t.positions[partition]; p != nil && p.Ledger > 0 {
		n = p.Ledger
	}
	return partition % max(1, n)
}

// homePartition returns the lane's partition to which a mover returns a record of the delay ladder.
func (t *topicState) homePartition(r *kafka.Record) int32 {
	home := r.Partition
	text, _ := r.Header(notify.HeaderHome)
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && n >= 0 {
		home = int32(n)
	}
	return home % max(1, int32(len(t.newest)))
}

// outcomeMayBeGone reports whether an outcome that was written at that time or later, to that partition of the status topic,
// may have been deleted.
func (s *snapshot) outcomeMayBeGone(partition int32, written time.Time) bool {
	since, incomplete := s.completeSince[partition]
	return incomplete && written.UnixMilli() < since
}

// anyOutcomeMayBeGone is outcomeMayBeGone for an outcome whose partition is unknown.
func (s *snapshot) anyOutcomeMayBeGone(written time.Time) bool {
	for p := range s.completeSince {
		if s.outcomeMayBeGone(p, written) {
			return true
		}
	}
	return false
}

// setCompleteSince records that a partition of the status topic may have lost records that were written before that time.
func (s *snapshot) setCompleteSince(partition int32, at time.Time) {
	s.completeSince[partition] = max(s.completeSince[partition], at.Add(clocksApart).UnixMilli())
}

// setUnknown records that a partition of the status topic may have lost records of any time.
func (s *snapshot) setUnknown(partition int32) { s.completeSince[partition] = math.MaxInt64 }
