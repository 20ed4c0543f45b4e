package audit

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Report is what all notifications add up to. Its JSON is the last line of laudspeaker audit --json.
//
// Notifications = the sum of Ended + Held + Lost + Unknown + InFlight + Waiting + DeadLetters + Faded + Unaccounted.
type Report struct {
	What            FindingKind            `json:"what"` // summary
	At              time.Time              `json:"at"`   // what the topics held then is accounted for
	Since           *time.Time             `json:"since,omitempty"`
	Notifications   int64                  `json:"notifications"`
	Ended           map[notify.State]int64 `json:"ended"`            // by state
	AwaitingReceipt int64                  `json:"awaiting_receipt"` // of those sent: their gateways report back
	Held            int64                  `json:"held"`
	InFlight        int64                  `json:"in_flight"`
	Waiting         int64                  `json:"waiting"`
	DeadLetters     int64                  `json:"dead_letters"` // of which the letter is all that tells; others are among Ended or Held
	Faded           int64                  `json:"faded"`        // done, and older than what the status topic still holds
	Lost            int64                  `json:"lost"`         // an event says so
	Unknown         int64                  `json:"unknown"`      // missing, and an event has the note
	Unaccounted     int64                  `json:"unaccounted"`
	MissingRecords  int64                  `json:"missing_records"` // that were deleted before their group had processed them; some may be copies
	Undecodable     int64                  `json:"undecodable"`     // records in batches that became dead letters because nobody can decode them
	VoidPositions   int64                  `json:"void_positions"`  // commits that mean nothing: their topic was created again, or their partition truncated
	DuplicatesSent  int64                  `json:"duplicates_sent"` // times that a gateway accepted one again within a run
	Earlier         int64                  `json:"earlier"`         // seen, but accepted before Since: not among Notifications
	Unreadable      int64                  `json:"unreadable"`      // records of the status topic that are no events
	Differences     *int64                 `json:"differences,omitempty"`
	Lanes           []Lane                 `json:"lanes"` // those in which something is open
	Tiers           []Tier                 `json:"tiers"` // those in which something waits
}

// Lane is what is open of a channel's lane.
type Lane struct {
	Channel  notify.Channel `json:"channel"`
	Lane     notify.Lane    `json:"lane"`
	InFlight int64          `json:"in_flight"`
	Waiting  int64          `json:"waiting"`
	Oldest   Finding        `json:"oldest"` // of both, the one that was accepted first
}

// Tier is what waits in a tier of a channel's delay ladder.
type Tier struct {
	Topic    string    `json:"topic"`
	Waiting  int64     `json:"waiting"`
	FirstDue time.Time `json:"first_due"`
}

// FindingKind says what a line of an audit is about.
type FindingKind string

// The kinds. Those of what is open are given only when they are asked for.
const (
	FoundUnaccounted FindingKind = "unaccounted"
	FoundDuplicate   FindingKind = "duplicate"
	FoundDifference  FindingKind = "difference"
	FoundInFlight    FindingKind = "in_flight"
	FoundWaiting     FindingKind = "waiting"
	FoundHeld        FindingKind = "held"
	FoundLost        FindingKind = "lost"
	FoundUnknown     FindingKind = "unknown"
	FoundMissing     FindingKind = "missing_range"
	FoundUndecodable FindingKind = "undecodable"
	FoundVoid        FindingKind = "void_position"
	FoundSummary     FindingKind = "summary"
)

// Why says what of a notification is missing.
type Why string

// What may be missing.
const (
	NoOutcome  Why = "no_outcome"   // its job is done, and no outcome tells what became of it
	LeftTier   Why = "left_tier"    // it has left its tier of the delay ladder, and is nowhere since
	NoNextStep Why = "no_next_step" // an event has put it off, and its next step is nowhere
	NoNextRun  Why = "no_next_run"  // an event says that it was redriven, and the next run is nowhere
	NoRecord   Why = "no_record"    // the status store knows it, and the topics have no record of it
	InGap      Why = "in_gap"       // the same, and its record is in a missing range
)

// Finding is one notification of which something is to be said, and the record that says it.
type Finding struct {
	What       FindingKind    `json:"what"`
	ID         string         `json:"id,omitempty"` // absent where the finding is about a range of records
	Run        int            `json:"run"`
	Step       int            `json:"step"`
	Range      *Range         `json:"range,omitempty"` // missing_range, undecodable, void_position
	Why        Why            `json:"why,omitempty"`   // unaccounted
	Times      int            `json:"times,omitempty"` // duplicate: how often too often
	Where      *notify.Origin `json:"where,omitempty"` // the record; of all but duplicates and differences
	AcceptedAt *time.Time     `json:"accepted_at,omitempty"`
	Due        *time.Time     `json:"due,omitempty"`    // waiting
	Topics     *Standing      `json:"topics,omitempty"` // difference: what the topics say
	Store      *Standing      `json:"store,omitempty"`  // difference: what the store says; absent when it has nothing
}

// Range is a range of the records of a partition.
type Range struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id,omitempty"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`    // exclusive
	Count     int64  `json:"count"` // records: of a missing range without those that had been processed; of a void position 0, not known
	// How it is known: published by the process that found it, observed (the log begins above what its group has committed), or
	// uncommitted (the group has never committed, and the status topic has no outcomes of these records); of a void position recreated or truncated.
	Cause string `json:"cause,omitempty"`
}

// Standing is a state as one side of a difference tells it.
type Standing struct {
	State notify.State `json:"state"`
	Final bool         `json:"final"`
	Run   int          `json:"run"`
}
