package kafka

import "maps"

// progress is what one claim knows of its partition: which jobs are done, and how much of the ledger that reflects.
// It is pure; the claim's lock guards it.
//
// The ledger offset L that goes with every commit promises: whatever outcome of this partition lies below L is in the
// done bits. So L stops at the first outcome that may be written and is not reflected yet. Those are the pins.
type progress struct {
	tracker
	pins       map[int64]int64  // job offset → L must not pass this ledger offset while the job is not done
	unverified map[int64]string // job offset → the id that an outcome in the ledger names; the job is not fetched yet
	intents    map[int64]intent // job offset → what an earlier owner was about to do when it was last heard of
}

func newProgress(low int64) progress {
	return progress{tracker: newTracker(low), pins: map[int64]int64{}, unverified: map[int64]string{}, intents: map[int64]intent{}}
}

// handOff pins L because an outcome or an intent of job o is about to be given to the producer, end being the ledger's
// end as known now. The first hand-off counts: the record may land at any offset from there on.
func (p *progress) handOff(o, end int64) {
	if at, ok := p.pins[o]; (!ok || end < at) && !p.isDone(o) {
		p.pins[o] = end
	}
}

// finish sets the done bit of o and lets go of what it pinned: one step, so that no commit can come between.
func (p *progress) finish(o int64) {
	delete(p.pins, o)
	delete(p.unverified, o)
	delete(p.intents, o)
	p.done(o)
}

// read takes what the ledger says of a job of this partition.
func (p *progress) read(e entry) {
	switch e.kind {
	case KindOutcome:
		p.readOutcome(e.jobOffset, e.at, e.id)
	case KindIntent:
		p.readIntent(e.jobOffset, e.at, e.id)
	case KindProgress: // the provider has not got it
		delete(p.intents, e.jobOffset)
	}
}

// readOutcome takes an outcome of job o that the ledger holds at offset at. It counts once the job is fetched and its id
// agrees; of several the latest counts.
func (p *progress) readOutcome(o, at int64, id string) {
	if p.isDone(o) {
		return
	}
	p.pins[o], p.unverified[o] = at, id
	if p.intents[o].id == id {
		delete(p.intents, o)
	}
}

// readIntent takes an intent of job o. Without an outcome behind it L stays before it until there is one.
func (p *progress) readIntent(o, at int64, id string) {
	if p.isDone(o) {
		return
	}
	if _, known := p.pins[o]; !known {
		p.pins[o] = at
	}
	if ended, ok := p.unverified[o]; !ok || ended != id {
		p.intents[o] = intent{id, at}
	}
}

// arrival is what to do with a record that was fetched.
type arrival int

const (
	process  arrival = iota // it is still to be done
	skip                    // it is done
	mismatch                // the ledger speaks of another job at this offset: it is still to be done, and counted
)

// arrive takes note of the record at offset o. identify is asked only when the ledger speaks of that offset.
func (p *progress) arrive(o int64, identify func() string) arrival {
	from := p.next
	if !p.fetched(o) {
		p.passed(from)
		return skip
	}
	defer p.passed(from)
	id, known := p.unverified[o]
	if !known {
		return process
	}
	if id == identify() {
		p.finish(o)
		return skip
	}
	delete(p.unverified, o)
	delete(p.pins, o)
	if in, doubt := p.intents[o]; doubt {
		p.pins[o] = in.at
	}
	return mismatch
}

// inDoubt gives the intent that the ledger holds of the job at offset o without an outcome behind it; nil when there is
// none of this job.
func (p *progress) inDoubt(o int64, identify func() string) *intent {
	in, ok := p.intents[o]
	if !ok || in.id != identify() {
		return nil
	}
	return &in
}

// passed lets go of what the ledger said of offsets that the log has skipped since the fetch position was from.
func (p *progress) passed(from int64) {
	if p.next-from > 1 {
		p.forgetDone()
	}
}

// forgetDone lets go of what pins L for the sake of a job that is done.
func (p *progress) forgetDone() {
	for o := range p.pins {
		if p.isDone(o) {
			delete(p.pins, o)
			delete(p.unverified, o)
			delete(p.intents, o)
		}
	}
}

// lose takes the offsets from from to to, which the log no longer holds, for done.
func (p *progress) lose(from, to int64) {
	if from < to {
		p.skip(from, to)
		p.next = max(p.next, to)
		p.forgetDone()
	}
}

// cut goes on at end, where the log was truncated.
func (p *progress) cut(end int64) {
	p.tracker.cut(end)
	beyond := func(o int64) bool { return o >= end }
	maps.DeleteFunc(p.pins, func(o, _ int64) bool { return beyond(o) })
	maps.DeleteFunc(p.unverified, func(o int64, _ string) bool { return beyond(o) })
	maps.DeleteFunc(p.intents, func(o int64, _ intent) bool { return beyond(o) })
}

// reflected is L, given the ledger's end as known now.
func (p *progress) reflected(end int64) int64 {
	for _, at := range p.pins {
		end = min(end, at)
	}
	return end
}

// commit gives what a commit says now; m has the fields that do not depend on progress. fits is false when the done bits
// need more room than metadata has.
func (p *progress) commit(end int64, m metadata) (offset int64, text string, fits bool) {
	m.ledger, m.bitmap = p.reflected(end), p.bitmap()
	text, fits = m.encode()
	return p.low, text, fits
}
