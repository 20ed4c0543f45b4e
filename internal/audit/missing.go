package audit

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// missing are the ranges of records that were deleted before their group had processed them.
type missing struct {
	gaps map[gapKey]*status.Gap // that were published
	own  []observed
	// Partitions whose group has never committed, although their first records are gone: the outcomes say which were processed.
	uncommitted map[partitionOf]*uncommitted
}

type partitionOf struct {
	topic     string
	partition int32
}

type uncommitted struct {
	status.Gap
	processed map[int64]bool
}

type gapKey struct {
	status.Log
	partition int32
	from, to  int64
}

// observed is a range that nobody has published: the log begins above what its group has committed.
type observed struct {
	status.Gap
	done *kafka.Position
}

// published takes a gap. It may come more than once, with other done bits.
func (m *missing) published(g status.Gap) {
	if m.gaps == nil {
		m.gaps = map[gapKey]*status.Gap{}
	}
	key := gapKey{g.Log, g.Partition, g.From, g.To}
	if was := m.gaps[key]; was != nil {
		was.AddDone(g.Done)
		return
	}
	m.gaps[key] = &g
}

// suspect finds the partitions whose group has never committed. Their outcomes tell which records were processed only if every
// outcome is still there.
func (a *audit) suspect() {
	complete := a.Since.IsZero() && !slices.ContainsFunc(a.view.whole, func(b kafka.Bounds) bool { return b.Oldest > 0 })
	a.missing.uncommitted = map[partitionOf]*uncommitted{}
	for _, o := range a.view.shelves {
		for _, b := range o.whole {
			p := o.positions[b.Partition]
			if complete && o.Lane != "" && b.Oldest > 0 && (p == nil || p.Offset < 0) {
				a.missing.uncommitted[partitionOf{o.Topic, b.Partition}] = &uncommitted{
					status.Gap{Log: status.Log{Topic: o.Topic, ID: o.id}, Partition: b.Partition, To: b.Oldest}, map[int64]bool{},
				}
			}
		}
	}
}

// outcome takes note of a record that was processed, of a partition whose group says nothing.
func (m *missing) outcome(r *kafka.Record) {
	if len(m.uncommitted) == 0 {
		return
	}
	text := func(name string) string { v, _ := r.Header(name); return v }
	partition, err1 := strconv.ParseInt(text(kafka.HeaderJobPartition), 10, 32)
	offset, err2 := strconv.ParseInt(text(kafka.HeaderJobOffset), 10, 64)
	id, err3 := kafka.ParseTopicID(text(kafka.HeaderJobTopicID))
	u := m.uncommitted[partitionOf{text(kafka.HeaderJobTopic), int32(partition)}]
	if u != nil && err1 == nil && err2 == nil && err3 == nil && !u.ID.Differs(id) && offset >= 0 && offset < u.To {
		u.processed[offset] = true
	}
}

// has reports whether a record is in a missing range.
func (m *missing) has(p *status.RecordPlace) bool {
	for _, g := range m.gaps {
		if g.Has(p) {
			return true
		}
	}
	if u := m.uncommitted[partitionOf{p.Topic, p.Partition}]; u != nil && u.Has(p) && !u.processed[p.Offset] {
		return true
	}
	return slices.ContainsFunc(m.own, func(o observed) bool { return o.Has(p) && !o.done.Done(p.Offset) })
}

// count is how many records of an observed range are in no published one.
func (m *missing) count(o *observed) (n int64) {
	var same []*status.Gap
	for _, g := range m.gaps {
		if g.Is(o.Log) && g.Partition == o.Partition && g.From < o.To && o.From < g.To {
			same = append(same, g)
		}
	}
	for at := o.From; at < o.To; at++ {
		inside := slices.ContainsFunc(same, func(g *status.Gap) bool { return g.From <= at && at < g.To })
		if !inside && !o.done.Done(at) {
			n++
		}
	}
	return n
}

