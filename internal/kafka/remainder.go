package kafka

import (
	"context"
	"errors"
	"fmt"
)

// Remainder is what a group has left to do of one partition, as its next member would find it: its last commit, and what
// the ledger adds. It is for whoever does the group's work in its stead, while it has no members; [Remainder.Commit] then
// says so for good. One goroutine at a time uses it.
type Remainder struct {
	at        topicPartition
	offsets   func() (*offsets, error)
	progress  progress
	ledgerEnd int64
	logs      metadata // the ledger's partition count and the ids of both topics
}

// Remainder reads the group's last commit of the partition that bounds bounds and, where ledger names a topic, what that
// says of the jobs. A group that has never committed has everything left but what the ledger says is done.
func (r *Reader) Remainder(ctx context.Context, group, topic string, bounds Bounds, ledger string) (*Remainder, error) {
	b := &Remainder{
		at:      topicPartition{topic, bounds.Partition},
		offsets: func() (*offsets, error) { return r.offsets(group) },
	}
	was, err := r.committed(group, b.at)
	if err != nil {
		return nil, err
	}
	var ends []Bounds
	names := []string{topic}
	if ledger != "" {
		if ends, err = r.Bounds(ledger); err != nil && !errors.Is(err, ErrNoTopic) {
			return nil, err
		}
		names = append(names, ledger)
	}
	ids, err := r.TopicIDs(names)
	if err != nil {
		return nil, err
	}
	now := logs{
		oldest: bounds.Oldest, newest: bounds.Newest, job: ids[topic], ledger: ids[ledger],
		ledgerCount: max(1, int32(len(ends))), noLedger: ledger == "",
	}
	s := begin(was, now)
	b.logs = metadata{count: s.count, job: now.job, journal: now.ledger}
	b.progress = newProgress(s.low)
	b.progress.restore(s.low, s.bitmap, s.limit)
	if len(ends) == 0 {
		return b, nil
	}
	end := ends[b.at.partition%s.count]
	b.ledgerEnd = end.Newest
	end.Oldest = max(end.Oldest, s.from(end.Newest, 0, bounds.Oldest == bounds.Newest))
	return b, r.Scan(ctx, ledger, []Bounds{end}, func(rec *Record) error {
		if e, ok := readEntry(rec); ok && e.group == group && e.job == b.at && !s.fences.voidOutcome(e.by, e.jobOffset) {
			b.progress.read(e)
		}
		return nil
	})
}

// Left reports whether the record, the next of its partition, is still to be done. identify is what the group's handler
// says of it, and is asked only where the ledger speaks of its offset.
func (b *Remainder) Left(r *Record, identify func() string) bool {
	return b.progress.arrive(r.Offset, identify) != skip
}

// InDoubt reports whether a member meant to call a provider for the record, which is left, and nothing tells what became of it.
func (b *Remainder) InDoubt(r *Record, identify func() string) bool {
	return b.progress.inDoubt(r.Offset, identify) != nil
}

// Done takes note that the record at that offset has been done.
func (b *Remainder) Done(offset int64) { b.progress.finish(offset) }

// Commit commits what is done in the group's name. It is refused while the group has members.
func (b *Remainder) Commit() error {
	o, err := b.offsets()
	if err != nil {
		return err
	}
	defer o.conn.close()
	offset, text, fits := b.progress.commit(b.ledgerEnd, b.logs)
	if !fits { // what is left out is read from the ledger again
		text, _ = b.logs.encode()
	}
	if err := o.commitForNobody([]committed{{b.at, offset, text}}); err != nil {
		return fmt.Errorf("commit %s for group %s: %w", b.at, o.group, err)
	}
	return nil
}

// committed reads a group's last commit of a partition; its offset is -1 when nothing was ever committed.
func (r *Reader) committed(group string, tp topicPartition) (committed, error) {
	o, err := r.offsets(group)
	if err != nil {
		return committed{}, err
	}
	defer o.conn.close()
	all, err := o.fetchAny([]topicPartition{tp})
	if err != nil {
		return committed{}, err
	}
	return all[0], nil
}
