package audit

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// suspects are the notifications that seem to be unaccounted for. They are judged again with more records before they are
// reported.
type suspects struct {
	entries *spillBuffer
	ids     map[[idBytes]byte]bool
	all     bool // there are too many suspects to store the id of each: every notification counts as a suspect
}

// maxSuspectIDs is the maximum number of ids that are stored.
const maxSuspectIDs = 1 << 20

func newSuspects(limit int, dir string) *suspects {
	return &suspects{entries: newSpillBuffer(limit, dir), ids: map[[idBytes]byte]bool{}}
}

// addSuspect adds a notification with all its entries.
func (s *suspects) addSuspect(es []entry) error {
	s.all = len(s.ids) >= maxSuspectIDs
	if !s.all {
		s.ids[es[0].id] = true
	}
	for i := range es {
		if err := s.entries.add(es[i]); err != nil {
			return err
		}
	}
	return nil
}

// addIfSuspect adds an entry if its notification is a suspect.
func (s *suspects) addIfSuspect(e entry) error {
	if !s.all && !s.ids[e.id] {
		return nil
	}
	return s.entries.add(e)
}

// judgeSuspects reads more records of the suspects and then gives the final verdicts.
//
// It reads the events from before Since: a duplicate of a job that had ended by then was dropped without an event. It also
// reads the records written after the snapshot: retention may have deleted records before the audit could read them, but each
// notification that was alive then has written a later record.
func (a *audit) judgeSuspects(ctx context.Context, s *suspects) error {
	a.suspects = s
	if !a.Since.IsZero() {
		if err := a.readEarlier(ctx); err != nil {
			return err
		}
	}
	if err := a.readLater(ctx); err != nil {
		return err
	}
	return s.entries.each(func(es []entry) error {
		v := judge(es)
		if v.onlyLate {
			return nil
		}
		return a.finish(ctx, es, &v)
	})
}

// readEarlier reads the events from before Since.
func (a *audit) readEarlier(ctx context.Context) error {
	for i, b := range a.snapshot.bounds {
		b.Oldest, b.Newest = a.snapshot.whole[i].Oldest, b.Oldest
		if err := a.readStatusTopic(ctx, []kafka.Bounds{b}); err != nil {
			return err
		}
	}
	if a.Store == nil {
		return nil
	}
	// The store compares Since with the time of acceptance, which may come from another clock than the time of the record.
	for _, t := range a.snapshot.topics {
		if t.Lane == "" {
			continue
		}
		earlier, err := a.snapshot.log.Since(t.Name, a.snapshot.since.Add(-clocksApart), t.whole)
		if err != nil {
			return err
		}
		for i := range earlier {
			earlier[i].Newest = t.bounds[i].Oldest
		}
		if err := a.readTopicEntries(ctx, t, earlier); err != nil {
			return err
		}
	}
	return nil
}

// readLater reads the records that were written after the snapshot.
func (a *audit) readLater(ctx context.Context) error {
	a.readingLater = true
	bounds, err := a.snapshot.later(a.Status, a.snapshot.whole)
	if err != nil {
		return err
	}
	if err := a.readStatusTopic(ctx, bounds); err != nil {
		return err
	}
	for _, t := range a.snapshot.topics {
		bounds, err := a.snapshot.later(t.Name, t.whole)
		if err != nil {
			return err
		}
		if err := a.readTopicEntries(ctx, t, bounds); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) readStatusTopic(ctx context.Context, bounds []kafka.Bounds) error {
	return a.snapshot.log.Scan(ctx, a.Status, bounds, func(r *kafka.Record) error {
		a.countRead(a.Status)
		return a.addStatusRecord(r)
	})
}
