package kafka

import (
	"time"

	"go.uber.org/zap"
)

// flight is an attempt that is running. It may outlive the session that started it: until it ends its offset is neither
// done nor free to be started again in this process.
type flight struct {
	topicPartition
	offset          int64
	claim           *claim // that started it
	rec             *Record
	intended        bool      // an intent is on the ledger: it keeps its slot until its outcome is acknowledged
	publishing      time.Time // since when its records wait to be acknowledged; zero before
	bytes           int64     // of its records
	inRoom          bool      // it waits in the room, without a slot
	long            bool      // its call has freed its slot
	before, after   *flight   // in the waitlist
	ledgerPartition int32
	jobID           TopicID // of the topic that the record was read from
	ledgerID        TopicID // of the ledger that pin is about
	by              generation
	signed          bool // it has left follow-ons with that generation
	adopts          bool // the generation is that of a follow-on that an earlier attempt has left; see Attempt.Left
	pinned          bool
	pin             int64 // the ledger's end as known at the first hand-off
	probe           bool  // finds out whether a handler that panicked works again
}

// start takes a slot for it and runs it. The lock is held.
func (r *Runner) start(c *claim, it *item) {
	f := &flight{
		topicPartition: c.topicPartition, offset: it.rec.Offset, claim: c, rec: it.rec, intended: it.intent != nil,
		ledgerPartition: c.ledgerPartition, jobID: c.jobID, ledgerID: c.ledgerID, by: c.by,
	}
	if it.left != nil {
		src, _ := sourceOf(it.left)
		f.by, f.adopts = src.by, true
	}
	of := r.flights[c.topicPartition]
	if of == nil {
		of = map[int64]*flight{}
		r.flights[c.topicPartition] = of
	}
	of[f.offset] = f
	if r.panics.stopped() {
		f.probe, r.panics.probing = true, true
	}
	r.busy++
	c.running++
	c.worked = true
	c.calling++
	r.attempts.Add(1)
	r.hands.give(func() {
		defer r.attempts.Done()
		r.run(f, it)
	})
}

func (r *Runner) mayStart(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !f.claim.over && r.session == f.claim.session && f.claim.session.mayStart()
}

func (r *Runner) owns(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := f.claim.session
	return !f.claim.over && !s.fenced && s.leaseHolds()
}

// landing is what becomes of a flight that has published everything.
type landing int

const (
	landed    landing = iota
	undecided         // a take-over is under way that will know whether what the flight has left counts
	unsigned          // what it has left does not count, but the partition is ours again: it has to be published anew
)

// land ends a flight: its memory and the done bit, or its next call, change in one step.
//
// Of a flight that has left follow-ons with the generation of an earlier claim, these count only as long as no fence finds
// them void. Without a claim of ours nobody here knows.
func (r *Runner) land(f *flight, res Result, published *Outcome) landing {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.owner(f.topicPartition)
	void := false
	if f.signed {
		switch {
		case c != nil && !c.taken:
			return undecided
		case c != nil && c.fences.voidFollowOn(f.by, f.offset) && c.countsOn(f) && !f.adopts:
			return unsigned
		}
		void = c == nil || c.fences.voidFollowOn(f.by, f.offset)
	}
	switch {
	case !res.Again.IsZero():
	case void && res.Void != nil:
		res.Void()
	case !void && res.Ended != nil:
		res.Ended(published)
	}
	if f.adopts && !void && res.Again.IsZero() {
		r.stats.Adopted++
	}
	delete(r.flights[f.topicPartition], f.offset)
	r.vacate(f)
	f.claim.running--
	if f.probe {
		r.panics.probing = false // or nobody would probe after an attempt that could not start
	}
	f.claim.notice()
	if c != nil {
		switch {
		case !res.Again.IsZero():
			c.again(f, res)
		case void && c.countsOn(f): // it has adopted what does not count any more
			c.again(f, Result{Again: time.Now()})
		case void: // another owner has ended the job
		case c == f.claim:
			c.ended(f.offset)
		default:
			c.inherit(f)
		}
		c.notice()
		c.makeRoom()
	}
	r.dispatch()
	return landed
}

// countsOn reports whether the claim waits for f, which an earlier claim has started, to end its job. The lock is held.
func (c *claim) countsOn(f *flight) bool { return !c.isDone(f.offset) && !c.toldOf(f.offset) }

// toldOf reports whether the ledger says that the job at that offset, which is not fetched yet, has ended.
func (c *claim) toldOf(offset int64) bool {
	_, told := c.unverified[offset]
	return told
}

// inherit takes the end of an attempt that an earlier claim has started. What is at its offset now may be another job,
// for the topic may have been made anew meanwhile. The lock is held.
func (c *claim) inherit(f *flight) {
	it := c.items[f.offset]
	switch {
	case it == nil: // not fetched yet
		id := c.r.cfg.Handler.Identify(f.rec)
		if !f.pinned {
			f.pin = c.r.cfg.Ledger.known(c.ledgerPartition)
		}
		c.early = append(c.early, entry{jobOffset: f.offset, at: f.pin, id: id})
		c.readOutcome(f.offset, f.pin, id)
	case c.sameJob(f, it):
		c.ended(f.offset)
	default:
		c.unlike(f.offset)
		c.startAnew(it)
	}
}

// sameJob reports whether it is what f attempts. Of its own claim it always is.
func (c *claim) sameJob(f *flight, it *item) bool {
	return f.claim == c || c.r.cfg.Handler.Identify(it.rec) == c.r.cfg.Handler.Identify(f.rec)
}

// startAnew lets a job begin that an attempt of another one, at the same offset, has kept waiting.
func (c *claim) startAnew(it *item) {
	delete(c.pins, it.rec.Offset)
	if c.lines.first(it) {
		c.enqueue(it, &c.queued)
	}
}

func (c *claim) unlike(offset int64) {
	c.r.stats.Mismatches++
	c.r.log.Warn("another job is said to be done at this offset; the topic was made anew?",
		zap.Stringer("claim", c.topicPartition), zap.Int64("offset", offset))
}

// again calls f's record again at the time that its handler asked for. What is at its offset now may be another job, as
// for inherit: that one must not go on with what was read of the first. The lock is held.
func (c *claim) again(f *flight, res Result) {
	it := c.items[f.offset]
	if it == nil {
		return // not fetched yet; then it is called from the start
	}
	if !c.sameJob(f, it) {
		c.startAnew(it)
		return
	}
	it.carry = res.Carry
	if !c.lines.first(it) { // begun in an earlier session; in this one, others of its key come first
		return
	}
	wait := time.Until(res.Again)
	if wait <= 0 {
		c.enqueue(it, &c.called)
		return
	}
	c.r.wait(c, it, wait)
}
