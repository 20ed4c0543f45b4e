package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// The worker that drops another notification under a known id says so by an event, and cannot say more: it has one of the two.
// The store reads both, and keeps by the id of that event in which fields they differ. What it does not keep the payload of
// it does not compare. Fields are named, and what they hold is not.

// seenJob is what is compared of a job.
type seenJob struct {
	origin  *origin
	payload string
}

// compare looks for jobs of the batch that differ from the first job of their id: in the store, or else in the batch. Nearly all
// are the only ones of their ids.
func (s *Store) compare(ctx context.Context, tx *sql.Tx, changes []status.Change, ids []string, gone, unread map[string]bool) error {
	jobs := map[string][]int{} // of the ids that may have several, the places in changes
	first := map[string]int{}
	for i, id := range ids {
		j := changes[i].Job
		if j == nil || len(j.Payload) == 0 || gone[id] || changes[i].Place.Step > 0 || changes[i].Event.Run > 0 { // a later one has the content of the first
			continue
		}
		noJob, known := unread[id]
		before, again := first[id]
		switch {
		case again && len(jobs[id]) == 0:
			jobs[id] = []int{before, i}
		case again || known && !noJob:
			jobs[id] = append(jobs[id], i)
		}
		if !again {
			first[id] = i
		}
	}
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(jobs)) {
		reference, err := s.jobOf(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, i := range jobs[id] {
			c := &changes[i]
			is := &seenJob{originOf(c), clean(string(c.Job.Payload))}
			if reference == nil {
				reference = is
			}
			if fields := is.differences(reference); len(fields) > 0 {
				encoded, _ := json.Marshal(fields) // strings have a JSON form
				rows = append(rows, []any{id, duplicateEvent(c), clean(string(encoded))})
			}
		}
	}
	columns := []column{{"notification_id", word}, {"event_id", word}, {"fields", word}}
	return s.each(ctx, tx, s.insert("differences", columns, "(notification_id, event_id) DO NOTHING"), rows)
}

// duplicateEvent is the id of the event by which a worker says that it has dropped c's job.
func duplicateEvent(c *status.Change) string {
	e := notify.Event{
		NotificationID: c.Event.NotificationID, Run: c.Event.Run, Step: c.Place.Step, State: notify.StateQueued, Note: notify.NoteDuplicate,
		Origin: &notify.Origin{Topic: c.Place.Topic, Partition: c.Place.Partition, Offset: c.Place.Offset},
	}
	e.Seal()
	return e.EventID
}

// jobOf gives the job that the store has read of id, with its payload; nil without either.
func (s *Store) jobOf(ctx context.Context, tx *sql.Tx, id string) (*seenJob, error) {
	j := &seenJob{origin: &origin{}}
	o := j.origin
	found, err := tx.QueryContext(ctx, "SELECT "+names(originColumns, "n.")+", p.payload FROM notifications AS n JOIN payloads AS p ON p.id = n.id"+
		" WHERE n.id = $1 AND n.unread = 0", id)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if !found.Next() {
		return nil, found.Err()
	}
	err = found.Scan(&o.unread, &o.acceptedAt, &o.source, &o.tenant, &o.channel, &o.lane, &o.recipient, &o.address, &o.written,
		&o.recipientType, &o.reference, &o.labels, &o.sendAt, &o.expiresAt, &o.sensitive, &o.fingerprint, &j.payload)
	return j, err
}

// differencesOf gives the fields that differ, by event.
func differencesOf(ctx context.Context, tx *sql.Tx, id string) (map[string][]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT event_id, fields FROM differences WHERE notification_id = $1", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all map[string][]string
	for rows.Next() {
		var event, encoded string
		var fields []string
		if err := rows.Scan(&event, &encoded); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(encoded), &fields); err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string][]string{}
		}
		all[event] = fields
	}
	return all, rows.Err()
}

// differences are JSON pointers of the fields in which j and other differ. Of expires_at nobody knows whether the API has added
// it; ordering_key and on_ambiguous are not stored.
func (j *seenJob) differences(other *seenJob) []string {
	d := &differ{}
	a, b := j.origin, other.origin
	for _, f := range []struct{ name, a, b string }{
		{"tenant", a.tenant, b.tenant},
		{"channel", a.channel, b.channel},
		{"lane", a.lane, b.lane},
		{"recipient", a.recipient, b.recipient},
		{"recipient_type", a.recipientType, b.recipientType},
		{"reference", a.reference, b.reference},
	} {
		d.note("#/"+f.name, f.a == f.b)
	}
	d.note("#/send_at", equalMoments(a.sendAt, b.sendAt))
	d.note("#/sensitive", a.sensitive == b.sensitive)
	d.values("#/metadata", tree(cmp.Or(a.labels, "{}")), tree(cmp.Or(b.labels, "{}")))
	d.values("#/payload", tree(j.payload), tree(other.payload))
	return d.fields
}

func equalMoments(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// tree reads JSON in its one spelling; what is no JSON is a string.
func tree(text string) (v any) {
	one, err := notify.Canonical([]byte(text))
	if err != nil {
		return text
	}
	d := json.NewDecoder(bytes.NewReader(one))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return text
	}
	return v
}

// mostFields bounds what is kept of one event.
const mostFields = 20

type differ struct{ fields []string }

func (d *differ) note(at string, same bool) {
	if !same && len(d.fields) < mostFields {
		d.fields = append(d.fields, notify.Clip(at, longest))
	}
}

// values compares two JSON values. Lists of different lengths differ as a whole.
func (d *differ) values(at string, a, b any) {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			for _, name := range slices.Sorted(maps.Keys(union(a, b))) {
				inA, okA := a[name]
				inB, okB := b[name]
				if okA && okB {
					d.values(at+"/"+pointer.Replace(name), inA, inB)
				} else {
					d.note(at+"/"+pointer.Replace(name), false)
				}
			}
			return
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			for i := range a {
				d.values(at+"/"+strconv.Itoa(i), a[i], b[i])
			}
			return
		}
	default:
		_, object := b.(map[string]any)
		_, list := b.([]any)
		d.note(at, !object && !list && a == b)
		return
	}
	d.note(at, false)
}

// pointer escapes a name within a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
