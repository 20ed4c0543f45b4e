package kafka

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"go.uber.org/zap"
)

// A gap is a range of a job partition that Kafka removed before its records were processed. The runner that finds one
// publishes it on the job's ledger partition before its commit moves past it. Only what lies below the log's start is a
// gap: offsets that a log leaves out after its start are markers or were compacted.

// KindGap is the kind of a ledger record about a gap. Its value is empty, and it has no [HeaderJobOffset], so readers of
// outcomes ignore it.
const KindGap = "gap"

// Headers of a [KindGap] record, beside [HeaderGroup], [HeaderJobTopic], [HeaderJobTopicID] and [HeaderJobPartition].
const (
	HeaderGapFrom = "ls-gap-from"
	HeaderGapTo   = "ls-gap-to"   // exclusive
	HeaderGapDone = "ls-gap-done" // the offsets whose result is known: unpadded base64, bit i%8 of byte i/8 is ls-gap-from + i
)

// gapBits bounds the bitmap of one record. A gap without done offsets is one record, however wide it is.
const gapBits = 1 << 16

// gap is what one record says.
type gap struct {
	from, to int64
	done     []byte
}

// gaps describes the offsets from from to to, of which those in done, sorted and without repetition, are done.
func gaps(from, to int64, done []int64) []gap {
	var all []gap
	for from < to {
		if len(done) == 0 {
			return append(all, gap{from: from, to: to})
		}
		if done[0]-from >= gapBits {
			all = append(all, gap{from: from, to: done[0]})
			from = done[0]
		}
		g := gap{from: from, to: to}
		for len(done) > 0 && done[0]-from < gapBits {
			i := done[0] - from
			for int64(len(g.done)) <= i/8 {
				g.done = append(g.done, 0)
			}
			g.done[i/8] |= 1 << (i % 8)
			done = done[1:]
		}
		if len(done) > 0 {
			g.to = done[0]
		}
		all = append(all, g)
		from = g.to
	}
	return all
}

// doneWithin lists the offsets from from to to, exclusive, whose result is known or will be: their done bit is set, the
// ledger names an outcome, or this process has the attempt in flight. It leaves wide spans out, see outsideWide. The lock is
// held.
func (c *claim) doneWithin(from, to int64) []int64 {
	var done []int64
	bits := c.base + int64(len(c.words))<<6
	for o := max(from, c.low); o < min(to, bits); o++ {
		if c.words[(o-c.base)>>6]&(1<<uint(o&63)) != 0 {
			done = append(done, o)
		}
	}
	within := func(o int64) {
		if o >= max(from, c.low) && o < to {
			done = append(done, o)
		}
	}
	for o := range c.unverified {
		within(o)
	}
	for o := range c.r.flights[c.topicPartition] {
		within(o)
	}
	slices.Sort(done)
	return slices.Compact(done)
}

// gapsWithin describes what is missing of the offsets from from to to, and counts it. The lock is held.
func (c *claim) gapsWithin(from, to int64) (all []gap, count int64) {
	for _, s := range c.outsideWide(max(from, c.low), to) {
		done := c.doneWithin(s.from, s.to)
		if missing := s.to - s.from - int64(len(done)); missing > 0 {
			all = append(all, gaps(s.from, s.to, done)...)
			count += missing
		}
	}
	return all, count
}

// lost publishes the gap from offset from to start, where the log begins now, and then takes it for done. It does nothing
// when all of it is done.
func (c *claim) lost(ctx context.Context, from, start int64) error {
	c.losing.Lock()
	defer c.losing.Unlock()
	c.r.mu.Lock()
	from = max(from, c.low)
	found, count := c.gapsWithin(from, start)
	c.r.mu.Unlock()
	if count > 0 && c.gapTo < start {
		if err := c.publishGaps(ctx, found); err != nil {
			return err
		}
		c.gapTo = start // the take-over may have to be tried again
		c.r.log.Error("Kafka removed records before they were processed; these notifications are lost. See the topic's retention.ms "+
			"and retention.bytes, and who deletes records; the status store shows the notifications as lost once stuck_after has passed",
			zap.String("topic", c.topic), zap.Int32("partition", c.partition), zap.Int64("from", from), zap.Int64("to", start), zap.Int64("count", count))
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if count > 0 {
		c.r.stats.Lost += uint64(count)
	}
	c.lose(from, start)
	return nil
}

func (c *claim) publishGaps(ctx context.Context, all []gap) error {
	ledger := c.r.cfg.Ledger
	for _, g := range all {
		m := Message{Topic: ledger.topic, Partition: c.ledgerPartition, Headers: c.gapHeaders(g)}
		partition, offset, err := c.r.cfg.Publisher.PublishForever(ctx, m)
		if err != nil {
			return fmt.Errorf("publish the gap %d to %d of %s: %w", g.from, g.to, c.topicPartition, err)
		}
		ledger.raise(partition, offset)
	}
	return nil
}

func (c *claim) gapHeaders(g gap) []Header {
	hs := []Header{
		{HeaderKind, []byte(KindGap)},
		{HeaderGroup, []byte(c.r.cfg.Group)},
		{HeaderJobTopic, []byte(c.topic)},
		{HeaderJobPartition, strconv.AppendInt(nil, int64(c.partition), 10)},
		{HeaderGapFrom, strconv.AppendInt(nil, g.from, 10)},
		{HeaderGapTo, strconv.AppendInt(nil, g.to, 10)},
		{HeaderGapDone, []byte(base64.RawStdEncoding.EncodeToString(g.done))},
	}
	if !c.jobID.IsZero() {
		hs = append(hs, Header{HeaderJobTopicID, []byte(c.jobID.String())})
	}
	return hs
}
