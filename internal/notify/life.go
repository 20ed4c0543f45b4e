package notify

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Life is what is known of one notification: what was accepted, and what became of it.
type Life struct {
	ID            string            `json:"id"`
	Tenant        string            `json:"tenant"`
	Channel       Channel           `json:"channel"`
	Lane          Lane              `json:"lane"`
	Recipient     string            `json:"recipient,omitempty"` // empty while only events are known, and once expunged
	RecipientType string            `json:"recipient_type,omitempty"`
	Reference     string            `json:"reference,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	State         State             `json:"state"`
	Final         bool              `json:"final"`
	Run           int               `json:"run"`
	Step          int               `json:"step"`
	Attempt       int               `json:"attempt"` // attempts that counted so far
	Gateway       string            `json:"gateway,omitempty"`
	Code          string            `json:"code,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	ProviderID    string            `json:"provider_id,omitempty"`
	Simulated     bool              `json:"simulated,omitempty"`
	AcceptedAt    time.Time         `json:"accepted_at"` // of the first event while the job has not been read
	UpdatedAt     time.Time         `json:"updated_at"`  // of the event that gave the state
	SendAt        *time.Time        `json:"send_at,omitempty"`
	ExpiresAt     *time.Time        `json:"expires_at,omitempty"`
	NextAt        *time.Time        `json:"next_at,omitempty"` // while it waits
	Waiting       *Waiting          `json:"waiting,omitempty"` // while no gateway of its route can be called
	Sensitive     bool              `json:"sensitive,omitempty"`
	Expunged      bool              `json:"expunged,omitempty"`
	Payload       json.RawMessage   `json:"payload,omitempty"`  // only of one alone, never in a list
	Timeline      []Event           `json:"timeline,omitempty"` // only of one alone: by run, step and time
	Partition     *int32            `json:"-"`                  // of its lane's topic, where its job is or comes back to; nil: not known
}

// LifeFilter chooses notifications, or their events; a zero field asks for nothing.
type LifeFilter struct {
	ID           string // of one notification; only events are chosen by it
	States       []State
	Channel      Channel
	Lane         Lane
	Gateway      string
	Reference    string
	Recipient    string // as the caller wrote it, or the bare address
	Tenant       string
	Since, Until time.Time // accepted at or after, and before
}

// Wants reports whether e is an event that f chooses. An event knows no recipient and not when its notification was accepted:
// by these it is not chosen.
func (f *LifeFilter) Wants(e *Event) bool {
	return (f.ID == "" || f.ID == e.NotificationID) &&
		(len(f.States) == 0 || slices.Contains(f.States, e.State)) &&
		(f.Channel == "" || f.Channel == e.Channel) &&
		(f.Lane == "" || f.Lane == e.Lane) &&
		(f.Gateway == "" || f.Gateway == e.Gateway) &&
		(f.Reference == "" || f.Reference == e.Reference) &&
		(f.Tenant == "" || f.Tenant == e.Tenant)
}

// Lives is a page of a list, the latest first.
type Lives struct {
	Data []Life
	Next string // opaque: where the next page begins; empty at the end
}

// Expunge says of which notifications to remove what a person could be known by. Exactly one field is set.
type Expunge struct {
	IDs    []string
	Tenant string
	Before time.Time // accepted before
}

// SeenEvent is an event as the status store took it. Seq orders what it took, on all replicas alike.
type SeenEvent struct {
	Seq int64
	Event
}

// What reading the status store can end in besides success.
var (
	// ErrStatusUnavailable: the store cannot be asked now, or has not read far enough to say that there is no such
	// notification. Ask again.
	ErrStatusUnavailable = errors.New("the status store is unavailable")
	// ErrUnknownNotification: the topics, as they stood when it was asked, hold no such notification.
	ErrUnknownNotification = errors.New("there is no such notification")
	// ErrBadCursor: a cursor that this list did not give.
	ErrBadCursor = errors.New("no list gave that cursor")
)
