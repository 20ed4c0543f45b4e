package kafka

import (
	"time"

	"go.uber.org/zap"
)

// A claim's window: what was fetched and is not done, in which order it starts, and when it is full.

// wantPause reports whether nothing more should be fetched for now. The lock is held.
func (c *claim) wantPause() bool {
	stopped := len(c.items) > 0 && (c.held || c.r.held || c.stalled(time.Now())) // with one in hand its age is known
	return !c.taken || stopped || c.full()
}

// full reports whether the window is. The lock is held.
func (c *claim) full() bool {
	r := c.r
	most := r.cfg.MaxRecords
	if n := r.cfg.ByDue[c.topic]; n > 0 {
		most = n
	}
	return len(c.items) >= most || !c.parked.empty() || len(c.backlog) > 0 ||
		c.overflow && len(c.items) > 0 || // with none, only what is fetched next moves the watermark
		r.bytes >= r.cfg.MaxBytes && c.bytes > 0
}

// arrivedRecord is a record that was fetched, or in its place a batch that cannot be decoded.
type arrivedRecord struct {
	*Record
	damaged *damagedBatch
}

// takeAny queues what is still to be done. The lock is held.
func (c *claim) takeAny(a arrivedRecord) {
	if a.damaged != nil {
		c.takeDamaged(a.damaged)
		return
	}
	c.take(a.Record)
}

// take queues a record that is still to be done. The lock is held.
func (c *claim) take(rec *Record) {
	if _, twice := c.items[rec.Offset]; twice {
		return
	}
	if rec.Offset >= c.horizon {
		c.backlog = append(c.backlog, arrivedRecord{Record: rec})
		c.wake()
		return
	}
	switch c.arrive(rec.Offset, func() string { return c.r.cfg.Handler.Identify(rec) }) {
	case skip:
		c.r.stats.Skipped++
		return
	case mismatch:
		c.unlike(rec.Offset)
	case process:
	}
	if c.isVoid(rec) {
		c.r.stats.Void++
		c.finish(rec.Offset)
		return
	}
	it := itemOf(rec, c.r.cfg.Unordered)
	it.left = c.followed(rec)
	it.begun = c.fences.mayHaveBegun(rec.Offset)
	it.intent = c.inDoubt(rec.Offset, func() string { return c.r.cfg.Handler.Identify(rec) })
	c.enqueueNew(it)
}

// enqueueNew takes an item that was not there before into the window. The lock is held.
func (c *claim) enqueueNew(it *item) {
	c.items[it.rec.Offset] = it
	c.bytes += it.size
	c.r.bytes += it.size
	if !c.parked.empty() || it.rec.Offset-c.low >= c.r.cfg.MaxSpan {
		it.parked = true
		c.parked.push(it)
		return
	}
	c.line(it)
}

// line puts it behind the others of its key. The lock is held.
func (c *claim) line(it *item) {
	first, length := c.lines.join(it)
	if length == 1000 {
		c.r.log.Warn("a key has 1,000 records waiting", zap.Stringer("claim", c.topicPartition))
	}
	if first {
		c.enqueue(it, &c.queued)
	}
}

// enqueue makes it ready to start, unless an attempt from an earlier session is still at it: that one will report.
func (c *claim) enqueue(it *item, q *fifo[*item]) {
	if c.r.flights[c.topicPartition][it.rec.Offset] == nil && !it.ready {
		it.ready = true
		q.push(it)
	}
}

func (c *claim) startable() bool {
	ready := !c.called.empty() || !c.held && !c.r.held && !c.queued.empty()
	return ready && !c.over && c.taken && !c.crowds() && !c.stalled(time.Now())
}

// pop gives the next record to start; startable must hold.
func (c *claim) pop() *item {
	q := &c.queued
	if !c.called.empty() {
		q = &c.called
	}
	it := q.pop()
	it.ready = false
	return it
}

// ended forgets a record that is done and lets the next of its key, and what was parked, come forward. The lock is held.
func (c *claim) ended(offset int64) {
	c.finish(offset)
	delete(c.follows, offset)
	if it := c.items[offset]; it != nil {
		if it.damaged != nil {
			c.skip(offset+1, it.damaged.LastOffset+1)
		}
		delete(c.items, offset)
		c.r.wakeups.remove(it)
		c.release(it.size)
		if next := c.lines.leave(it); next != nil {
			c.enqueue(next, &c.queued)
		}
	}
	c.unpark()
	c.notice()
}

// unpark lets what was parked come forward as far as a commit can describe it now. The lock is held.
func (c *claim) unpark() {
	for !c.parked.empty() && c.parked.peek().rec.Offset-c.low < c.r.cfg.MaxSpan {
		it := c.parked.pop()
		if it.parked = false; c.items[it.rec.Offset] == it { // else it was done by an attempt from an earlier session
			c.line(it)
		}
	}
}

// release gives bytes back; when there is room again, every claim may want to fetch.
func (c *claim) release(n int64) {
	was := c.r.bytes
	c.bytes -= n
	c.r.bytes -= n
	if most := c.r.cfg.MaxBytes; was >= most && c.r.bytes < most {
		for _, x := range c.session.claims {
			x.wake()
		}
	}
}
