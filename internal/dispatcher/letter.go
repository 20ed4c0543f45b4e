package dispatcher

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Letter is a dead letter, read. What its headers do not say, or say badly, is zero.
type Letter struct {
	*kafka.Record
	ID                 string
	Channel            notify.Channel // of the topic
	Lane               notify.Lane
	Run, Step, Attempt int
	Reason             string // one of notify's words, or a gateway's sentence
	Code, Gateway      string
	Died               time.Time // else the record's own time
	Origin             *notify.Origin
	Notification       *notify.Notification // as far as it can be read; nil when the value is no JSON object
	Legible            bool                 // Notification is all there: nothing of it was found unreadable
}

// ErrValueMissing: the letter holds no value, because the value was too large for the topic of dead letters. The value is at the
// letter's origin, for as long as that topic keeps it.
var ErrValueMissing = errors.New("the letter holds no value: it was too large, and stayed where the job was")

// errNoLetter: the record is not from a topic of dead letters.
var errNoLetter = errors.New("no configured channel has its dead letters there")

// Letter reads r, a record of a channel's dead letters. It fails only for a record from elsewhere.
func (d Desk) Letter(r *kafka.Record) (*Letter, error) {
	l := &Letter{Record: r, Lane: notify.LaneNormal, Died: r.Timestamp}
	for _, ch := range d.Topics.Channels() {
		if d.Topics.DeadLetters(ch) == r.Topic {
			l.Channel = ch
		}
	}
	if l.Channel == "" {
		return nil, fmt.Errorf("%s: %w", r.Topic, errNoLetter)
	}
	var faults notify.Faults
	l.Notification, _, faults = validate.Decode(r.Value, false)
	l.Legible = l.Notification != nil && len(faults) == 0
	l.ID = identity(l.Notification, r)
	if lane, _ := r.Header(notify.HeaderLane); notify.Lane(lane).Known() {
		l.Lane = notify.Lane(lane)
	}
	l.Run, l.Step, l.Attempt = number(r, notify.HeaderRun), number(r, notify.HeaderStep), number(r, notify.HeaderAttempt)
	l.Reason, _ = r.Header(notify.HeaderDeadReason)
	l.Code, _ = r.Header(notify.HeaderDeadCode)
	l.Gateway, _ = r.Header(notify.HeaderDeadGateway)
	if at, ok := moment(r, notify.HeaderDeadAt); ok {
		l.Died = at
	}
	l.Origin = origin(r)
	return l, nil
}

// ValueMissing reports whether the letter came without its value; see [ErrValueMissing].
func (l *Letter) ValueMissing() bool { return l.Reason == notify.ReasonTooLarge && l.Value == nil }

// WithValue returns the letter's record with the value of the record at its origin. ok is false when that record is another job's: the
// topic was created again, or the letter has been copied to another Kafka cluster than its origin.
func (l *Letter) WithValue(at *kafka.Record) (whole *kafka.Record, ok bool) {
	n, _, _ := validate.Decode(at.Value, false)
	if identity(n, at) != l.ID {
		return nil, false
	}
	r := *l.Record
	if r.Value = at.Value; r.Key == nil { // a long one had to go, too
		r.Key = at.Key
	}
	return &r, true
}

// Expires is when the job ends undelivered: what an earlier redrive says, else the value, else the lane's lifetime from
// when it was accepted, or from when it was to be sent. ok is false when nothing says so: then it lives anew from its redrive.
func (l *Letter) Expires(lifetimes map[notify.Lane]time.Duration) (at time.Time, ok bool) {
	if at, ok := moment(l.Record, notify.HeaderExpiresAt); ok {
		return at, true
	}
	n := l.Notification
	if n != nil && n.ExpiresAt != nil {
		return *n.ExpiresAt, true
	}
	from, ok := moment(l.Record, notify.HeaderAcceptedAt)
	if !ok || lifetimes[l.Lane] == 0 {
		return time.Time{}, false
	}
	if n != nil && n.SendAt != nil && n.SendAt.After(from) {
		from = *n.SendAt
	}
	return from.Add(lifetimes[l.Lane]), true
}

// State is what the job ended in. Of one whose reason gave way to too_large nothing more is known than that it is dead.
func (l *Letter) State() notify.State {
	switch l.Reason {
	case notify.ReasonAmbiguous:
		return notify.StateHeld
	case notify.ReasonAttemptsUsedUp, notify.ReasonTooLarge, notify.ReasonOrder, notify.ReasonPanicked:
		return notify.StateDead
	default:
		return notify.StateRejected
	}
}

func identity(n *notify.Notification, r *kafka.Record) string {
	return validate.Identity(n, source(r))
}

func source(r *kafka.Record) validate.Source {
	return validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
}

// number reads a counter; a bad one is 0.
func number(r *kafka.Record, key string) int {
	const most = 1 << 30
	s, _ := r.Header(key)
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= most {
		return n
	}
	return 0
}

func moment(r *kafka.Record, key string) (time.Time, bool) {
	s, _ := r.Header(key)
	at, err := time.Parse(time.RFC3339, s)
	return at, err == nil
}

// origin is the place that r's headers name, or nil.
func origin(r *kafka.Record) *notify.Origin {
	topic, _ := r.Header(notify.HeaderOriginTopic)
	partition, _ := r.Header(notify.HeaderOriginPartition)
	offset, _ := r.Header(notify.HeaderOriginOffset)
	p, err1 := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if topic == "" || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return nil
	}
	return &notify.Origin{Topic: topic, Partition: int32(p), Offset: o}
}
