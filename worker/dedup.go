package worker

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Dedup is the duplicate check: it knows which steps of jobs are finished or in flight, so that a second copy of a job is not
// sent. Copies exist because a producer wrote a job twice, the delay ladder forwarded it twice, a worker was killed between two
// acknowledgements, or somebody replayed it twice. All workers of a process share one Dedup. Concurrent calls are safe.
//
// Dedup holds the steps of all partitions that finished last, as job IDs with their last run and step. It forgets a step when
// its memory is full, or when the partition is assigned to another process, and never because of the step's age. A worker that
// takes a partition over fills its Dedup from the ledger, as far as the runner's dedupe window reaches.
type Dedup struct {
	mu         sync.Mutex
	partitions map[partition]*partitionDedup
	capacity   int    // finished steps of all partitions
	size       int    // finished steps in the queues
	clock      uint64 // counts finished steps
}

// bytesPerStep is the memory of one finished step, in a map and in a queue.
const bytesPerStep = 104

// defaultDedupCapacity is the number of steps that fit in 32 MiB.
const defaultDedupCapacity = 32 << 20 / bytesPerStep

// NewDedup returns a Dedup for this number of finished steps; 0 is the default.
func NewDedup(capacity int) *Dedup {
	return &Dedup{partitions: map[partition]*partitionDedup{}, capacity: cmp.Or(capacity, defaultDedupCapacity)}
}

// partitionDedup is the part of a Dedup for one partition.
type partitionDedup struct {
	finished map[[16]byte]progress
	queue    []finishedStep // one entry per finished step of the jobs in finished, the oldest first
	inFlight map[[16]byte]*inFlight
}

// finishedStep is a step in the order of the ends.
type finishedStep struct {
	id [16]byte
	at uint64 // clock of the Dedup
}

// progress is the last finished step of a job. Queued is the number of its steps in the queue: the job is forgotten with its
// last step, not with its first.
type progress struct {
	stage
	queued uint16
	tag    contentTag // content of the first step that finished
}

// stage is a step of a run.
type stage struct {
	run, step int32
	final     bool // the run is over
}

// covers reports whether a record of that run and step has nothing left to do.
func (s stage) covers(run, step int) bool {
	if int(s.run) != run {
		return int(s.run) > run
	}
	return s.final || int(s.step) >= step
}

// after reports whether s is further than other.
func (s stage) after(other stage) bool {
	if s.run != other.run {
		return s.run > other.run
	}
	return !other.final && (s.final || s.step > other.step)
}

// inFlight is a record that a worker has begun and not finished.
type inFlight struct {
	offset    int64
	run, step int
	running   bool // its handler runs, or its result is being published; otherwise the record waits in place
}

// dedupResult is the result of the duplicate check for one record.
type dedupResult int

const (
	fresh             dedupResult = iota
	duplicate                     // the step is already finished
	inFlightDuplicate             // another record with this ID is in flight: its end decides
)

// ofLocked returns the part for a partition, which it creates if there is none.
func (d *Dedup) ofLocked(at partition) *partitionDedup {
	p := d.partitions[at]
	if p == nil {
		p = &partitionDedup{finished: map[[16]byte]progress{}, inFlight: map[[16]byte]*inFlight{}}
		d.partitions[at] = p
	}
	return p
}

// evictLocked forgets the oldest steps of all partitions. It forgets a few more than needed, as it visits every partition.
func (d *Dedup) evictLocked() {
	for d.size > d.capacity {
		oldest := uint64(math.MaxUint64)
		for _, p := range d.partitions {
			if len(p.queue) > 0 {
				oldest = min(oldest, p.queue[0].at)
			}
		}
		until := oldest + uint64(d.capacity/64)
		for _, p := range d.partitions {
			for len(p.queue) > 0 && p.queue[0].at <= until {
				p.forgetOldestLocked()
				d.size--
			}
		}
	}
}

func (p *partitionDedup) forgetOldestLocked() {
	id := p.queue[0].id
	p.queue = p.queue[1:]
	last := p.finished[id]
	last.queued--
	if last.queued == 0 {
		delete(p.finished, id)
	} else {
		p.finished[id] = last
	}
}

