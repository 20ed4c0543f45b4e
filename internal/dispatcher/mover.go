package dispatcher

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Mover moves the jobs of one channel along its delay ladder: it is the handler of a runner over the delay topics.
//
// A job waits in its tier from the time at which the broker took it, then goes to the next tier or, when it is due, back to
// its lane and home partition. In the shortest tier, whose jobs are due in any order within the length of the next tier, the
// runner holds each job until it is due. Only when the runner's window is full ([kafka.Attempt.Crowded]) is such a job written
// again to the end of its tier, so that the jobs behind it are seen.
//
// ls-not-before decides when a job is due: never early, whatever the clocks of the brokers say. The copy is the same record,
// so that a job which a crash has moved twice is recognised by (id, run, step). Nothing is written to the ledger, and no event:
// a job that moves has not changed its state. Only a job that a topic refuses for its size ends here, by [Desk.Shrink].
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
	if !due.After(now) || m.Cancelled != nil && m.Cancelled(m.Identify(a.Record)) {
		return m.move(a.Record, m.Topics.Job(m.Channel, lane(a.Record)))
	}
	next := m.Topics.Delay(m.Channel, lane(a.Record), due.Sub(now))
	over := a.Timestamp.Add(tier(a.Topic))
	if due.Before(over) || next == a.Topic && due.Sub(now) < m.Topics.tiers().keeps() {
		over = due
	}
	if over.After(now) && !a.Crowded() {
		return kafka.Result{Again: over}
	}
	return m.move(a.Record, next)
}

// lane returns the lane that a job on the ladder goes back to.
func lane(r *kafka.Record) notify.Lane {
	name, _ := r.Header(notify.HeaderLane)
	if l := notify.Lane(name); l.Known() {
		return l
	}
	return notify.LaneNormal
}

func (m *Mover) move(r *kafka.Record, topic string) kafka.Result {
	return kafka.Result{Follow: []kafka.Message{{
		Topic: topic, Partition: home(r), Key: r.Key, Value: r.Value, Headers: r.Headers,
	}}}
}
