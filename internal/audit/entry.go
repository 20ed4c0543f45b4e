package audit

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// kind is the kind of the record of an entry.
type kind uint8

const (
	kindJob         kind = iota // a record of a lane
	kindDelayed                 // a record of the delay ladder
	kindDeadLetter              // a dead letter
	kindEvent                   // an event with a state
	kindRedrive                 // an event that says that its run was redriven
	kindUnknownNote             // an event that says that the notification is missing
	kindStored                  // not a record: an unended notification in the status store; its stage is the stage that it expects
	idBytes         = 16
	entrySize       = idBytes + 4 + 4 + 8 + 8 + 8 + 4 + 2 + 1 + 1 + 1
)

// marks are flags of an entry.
type marks uint8

const (
	isDone       marks = 1 << iota // the group has processed the record
	isUnknowable                   // so old that its outcome may have been deleted
	isFirst                        // the notification was accepted with this record, at Since or later
	isOutcome                      // a worker's outcome on the ledger
	isFinal                        // the event is final
	isLate                         // written after the snapshot
	isInGap                        // kindStored: its furthest record is in a missing range
)

// entry holds the fields of a record that an audit needs, in a fixed size.
type entry struct {
	id        [idBytes]byte
	run, step uint32
	offset    int64
	at        int64 // job, delayed: time of acceptance in Unix ms; event: time of the event in Unix ns
	due       int64 // delayed: Unix ms
	partition int32
	topic     uint16 // index in snapshot.topics
	kind      kind
	state     uint8 // event: index in states; delayed: index of its lane in notify.Lanes
	marks     marks
}

func (e *entry) is(m marks) bool { return e.marks&m != 0 }

// stage returns the stage of the notification to which the record belongs.
func (e *entry) stage() stage { return stage{e.run, e.step} }

// stage is a step of a run.
type stage struct{ run, step uint32 }

func (s stage) before(t stage) bool { return s.run < t.run || s.run == t.run && s.step < t.step }

// append appends the encoded entry to b.
func (e *entry) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, e.id[:]...)
	b = le.AppendUint32(le.AppendUint32(b, e.run), e.step)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, uint64(e.offset)), uint64(e.at)), uint64(e.due))
	b = le.AppendUint16(le.AppendUint32(b, uint32(e.partition)), e.topic)
	return append(b, byte(e.kind), e.state, byte(e.marks))
}

// readEntryFrom decodes an entry that append has encoded. b holds entrySize bytes.
func readEntryFrom(b []byte) entry {
	var e entry
	le := binary.LittleEndian
	copy(e.id[:], b)
	b = b[idBytes:]
	e.run, e.step = le.Uint32(b), le.Uint32(b[4:])
	e.offset = int64(le.Uint64(b[8:]))
	e.at = int64(le.Uint64(b[16:]))
	e.due = int64(le.Uint64(b[24:]))
	e.partition, e.topic = int32(le.Uint32(b[32:])), le.Uint16(b[36:])
	e.kind = kind(b[38])
	e.state = b[39]
	e.marks = marks(b[40])
	return e
}

// packID returns a UUID as 16 bytes. ok is false for any other text.
func packID(id string) (b [idBytes]byte, ok bool) {
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

// formatID returns the text of an id that packID has packed.
func formatID(b [idBytes]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// states are all states of an event. An entry holds an index in this list.
var states = notify.States() //nolint:gochecknoglobals // nobody changes it

func indexIn[T comparable](all []T, one T) (uint8, bool) {
	for i, x := range all {
		if x == one {
			return uint8(i), true
		}
	}
	return 0, false
}