// forgetFinishedLocked forgets every finished step of a partition. Records in flight stay.
func (d *Dedup) forgetFinishedLocked(p *partitionDedup) {
	d.size -= len(p.queue)
	p.finished = map[[16]byte]progress{}
	p.queue = nil
}

// onAssigned forgets the finished steps of a topic's partitions that this process no longer has.
func (d *Dedup) onAssigned(topic string, partitions []int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for at, p := range d.partitions {
		if at.topic != topic || slices.Contains(partitions, at.n) {
			continue
		}
		d.forgetFinishedLocked(p)
		if len(p.inFlight) == 0 {
			delete(d.partitions, at)
		}
	}
}

// begin checks whether the record at offset is a duplicate. A fresh record is in flight from now on.
func (d *Dedup) begin(at partition, offset int64, j *job) dedupResult {
	id := compactID(j.id)
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ofLocked(at)
	last, known := p.finished[id]
	if known && last.covers(j.run, j.step) {
		return duplicate
	}
	if other := p.inFlight[id]; other != nil && other.offset != offset {
		// A record that waits although its step is finished has outlived its claim: another owner has finished it, and nobody
		// calls it again.
		if other.running || !known || !last.covers(other.run, other.step) {
			return inFlightDuplicate
		}
	}
	p.inFlight[id] = &inFlight{offset: offset, run: j.run, step: j.step, running: true}
	return fresh
}

// park notes that the handler of the record has returned and the record waits in place.
func (d *Dedup) park(at partition, j *job) { d.setRunning(at, j, false) }

// resume notes that the handler of the record is called again.
func (d *Dedup) resume(at partition, j *job) { d.setRunning(at, j, true) }

func (d *Dedup) setRunning(at partition, j *job, running bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.ofLocked(at).inFlight[compactID(j.id)]; f != nil {
		f.running = running
	}
}

// finish notes that j's step has ended; final says that its run is over.
func (d *Dedup) finish(at partition, j *job, final bool) {
	id := compactID(j.id)
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ofLocked(at)
	delete(p.inFlight, id)
	d.addLocked(p, id, stage{run: int32(j.run), step: int32(j.step), final: final}, j.tag)
}

// tag returns the content tag of the notification with j's ID; the zero tag if none is known.
func (d *Dedup) tag(at partition, j *job) contentTag {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ofLocked(at).finished[compactID(j.id)].tag
}

// addLocked adds a finished step, unless a later step is already known. The first known tag of a job is kept.
func (d *Dedup) addLocked(p *partitionDedup, id [16]byte, s stage, tag contentTag) {
	last, known := p.finished[id]
	if known && !s.after(last.stage) {
		return
	}
	if last.tag != (contentTag{}) {
		tag = last.tag
	}
	p.finished[id] = progress{stage: s, queued: last.queued + 1, tag: tag}
	d.clock++
	p.queue = append(p.queue, finishedStep{id, d.clock})
	d.size++
	d.evictLocked()
}

// onTakeOver forgets the records of a partition that wait in place: its new claim reads them again. With reset, an operator has
// set the offset: then it forgets the finished steps as well, as these jobs are to run again.
func (d *Dedup) onTakeOver(at partition, reset bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.ofLocked(at)
	if reset {
		d.forgetFinishedLocked(p)
	}
	for id, f := range p.inFlight {
		if !f.running {
			delete(p.inFlight, id)
		}
	}
}

// learn adds a finished step that was read from the ledger.
func (d *Dedup) learn(at partition, id string, s stage, tag contentTag) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addLocked(d.ofLocked(at), compactID(id), s, tag)
}

// compactID returns a UUID in 16 bytes. Every job ID is a UUID; for any other text it returns zeros, which is an ID like another.
func compactID(id string) [16]byte {
	var b [16]byte
	n := 0
	for i := 0; i < len(id) && n < 32; i++ {
		c := id[i]
		switch {
		case c == '-':
			continue
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return [16]byte{}
		}
		b[n/2] = b[n/2]<<4 | c
		n++
	}
	return b
}
