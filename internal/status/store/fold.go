package store

import (
	"cmp"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// folded is a batch by row: one line a notification, one record an event, one payload a notification. A statement of
// PostgreSQL takes a row only once.
type folded struct {
	ids      []string // of lines, in the order in which they were first seen
	lines    map[string]*line
	events   []*record
	seen     map[[2]string]*record // by notification and event id
	payloads map[string]*content
}

// record is an event as it is kept.
type record struct {
	notificationID string
	standing
	body string
}

// content is the payload of the earliest job that has one.
type content struct {
	acceptedAt, source int64
	payload            string
}

// fold folds changes. Of those whose id is in gone, what a person could be known by is left out.
func fold(changes []status.Change, gone map[string]bool) (*folded, error) {
	f := &folded{
		lines: make(map[string]*line, len(changes)), events: make([]*record, 0, len(changes)),
		seen: make(map[[2]string]*record, len(changes)), payloads: map[string]*content{},
	}
	for i := range changes {
		c := changes[i] // a copy: what is left out below is left out here alone
		id := short(c.Event.NotificationID)
		if gone[id] {
			strip(&c)
		}
		body, err := bodyOf(&c.Event)
		if err != nil {
			return nil, fmt.Errorf("event %d of the batch: %w", i, err)
		}
		o, s := originOf(&c), standingOf(&c.Event, body)
		f.line(id, gone[id], o, s)
		f.event(&record{notificationID: id, standing: s, body: body})
		if c.Job != nil && len(c.Job.Payload) > 0 {
			f.content(id, &content{o.acceptedAt, o.source, clean(string(c.Job.Payload))})
		}
	}
	return f, nil
}

func (f *folded) line(id string, expunged bool, o origin, s standing) {
	l := f.lines[id]
	if l == nil {
		f.ids = append(f.ids, id)
		f.lines[id] = &line{id: id, expunged: expunged, origin: o, standing: s}
		return
	}
	if o.before(&l.origin) {
		l.origin = o
	}
	if s.after(&l.standing) {
		l.standing = s
	}
}

func (f *folded) event(r *record) {
	key := [2]string{r.notificationID, r.standing.event}
	known := f.seen[key]
	if known == nil {
		f.seen[key] = r
		f.events = append(f.events, r)
		return
	}
	if cmp.Or(cmp.Compare(r.at, known.at), cmp.Compare(r.sum, known.sum)) < 0 {
		*known = *r
	}
}

func (f *folded) content(id string, p *content) {
	known := f.payloads[id]
	if known == nil || cmp.Or(cmp.Compare(p.acceptedAt, known.acceptedAt), cmp.Compare(p.source, known.source)) < 0 {
		f.payloads[id] = p
	}
}

// strip takes from c what a person could be known by.
func strip(c *status.Change) {
	c.Event.Reference = ""
	if j := c.Job; j != nil {
		c.Job = &status.Job{AcceptedAt: j.AcceptedAt, RecipientType: j.RecipientType, SendAt: j.SendAt, ExpiresAt: j.ExpiresAt, Sensitive: j.Sensitive}
	}
}

// bodyOf gives the JSON by which e is kept and shown.
func bodyOf(e *notify.Event) (string, error) {
	fit := *e
	fit.At = time.UnixMicro(micros(e.At)).UTC()
	fit.NextAt = timeOf(microsOf(e.NextAt))
	body, err := fit.Encode()
	return clean(string(body)), err
}
