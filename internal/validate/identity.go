package validate

import (
	"strconv"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Source is what names the record that a notification came in, beside its value.
type Source struct {
	Header    func(key string) (string, bool) // the last value of that name
	Cluster   string                          // Kafka's cluster id
	Topic     string
	Partition int32
	Offset    int64
	Written   time.Time
}

// Identity is the id of a notification: the value's, else the header's, else one that follows from what names the record,
// so that it is the same whoever reads it, and whenever. n is the value as far as it could be read, or nil.
func Identity(n *notify.Notification, s Source) string {
	if n != nil {
		if id, ok := notify.ParseID(n.ID); ok {
			return id
		}
	}
	if text, ok := s.Header(notify.HeaderID); ok {
		if id, ok := notify.ParseID(text); ok {
			return id
		}
	}
	if key, _ := s.Header(notify.HeaderIdempotency); key != "" {
		return notify.DerivedID("idempotency", Tenant(n), key)
	}
	return notify.DerivedID("record", s.Cluster, s.Topic, strconv.Itoa(int(s.Partition)),
		strconv.FormatInt(s.Offset, 10), strconv.FormatInt(s.Written.UnixMilli(), 10))
}

// Accepted is when the notification was accepted: what its first hop has written, else when the record was written, else now.
// A time ahead, give or take a minute of clocks, is none: a life that is counted from it would begin anew with each step.
func (s Source) Accepted(now time.Time) time.Time {
	ahead := now.Add(time.Minute)
	if text, ok := s.Header(notify.HeaderAcceptedAt); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Before(ahead) {
			return at
		}
	}
	if s.Written.UnixMilli() > 0 && s.Written.Before(ahead) {
		return s.Written
	}
	return now
}

// IsTenant reports whether name can be a tenant's.
func IsTenant(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, letters+digits+"._-") == ""
}

// Tenant is n's, or the default where n says none. n may be nil.
func Tenant(n *notify.Notification) string {
	if n == nil || n.Tenant == "" {
		return notify.DefaultTenant
	}
	return n.Tenant
}

// Expires is when n is no longer worth sending: what a redrive says, else n itself, else a lifetime from when it was to be
// sent.
func (s Source) Expires(n *notify.Notification, accepted time.Time, after time.Duration) time.Time {
	if text, ok := s.Header(notify.HeaderExpiresAt); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return at.UTC()
		}
	}
	if n.ExpiresAt != nil {
		return n.ExpiresAt.UTC()
	}
	if n.SendAt != nil && n.SendAt.After(accepted) {
		accepted = *n.SendAt
	}
	return accepted.Add(after).UTC()
}

// Number reads a counter of a header; a bad one is 0.
func (s Source) Number(key string) int {
	const most = 1 << 30
	text, ok := s.Header(key)
	if !ok { // mostly: an error of strconv's would be made for nothing
		return 0
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= most {
		return n
	}
	return 0
}