// observe finds the ranges that the commits and the logs' beginnings prove, and commits that mean nothing any more. The bounds were
// taken after the commits: a group that has gone on meanwhile, or whose mover has deleted what it was done with, shows it when it
// is asked again.
func (a *audit) observe() error {
	for _, o := range a.view.shelves {
		suspect := false
		for _, b := range o.whole {
			p := o.positions[b.Partition]
			suspect = suspect || p != nil && p.Offset >= 0 && (p.Offset < b.Oldest || p.Offset > b.Newest || p.Topic.Differs(o.id))
		}
		if !suspect {
			continue
		}
		now, err := a.view.log.Positions(o.Group, o.Topic)
		if err != nil {
			return err
		}
		for _, b := range o.whole {
			if p := now[b.Partition]; p != nil && p.Offset >= 0 {
				if err := a.observePartition(o, b, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *audit) observePartition(o *opened, b kafka.Bounds, p *kafka.Position) error {
	void := func(cause string) error {
		a.report.VoidPositions++
		return a.Found(Finding{What: FoundVoid, Range: &Range{
			Topic: o.Topic, TopicID: o.id.String(), Partition: b.Partition, From: p.Offset, To: p.Offset, Cause: cause,
		}})
	}
	switch {
	case p.Topic.Differs(o.id):
		return void("recreated")
	case p.Offset > b.Newest:
		if later, err := a.view.log.Bounds(o.Topic); err != nil || slices.ContainsFunc(later, func(l kafka.Bounds) bool {
			return l.Partition == b.Partition && p.Offset <= l.Newest
		}) {
			return err // it was written since
		}
		return void("truncated")
	case p.Offset < b.Oldest:
		a.missing.own = append(a.missing.own, observed{status.Gap{
			Log: status.Log{Topic: o.Topic, ID: o.id}, Partition: b.Partition, From: p.Offset, To: b.Oldest,
		}, p})
	}
	return nil
}

// countMissing puts the missing ranges into the report, in order.
func (a *audit) countMissing() error {
	var all []Range
	add := func(g *status.Gap, n int64, cause string) {
		if n > 0 {
			all = append(all, Range{g.Topic, g.ID.String(), g.Partition, g.From, g.To, n, cause})
		}
	}
	for _, g := range a.missing.gaps {
		add(g, g.Missing(), "published")
	}
	for i := range a.missing.own {
		o := &a.missing.own[i]
		add(&o.Gap, a.missing.count(o), "observed")
	}
	if len(a.view.from) > 0 { // outcomes were deleted while they were read
		clear(a.missing.uncommitted)
	}
	for _, u := range a.missing.uncommitted {
		add(&u.Gap, u.To-u.From-int64(len(u.processed)), "uncommitted")
	}
	slices.SortFunc(all, func(x, y Range) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.From, y.From), cmp.Compare(x.To, y.To))
	})
	for i := range all {
		a.report.MissingRecords += all[i].Count
		if err := a.Found(Finding{What: FoundMissing, Range: &all[i]}); err != nil {
			return err
		}
	}
	return nil
}

// undecodable takes a dead letter that stands for a batch that nobody can decode, and reports whether it is one. Its records are
// accounted for by their number.
func (a *audit) undecodable(r *kafka.Record) (bool, error) {
	if reason, _ := r.Header(notify.HeaderDeadReason); reason != notify.ReasonUndecodableBatch {
		return false, nil
	}
	if a.doubts != nil { // it has been counted
		return true, nil
	}
	number := func(name string) int64 {
		text, _ := r.Header(name)
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	}
	topic, _ := r.Header(notify.HeaderOriginTopic)
	from := number(notify.HeaderOriginOffset)
	at := Range{
		Topic: notify.Clip(topic, 255), Partition: int32(number(notify.HeaderOriginPartition)),
		From: from, To: max(from, number(notify.HeaderOriginLastOffset)) + 1, Count: max(1, number(notify.HeaderOriginCount)),
	}
	a.report.Undecodable += at.Count
	return true, a.Found(Finding{What: FoundUndecodable, Range: &at})
}

// noShelf is the shelf of an entry whose record is nowhere that is known.
const noShelf = 1<<16 - 1

// readStore makes entries of the notifications that the store says have not ended. The topics have to say of each where it is.
func (a *audit) readStore(ctx context.Context) error {
	const pageSize = 1000
	var after *notify.Life
	for {
		page, err := a.Store.Unended(ctx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), after, pageSize)
		if err != nil {
			return err
		}
		for i := range page {
			if e, ok := a.stored(&page[i]); ok {
				if err := a.keep(e); err != nil {
					return err
				}
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = &page[len(page)-1].Life
	}
}

// stored makes an entry of what the store knows of a notification; ok is false where the topics need not know of it.
func (a *audit) stored(o *status.Open) (e entry, ok bool) {
	id, ok := compact(o.ID)
	accepted := o.AcceptedAt
	if !ok || a.view.lane(o.Channel, o.Lane) == nil || accepted.Before(a.view.since) || a.Kept != nil && !a.Kept(accepted) {
		return e, false
	}
	e = entry{id: id, kind: aStored, run: uint32(o.Run), at: accepted.UnixMilli(), shelf: noShelf, marks: isFirst}
	if o.State != notify.StateQueued {
		e.step = uint32(o.Step) + 1
	}
	if a.view.fadedAnywhere(earliest(accepted, mintedAt(id, accepted))) {
		e.marks |= isFaded
	}
	if p := &o.Record; p.Topic != "" {
		e.partition, e.offset = p.Partition, p.Offset
		for _, s := range a.view.shelves {
			if s.Topic == p.Topic {
				e.shelf = s.index
			}
		}
		if a.missing.has(p) {
			e.marks |= isInGap
		}
	}
	return e, true
}
