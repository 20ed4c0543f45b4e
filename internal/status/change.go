package status

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Change is one thing that the topics say of a notification.
type Change struct {
	Event notify.Event // of a job's record: that it is queued, in that run
	Job   *Job         // what was accepted, of a job's record; nil for an event
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
}

// Batch is what one transaction takes: the changes that were read of some partitions, and from where to where these were
// read. The transaction is refused with [ErrMoved] when the store is not where From says: somebody else has written, or
// the store was emptied to be filled again.
type Batch struct {
	Changes  []Change
	From, To []Position // of the same partitions, in the same order; From.Next is -1 for one that the store does not know
}

// What a store refuses a batch for, besides its own troubles.
var (
	// ErrMoved: the store is not where the batch begins. Read its positions again.
	ErrMoved = errors.New("the status store has moved")
	// ErrNotHeld: another process records, or the lease has run out.
	ErrNotHeld = errors.New("another process records")
)
