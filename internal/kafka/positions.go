package kafka

import "fmt"

// Position is how far a group has come in one partition.
type Position struct {
	Offset int64 // everything below is done; -1 when nothing was ever committed
	Ledger int32 // how many partitions the ledger has for this one's outcomes, see the contract; 0 when the commit does not say
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
		p.Ledger = m.count
		p.done.restore(offset, m.bitmap, 1<<62)
	}
	return p
}

// Position reads a group's last commit of a partition.
func (r *Reader) Position(group, topic string, partition int32) (*Position, error) {
	all, err := r.Positions(group, topic, []int32{partition})
	if err != nil {
		return nil, err
	}
	return all[partition], nil
}

// Positions reads a group's last commits of a topic's partitions. A group that has never committed has the position -1 in
// all of them.
func (r *Reader) Positions(group, topic string, partitions []int32) (map[int32]*Position, error) {
	o, err := r.offsets(group)
	if err != nil {
		return nil, err
	}
	defer o.conn.close()
	tps := make([]topicPartition, len(partitions))
	for i, p := range partitions {
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
