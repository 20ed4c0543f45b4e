package audit

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// readTopicEntries adds an entry for each record of a topic that holds notifications.
func (a *audit) readTopicEntries(ctx context.Context, t *topicState, bounds []kafka.Bounds) error {
	for _, b := range bounds {
		clock := recordClock{latest: a.snapshot.began.Add(clocksApart)}
		err := a.snapshot.log.Scan(ctx, t.Name, []kafka.Bounds{b}, func(r *kafka.Record) error {
			a.countRead(t.Name)
			if t.Group == "" {
				if isBatch, err := a.addUndecodable(r); isBatch || err != nil {
					return err
				}
			}
			return a.addEntry(a.newTopicEntry(t, r, clock.read(r.Timestamp)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newTopicEntry returns the entry of a record. written is the time of the record, as far as it is credible.
func (a *audit) newTopicEntry(t *topicState, r *kafka.Record, written time.Time) entry {
	r.Cluster = a.Cluster
	n, _, _ := validate.Decode(r.Value, false)
	source := validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
	accepted := source.Accepted(a.snapshot.began)
	e := entry{
		run: uint32(source.Number(notify.HeaderRun)), step: uint32(source.Number(notify.HeaderStep)), offset: r.Offset, partition: r.Partition,
		at: accepted.UnixMilli(), topic: t.index,
	}
	e.id, _ = packID(validate.Identity(n, source))
	known := earliest(written, accepted, mintedAt(e.id, written))
	if t.done(r.Partition, r.Offset) {
		e.marks |= isDone
	}
	switch {
	case t.Lane != "":
		e.kind = kindJob
		a.markUnknowable(&e, t, r.Partition, known)
		if e.run == 0 && e.step == 0 && !r.Timestamp.Before(a.snapshot.since) && !written.Before(a.snapshot.since) {
			e.marks |= isFirst
		}
	case t.DelayTier:
		a.completeDelayed(&e, t, r, written, known)
	default:
		e.kind = kindDeadLetter
	}
	return e
}

// completeDelayed completes the entry of a job on the delay ladder.
func (a *audit) completeDelayed(e *entry, t *topicState, r *kafka.Record, written, known time.Time) {
	e.kind, e.due = kindDelayed, dueAt(r, written).UnixMilli()
	text, _ := r.Header(notify.HeaderLane)
	lane := laneOf(text)
	e.state, _ = indexIn(notify.Lanes(), lane)
	if back := a.snapshot.laneTopic(t.Channel, lane); back != nil {
		a.markUnknowable(e, back, back.homePartition(r), known)
	}
}

// markUnknowable marks the entry if the outcome of its job, in a partition of a lane, may have been deleted. The outcome may
// belong to an earlier copy of the job, so the time since when the notification is known counts.
func (a *audit) markUnknowable(e *entry, lane *topicState, partition int32, known time.Time) {
	if a.snapshot.outcomeMayBeGone(lane.ledgerPartition(partition, len(a.snapshot.whole)), known) {
		e.marks |= isUnknowable
	}
}

// recordClock estimates when the records of a partition were written. Their own times come from their producers: a time in the
// future is ignored, and a time before that of an earlier record is too low.
type recordClock struct{ now, latest time.Time }

func (c *recordClock) read(t time.Time) time.Time {
	if t.After(c.now) && t.Before(c.latest) {
		c.now = t
	}
	return c.now
}

// mintedAt returns the time in a UUIDv7; for other ids it returns fallback.
func mintedAt(id [idBytes]byte, fallback time.Time) time.Time {
	if id[6]>>4 != 7 {
		return fallback
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
}

func earliest(all ...time.Time) time.Time { return slices.MinFunc(all, time.Time.Compare) }

// laneOf returns the lane to which a mover returns a job.
func laneOf(text string) notify.Lane {
	if lane := notify.Lane(text); lane.Known() {
		return lane
	}
	return notify.LaneNormal
}

// dueAt returns when a delayed job is due; if the record does not say so, it returns when the job was delayed.
func dueAt(r *kafka.Record, written time.Time) time.Time {
	text, _ := r.Header(notify.HeaderNotBefore)
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at
	}
	return written
}
