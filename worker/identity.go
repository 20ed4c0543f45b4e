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
	return validate.Identity(n, validate.Source{
		Header: r.Header, Cluster: r.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	})
}

// expiry is when n is no longer worth sending. A record without a time of its own lives from now on.
func expiry(n *notify.Notification, r *kafka.Record, after time.Duration) time.Time {
	if n.ExpiresAt != nil {
		return n.ExpiresAt.UTC()
	}
	from := r.Timestamp
	if from.UnixMilli() <= 0 {
		from = time.Now()
	}
	return from.Add(after).UTC()
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

// newer reports whether r says that a later schema is needed to read it. What is no number says nothing.
func newer(r *kafka.Record) bool {
	s, _ := r.Header(notify.HeaderSchema)
	n, err := strconv.ParseUint(s, 10, 64)
	return n > notify.Schema && (err == nil || errors.Is(err, strconv.ErrRange))
}
