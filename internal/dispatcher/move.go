package dispatcher

import (
	"slices"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Move gives r, a job, one that waits or a dead letter, as it goes to a topic of another Kafka: as it is, but with the home
// that its key has there, and with the id and the time of its acceptance where it has none. Both follow from where and when
// it was written, which the other Kafka cannot know.
//
// The home is written as a number that is taken modulo: what waits goes to one of the ladder's few partitions, and has to
// come back to the one of its lane's many where others of its key are, and its copies.
func (d Desk) Move(r *kafka.Record, topic string) kafka.Message {
	id := d.Identify(r)
	at := spread(r.Key, id)
	if at == kafka.Hashed {
		at = kafka.Home(r.Key)
	}
	headers := slices.DeleteFunc(slices.Clone(r.Headers), func(h kafka.Header) bool {
		return h.Key == notify.HeaderHome || h.Key == kafka.HeaderSource // a place on the Kafka that it leaves
	})
	if given, _ := r.Header(notify.HeaderID); !isID(given) { // the last of a name counts
		headers = append(headers, header(notify.HeaderID, id))
	}
	if _, ok := r.Header(notify.HeaderAcceptedAt); !ok && r.Timestamp.UnixMilli() > 0 {
		headers = append(headers, header(notify.HeaderAcceptedAt, stamp(r.Timestamp)))
	}
	headers = append(headers, header(notify.HeaderHome, strconv.Itoa(int(at))))
	return kafka.Message{Topic: topic, Partition: at, Key: r.Key, Value: r.Value, Headers: headers}
}

// MoveHeld gives what goes to another Kafka in place of r, a job of a lane that a worker was about to send when it was last
// heard of, and that must not be sent twice: its dead letter, and the event that it is held. The same r gives the same run,
// step and event id, however often it is moved.
func (d Desk) MoveHeld(r *kafka.Record, ch notify.Channel, lane notify.Lane, now time.Time) (letter, event kafka.Message) {
	moved := *r
	moved.Headers = d.Move(r, r.Topic).Headers
	e := d.arrived(r, ch)
	e.Lane, e.At = lane, now
	e.Attempt++ // it may have been sent: that uses one
	e.State, e.Reason = notify.StateHeld, "a worker ended while it was sending"
	res := d.Bury(&moved, e, notify.ReasonAmbiguous)
	return res.Follow[0], d.apart(res.Outcome)
}

// Identify names the notification in r as a worker would: r.Cluster has to be the Kafka that r was written to.
func (d Desk) Identify(r *kafka.Record) string {
	n, _, _ := validate.Decode(r.Value, false)
	return identity(n, r)
}

func isID(s string) bool {
	_, ok := notify.ParseID(s)
	return ok
}
