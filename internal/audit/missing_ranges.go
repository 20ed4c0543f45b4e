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

// missingRanges are the ranges of records that were deleted before their group had processed them.
type missingRanges struct {
	gaps map[gapKey]*status.Gap // published by a process
	own  []observed             // found by this audit
	// Partitions whose group has never committed although their first records were deleted. The outcomes tell which records were
	// processed.
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

// observed is a range that no process has published: the log begins after the group's committed offset.
type observed struct {
	status.Gap
	done *kafka.Position
}

// addPublished adds a published gap. The same gap may be published more than once, with different done bits.
func (m *missingRanges) addPublished(g status.Gap) {
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

// findUncommitted finds the partitions whose group has never committed. The outcomes tell which of their records were processed
// only if no outcome was deleted.
func (a *audit) findUncommitted() {
	complete := a.Since.IsZero() && !slices.ContainsFunc(a.snapshot.whole, func(b kafka.Bounds) bool { return b.Oldest > 0 })
	a.missingRanges.uncommitted = map[partitionOf]*uncommitted{}
	for _, t := range a.snapshot.topics {
		for _, b := range t.whole {
			p := t.positions[b.Partition]
			if complete && t.Lane != "" && b.Oldest > 0 && (p == nil || p.Offset < 0) {
				a.missingRanges.uncommitted[partitionOf{t.Name, b.Partition}] = &uncommitted{
					status.Gap{Log: status.Log{Topic: t.Name, ID: t.id}, Partition: b.Partition, To: b.Oldest}, map[int64]bool{},
				}
			}
		}
	}
}

// addOutcome marks the record of an outcome as processed, if it is in a partition whose group has never committed.
func (m *missingRanges) addOutcome(r *kafka.Record) {
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
func (m *missingRanges) has(p *status.RecordPlace) bool {
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

// count returns how many records of an observed range are in no published range.
func (m *missingRanges) count(o *observed) int64 {
	var n int64
	var overlapping []*status.Gap
	for _, g := range m.gaps {
		if g.Is(o.Log) && g.Partition == o.Partition && g.From < o.To && o.From < g.To {
			overlapping = append(overlapping, g)
		}
	}
	for at := o.From; at < o.To; at++ {
		published := slices.ContainsFunc(overlapping, func(g *status.Gap) bool { return g.From <= at && at < g.To })
		if !published && !o.done.Done(at) {
			n++
		}
	}
	return n
}

// observeCommits finds missing ranges and void commits by comparing the commits with the bounds of the logs. The bounds were
// read after the commits. A group that has made progress meanwhile, or whose mover has deleted records that it had processed,
// is recognized by reading its commits again.
func (a *audit) observeCommits() error {
	for _, t := range a.snapshot.topics {
		suspect := false
		for _, b := range t.whole {
			p := t.positions[b.Partition]
			suspect = suspect || p != nil && p.Offset >= 0 && (p.Offset < b.Oldest || p.Offset > b.Newest || p.Topic.Differs(t.id))
		}
		if !suspect {
			continue
		}
		now, err := a.snapshot.log.Positions(t.Group, t.Name)
		if err != nil {
			return err
		}
		for _, b := range t.whole {
			if p := now[b.Partition]; p != nil && p.Offset >= 0 {
				if err := a.observePartition(t, b, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *audit) observePartition(t *topicState, b kafka.Bounds, p *kafka.Position) error {
	void := func(cause string) error {
		a.report.VoidPositions++
		return a.Found(Finding{What: FoundVoid, Range: &Range{
			Topic: t.Name, TopicID: t.id.String(), Partition: b.Partition, From: p.Offset, To: p.Offset, Cause: cause,
		}})
	}
	switch {
	case p.Topic.Differs(t.id):
		return void("recreated")
	case p.Offset > b.Newest:
		if later, err := a.snapshot.log.Bounds(t.Name); err != nil || slices.ContainsFunc(later, func(l kafka.Bounds) bool {
			return l.Partition == b.Partition && p.Offset <= l.Newest
		}) {
			return err // the records were written after the snapshot
		}
		return void("truncated")
	case p.Offset < b.Oldest:
		a.missingRanges.own = append(a.missingRanges.own, observed{status.Gap{
			Log: status.Log{Topic: t.Name, ID: t.id}, Partition: b.Partition, From: p.Offset, To: b.Oldest,
		}, p})
	}
	return nil
}

// countMissing adds the missing ranges to the report, in order.
func (a *audit) countMissing() error {
	var all []Range
	add := func(g *status.Gap, n int64, cause string) {
		if n > 0 {
			all = append(all, Range{
				Topic: g.Topic, TopicID: g.ID.String(), Partition: g.Partition, From: g.From, To: g.To, Count: n, Cause: cause,
			})
		}
	}
	for _, g := range a.missingRanges.gaps {
		add(g, g.Missing(), "published")
	}
	for i := range a.missingRanges.own {
		o := &a.missingRanges.own[i]
		add(&o.Gap, a.missingRanges.count(o), "observed")
	}
	if len(a.snapshot.completeSince) > 0 { // outcomes were deleted while they were read
		clear(a.missingRanges.uncommitted)
	}
	for _, u := range a.missingRanges.uncommitted {
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

// addUndecodable reports whether the record is a dead letter that holds an undecodable record batch, and counts the batch. The
// ids of its notifications are unknown, so only the number of records is accounted for.
func (a *audit) addUndecodable(r *kafka.Record) (bool, error) {
	if reason, _ := r.Header(notify.HeaderDeadReason); reason != notify.ReasonUndecodableBatch {
		return false, nil
	}
	if a.suspects != nil { // it has already been counted
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

// noTopic is the topic index of an entry whose record is in no known topic.
const noTopic = 1<<16 - 1

// readStore adds an entry for each notification that has not ended according to the store. The topics must account for each of
// them.
func (a *audit) readStore(ctx context.Context) error {
	const pageSize = 1000
	var after *notify.Life
	for {
		page, err := a.Store.Unended(ctx, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), after, pageSize)
		if err != nil {
			return err
		}
		for i := range page {
			if e, ok := a.newStoreEntry(&page[i]); ok {
				if err := a.addEntry(e); err != nil {
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

// newStoreEntry returns the entry of a notification in the store. ok is false if the topics need not know the notification.
func (a *audit) newStoreEntry(o *status.Open) (e entry, ok bool) {
	id, ok := packID(o.ID)
	accepted := o.AcceptedAt
	if !ok || a.snapshot.laneTopic(o.Channel, o.Lane) == nil || accepted.Before(a.snapshot.since) || a.Retained != nil && !a.Retained(accepted) {
		return e, false
	}
	e = entry{id: id, kind: kindStored, run: uint32(o.Run), at: accepted.UnixMilli(), topic: noTopic, marks: isFirst}
	if o.State != notify.StateQueued {
		e.step = uint32(o.Step) + 1
	}
	if a.snapshot.anyOutcomeMayBeGone(earliest(accepted, mintedAt(id, accepted))) {
		e.marks |= isUnknowable
	}
	if p := &o.Record; p.Topic != "" {
		e.partition, e.offset = p.Partition, p.Offset
		for _, s := range a.snapshot.topics {
			if s.Name == p.Topic {
				e.topic = s.index
			}
		}
		if a.missingRanges.has(p) {
			e.marks |= isInGap
		}
	}
	return e, true
}
