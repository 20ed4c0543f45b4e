package dispatcher

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Mover carries the jobs of one channel up its delay ladder: it is the handler of a runner over the delay topics.
//
// A job waits in its tier from the time at which the broker took it, then goes to the next tier or, when it is due, back to
// its lane and home partition. ls-not-before is what decides: never early, whatever the clocks of the brokers say. The copy
// is the same record, so that a job which a crash has moved twice is recognised by (id, run, step). Nothing is written on
// the ledger, and no event: a job that moves has not changed its state. Only what a topic refuses for its size ends here,
// by [Desk.Shrink].
type Mover struct {
	Topics    Topics
	Channel   notify.Channel
	Cancelled func(id string) bool // nil: nothing is
}

// Identify is never asked for an outcome; there is none.
func (m *Mover) Identify(r *kafka.Record) string {
	id, _ := r.Header(notify.HeaderID)
	return id
}

// Handle moves a's job when its time in the tier is over. A cancelled one goes to its lane at once, where it ends.
func (m *Mover) Handle(_ context.Context, a *kafka.Attempt) kafka.Result {
	now, due := time.Now(), NotBefore(a.Record)
	if m.Cancelled != nil && m.Cancelled(m.Identify(a.Record)) {
		due = now
	}
	over := a.Timestamp.Add(tier(a.Topic))
	if due.Before(over) {
		over = due
	}
	switch {
	case over.After(now):
		return kafka.Result{Again: over}
	case due.After(now):
		return m.move(a.Record, m.Topics.Delay(m.Channel, m.Topics.tiers().For(due.Sub(now))))
	default:
		lane, _ := a.Header(notify.HeaderLane)
		if !notify.Lane(lane).Known() {
			lane = string(notify.LaneNormal)
		}
		return m.move(a.Record, m.Topics.Job(m.Channel, notify.Lane(lane)))
	}
}

func (m *Mover) move(r *kafka.Record, topic string) kafka.Result {
	return kafka.Result{Follow: []kafka.Message{{
		Topic: topic, Partition: home(r), Key: r.Key, Value: r.Value, Headers: r.Headers,
	}}}
}
