package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
)

// Position is how far a group has come in one partition.
type Position struct {
	Offset int64   // everything below is done; -1 when nothing was ever committed
	Ledger int32   // how many partitions the ledger has for this one's outcomes, see the contract; 0 when the commit does not say
	Topic  TopicID // the topic that the position is about; zero when the commit does not say
	done   tracker
}

// Done reports whether the group's last commit says that the record at that offset is done.
func (p *Position) Done(offset int64) bool { return p.Offset >= 0 && p.done.isDone(offset) }

// ReadPosition reads what a commit says: its offset, -1 for none, and its metadata. What is no metadata of a runner says
// nothing more than the offset.
func ReadPosition(offset int64, metadata string) *Position {
	p := &Position{Offset: offset}
	if offset < 0 {
		return p
	}
	p.done = newTracker(offset)
	if m, err := decodeMetadata(metadata); err == nil {
		p.Ledger, p.Topic = m.count, m.job
		p.done.restore(offset, m.bitmap, 1<<62)
	}
	return p
}

// Position reads a group's last commit of a partition.
func (r *Reader) Position(group, topic string, partition int32) (*Position, error) {
	was, err := r.committed(group, topicPartition{topic, partition})
	if err != nil {
		return nil, err
	}
	return ReadPosition(was.offset, was.metadata), nil
}

// Positions reads a group's last commits of all partitions of a topic. A group that has never committed has the position -1.
func (r *Reader) Positions(group, topic string) (map[int32]*Position, error) {
	client, err := r.conn.get()
	if err != nil {
		return nil, err
	}
	ps, err := partitionsOf(client, topic)
	if err != nil {
		return nil, fmt.Errorf("ask for the partitions of %s: %w", topic, err)
	}
	o, err := r.offsets(group)
	if err != nil {
		return nil, err
	}
	defer o.conn.close()
	tps := make([]topicPartition, len(ps))
	for i, p := range ps {
		tps[i] = topicPartition{topic, p}
	}
	cs, err := o.fetchAny(tps)
	if err != nil {
		return nil, fmt.Errorf("ask how far group %s has come: %w", group, err)
	}
	all := make(map[int32]*Position, len(cs))
	for _, c := range cs {
		all[c.partition] = ReadPosition(c.offset, c.metadata)
	}
	return all, nil
}

// Topics lists what topics there are.
func (r *Reader) Topics() ([]string, error) {
	meta, err := r.conn.metadata()
	if err != nil {
		return nil, fmt.Errorf("ask for the topics: %w", err)
	}
	var names []string
	for _, t := range meta.Topics {
		if t.Err == sarama.ErrNoError {
			names = append(names, t.Name)
		}
	}
	return names, nil
}
