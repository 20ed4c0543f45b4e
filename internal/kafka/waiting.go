package kafka

import (
	"slices"
	"time"
)

// An attempt takes a slot while its handler runs. Once the handler has answered, its records wait for acknowledgement in
// the waiting room and the slot is free. So a ledger, dead-letter or delay partition that cannot be written does not use up
// the slots of the partitions that can:
//
//   - A claim whose oldest outcome has waited for longer than outcomePatience starts nothing. The others go on.
//   - The room is bounded. An attempt that finds no room keeps its slot, and the runner starts nothing while the room is
//     full. Calls and waiting outcomes are therefore at most Concurrency + MaxWaiting, beside long calls.
//   - Within its patience a claim must not fill the room either: it starts nothing while its own waiting outcomes are as many
//     as there is room left. However many partitions cannot be written, the others find some.
//
// A waiting outcome is still a flight: it keeps its key, pins L and counts as in flight.

// outcomePatience is how long the oldest outcome of a claim may wait until the claim starts nothing more.
const outcomePatience = 250 * time.Millisecond

// room counts the flights of a runner that wait for acknowledgement without a slot. The runner's lock guards it.
type room struct {
	count int
	bytes int64
	queue []*flight // answered while the room was full: they keep their slots; the first to answer comes first
}

// waitlist holds the flights of one partition that wait for acknowledgement, with a slot or without, in the order in which
// their handlers have answered. It outlives claims, as flights do. The runner's lock guards it.
type waitlist struct {
	first, last *flight
	count       int
	bytes       int64
	acked       time.Time // when one of them was acknowledged last
}

func (w *waitlist) push(f *flight) {
	w.count++
	w.bytes += f.bytes
	if f.before = w.last; w.last != nil {
		w.last.after = f
	} else {
		w.first = f
	}
	w.last = f
}

func (w *waitlist) remove(f *flight) {
	w.count--
	w.bytes -= f.bytes
	if f.before != nil {
		f.before.after = f.after
	} else {
		w.first = f.after
	}
	if f.after != nil {
		f.after.before = f.before
	} else {
		w.last = f.before
	}
	f.before, f.after = nil, nil
}

// quiet is for how long nothing has been acknowledged although something waits.
func (w *waitlist) quiet(now time.Time) time.Duration {
	switch {
	case w.first == nil:
		return 0
	case w.acked.After(w.first.publishing):
		return now.Sub(w.acked)
	default:
		return now.Sub(w.first.publishing)
	}
}

// waits gives the waitlist of the claim's partition. The lock is held.
func (c *claim) waits() *waitlist {
	if c.waiting == nil {
		r := c.r
		if r.waitlists == nil {
			r.waitlists = map[topicPartition]*waitlist{}
		}
		if r.waitlists[c.topicPartition] == nil {
			r.waitlists[c.topicPartition] = &waitlist{}
		}
		c.waiting = r.waitlists[c.topicPartition]
	}
	return c.waiting
}

// crowds reports whether the claim's outcomes take as much of the room as is left. Room for the calls that run is not left.
// The lock is held.
func (c *claim) crowds() bool {
	r, w := c.r, c.waits()
	return w.count >= r.cfg.MaxWaiting-r.room.count-min(r.busy+r.long, r.cfg.MaxWaiting/2) || w.bytes > r.cfg.MaxWaitingBytes-r.room.bytes
}

// stalled reports whether the claim's oldest outcome has waited for so long that nothing more is started. Who keeps no
// ledger writes to many partitions, and goes on for the others. The lock is held.
func (c *claim) stalled(now time.Time) bool {
	first := c.waits().first
	return first != nil && !c.r.cfg.NoLedger && now.Sub(first.publishing) > outcomePatience
}

// answered moves f, whose handler has answered and left bytes to publish, to the waiting room. A job that must not be sent
// twice keeps its slot: nothing is started in its place while its outcome is unknown.
func (r *Runner) answered(f *flight, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.publishing, f.bytes = time.Now(), bytes
	f.claim.waits().push(f)
	f.claim.calling--
	f.claim.notice()
	if f.intended {
		return
	}
	r.room.queue = append(r.room.queue, f)
	r.admit()
	r.dispatch()
}

// admit takes into the room what waits for it and fits: what is too large keeps nobody out. The lock is held.
func (r *Runner) admit() {
	m := &r.room
	if len(m.queue) == 0 {
		return
	}
	m.queue = slices.DeleteFunc(m.queue, func(f *flight) bool {
		if m.count >= r.cfg.MaxWaiting || m.bytes+f.bytes > r.cfg.MaxWaitingBytes {
			return false
		}
		m.count++
		m.bytes += f.bytes
		f.inRoom = true
		r.freeSlot(f)
		return true
	})
}

// vacate gives back the slot of f, or its place in the room. The lock is held.
func (r *Runner) vacate(f *flight) {
	if f.inRoom {
		r.room.count--
		r.room.bytes -= f.bytes
	} else {
		r.freeSlot(f)
		if i := slices.Index(r.room.queue, f); i >= 0 {
			r.room.queue = slices.Delete(r.room.queue, i, i+1)
		}
	}
	r.admit()
	if f.publishing.IsZero() {
		f.claim.calling--
		return
	}
	w := f.claim.waits()
	w.remove(f)
	w.acked = time.Now()
	r.acked = w.acked
}

// inFlight is how many attempts are running or wait for acknowledgement. The lock is held.
func (r *Runner) inFlight() int { return r.busy + r.long + r.room.count }

// Waiting says how many outcomes wait for acknowledgement, and how many partitions start nothing because of theirs.
func (r *Runner) Waiting() (outcomes, stalled int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range r.flights {
		for _, f := range of {
			if !f.publishing.IsZero() {
				outcomes++
			}
		}
	}
	if r.session == nil {
		return outcomes, 0
	}
	now := time.Now()
	for _, c := range r.session.claims {
		if c.stalled(now) {
			stalled++
		}
	}
	return outcomes, stalled
}

// sizeOf is about what the records of res take.
func sizeOf(res Result) (n int64) {
	for _, m := range res.Follow {
		n += messageSize(m.Key, m.Value, m.Headers)
	}
	if o := res.Outcome; o != nil {
		n += messageSize(o.Key, o.Value, o.Headers) + 256 // the ledger's headers
	}
	return n
}

func messageSize(key, value []byte, headers []Header) int64 {
	n := len(key) + len(value) + 64
	for _, h := range headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return int64(n)
}
