package worker

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
)

// Memory knows which jobs have been dealt with, so that a second copy of a job is not sent: a producer wrote it twice, a
// mover forwarded it twice, a worker was killed between two acknowledgements, somebody redrove it twice. All workers of a
// process share one, and its methods may be called at once from many goroutines.
//
// It holds the steps that ended last, as ids with their last (run, step), whatever their partitions: a step is forgotten
// when there is no room for it any more, or when its partition has gone to another process, and never because of its age.
// Whoever takes a partition over fills it from the ledger, as far as the runner's dedupe window reaches.
type Memory struct {
	mu    sync.Mutex
	parts map[partition]*remembered
	room  int    // steps of all partitions
	size  int    // steps that are in a queue
	clock uint64 // counts steps
}

// bytesPerStep is what a step costs in a map and a queue.
const bytesPerStep = 104

// remembersByDefault is for how many steps a memory has room by default: 32 MiB.
const remembersByDefault = 32 << 20 / bytesPerStep

// NewMemory makes a memory with room for that many steps; 0 is for the default.
func NewMemory(room int) *Memory {
	return &Memory{parts: map[partition]*remembered{}, room: cmp.Or(room, remembersByDefault)}
}

type remembered struct {
	last  map[[16]byte]reached
	queue []endedStep // of the ids in last, one for each step that ended, the oldest first
	open  map[[16]byte]*opened
}

// endedStep is a step that ended.
type endedStep struct {
	id [16]byte
	at uint64 // on the memory's clock
}

// reached is how far a job has come, and how often it is in the queue: it is forgotten with its last step, not its first.
type reached struct {
	stage
	queued uint16
	print  print // of the first step that ended
}

// stage is how far a job has come.
type stage struct {
	run, step int32
	final     bool // the run is over
}

// covers reports whether a record of that run and step is old news.
func (s stage) covers(run, step int) bool {
	if int(s.run) != run {
		return int(s.run) > run
	}
	return s.final || int(s.step) >= step
}

// after reports whether s tells more than was.
func (s stage) after(was stage) bool {
	if s.run != was.run {
		return s.run > was.run
	}
	return !was.final && (s.final || s.step > was.step)
}

// opened is a record that a worker has in hand.
type opened struct {
	offset    int64
	run, step int
	running   bool // its handler is, or what it left behind is on its way; otherwise it waits in place
}

// arrivedAs is what a record is to those who have seen others of its id.
type arrivedAs int

const (
	fresh     arrivedAs = iota
	duplicate           // its step is over
	twin                // another record of the id is in hand: its end decides
)

func (h *Memory) of(at partition) *remembered {
	p := h.parts[at]
	if p == nil {
		p = &remembered{last: map[[16]byte]reached{}, open: map[[16]byte]*opened{}}
		h.parts[at] = p
	}
	return p
}

// makeRoom forgets the oldest steps, whatever their partitions, and some more at once, for it looks at every partition.
func (h *Memory) makeRoom() {
	for h.size > h.room {
		oldest := uint64(math.MaxUint64)
		for _, p := range h.parts {
			if len(p.queue) > 0 {
				oldest = min(oldest, p.queue[0].at)
			}
		}
		until := oldest + uint64(h.room/64)
		for _, p := range h.parts {
			for len(p.queue) > 0 && p.queue[0].at <= until {
				p.forget()
				h.size--
			}
		}
	}
}

// forget forgets the oldest step.
func (p *remembered) forget() {
	id := p.queue[0].id
	p.queue = p.queue[1:]
	r := p.last[id]
	if r.queued--; r.queued == 0 {
		delete(p.last, id)
	} else {
		p.last[id] = r
	}
}

// forgetAll forgets every step of a partition. What is in hand stays.
func (h *Memory) forgetAll(p *remembered) {
	h.size -= len(p.queue)
	p.last, p.queue = map[[16]byte]reached{}, nil
}

// assigned forgets what is known of the partitions of a topic that are not among those that this process has now.
func (h *Memory) assigned(topic string, partitions []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, p := range h.parts {
		if at.topic != topic || slices.Contains(partitions, at.n) {
			continue
		}
		h.forgetAll(p)
		if len(p.open) == 0 {
			delete(h.parts, at)
		}
	}
}

// enter says what the record at offset is, and takes it in hand when it is fresh.
func (h *Memory) enter(at partition, offset int64, j *job) arrivedAs {
	id := compact(j.id)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(at)
	s, known := p.last[id]
	if known && s.covers(j.run, j.step) {
		return duplicate
	}
	if o := p.open[id]; o != nil && o.offset != offset {
		// One that waits although its step is over has outlived its claim, and another owner has ended it: it is not called again.
		if o.running || !known || !s.covers(o.run, o.step) {
			return twin
		}
	}
	p.open[id] = &opened{offset, j.run, j.step, true}
	return fresh
}

// rest says that the record waits in place and its handler has returned.
func (h *Memory) rest(at partition, j *job) { h.running(at, j, false) }

// resume says that its handler is called again.
func (h *Memory) resume(at partition, j *job) { h.running(at, j, true) }

func (h *Memory) running(at partition, j *job, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.of(at).open[compact(j.id)]; o != nil {
		o.running = is
	}
}

// leave says that the job has left its place; final, that its run is over.
func (h *Memory) leave(at partition, j *job, final bool) {
	id := compact(j.id)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(at)
	delete(p.open, id)
	h.remember(p, id, stage{int32(j.run), int32(j.step), final}, j.print)
}

// print is what is remembered of the content of the notification with j's id.
func (h *Memory) print(at partition, j *job) print {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(at).last[compact(j.id)].print
}

func (h *Memory) remember(p *remembered, id [16]byte, s stage, content print) {
	was, known := p.last[id]
	if known && !s.after(was.stage) {
		return
	}
	if was.print != (print{}) {
		content = was.print
	}
	p.last[id] = reached{s, was.queued + 1, content}
	h.clock++
	p.queue = append(p.queue, endedStep{id, h.clock})
	h.size++
	h.makeRoom()
}

// tookOver forgets what waited in place of a partition that begins anew, and, when an operator has set its offset, all that
// is known of it: those jobs are to run.
func (h *Memory) tookOver(at partition, reset bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(at)
	if reset {
		h.forgetAll(p)
	}
	for id, o := range p.open {
		if !o.running {
			delete(p.open, id)
		}
	}
}

// learn takes in what the ledger says of a job of the partition.
func (h *Memory) learn(at partition, id string, s stage, content print) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remember(h.of(at), compact(id), s, content)
}

// compact is the UUID in 16 bytes; every job's id is one. Anything else gets zeros, which is an id like another.
func compact(id string) (b [16]byte) {
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

// at is the partition of a record.
func at(r *kafka.Record) partition { return partition{r.Topic, r.Partition} }
