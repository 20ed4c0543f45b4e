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

// readShelf reads records of a topic that holds notifications.
func (a *audit) readShelf(ctx context.Context, o *opened, bounds []kafka.Bounds) error {
	for _, b := range bounds {
		clock := clock{latest: a.view.began.Add(clocksApart)}
		err := a.view.log.Scan(ctx, o.Topic, []kafka.Bounds{b}, func(r *kafka.Record) error {
			a.progress(o.Topic)
			if o.Group == "" {
				if done, err := a.undecodable(r); done || err != nil {
					return err
				}
			}
			return a.keep(a.record(o, r, clock.read(r.Timestamp)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// record makes a record an entry. written is when it was written, as far as that can be believed.
func (a *audit) record(o *opened, r *kafka.Record, written time.Time) entry {
	r.Cluster = a.Cluster
	n, _, _ := validate.Decode(r.Value, false)
	source := validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
	accepted := source.Accepted(a.view.began)
	e := entry{
		run: uint32(source.Number(notify.HeaderRun)), step: uint32(source.Number(notify.HeaderStep)), offset: r.Offset, partition: r.Partition,
		at: accepted.UnixMilli(), shelf: o.index,
	}
	e.id, _ = compact(validate.Identity(n, source))
	known := earliest(written, accepted, mintedAt(e.id, written))
	if o.done(r.Partition, r.Offset) {
		e.marks |= isDone
	}
	switch {
	case o.Lane != "":
		e.kind = aJob
		a.fade(&e, o, r.Partition, known)
		if e.run == 0 && e.step == 0 && !r.Timestamp.Before(a.view.since) && !written.Before(a.view.since) {
			e.marks |= isFirst
		}
	case o.Waits:
		a.wait(&e, o, r, written, known)
	default:
		e.kind = aLetter
	}
	return e
}

// wait completes the entry of a job on the delay ladder.
func (a *audit) wait(e *entry, o *opened, r *kafka.Record, written, known time.Time) {
	e.kind, e.due = aWait, dueAt(r, written).UnixMilli()
	text, _ := r.Header(notify.HeaderLane)
	lane := laneOf(text)
	e.state, _ = indexOf(notify.Lanes(), lane)
	if back := a.view.lane(o.Channel, lane); back != nil {
		a.fade(e, back, back.home(r), known)
	}
}

// fade says whether the outcome of a job that is done, or goes back, in a partition of a lane may be gone. It may have come of
// an earlier copy: so it counts since when the notification is known.
func (a *audit) fade(e *entry, lane *opened, partition int32, known time.Time) {
	if a.view.faded(lane.ledger(partition, len(a.view.whole)), known) {
		e.marks |= isFaded
	}
}

// clock tells when a partition's records were written. Their own times are their producers' words: one that is ahead is not
// believed, and one that is behind what came before it is too low.
type clock struct{ now, latest time.Time }

func (c *clock) read(t time.Time) time.Time {
	if t.After(c.now) && t.Before(c.latest) {
		c.now = t
	}
	return c.now
}

// mintedAt is the time that a UUIDv7 bears, else the other.
func mintedAt(id [idBytes]byte, other time.Time) time.Time {
	if id[6]>>4 != 7 {
		return other
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
}

func earliest(all ...time.Time) time.Time { return slices.MinFunc(all, time.Time.Compare) }

// laneOf is the lane to which a mover takes a job back.
func laneOf(text string) notify.Lane {
	if lane := notify.Lane(text); lane.Known() {
		return lane
	}
	return notify.LaneNormal
}

// dueAt is when a job that waits is due, else when it was put there.
func dueAt(r *kafka.Record, written time.Time) time.Time {
	text, _ := r.Header(notify.HeaderNotBefore)
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at
	}
	return written
}
