package status

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// Reading is how records become changes.
type Reading struct {
	Jobs         map[string]JobTopic           // the topics of jobs by name; every other one is of events
	Cluster      string                        // Kafka's id, of which ids are made for jobs that bring none; of a [Recorder] it is told when it runs
	StorePayload bool                          // false: what a notification says is not kept
	ExpiresAfter map[notify.Lane]time.Duration // how long a notification lives that does not say so itself
}

// JobTopic is what the name of a topic says of its jobs.
type JobTopic struct {
	Channel notify.Channel
	Lane    notify.Lane
}

// Read gives what a record says. Whatever is in it: a store that refuses one text would otherwise stand still for ever, so
// nothing gets through but text without NUL characters and of bounded length, and ids that are ids.
func (g Reading) Read(r *kafka.Record) (Change, kind) {
	if topic, ok := g.Jobs[r.Topic]; ok {
		return g.job(r, topic), kindJob
	}
	if len(r.Value) == 0 {
		return Change{}, kindSkipped
	}
	e, err := readEvent(r.Value)
	if err != nil {
		return Change{}, kindUnreadable
	}
	return Change{Event: *e}, kindEvent
}

// job makes of a job's record that it is queued. A later step of the same run says so again, under the same event id: the
// first one may be gone from the topic by the time it is read.
func (g Reading) job(r *kafka.Record, topic JobTopic) Change {
	n, _, faults := validate.Decode(r.Value, false)
	s := validate.Source{
		Header: r.Header, Cluster: g.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	}
	accepted := s.Accepted(time.Now())
	e := notify.Event{
		NotificationID: validate.Identity(n, s), Run: s.Number(notify.HeaderRun), State: notify.StateQueued, At: accepted,
		Tenant: notify.Clip(validate.Tenant(n), longest), Channel: topic.Channel, Lane: topic.Lane,
	}
	if written := r.Timestamp.UTC(); e.Run > 0 && written.After(accepted) { // a redrive is queued when it comes
		e.At = written
	}
	job := &Job{AcceptedAt: accepted}
	if n != nil {
		e.Reference = notify.Clip(n.Reference, longest)
		if n.Channel == "" {
			n.Channel = topic.Channel
		}
		g.describe(job, n, s, topic.Lane)
		if len(faults) > 0 { // then neither is what it seems; the worker rejects it
			job.Metadata, job.Payload = nil, nil
		} else {
			job.Fingerprint, job.NoExpiry = fingerprint(n, s, topic.Lane)
		}
	}
	e.Seal()
	place := RecordPlace{Log: Log{Topic: r.Topic}, Partition: r.Partition, Offset: r.Offset, Run: e.Run, Step: s.Number(notify.HeaderStep)}
	return Change{Event: e, Job: job, Place: place}
}

// Identify gives the id of the notification that a record of a job topic is about.
func (g Reading) Identify(r *kafka.Record) string {
	n, _, _ := validate.Decode(r.Value, false)
	return validate.Identity(n, validate.Source{
		Header: r.Header, Cluster: g.Cluster, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Written: r.Timestamp,
	})
}

// gap reads a gap in one of our job topics. Of gaps in the tiers nothing follows here: which jobs wait in a tier is not recorded.
func (g Reading) gap(r *kafka.Record) (Gap, bool) {
	gap, ok := ReadGap(r)
	if now := time.Now(); gap.At.After(now) { // a clock that is ahead does not put off what follows from the gap
		gap.At = now
	}
	_, ours := g.Jobs[gap.Topic]
	return gap, ok && ours
}

// Bounds of text: what the API takes, and the worker's events have.
const (
	longest          = 255
	longestRecipient = 4096
	longestEvent     = 256 << 10
	mostMetadata     = 4 << 10
)

