package kafka

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Meter measures, again and again, what groups have left of topics. However many partitions there are it takes few
// requests: two a broker for where partitions begin and end, one a group for its commits, and one a broker for when that
// was written which waits longest, of partitions where that has changed. One goroutine at a time uses it.
type Meter struct {
	reader *Reader
	heads  map[topicPartition]head
	known  map[int64]map[topicPartition]int64 // the edges of each kind as they were last answered
}

// Watched is a topic and the group that reads it.
type Watched struct {
	Topic, Group string
	Ages         bool // also ask how old the oldest record is that is not done
}

// Depth is what a group has left of a topic.
type Depth struct {
	Left   int64     // records that are not done, by the group's last commits
	Done   int64     // grows with each record that is done; only the difference of two means something
	Oldest time.Time // of the records that are not done; zero without any, or while it is not known
}

// head is the first record of a partition that is not done.
type head struct {
	offset  int64
	written time.Time
}

// headBytes is how much of a partition is read for the sake of its head. What comes in larger batches is read when its
// partition happens to be the first of a request, of which Kafka always gives one batch whole.
const headBytes = 64 << 10

// NewMeter makes a meter; it connects when it is first asked.
func NewMeter(cfg Config) (*Meter, error) {
	r, err := NewReader(cfg)
	if err != nil {
		return nil, err
	}
	return &Meter{
		reader: r, heads: map[topicPartition]head{},
		known: map[int64]map[topicPartition]int64{sarama.OffsetNewest: {}, sarama.OffsetOldest: {}},
	}, nil
}

// Close ends its connections, and a measurement that is under way.
func (m *Meter) Close() { m.reader.Close() }

// Measure gives the depth of each topic. It ends within seconds, whatever Kafka does.
func (m *Meter) Measure(all []Watched) (map[string]Depth, error) {
	topics, byTopic := make([]string, len(all)), map[string]Watched{}
	for i, w := range all {
		topics[i], byTopic[w.Topic] = w.Topic, w
	}
	ends, err := m.edges(topics, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	begins, err := m.edges(topics, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	oldest := map[topicPartition]int64{}
	for _, p := range begins {
		oldest[topicPartition{p.Topic, p.Partition}] = p.Offset
	}
	was, err := m.commits(ends, byTopic)
	if err != nil {
		return nil, err
	}
	left, depths := map[topicPartition]int64{}, map[string]Depth{}
	for _, end := range ends {
		tp, d := topicPartition{end.Topic, end.Partition}, depths[end.Topic]
		t := reached(was[tp], oldest[tp], end.Offset)
		behind := max(0, end.Offset-t.low-t.ahead())
		d.Left, d.Done = d.Left+behind, d.Done+t.low+t.ahead()
		depths[end.Topic] = d
		if behind > 0 && byTopic[end.Topic].Ages {
			left[tp] = t.low
		}
	}
	if err := m.look(left); err != nil {
		return nil, err
	}
	for tp := range left {
		d, at := depths[tp.topic], m.heads[tp].written
		if !at.IsZero() && (d.Oldest.IsZero() || at.Before(d.Oldest)) {
			d.Oldest = at
		}
		depths[tp.topic] = d
	}
	return depths, nil
}

// edges gives the edges of all partitions. Of a partition that has no leader now the last answer counts; one that never had
// any is left out.
func (m *Meter) edges(topics []string, which int64) ([]Place, error) {
	var without []Place
	edges, err := m.reader.edgesBut(topics, which, func(tp topicPartition, _ error) error {
		if at, known := m.known[which][tp]; known {
			without = append(without, Place{tp.topic, tp.partition, at})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, e := range edges {
		m.known[which][topicPartition{e.Topic, e.Partition}] = e.Offset
	}
	return append(edges, without...), nil
}

// commits reads the last commit of each partition, group by group.
func (m *Meter) commits(of []Place, byTopic map[string]Watched) (map[topicPartition]committed, error) {
	byGroup := map[string][]topicPartition{}
	for _, p := range of {
		g := byTopic[p.Topic].Group
		byGroup[g] = append(byGroup[g], topicPartition{p.Topic, p.Partition})
	}
	all := map[topicPartition]committed{}
	for group, tps := range byGroup {
		some, err := (&offsets{group: group, conn: m.reader.conn}).fetchAny(tps)
		if err != nil {
			return nil, err
		}
		for _, c := range some {
			all[c.topicPartition] = c
		}
	}
	return all, nil
}

// reached is what a commit says is done of a partition, as its next owner would read it.
func reached(was committed, oldest, newest int64) tracker {
	s := begin(was, logs{oldest: oldest, newest: newest, ledgerCount: 1})
	t := newTracker(s.low)
	t.restore(s.low, s.bitmap, s.limit)
	if oldest > t.low {
		t.skip(t.low, oldest)
	}
	return t
}

// look finds out when the heads were written that are new. What is not answered this time is asked for the next.
func (m *Meter) look(heads map[topicPartition]int64) error {
	requests := map[string]*kmsg.FetchRequest{}
	for tp, at := range heads {
		if h, known := m.heads[tp]; known && h.offset == at {
			continue
		}
		leader, err := m.reader.conn.leader(tp)
		if err != nil {
			continue
		}
		if requests[leader.Addr()] == nil {
			requests[leader.Addr()] = newFetch(1, 4<<20, 0, true)
		}
		addPartition(requests[leader.Addr()], tp, at, headBytes)
	}
	for addr, req := range requests {
		answers, err := m.reader.conn.wire(addr).fetch(req)
		if err != nil {
			return fmt.Errorf("read what waits longest: %w", err)
		}
		for tp, a := range answers {
			if at, asked := heads[tp]; asked && a.err == nil {
				m.note(tp, at, a.block)
			}
		}
	}
	return nil
}

func (m *Meter) note(tp topicPartition, at int64, b *block) {
	cur := newCursor(tp, at, &m.reader.large)
	cur.load(b)
	_ = cur.scan(&m.reader.skipped, func(r *Record) bool {
		if r.Timestamp.UnixMilli() <= 0 {
			return true
		}
		m.heads[tp] = head{at, r.Timestamp}
		return false
	})
}
