package audit

import (
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Report is the result of an audit. Its JSON is the last line of laudspeaker audit --json.
//
// Notifications = the sum of Ended + Held + Lost + Unknown + InFlight + Waiting + DeadLetters + Unknowable + Unaccounted.
type Report struct {
	What            FindingKind            `json:"what"` // summary
	At              time.Time              `json:"at"`   // time of the snapshot
	Since           *time.Time             `json:"since,omitempty"`
	Notifications   int64                  `json:"notifications"`
	Ended           map[notify.State]int64 `json:"ended"`            // by state
	AwaitingReceipt int64                  `json:"awaiting_receipt"` // sent notifications whose gateway will report the result
	Held            int64                  `json:"held"`
	InFlight        int64                  `json:"in_flight"`
	Waiting         int64                  `json:"waiting"`
	DeadLetters     int64                  `json:"dead_letters"` // notifications whose dead letter is their only remaining record; the others are in Ended or Held
	Unknowable      int64                  `json:"faded"`        // done, and older than what the status topic still holds
	Lost            int64                  `json:"lost"`         // an event says so
	Unknown         int64                  `json:"unknown"`      // unaccounted for, and an event has the note unknown
	Unaccounted     int64                  `json:"unaccounted"`
	MissingRecords  int64                  `json:"missing_records"` // records that were deleted before their group had processed them; some may be duplicates
	Undecodable     int64                  `json:"undecodable"`     // records in batches that became dead letters because nobody can decode them
	VoidPositions   int64                  `json:"void_positions"`  // void commits: their topic was created again, or their partition was truncated
	DuplicatesSent  int64                  `json:"duplicates_sent"` // how many times a gateway accepted a notification again within a run
	Earlier         int64                  `json:"earlier"`         // notifications accepted before Since; not in Notifications
	Unreadable      int64                  `json:"unreadable"`      // invalid records of the status topic
	Differences     *int64                 `json:"differences,omitempty"`
	Lanes           []Lane                 `json:"lanes"` // lanes with open notifications
	Tiers           []Tier                 `json:"tiers"` // tiers with delayed notifications
}

// Lane counts the open notifications of a channel's lane.
type Lane struct {
	Channel  notify.Channel `json:"channel"`
	Lane     notify.Lane    `json:"lane"`
	InFlight int64          `json:"in_flight"`
	Waiting  int64          `json:"waiting"`
	Oldest   Finding        `json:"oldest"` // the notification that was accepted first
}

// Tier counts the notifications in a tier of a channel's delay ladder.
type Tier struct {
	Topic    string    `json:"topic"`
	Waiting  int64     `json:"waiting"`
	FirstDue time.Time `json:"first_due"`
}

// FindingKind is the subject of a finding.
type FindingKind string

// The kinds of findings. InFlight, Waiting and Held are reported only with [Config.ListOpen].
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

// Why is what is missing for an unaccounted notification.
type Why string

// The values of Why.
const (
	NoOutcome  Why = "no_outcome"   // its job is done, and there is no outcome
	LeftTier   Why = "left_tier"    // it has left its delay tier, and there is no later record
	NoNextStep Why = "no_next_step" // an event says that it was delayed, and there is no record of the next step
	NoNextRun  Why = "no_next_run"  // an event says that it was redriven, and there is no record of the next run
	NoRecord   Why = "no_record"    // the status store has it, and the topics have no record of it
	InGap      Why = "in_gap"       // like NoRecord, and its record is in a missing range
)

// Finding is a finding about one notification or one range of records.
type Finding struct {
	What       FindingKind    `json:"what"`
	ID         string         `json:"id,omitempty"` // absent where the finding is about a range of records
	Run        int            `json:"run"`
	Step       int            `json:"step"`
	Range      *Range         `json:"range,omitempty"` // missing_range, undecodable, void_position
	Why        Why            `json:"why,omitempty"`   // unaccounted
	Times      int            `json:"times,omitempty"` // duplicate: number of extra times
	Where      *notify.Origin `json:"where,omitempty"` // the record; absent for duplicates and differences
	AcceptedAt *time.Time     `json:"accepted_at,omitempty"`
	Due        *time.Time     `json:"due,omitempty"`    // waiting
	Topics     *Standing      `json:"topics,omitempty"` // difference: the state in the topics
	Store      *Standing      `json:"store,omitempty"`  // difference: the state in the store; absent when the store does not have the notification
}

// Range is a range of records of a partition.
type Range struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id,omitempty"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`    // exclusive
	Count     int64  `json:"count"` // number of records; in a missing range without the processed ones; 0 (unknown) for a void position
	// Cause of a missing range: published (by the process that found the range), observed (the log begins after the group's committed
	// offset) or uncommitted (the group has never committed, and the status topic has no outcomes of these records). Cause of a void
	// position: recreated or truncated.
	Cause string `json:"cause,omitempty"`
}

// Standing is the state of a notification in the topics or in the store.
type Standing struct {
	State notify.State `json:"state"`
	Final bool         `json:"final"`
	Run   int          `json:"run"`
}
