package kafka

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"sort"
)

// A partition may be taken over while its owner before is still at it, frozen or cut off. Each job that is not done then
// begins anew with the new owner. So what the earlier owner brings about for such a job afterwards, the job's next step or
// its dead letter and the outcome that tells of them, is void: otherwise two chains of attempts would go on from one job.
//
// A fence says which jobs these are. Fences go with the claim's commits, because a next step may wait on the ladder for
// weeks, and a frozen process may wake up at any time.

// generation counts the take-overs of a partition. Owners write their generation on what they bring about. Zero is an
// unknown one, or that of a job whose next owner waits for what becomes of it: never void.
type generation uint64

// fence is what one generation found undone when it took the partition over from an owner that had not left in order.
type fence struct {
	by     generation
	undone []span // in order, apart from each other
	cut    bool   // more was undone beyond the last span: there was no room to commit it
}

// holds reports whether the job at that offset was undone, as far as the fence knows.
func (f fence) holds(offset int64) bool {
	i := sort.Search(len(f.undone), func(i int) bool { return f.undone[i].to > offset })
	return i < len(f.undone) && f.undone[i].from <= offset
}

// unknown reports whether the fence does not say anything about the job at that offset.
func (f fence) unknown(offset int64) bool {
	return f.cut && (len(f.undone) == 0 || offset >= f.undone[len(f.undone)-1].to)
}

// fences are those of a claim, the newest first. Old ones are forgotten: then what they would have found void counts.
type fences []fence

// voidFollowOn reports whether a follow-on that the owner of that generation left for the job at that offset is void.
func (fs fences) voidFollowOn(by generation, offset int64) bool {
	return by > 0 && slices.ContainsFunc(fs, func(f fence) bool { return by < f.by && f.holds(offset) })
}

// voidOutcome is the same for an outcome that tells of follow-ons. Where a fence does not know, the outcome is void and the
// job is repeated: its follow-on may have been dropped by somebody who knew.
func (fs fences) voidOutcome(by generation, offset int64) bool {
	return by > 0 && slices.ContainsFunc(fs, func(f fence) bool { return by < f.by && (f.holds(offset) || f.unknown(offset)) })
}

// mayHaveBegun reports whether an owner that has not left in order may have begun the job at that offset.
func (fs fences) mayHaveBegun(offset int64) bool {
	return slices.ContainsFunc(fs, func(f fence) bool { return f.holds(offset) || f.unknown(offset) })
}

// fencesLimit bounds the text of a claim's fences within a commit's metadata.
const fencesLimit = 800

// encode gives the text of as many fences as fit, the newest first. Of the newest, what does not fit is cut off.
func (fs fences) encode() string {
	var all []byte
	for i, f := range fs {
		room := base64.RawURLEncoding.DecodedLen(fencesLimit) - len(all)
		one, whole := f.encode(room)
		if !whole && i > 0 {
			break
		}
		all = append(all, one...)
	}
	return base64.RawURLEncoding.EncodeToString(all)
}

// encode gives the fence in at most room bytes: its generation, twice the number of spans and one more if it is cut, and
// for each span how far it begins behind the one before and how long it is.
func (f fence) encode(room int) (b []byte, whole bool) {
	const head = 3 * binary.MaxVarintLen64
	var spans []byte
	n, at := 0, int64(0)
	for _, s := range f.undone {
		one := binary.AppendUvarint(nil, uint64(s.from-at))
		one = binary.AppendUvarint(one, uint64(s.to-s.from))
		if len(spans)+len(one)+head > room {
			break
		}
		spans, at, n = append(spans, one...), s.to, n+1
	}
	cut := uint64(0)
	if f.cut || n < len(f.undone) {
		cut = 1
	}
	b = binary.AppendUvarint(nil, uint64(f.by))
	b = binary.AppendUvarint(b, 2*uint64(n)+cut)
	b = append(b, spans...)
	return b, n == len(f.undone) && len(b) <= room
}

var errFences = errors.New("unreadable fences")

func decodeFences(text string) (fences, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errFences
	}
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err = errFences
			return 0
		}
		b = b[n:]
		return v
	}
	var fs fences
	for len(b) > 0 {
		f := fence{by: generation(next())}
		spans := next()
		f.cut = spans&1 == 1
		at := uint64(0)
		for range spans / 2 {
			from := next()
			length := next()
			if err != nil || from > math.MaxInt64-at || length > math.MaxInt64-at-from {
				return nil, errFences
			}
			f.undone = append(f.undone, span{int64(at + from), int64(at + from + length)})
			at += from + length
		}
		if err != nil {
			return nil, err
		}
		fs = append(fs, f)
	}
	return fs, nil
}

// undone gives the offsets below limit that are neither done nor in skip.
func (t *tracker) undone(limit int64, skip map[int64]bool) []span {
	var out []span
	add := func(from, to int64) {
		switch n := len(out); {
		case from >= to:
		case n > 0 && out[n-1].to == from:
			out[n-1].to = to
		default:
			out = append(out, span{from, to})
		}
	}
	bits := max(t.low, min(limit, t.base+int64(len(t.words))*64)) // nothing is done from here on
	for o := t.low; o < bits; o++ {
		if !t.isDone(o) && !skip[o] {
			add(o, o+1)
		}
	}
	at := bits
	for _, o := range slices.Sorted(maps.Keys(skip)) {
		if o >= at && o < limit {
			add(at, o)
			at = o + 1
		}
	}
	add(at, limit)
	return out
}