func (g Reading) describe(job *Job, n *notify.Notification, s validate.Source, lane notify.Lane) {
	address, _ := validate.Recipient(n) // fills in the recipient type
	job.Address = notify.Clip(address, longestRecipient)
	job.Recipient = notify.Clip(n.Recipient, longestRecipient)
	job.RecipientType = notify.Clip(n.RecipientType, longest)
	job.SendAt = n.SendAt
	expires := s.Expires(n, job.AcceptedAt, g.ExpiresAfter[lane])
	job.ExpiresAt = &expires
	job.Sensitive = n.Sensitive
	if encoded, err := json.Marshal(n.Metadata); err == nil && len(encoded) <= mostMetadata {
		job.Metadata = n.Metadata
	}
	if g.StorePayload && !n.Sensitive {
		job.Payload = n.Payload
	}
}

// fingerprint is that of n, a notification without faults. The API writes what was submitted into a header where it may be
// submitted again; of all others nobody knows whether an expiry was submitted or is the API's.
func fingerprint(n *notify.Notification, s validate.Source, lane notify.Lane) (f notify.Fingerprint, noExpiry bool) {
	if text, ok := s.Header(notify.HeaderFingerprint); ok {
		if f, ok := notify.ParseFingerprint(text); ok {
			return f, false
		}
	}
	c := *n
	c.Lane = lane
	content, err := notify.ContentOf(&c)
	if err != nil { // not reached: it was decoded
		return f, false
	}
	if _, ours := s.Header(notify.HeaderAcceptedAt); ours && n.ExpiresAt != nil {
		return content.NoExpiry, true
	}
	return content.Exact, false
}

var errNoEvent = errors.New("not an event")

func readEvent(value []byte) (*notify.Event, error) {
	var e notify.Event
	if len(value) > longestEvent || json.Unmarshal(value, &e) != nil {
		return nil, errNoEvent
	}
	var ok, named bool
	e.NotificationID, ok = notify.ParseID(e.NotificationID)
	e.EventID, named = notify.ParseID(e.EventID)
	if !ok || !named || e.State == "" || e.At.UTC().Year() < 1970 || e.At.UTC().Year() > 9999 {
		return nil, errNoEvent
	}
	for _, n := range []int{e.Run, e.Step, e.Attempt} {
		if n < 0 || n > 1<<30 {
			return nil, errNoEvent
		}
	}
	bound(&e)
	return &e, nil
}

// mostRecipients is how many recipients an e-mail has at most.
const mostRecipients = 50

// bound makes e's texts such that every store takes them. Those of our own events are so already.
func bound(e *notify.Event) {
	e.At = e.At.UTC()
	e.Fields = nil // the store's own
	for _, s := range []*string{
		(*string)(&e.State), (*string)(&e.Channel), (*string)(&e.Lane), &e.Tenant, &e.Reference, &e.Gateway, &e.ProviderID, &e.Note,
	} {
		*s = notify.Clip(*s, longest)
	}
	e.Code, e.Reason = notify.Clip(e.Code, longest), notify.Clip(e.Reason, 1000)
	for i := range e.Tries {
		t := &e.Tries[i]
		t.Gateway, t.Code, t.Reason = notify.Clip(t.Gateway, longest), notify.Clip(t.Code, longest), notify.Clip(t.Reason, 1000)
		t.Verdict = notify.Verdict(notify.Clip(string(t.Verdict), longest))
	}
	for i := range e.Warnings {
		e.Warnings[i] = notify.Clip(e.Warnings[i], longest)
	}
	if e.Inbound != nil {
		e.Inbound.Bound()
	}
	e.Recipients = e.Recipients[:min(len(e.Recipients), mostRecipients)]
	for i := range e.Recipients {
		p := &e.Recipients[i]
		p.Field, p.State, p.Code = notify.Clip(p.Field, longest), notify.State(notify.Clip(string(p.State), longest)), notify.Clip(p.Code, longest)
	}
	if e.Origin != nil {
		e.Origin.Topic = notify.Clip(e.Origin.Topic, longest)
	}
}
