package worker

import (
	"errors"
	"strconv"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// identity is the id of r's notification. n is the value as far as it could be read, or nil.
func identity(n *notify.Notification, r *kafka.Record) string {
	return validate.Identity(n, source(r))
}

// acceptedAt is when r's notification was accepted.
func acceptedAt(r *kafka.Record) time.Time { return source(r).Accepted(time.Now()) }

func source(r *kafka.Record) validate.Source {
	return validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
}

// expiry is when n is no longer worth sending.
func expiry(n *notify.Notification, r *kafka.Record, accepted time.Time, after time.Duration) time.Time {
	return source(r).Expires(n, accepted, after)
}

// due is when a job may be sent first. Its first step is due as the notification says, a later one as the step before has
// written; a header that is farther ahead than anybody may ask for delays nothing.
func due(n *notify.Notification, r *kafka.Record, step int) (at time.Time) {
	if s, ok := r.Header(notify.HeaderNotBefore); ok && step > 0 {
		at, _ = time.Parse(time.RFC3339Nano, s) // a bad value is no time
	} else if n.SendAt != nil && step == 0 {
		at = *n.SendAt
	}
	if tooFar(at) {
		return time.Time{}
	}
	return at
}

// tooFar reports whether at is farther ahead than the API lets anybody ask for, give or take a day of clocks.
func tooFar(at time.Time) bool { return time.Until(at) > notify.FarthestDue }

// number reads a counter; a bad one is 0.
func number(r *kafka.Record, key string) int { return source(r).Number(key) }

// newer reports whether r says that a later schema is needed to read it. What is no number says nothing.
func newer(r *kafka.Record) bool {
	s, ok := r.Header(notify.HeaderSchema)
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n > notify.Schema && (err == nil || errors.Is(err, strconv.ErrRange))
}
