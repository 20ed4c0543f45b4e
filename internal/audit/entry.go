package audit

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// kind is what an entry was read from.
type kind uint8

const (
	aJob      kind = iota // a record of a lane
	aWait                 // a record of the delay ladder
	aLetter               // a dead letter
	anEvent               // an event that gives a state
	aRedrive              // the event that its run was redriven
	anUnknown             // the note that it is missing
	aStored               // not a record: what the status store knows of a notification that has not ended; its stage is what it asks for
	idBytes   = 16
	entrySize = idBytes + 4 + 4 + 8 + 8 + 8 + 4 + 2 + 1 + 1 + 1
)

// marks are what else is known of an entry.
type marks uint8

const (
	isDone    marks = 1 << iota // its group is done with the record
	isFaded                     // so old that what came of it may have been deleted
	isFirst                     // the notification was accepted with it, and not before the time asked for
	isOutcome                   // a worker's, on the ledger
	isFinal                     // as the event says
	isLate                      // written after what is accounted for
	isInGap                     // aStored: its furthest record is in a missing range
)

// entry is what is kept of a record.
type entry struct {
	id        [idBytes]byte
	run, step uint32
	offset    int64
	at        int64 // job, wait: when it was accepted, Unix ms; event: its own time, Unix ns
	due       int64 // wait: Unix ms
	partition int32
	shelf     uint16 // index of where the record is
	kind      kind
	state     uint8 // event: index in states; wait: index of its lane
	marks     marks
}

func (e *entry) is(m marks) bool { return e.marks&m != 0 }

// stage is the place in the notification's life that the record is about.
func (e *entry) stage() stage { return stage{e.run, e.step} }

// stage is a step of a run.
type stage struct{ run, step uint32 }

func (s stage) before(t stage) bool { return s.run < t.run || s.run == t.run && s.step < t.step }

func (e *entry) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, e.id[:]...)
	b = le.AppendUint32(le.AppendUint32(b, e.run), e.step)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(e.offset)), uint64(e.at)), uint64(e.due))
	b = le.AppendUint16(le.AppendUint32(b, uint32(e.partition)), e.shelf)
	return append(b, byte(e.kind), e.state, byte(e.marks))
}

// readEntryFrom reads what append has written; b holds entrySize bytes.
func readEntryFrom(b []byte) (e entry) {
	le := binary.LittleEndian
	copy(e.id[:], b)
	b = b[idBytes:]
	e.run, e.step = le.Uint32(b), le.Uint32(b[4:])
	e.offset, e.at, e.due = int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:])), int64(le.Uint64(b[24:]))
	e.partition, e.shelf = int32(le.Uint32(b[32:])), le.Uint16(b[36:])
	e.kind, e.state, e.marks = kind(b[38]), b[39], marks(b[40])
	return e
}

// compact is a UUID in 16 bytes; ok is false for anything else.
func compact(id string) (b [idBytes]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return b, false
	}
	var plain [2 * idBytes]byte
	n := copy(plain[:], id[:8])
	n += copy(plain[n:], id[9:13])
	n += copy(plain[n:], id[14:18])
	n += copy(plain[n:], id[19:23])
	copy(plain[n:], id[24:])
	_, err := hex.Decode(b[:], plain[:])
	return b, err == nil
}

// spelt is the opposite of compact.
func spelt(b [idBytes]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// states are all that an event may give; an entry has the index of one.
var states = notify.States() //nolint:gochecknoglobals // nobody changes it

func indexOf[T comparable](all []T, one T) (uint8, bool) {
	for i, x := range all {
		if x == one {
			return uint8(i), true
		}
	}
	return 0, false
}
