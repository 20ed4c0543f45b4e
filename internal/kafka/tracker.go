package kafka

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// tracker knows which offsets of one partition are done. It is pure: no clock, no lock, no I/O.
//
// Everything below low is done. Offsets at or above low are done when their bit is set, whether they have been fetched
// or not. Everything below next has been fetched or was skipped by the log (markers, deleted records).
type tracker struct {
	low, next int64
	base      int64    // offset of bit 0 of words[0]; a multiple of 64, at most low
	words     []uint64 // done bits
	wide      []span   // ranges that are done, in order and apart: those too wide or too far ahead for bits
	told      int64    // offsets from here on are done only because they were skipped: a commit does not tell about them
	version   int      // grows with every change
	end       int64    // offsets from here on cannot be done: the log was truncated there
}

// A range of more than wideSpan offsets, and what lies farther ahead than farAhead, is kept as a span. A commit does not tell
// about those, nor about skipped offsets above the last record that is done: whoever fetches them again finds no records. The
// base of a batch that cannot be decoded counts as a record.
const (
	wideSpan = 1 << 12
	farAhead = 1 << 20
)

func newTracker(low int64) tracker {
	return tracker{low: low, next: low, base: low &^ 63, end: math.MaxInt64}
}

// fetched takes note that the record at offset o has arrived and reports whether it is still to be done. What the log
// skipped before it is done from now on.
func (t *tracker) fetched(o int64) bool {
	if o >= t.next {
		t.skip(t.next, o) // may join what is done ahead of o, and take next beyond it
		t.next = max(t.next, o+1)
	}
	return !t.isDone(o)
}

// fetchedTo takes note that all below next has arrived; what lies between holds no record and is done.
func (t *tracker) fetchedTo(next int64) {
	t.skip(t.next, next)
	t.next = max(t.next, next)
}

// skip sets the done bits of a range. Its cost grows with the words of bits, not with the offsets.
func (t *tracker) skip(from, to int64) {
	if from, to = max(from, t.low), min(to, t.end); from >= to {
		return
	}
	t.version++
	switch {
	case from == t.low: // the usual case, however wide: the log's start has moved
		t.low = to
	case to-from > wideSpan || to-t.base > farAhead:
		t.widen(span{from, to})
	default:
		t.set(from, to)
	}
	t.settle()
}

// set sets bits from from to to, exclusive, word by word.
func (t *tracker) set(from, to int64) {
	last := (to - 1 - t.base) >> 6
	for int64(len(t.words)) <= last {
		t.words = append(t.words, 0)
	}
	for w := (from - t.base) >> 6; w <= last; w++ {
		first := t.base + w<<6
		mask := ^uint64(0)
		if from > first {
			mask <<= uint(from - first)
		}
		if to < first+64 {
			mask &= 1<<uint(to-first) - 1
		}
		t.words[w] |= mask
	}
}

// lose takes a range for done that the log no longer holds, and lets commits tell about it: its loss is published once. A
// range that ends far ahead of low is not told.
func (t *tracker) lose(from, to int64) {
	from, to = max(from, t.low), min(to, t.end)
	if from >= to {
		return
	}
	if to-t.low <= mostTold {
		t.version++
		t.set(from, to)
		t.told = max(t.told, to)
		t.settle()
	} else {
		t.skip(from, to)
	}
}

// mostTold is how many offsets a commit has room for.
const mostTold = 1 << 14

// widen adds a span and joins those that touch.
func (t *tracker) widen(s span) {
	apart := make([]span, 0, len(t.wide)+1)
	for _, x := range t.wide {
		if x.to < s.from || s.to < x.from {
			apart = append(apart, x)
			continue
		}
		s = span{min(s.from, x.from), max(s.to, x.to)}
	}
	t.wide = append(apart, s)
	slices.SortFunc(t.wide, func(a, b span) int { return cmp.Compare(a.from, b.from) })
}

func (t *tracker) isDone(o int64) bool {
	if o < t.low {
		return true
	}
	if w := (o - t.base) >> 6; w < int64(len(t.words)) && t.words[w]&(1<<uint(o&63)) != 0 {
		return true
	}
	for _, s := range t.wide {
		if s.from <= o && o < s.to {
			return true
		}
	}
	return false
}

