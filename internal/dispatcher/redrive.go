package dispatcher

import (
	"hash/fnv"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Redrive gives the job that sends r, a dead letter, again as its next run, and the event that says so, to be published
// once the job is acknowledged. The run follows from the letter alone, so that of a letter redriven twice a worker drops
// the second. now is the event's time; expires, unless zero, is the job's new expiry.
//
// The value and the key are the letter's, untouched. It fails with [ErrValueMissing] for a letter without its value, see
// [Letter.WithValue], and for a record that is from no topic of dead letters.
func (d Desk) Redrive(r *kafka.Record, now, expires time.Time) (job, event kafka.Message, err error) {
	l, err := d.Letter(r)
	if err != nil {
		return job, event, err
	}
	if l.ValueMissing() {
		return job, event, ErrValueMissing
	}
	event, err = l.redriven(d.Topics.Status(), now)
	return d.again(l, expires), event, err
}

// again is the job of l's next run. When it was accepted stays what it was.
func (d Desk) again(l *Letter, expires time.Time) kafka.Message {
	ours := []kafka.Header{
		header(notify.HeaderID, l.ID),
		header(notify.HeaderLane, string(l.Lane)),
		header(notify.HeaderRun, strconv.Itoa(l.Run+1)),
		header(notify.HeaderStep, "0"),
		header(notify.HeaderAttempt, "0"),
	}
	partition := spread(l.Key, l.ID)
	if _, ok := l.Header(notify.HeaderHome); ok {
		partition = home(l.Record)
		ours = append(ours, header(notify.HeaderHome, strconv.Itoa(int(partition))))
	}
	if done, ok := l.Header(notify.HeaderRecipients); ok {
		ours = append(ours, header(notify.HeaderRecipients, done))
	}
	if !expires.IsZero() {
		ours = append(ours, header(notify.HeaderExpiresAt, stamp(expires)))
	}
	return kafka.Message{
		Topic: d.Topics.Job(l.Channel, l.Lane), Partition: partition, Key: l.Key, Value: l.Value, Headers: keep(ours, l.Headers),
	}
}

// redriven is the event of the run that l ended.
func (l *Letter) redriven(topic string, now time.Time) (kafka.Message, error) {
	e := notify.Event{
		NotificationID: l.ID, Run: l.Run, Step: l.Step, Attempt: l.Attempt, State: l.State(), At: now, Channel: l.Channel, Lane: l.Lane,
		Tenant: notify.DefaultTenant, Note: notify.NoteRedriven,
		Origin: &notify.Origin{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset},
	}
	if l.Notification != nil {
		e.Tenant, e.Reference = validate.Tenant(l.Notification), l.Notification.Reference
	}
	return told(topic, e)
}

// spread is where a job goes that has no home: its key chooses; without one its id, so that what is published twice meets
// itself, and not all of them one queue.
func spread(key []byte, id string) int32 {
	if len(key) > 0 {
		return kafka.Hashed
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int32(h.Sum32() >> 1)
}
