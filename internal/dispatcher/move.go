package dispatcher

import (
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Move gives r, a job, one that waits or a dead letter, as it goes to a topic of another Kafka: as it is, but for its home
// partition, which is another there, and with the id and the time of its acceptance where it has none. Both follow from
// where and when it was written, which the other Kafka cannot know.
func (d Desk) Move(r *kafka.Record, topic string) kafka.Message {
	id := d.Identify(r)
	headers := slices.DeleteFunc(slices.Clone(r.Headers), func(h kafka.Header) bool { return h.Key == notify.HeaderHome })
	if given, _ := r.Header(notify.HeaderID); !isID(given) { // the last of a name counts
		headers = append(headers, header(notify.HeaderID, id))
	}
	if _, ok := r.Header(notify.HeaderAcceptedAt); !ok && r.Timestamp.UnixMilli() > 0 {
		headers = append(headers, header(notify.HeaderAcceptedAt, stamp(r.Timestamp)))
	}
	return kafka.Message{Topic: topic, Partition: spread(r.Key, id), Key: r.Key, Value: r.Value, Headers: headers}
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
