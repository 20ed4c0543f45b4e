package kafka

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// What a claim's position means may end while the claim goes on: the topic is deleted and created again, or its log is
// truncated or loses its beginning. The runner compares positions with the logs every [backlogEvery].

var (
	errRecreated = errors.New("a topic was deleted and created again: the position in it is void")
	errRemoved   = errors.New("the log begins after the position: records were removed")
	errTruncated = errors.New("the log was truncated: it ends before the position, or holds other records there")
)

// truncatedAfter is how long a log must end before the position until that is taken for a truncation: a new leader may
// know a lower end for a moment.
const truncatedAfter = 5 * time.Second

// shortfall follows a log that ends before a position.
type shortfall struct {
	since time.Time // zero while the log is long enough
	end   int64     // the lowest end seen since then
}

// observe takes what the leader says now, and reports whether the log has been too short for [truncatedAfter].
func (s *shortfall) observe(now time.Time, end, position int64) bool {
	if end >= position {
		*s = shortfall{}
		return false
	}
	if s.since.IsZero() {
		*s = shortfall{since: now, end: end}
	}
	s.end = min(s.end, end)
	return now.Sub(s.since) >= truncatedAfter
}

// position is how far a claim had fetched before the log was asked for.
type position struct {
	claim *claim
	next  int64
}

// check compares a claim's position with its log, whose bounds were asked for after the position was noted.
func (r *Runner) check(ctx context.Context, at position, oldest, newest int64) {
	c := at.claim
	job, ledger := r.cfg.Ledger.topicID(c.topic), r.cfg.Ledger.topicID(r.cfg.Ledger.topic)
	r.mu.Lock()
	c.newest = newest
	if c.over || c.void != nil {
		r.mu.Unlock()
		return
	}
	switch {
	case c.jobID.Differs(job):
		c.voided(errRecreated)
		r.learnID(c.topic, c.jobID, job)
	case c.ledgerID.Differs(ledger) && !r.cfg.NoLedger:
		c.voided(errRecreated)
		r.learnID(r.cfg.Ledger.topic, c.ledgerID, ledger)
	case c.short.observe(time.Now(), newest, at.next):
		c.truncate(c.short.end)
		c.voided(errTruncated)
	}
	gone := c.void == nil && oldest > at.next
	if gone && oldest-c.low > r.cfg.MaxSpan { // more than a commit could say while something in hand is not done
		c.voided(errRemoved)
		gone = false
	}
	r.mu.Unlock()
	if !gone {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.claimed, cancel)()
	if err := c.lost(ctx, at.next, oldest); err != nil && ctx.Err() == nil {
		r.log.Warn("publishing a gap", zap.Stringer("claim", c.topicPartition), zap.Error(err))
	}
}

// voided ends the claim, and the session with it: the next take-over finds out where to go on. The lock is held.
func (c *claim) voided(err error) {
	c.void = err
	c.wake()
}

// voidError is why the claim must end before it is revoked; nil while it need not.
func (c *claim) voidError() error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return c.void
}

// learnIDs takes in the ids that a take-over has found. The process remembers those that it has seen: Kafka forgets what is
// committed for a topic that is deleted, so the last commit alone does not show that there was another topic.
func (r *Runner) learnIDs(jobTopic string, was committed, now logs) {
	m, _ := decodeMetadata(was.metadata) // zero ids if it is none of ours
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learnID(jobTopic, m.job, now.job)
	if !r.cfg.NoLedger {
		r.learnID(r.cfg.Ledger.topic, m.journal, now.ledger)
	}
}

// learnID logs and counts a topic that was deleted and created again, once for each new id of it; before is an id that it is
// known to have had. The lock is held.
func (r *Runner) learnID(topic string, before, now TopicID) {
	if now.IsZero() {
		return
	}
	if known, ok := r.known[topic]; ok {
		before = known
	}
	r.known[topic] = now
	if before.Differs(now) {
		r.recreated(topic, now)
	}
}

// recreated logs and counts. The lock is held.
func (r *Runner) recreated(topic string, id TopicID) {
	r.stats.Recreated++
	r.log.Error("a topic was deleted and created again: every position in it is void, and it is read again from its start. What was in it "+
		"and not processed is lost; laudspeaker audit --against-store lists these notifications", zap.String("topic", topic), zap.Stringer("topic_id", id))
}

// truncate goes on at the log's new end: what was done from there on was another record. Without a topic id a log that ends
// before the watermark may also belong to a new topic; with a ledger the next take-over then reads all of it again. The lock
// is held.
func (c *claim) truncate(end int64) {
	at := c.extent()
	_, undone := c.gapsWithin(end, at)
	if c.low <= end || !c.jobID.IsZero() || c.r.cfg.NoLedger {
		c.cut(end)
	}
	c.r.truncated(c.topicPartition, end, at, undone)
}

// truncated logs and counts a log that ends at end, before the position at. The lock is held.
func (r *Runner) truncated(tp topicPartition, end, at, undone int64) {
	r.stats.Truncated++
	r.log.Error("a log was truncated below what was read of it: Kafka has lost its end, and the notifications in it are gone unless their result is known. "+
		"See unclean.leader.election.enable and min.insync.replicas of the topic",
		zap.String("topic", tp.topic), zap.Int32("partition", tp.partition), zap.Int64("end", end), zap.Int64("position", at), zap.Int64("not_done", undone))
}

// resume says what was found out about the position that a take-over has restored, and publishes what Kafka has removed of
// the log before anybody processed it. It comes before the claim's first commit.
func (c *claim) resume(ctx context.Context, was committed, s start, now logs) error {
	c.r.mu.Lock()
	switch s.origin {
	case recreated:
		if m, _ := decodeMetadata(was.metadata); !m.job.Differs(now.job) { // ids do not tell, the position does
			c.r.recreated(c.topic, now.job)
		}
	case truncated:
		c.r.truncated(c.topicPartition, s.low, max(was.offset, now.reach), 0)
	case resumed, reset, ledgerAnew:
		if now.diverged {
			c.r.truncated(c.topicPartition, now.divergence, now.reach, 0)
		}
	}
	c.r.mu.Unlock()
	if was.offset < 0 || s.origin == reset || s.origin == recreated || s.low >= now.oldest {
		return nil
	}
	return c.lost(ctx, s.low, now.oldest)
}
