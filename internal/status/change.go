package status

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Change is one thing that the topics say of a notification.
type Change struct {
	Event notify.Event // of a job's record: that it is queued, in that run
	Job   *Job         // what was accepted, of a job's record; nil for an event
	Place RecordPlace  // of a job's record: where it is; the zero place of an event
}

// RecordPlace says where the record of one step of a notification is. The zero value is no place.
type RecordPlace struct {
	Log
	Partition int32
	Offset    int64
	Run, Step int // of the notification
}

// TopicID is that of Kafka, for stores, which know nothing else of it.
type TopicID = kafka.TopicID

// ParseTopicID is the inverse of [TopicID.String].
func ParseTopicID(text string) (TopicID, error) { return kafka.ParseTopicID(text) }

// Log is a topic as it was created once: a topic that is deleted and created again under the same name is another log.
type Log struct {
	Topic string
	ID    kafka.TopicID // zero where the broker knows none
}

// Is reports whether l and other may be the same log: they are not where both ids are known and differ.
func (l Log) Is(other Log) bool { return l.Topic == other.Topic && !l.ID.Differs(other.ID) }

// AddDone takes bits of another record of the same gap: an offset that either of them knows to be done is done.
func (g *Gap) AddDone(done []byte) {
	a, b := g.Done, done
	if len(a) < len(b) {
		a, b = b, a
	}
	all := append([]byte(nil), a...)
	for i := range b {
		all[i] |= b[i]
	}
	g.Done = all
}

// Gap is a range of a job partition whose records were deleted before a worker or mover had processed them. The process that
// finds the gap publishes it on the status topic.
type Gap struct {
	Log
	Partition int32
	From, To  int64     // To is exclusive
	Done      []byte    // a bit for each offset from From on that had been processed all the same; may be shorter
	At        time.Time // when the gap was published
}

// Has reports whether the record at that place is among the records that are gone.
func (g *Gap) Has(p *RecordPlace) bool {
	if !g.Is(p.Log) || g.Partition != p.Partition || p.Offset < g.From || p.Offset >= g.To {
		return false
	}
	at := p.Offset - g.From
	return at/8 >= int64(len(g.Done)) || g.Done[at/8]>>(at%8)&1 == 0
}

// Job is what a job's record says besides its place in the notification's life.
type Job struct {
	Recipient     string // as it was submitted
	Address       string // the bare address, by which recipients are found
	RecipientType string
	Metadata      map[string]string
	AcceptedAt    time.Time
	SendAt        *time.Time
	ExpiresAt     *time.Time
	Sensitive     bool
	Payload       json.RawMessage // nil where it is not to be kept

	Fingerprint notify.Fingerprint // of its content; zero for what cannot be read
	NoExpiry    bool               // the fingerprint is without expires_at, which may be the API's own
}

// Position is how far a partition has been read: everything below Next is in the store.
type Position struct {
	Topic     string
	Partition int32
	Next      int64
	TopicID   kafka.TopicID // of the log to which Next belongs; zero where it is not known
}

// Batch is what one transaction takes: the changes that were read of some partitions, and from where to where these were
// read. The transaction is refused with [ErrMoved] when the store is not where From says: somebody else has written, or
// the store was emptied to be filled again.
type Batch struct {
	Changes  []Change
	Gaps     []Gap
	From, To []Position // of the same partitions, in the same order; From.Next is -1 for one that the store does not know
}

// What a store refuses a batch for, besides its own troubles.
var (
	// ErrMoved: the store is not where the batch begins. Read its positions again.
	ErrMoved = errors.New("the status store has moved")
	// ErrNotHeld: another process records, or the lease has run out.
	ErrNotHeld = errors.New("another process records")
)