// lastDone returns the last offset that is done; everything below low is.
func (t *tracker) lastDone() int64 {
	last := t.low - 1
	for i := len(t.words) - 1; i >= 0; i-- {
		if w := t.words[i]; w != 0 {
			last = max(last, t.base+int64(i)<<6+int64(63-bits.LeadingZeros64(w)))
			break
		}
	}
	if n := len(t.wide); n > 0 {
		last = max(last, t.wide[n-1].to-1)
	}
	return last
}

// done sets the done bit of o and moves low past everything that is done.
func (t *tracker) done(o int64) {
	if o < t.end && !t.isDone(o) {
		t.skip(o, o+1)
		t.told = max(t.told, o+1)
	}
}

// outsideWide returns the parts of a range that lie in no span of wide.
func (t *tracker) outsideWide(from, to int64) []span {
	var parts []span
	for _, w := range t.wide {
		if w.to <= from || to <= w.from {
			continue
		}
		if from < w.from {
			parts = append(parts, span{from, w.from})
		}
		from = w.to
	}
	if from < to {
		parts = append(parts, span{from, to})
	}
	return parts
}

// settle moves low over all that is done and forgets what lies below it.
func (t *tracker) settle() {
	t.settleWords()
	for len(t.wide) > 0 && t.wide[0].from <= t.low {
		t.low = max(t.low, t.wide[0].to)
		t.wide = t.wide[1:]
		t.settleWords()
	}
}

func (t *tracker) settleWords() {
	for {
		w := (t.low - t.base) >> 6
		if w >= int64(len(t.words)) {
			break
		}
		run := bits.TrailingZeros64(^(t.words[w] >> uint(t.low&63)))
		run = min(run, 64-int(t.low&63))
		t.low += int64(run)
		if t.low&63 != 0 || run == 0 {
			break
		}
	}
	if drop := min((t.low-t.base)>>6, int64(len(t.words))); drop > 0 {
		t.words = t.words[:copy(t.words, t.words[drop:])]
	}
	t.base = t.low &^ 63
	t.next = max(t.next, t.low)
}

// cut takes back whatever was done at or above end, and lets nothing there be done any more.
func (t *tracker) cut(end int64) {
	if end < t.low {
		was := t.version
		*t = newTracker(end)
		t.version = was
	}
	for i := range t.words {
		from := t.base + int64(i)<<6
		if keep := end - from; keep <= 0 {
			t.words[i] = 0
		} else if keep < 64 {
			t.words[i] &= 1<<uint(keep) - 1
		}
	}
	wide := t.wide
	t.wide = nil
	for _, s := range wide {
		if s.to = min(s.to, end); s.from < s.to {
			t.wide = append(t.wide, s)
		}
	}
	t.next, t.told, t.end = min(t.next, end), min(t.told, end), end
	t.version++
}

// bitmap gives the done bits from low on: bit i%8 of byte i/8 is low+i. Trailing zero bytes are left out, and so is what a
// commit does not tell.
func (t *tracker) bitmap() []byte {
	shift := uint(t.low - t.base)
	out := make([]byte, 0, len(t.words)*8)
	for i, w := range t.words {
		w >>= shift
		if shift > 0 && i+1 < len(t.words) {
			w |= t.words[i+1] << (64 - shift)
		}
		for range 8 {
			out = append(out, byte(w))
			w >>= 8
		}
	}
	out = out[:min(int64(len(out)), max(0, t.told-t.low+7)/8)]
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	return out
}

// restore sets the done bits of a bitmap that began at offset from and ignores those at or above limit: an offset that
// the log does not hold yet cannot be done.
func (t *tracker) restore(from int64, bitmap []byte, limit int64) {
	for i, b := range bitmap {
		for b != 0 {
			o := from + int64(i)*8 + int64(bits.TrailingZeros8(b))
			if o < limit && o >= t.low {
				t.done(o)
			}
			b &= b - 1
		}
	}
}
