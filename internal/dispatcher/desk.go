package dispatcher

import (
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Desk writes what a job leaves behind when it leaves its place: its next step, its dead letter, its event. Its methods are
// pure. Their event e comes with everything a worker knows; event id, finality, bounds and, where it is not told, the state
// are the desk's.
type Desk struct {
	Topics Topics
	Limit  func() int // what the topics take, as for [Dispatcher.SetLimit]; nil or 0 = no limit
}

// Sent ends a job that a gateway accepted.
func (d Desk) Sent(_ *kafka.Record, e notify.Event) kafka.Result {
	e.State = notify.StateSent
	return kafka.Result{Outcome: outcome(&e)}
}

// End ends a job in e.State without a dead letter: what nobody would send again.
func (d Desk) End(_ *kafka.Record, e notify.Event) kafka.Result {
	return kafka.Result{Outcome: outcome(&e)}
}

// Later puts r's job off until at, in e.State: scheduled or retrying. Its next step waits on the delay ladder. fits is false,
// and nothing is put off, when the ladder's topic would refuse the step for its size: the caller ends the job here.
func (d Desk) Later(r *kafka.Record, e notify.Event, at time.Time) (res kafka.Result, fits bool) {
	next := d.delayed(r, &e, at)
	if d.Limit != nil {
		if limit := d.Limit(); limit > 0 && size(next) > limit {
			return kafka.Result{}, false
		}
	}
	at = at.UTC()
	e.NextAt = &at
	return kafka.Result{Outcome: outcome(&e), Follow: []kafka.Message{next}}, true
}

// Bury ends r's job in e.State and keeps it as a dead letter, bytes untouched. reason is one of notify's words or, from a
// gateway, a sentence; what e.Reason holds goes behind it in the event.
func (d Desk) Bury(r *kafka.Record, e notify.Event, reason string) kafka.Result {
	if e.Reason != "" {
		e.Reason = ": " + e.Reason
	}
	e.Reason = reason + e.Reason
	e.Origin = &notify.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	o := outcome(&e)
	return kafka.Result{Outcome: o, Follow: []kafka.Message{d.deadLetter(r, &e, reason)}}
}

// outcome completes e and makes it what the runner publishes.
func outcome(e *notify.Event) *kafka.Outcome {
	e.Tries = slices.Clone(e.Tries) // the caller's, which Seal would bound
	bound(e)
	e.Seal()
	value, _ := e.Encode() // fails only for a time outside the years 0 to 9999, and At is now
	return &kafka.Outcome{ID: e.NotificationID, Key: []byte(e.NotificationID), Value: value, Headers: []kafka.Header{
		header(notify.HeaderRun, strconv.Itoa(e.Run)),
		header(notify.HeaderStep, strconv.Itoa(e.Step)),
	}}
}

// bound keeps e far below any topic's limit whatever a producer wrote: of what was found invalid, nothing is known to be
// short.
func bound(e *notify.Event) {
	const name, warnings = 255, 20
	e.Tenant, e.Reference = notify.Clip(e.Tenant, name), notify.Clip(e.Reference, name)
	e.ProviderID = notify.Clip(e.ProviderID, name)
	if len(e.Warnings) == 0 {
		return
	}
	bounded := make([]string, min(len(e.Warnings), warnings))
	for i := range bounded {
		bounded[i] = notify.Clip(e.Warnings[i], name)
	}
	e.Warnings = bounded
}
