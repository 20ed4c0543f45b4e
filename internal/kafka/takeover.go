package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// takeOver learns from the last commit and from the ledger what of the partition is done, makes that its own first
// commit, and lets the claim start. Trouble is met with patience: the claim waits, for that is no worse than not owning it.
func (c *claim) takeOver(ctx context.Context) error {
	log := newSeldom(c.r.log.With(zap.Stringer("claim", c.topicPartition)))
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := c.tryTakeOver(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errFenced) {
			return err
		}
		log.warn("taking over", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (c *claim) tryTakeOver(ctx context.Context) error {
	ledger := c.r.cfg.Ledger
	was, err := c.r.offsets.fetch(c.topicPartition)
	if err != nil {
		return err
	}
	oldest, newest, err := ledger.bounds(c.topicPartition)
	if err != nil {
		return err
	}
	count, err := ledger.partitions()
	if err != nil {
		return err
	}
	now := logs{oldest: oldest, newest: newest, ledgerCount: count, noLedger: c.r.cfg.NoLedger}
	if now.job, now.ledger, err = ledger.takeOverIDs(c.topicPartition); err != nil {
		return err
	}
	c.r.learnIDs(c.topic, was, now)
	if err := ledger.diverged(was, &now); err != nil {
		return fmt.Errorf("ask for the leader epochs of %s: %w", c.topicPartition, err)
	}
	s := begin(was, now)
	if s.origin == truncated && newest < was.offset && !c.short.observe(time.Now(), newest, was.offset) {
		return errTruncated // so far
	}
	if s.origin == recreated || s.origin == ledgerAnew {
		ids := map[string]TopicID{c.topic: now.job, ledger.topic: now.ledger}
		if err := ledger.conn.agreeOnIDs([]string{c.topic, ledger.topic}, ids); err != nil {
			return err
		}
	}
	p := c.partition % s.count
	began := time.Now()
	learnt, end, err := c.readLedger(ctx, p, &s, oldest == newest && s.low >= oldest)
	if err != nil {
		return err
	}
	outcomes := len(learnt.unverified)
	c.restored(s, now, p, learnt)
	if !c.r.cfg.NoLedger {
		found := c.findFollowOns(ctx, s)
		c.r.mu.Lock()
		c.adopt(s, found)
		c.r.mu.Unlock()
	}
	if err := c.resume(ctx, was, s, now); err != nil {
		return err
	}
	if err := c.session.commit(func() []*claim { return []*claim{c} }); err != nil {
		return err
	}
	c.r.log.Debug("claim taken over", zap.Stringer("claim", c.topicPartition), zap.Int64("low", s.low), zap.Int64("ledger_end", end), zap.Int("outcomes", outcomes), zap.Duration("took", time.Since(began)))
	c.r.cfg.OnTakeOver(c.topic, c.partition, s.origin == reset)
	c.begin()
	return nil
}

// readLedger gives what the last commit and the ledger say of the claim's jobs, the ledger up to a barrier. A claim without
// jobs needs only the ledger's end, and one that is too low costs nothing.
func (c *claim) readLedger(ctx context.Context, p int32, s *start, empty bool) (*progress, int64, error) {
	ledger := c.r.cfg.Ledger
	learnt := s.progress() // never assigned again: an abandoned read may go on for a moment
	if c.r.cfg.NoLedger {
		return learnt, 0, nil
	}
	if empty {
		end, err := ledger.ask(p)
		if err == nil {
			s.from(end, 0, true)
		}
		return learnt, end, err
	}
	if err := c.ledgerIntact(p, s); err != nil {
		return nil, 0, err
	}
	learnt.lookAhead(s.low + c.r.cfg.readAhead)
	recent, err := c.recent(p, s)
	if err != nil {
		return nil, 0, err
	}
	wants := func(end int64) []span {
		if s.ended.IsZero() {
			return []span{{s.from(end, c.dedupeOffsets(), false), unbounded}}
		}
		from := s.from(end, 0, false)
		return []span{recent.last(c.r.cfg.DedupeRecords - (end - from)), {from, unbounded}}
	}
	end, err := ledger.read(ctx, c.r.cfg.Publisher, p, wants, func(r *Record) {
		if e, ok := readEntry(r); ok && e.group == c.r.cfg.Group && e.job == c.topicPartition && !s.fences.voidOutcome(e.by, e.jobOffset) {
			c.r.cfg.OnLedger(c.topic, c.partition, r)
			if e.at >= s.ledger {
				learnt.read(e)
			}
		}
	})
	if err != nil {
		return nil, 0, err
	}
	learnt.nothingBeyond()
	return learnt, end, nil
}

// ledgerIntact lowers L to where the ledger was truncated.
func (c *claim) ledgerIntact(p int32, s *start) error {
	at := s.ledger
	certain, err := c.r.cfg.Ledger.ledgerDiverged(p, s)
	if err != nil {
		return fmt.Errorf("ask for the leader epochs of the ledger: %w", err)
	}
	if certain {
		c.r.mu.Lock()
		defer c.r.mu.Unlock()
		c.r.truncated(topicPartition{c.r.cfg.Ledger.topic, p}, s.ledger, at, 0)
	}
	return nil
}

// recent is the part of the ledger that holds what ended within the dedupe window before the claim's newest outcome. It feeds
// dedupe and the callback only. A claim that stood still for hours finds there what it had ended before.
func (c *claim) recent(p int32, s *start) (span, error) {
	if s.ended.IsZero() || c.r.cfg.DedupeWindow == 0 {
		return span{}, nil
	}
	from, err := c.r.cfg.Ledger.offsetSince(p, s.ended.Add(-c.r.cfg.DedupeWindow))
	if err != nil || from < 0 {
		return span{}, err
	}
	to, err := c.r.cfg.Ledger.offsetSince(p, s.ended.Add(clocksDiffer))
	if to < 0 {
		to = unbounded
	}
	return span{from, min(to, max(from, s.ledger))}, err
}

// clocksDiffer is how much the clocks of the workers that write a ledger may differ.
const clocksDiffer = 5 * time.Second

// dedupeOffsets is how many offsets before the ledger's end are read for a claim whose commit does not say when its newest
// outcome was written.
func (c *claim) dedupeOffsets() int64 {
	const most = 5000
	if c.r.cfg.DedupeWindow == 0 {
		return 0
	}
	return min(most, c.r.cfg.DedupeRecords)
}

// restored gives the claim its progress: the last owner's, what the ledger adds, and what this process has in flight.
func (c *claim) restored(s start, now logs, ledgerPartition int32, learnt *progress) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.jobID, c.ledgerID, c.epoch = now.job, now.ledger, s.epoch
	c.by, c.since, c.lastEnd = s.by, s.since, s.ended
	c.ledgerCount, c.ledgerPartition = s.count, ledgerPartition
	c.progress = *learnt
	for o, f := range c.r.flights[c.topicPartition] {
		if f.ledgerID.Differs(now.ledger) { // the outcome may be anywhere in the new ledger
			f.ledgerID, f.pin = now.ledger, 0
		}
		if f.pinned {
			c.handOff(o, f.pin)
		}
	}
	for _, e := range c.early {
		c.readOutcome(e.jobOffset, e.at, e.id)
	}
}

// begin lets the claim read and start.
func (c *claim) begin() {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.taken = true
	c.r.stats.TakeOvers++
	c.moved = time.Now()
	c.takenAt = c.moved
	backlog := c.backlog
	c.backlog = nil
	for _, a := range backlog {
		c.takeAny(a)
	}
	c.r.dispatch()
	c.wake()
}

// exhausted reports whether all that the ledger was read for is done and more has arrived. The lock is held.
func (c *claim) exhausted() bool {
	return c.taken && !c.over && len(c.items) == 0 && len(c.backlog) > 0
}

// readFurther stops the claim, if it is exhausted, until the ledger has been read for what comes next.
func (c *claim) readFurther() bool {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if !c.exhausted() {
		return false
	}
	c.lose(c.next, c.backlog[0].Offset) // no record lies between them
	c.taken = false
	return true
}

// takeOverAgain commits how far the claim has come, which is where its next take-over begins.
func (c *claim) takeOverAgain(ctx context.Context) error {
	log := newSeldom(c.r.log.With(zap.Stringer("claim", c.topicPartition)))
	for {
		err := c.session.commit(func() []*claim { return []*claim{c} })
		switch {
		case err == nil:
			return c.takeOver(ctx)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFenced):
			return err
		}
		log.warn("commit before the ledger is read further", err)
		pause(ctx, 500*time.Millisecond)
	}
}
