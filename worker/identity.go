package worker

import (
	"errors"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// identity returns the ID of r's notification. N is the value as far as it could be parsed, or nil.
func identity(n *notify.Notification, r *kafka.Record) string {
	return validate.Identity(n, source(r))
}

// acceptedAt returns when r's notification was accepted.
func acceptedAt(r *kafka.Record) time.Time { return source(r).Accepted(time.Now()) }

func source(r *kafka.Record) validate.Source {
	return validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
}

// expiry returns when n is no longer worth sending.
func expiry(n *notify.Notification, r *kafka.Record, accepted time.Time, after time.Duration) time.Time {
	return source(r).Expires(n, accepted, after)
}

// due returns the earliest time at which a job may be sent. The first step of a run is due at the notification's send_at, a later
// step at the time in its header. A header that is further ahead than the API allows is ignored.
func due(n *notify.Notification, r *kafka.Record, step int) time.Time {
	var at time.Time
	if s, ok := r.Header(notify.HeaderNotBefore); ok && step > 0 {
		at, _ = time.Parse(time.RFC3339Nano, s) // an invalid value counts as none
	} else if n.SendAt != nil && step == 0 {
		at = *n.SendAt
	}
	if tooFar(at) {
		return time.Time{}
	}
	return at
}

// tooFar reports whether at is further ahead than the API allows, with a day's tolerance for clock differences.
func tooFar(at time.Time) bool { return time.Until(at) > notify.FarthestDue }

// number returns the value of a counter header, or 0 if it is missing or invalid.
func number(r *kafka.Record, key string) int { return source(r).Number(key) }

// newer reports whether r was written with a schema version that this build cannot read. A header that is not a number is
// ignored.
func newer(r *kafka.Record) bool {
	s, ok := r.Header(notify.HeaderSchema)
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n > notify.Schema && (err == nil || errors.Is(err, strconv.ErrRange))
}
