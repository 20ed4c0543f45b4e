package notify

import (
	"strconv"
	"strings"
	"time"
)

// Event is one state change of one notification: the value of a record on the status topic.
type Event struct {
	EventID        string        `json:"event_id"` // see [Event.Seal]
	NotificationID string        `json:"notification_id"`
	Run            int           `json:"run"`
	Step           int           `json:"step"`
	Attempt        int           `json:"attempt"`
	State          State         `json:"state"`
	Final          bool          `json:"final"`
	At             time.Time     `json:"at"`
	Tenant         string        `json:"tenant"`
	Channel        Channel       `json:"channel"`
	Lane           Lane          `json:"lane"`
	Reference      string        `json:"reference,omitempty"`
	Gateway        string        `json:"gateway,omitempty"`
	Code           string        `json:"code,omitempty"`
	Reason         string        `json:"reason,omitempty"`
	Simulated      bool          `json:"simulated,omitempty"`
	Tries          []Try         `json:"tries,omitempty"`
	ProviderID     string        `json:"provider_id,omitempty"`
	NextAt         *time.Time    `json:"next_at,omitempty"`
	Warnings       []string      `json:"warnings,omitempty"`
	Recipients     []Part        `json:"recipients,omitempty"` // of an e-mail whose recipients have results of their own
	Note           string        `json:"note,omitempty"`       // [NoteStuck], [NoteUnknown], [NoteRedriven], [NoteDuplicate] or [NoteInbound]: the state stays as it is
	Origin         *Origin       `json:"origin,omitempty"`
	Fields         []string      `json:"fields,omitempty"`  // of [NoteDuplicate], as the status store shows it: JSON pointers of the fields that differ
	Inbound        *EventInbound `json:"inbound,omitempty"` // of [NoteInbound]
	Awaited        bool          `json:"-"`                 // of sent: the provider will say what became of it, see [Receipt]; Seal makes it not final
}

// Notes, which say something of a notification without changing its state.
const (
	NoteRedriven  = "redriven"  // the dead letter at the event's origin was sent again, as the next run
	NoteDuplicate = "duplicate" // the record at the event's origin has the id of this notification but another content, and was not sent
	NoteStuck     = "stuck"     // it should have ended by now
	NoteInbound   = "inbound"   // the recipient of this text sent a text to the sender; provider_id is the ID of the inbound text
	NoteUnknown   = "unknown"   // it is missing: its record is done or gone without a result, and no published gap explains it
)

// Origin is the record that an event speaks of.
type Origin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Try is one call of one gateway within an attempt.
type Try struct {
	Gateway string  `json:"gateway"`
	Verdict Verdict `json:"verdict"`
	Code    string  `json:"code,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Millis  int64   `json:"ms"`
}

// Seal completes e before it is published: Final by its state and whether a receipt is awaited, the event id from (id, run,
// step, state, final, note), so that the same event published twice is recognised, and its text bounded.
func (e *Event) Seal() {
	e.Final = e.State.Final() && !e.Awaited
	e.At = e.At.UTC()
	e.Code, e.Reason = Clip(e.Code, 64), Clip(e.Reason, 500)
	for i := range e.Tries {
		e.Tries[i].Code, e.Tries[i].Reason = Clip(e.Tries[i].Code, 64), Clip(e.Tries[i].Reason, 500)
	}
	for i := range e.Recipients {
		p := &e.Recipients[i]
		p.Code = Clip(p.Code, 64)
		if p.State == "" {
			p.State = e.State
		}
	}
	parts := []string{
		e.NotificationID, strconv.Itoa(e.Run), strconv.Itoa(e.Step), string(e.State), strconv.FormatBool(e.Final), e.Note,
	}
	if e.Inbound != nil {
		e.Inbound.Bound()
	}
	if e.Note == NoteInbound {
		parts = append(parts, e.Gateway, e.ProviderID)
	}
	if o := e.Origin; o != nil && e.Note == NoteDuplicate {
		parts = append(parts, o.Topic, strconv.Itoa(int(o.Partition)), strconv.FormatInt(o.Offset, 10))
	}
	e.EventID = DerivedID("event", strings.Join(parts, "|"))
}

// Encode gives the JSON that goes on the bus.
func (e *Event) Encode() ([]byte, error) { return appendEvent(make([]byte, 0, 640), e) }
