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
	secret secret
	lines  []*line // in the order in which they were first seen
	events []*record
	byID   map[string]*line
	seen   map[[2]string]*record // by notification and event id
}

// record is an event as it is kept.
type record struct {
	line *line
	standing
	body string
}

// content is the payload of the earliest job that has one.
type content struct {
	acceptedAt, source int64
	payload            string
}

// fold folds changes, whose notifications are ids. Of those in gone, what a person could be known by is left out. Those in unread
// are in the store, which has read their jobs unless it says so. logs has the numbers of the logs that changes name.
func fold(key secret, changes []status.Change, ids []string, gone, unread map[string]bool, logs map[status.Log]int64) (*folded, error) {
	f := &folded{
		secret: key,
		events: make([]*record, 0, len(changes)),
		byID:   make(map[string]*line, len(changes)), seen: make(map[[2]string]*record, len(changes)),
	}
	for i, id := range ids {
		c := changes[i] // a copy: what is left out below is left out here alone
		if gone[id] {
			strip(&c)
		}
		body, err := bodyOf(&c.Event)
		if err != nil {
			return nil, fmt.Errorf("event %d of the batch: %w", i, err)
		}
		s := standingOf(&c.Event, body)
		l := f.byID[id]
		if l == nil {
			noJob, known := unread[id]
			l = &line{id: id, expunged: gone[id], known: known, jobRead: known && !noJob, standing: s, place: noPlace}
			f.byID[id], f.lines = l, append(f.lines, l)
		} else if s.after(&l.standing) {
			l.standing = s
		}
		f.accept(l, &c)
		if p := placeOf(&c.Place, logs); l.place.before(p) {
			l.place = p
		}
		f.event(&record{line: l, standing: s, body: body})
	}
	return f, nil
}

// accept takes what c says of what was accepted. That of an event loses to a job's: most find that their job has been read.
func (f *folded) accept(l *line, c *status.Change) {
	if c.Job == nil && l.jobRead {
		return
	}
	o := originOf(c)
	o.fingerprint = f.secret.ofJob(c.Job)
	if l.origin == nil || o.before(l.origin) {
		l.origin = o
	}
	if c.Job == nil || len(c.Job.Payload) == 0 {
		return
	}
	p := &content{o.acceptedAt, o.source, clean(string(c.Job.Payload))}
	if l.content == nil || p.before(l.content) {
		l.content = p
	}
}

func (f *folded) event(r *record) {
	key := [2]string{r.line.id, r.standing.event}
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

func (p *content) before(q *content) bool {
	return cmp.Or(cmp.Compare(p.acceptedAt, q.acceptedAt), cmp.Compare(p.source, q.source)) < 0
}

// strip takes from c what a person could be known by.
func strip(c *status.Change) {
	c.Event.Reference = ""
	c.Event.Inbound = c.Event.Inbound.Strip()
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
