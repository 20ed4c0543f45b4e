package kafka

import (
	"hash/maphash"
	"maps"
	"math"
)

// progress is what one claim knows of its partition: which jobs are done, and how much of the ledger that reflects.
// It is pure; the claim's lock guards it.
//
// The ledger offset L that goes with every commit promises: whatever outcome of this partition lies below L is in the
// done bits. So L stops at the first outcome that may be written and is not reflected yet. Those are the pins.
//
// What the ledger says of jobs that are not fetched yet is kept in memory, so it is kept for [readAhead] offsets only. Jobs
// from horizon on wait until the ledger has been read again for them.
type progress struct {
	tracker
	pins       map[int64]int64  // job offset → L must not pass this ledger offset while the job is not done
	unverified map[int64]told   // job offset → what the ledger says became of it; the job is not fetched yet, and L is pinned
	ordered    []place          // of unverified, by ledger offset; those that were verified are left in until they come first
	intents    map[int64]intent // job offset → what an earlier owner was about to do when it was last heard of
	horizon    int64            // what the ledger says of jobs from here on has not been kept
	beyond     int64            // the first ledger offset of what has not been kept
	seed       maphash.Seed
}

// told is an outcome that the ledger holds at offset at; id is the hash of the job's id.
type told struct {
	id uint64
	at int64
}

type place struct{ job, at int64 }

// readAhead is how many offsets of jobs a take-over learns about from the ledger at once. It bounds the memory of a claim
// whose whole ledger is read, because nothing was committed or the commit is void, to about 5 MB.
const readAhead = 1 << 16

func newProgress(low int64) progress {
	return progress{
		tracker: newTracker(low), pins: map[int64]int64{}, unverified: map[int64]told{}, intents: map[int64]intent{},
		horizon: math.MaxInt64, beyond: math.MaxInt64, seed: maphash.MakeSeed(),
	}
}

// lookAhead limits what is kept of the ledger to jobs below the offset.
func (p *progress) lookAhead(to int64) { p.horizon = to }

// nothingBeyond ends that limit when the ledger, read to its end, says nothing of jobs above it.
func (p *progress) nothingBeyond() {
	if p.beyond == math.MaxInt64 {
		p.horizon = math.MaxInt64
	}
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
	p.forget(o)
	p.done(o)
}

func (p *progress) forget(o int64) {
	delete(p.pins, o)
	delete(p.unverified, o)
	delete(p.intents, o)
}

// read takes what the ledger says of a job of this partition.
func (p *progress) read(e entry) {
	if e.jobOffset >= p.horizon {
		p.beyond = min(p.beyond, e.at)
		return
	}
	switch e.kind {
	case KindOutcome:
		p.readOutcome(e.jobOffset, e.at, e.id)
	case KindIntent:
		p.readIntent(e.jobOffset, e.at, e.id)
	case KindProgress: // what the intent spoke of is known
		delete(p.intents, e.jobOffset)
		p.pin(e.jobOffset, e.at)
	}
}

// pin keeps L before a record of job o until the job has an outcome: each later owner reads the record.
func (p *progress) pin(o, at int64) {
	_, over := p.unverified[o]
	if _, known := p.pins[o]; !known && !over && !p.isDone(o) {
		p.pins[o] = at
	}
}

// readOutcome takes an outcome of job o that the ledger holds at offset at. It counts once the job is fetched and its id
// agrees; of several the latest counts.
func (p *progress) readOutcome(o, at int64, id string) {
	if p.isDone(o) {
		return
	}
	delete(p.pins, o)
	p.unverified[o] = told{p.hash(id), at}
	if n := len(p.ordered); n > 0 && p.ordered[n-1].at > at { // of an attempt of an earlier claim, not read just now
		p.pins[o] = at
	} else {
		p.ordered = append(p.ordered, place{o, at})
	}
	if p.intents[o].id == id {
		delete(p.intents, o)
	}
}

func (p *progress) hash(id string) uint64 { return maphash.String(p.seed, id) }

// readIntent takes an intent of job o. Without an outcome behind it L stays before it until there is one.
func (p *progress) readIntent(o, at int64, id string) {
	if p.isDone(o) {
		return
	}
	ended, over := p.unverified[o]
	p.pin(o, at)
	if !over || ended.id != p.hash(id) {
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
	t, known := p.unverified[o]
	if !known {
		return process
	}
	if t.id == p.hash(identify()) {
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
	switch width := p.next - from; {
	case width <= 1:
	case width < int64(len(p.pins)+len(p.unverified)):
		for o := from; o < p.next; o++ {
			if p.isDone(o) {
				p.forget(o)
			}
		}
	default:
		p.forgetDone()
	}
}

// forgetDone lets go of what pins L for the sake of a job that is done.
func (p *progress) forgetDone() {
	maps.DeleteFunc(p.pins, func(o, _ int64) bool { return p.isDone(o) })
	maps.DeleteFunc(p.unverified, func(o int64, _ told) bool { return p.isDone(o) })
	maps.DeleteFunc(p.intents, func(o int64, _ intent) bool { return p.isDone(o) })
}

// lose takes the offsets from from to to, which the log no longer holds, for done.
func (p *progress) lose(from, to int64) {
	if from < to {
		p.tracker.lose(from, to)
		p.next = max(p.next, to)
		p.forgetDone()
	}
}

// cut goes on at end, where the log was truncated.
func (p *progress) cut(end int64) {
	p.tracker.cut(end)
	beyond := func(o int64) bool { return o >= end }
	maps.DeleteFunc(p.pins, func(o, _ int64) bool { return beyond(o) })
	maps.DeleteFunc(p.unverified, func(o int64, _ told) bool { return beyond(o) })
	maps.DeleteFunc(p.intents, func(o int64, _ intent) bool { return beyond(o) })
}

// reflected is L, given the ledger's end as known now.
func (p *progress) reflected(end int64) int64 {
	for _, at := range p.pins {
		end = min(end, at)
	}
	for len(p.ordered) > 0 {
		first := p.ordered[0]
		if t, ok := p.unverified[first.job]; ok && t.at == first.at {
			end = min(end, first.at)
			break
		}
		p.ordered = p.ordered[1:]
	}
	return min(end, p.beyond)
}

// commit gives what a commit says now; m has the fields that do not depend on progress. fits is false when the done bits
// need more room than metadata has.
func (p *progress) commit(end int64, m metadata) (offset int64, text string, fits bool) {
	m.ledger, m.bitmap = p.reflected(end), p.bitmap()
	text, fits = m.encode()
	return p.low, text, fits
}
