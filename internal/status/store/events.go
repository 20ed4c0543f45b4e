package store

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// LastSeq gives the number of the latest event; 0 while there is none.
func (s *Store) LastSeq(ctx context.Context) (int64, error) {
	var seq int64
	err := s.read.QueryRowContext(ctx, "SELECT COALESCE(max(seq), 0) FROM events").Scan(&seq)
	return seq, unavailable("reading the last event", err)
}

// Events gives at most limit events whose numbers are above after, in their order, and of these only what f asks for: since
// and until are about the event's time, state and gateway about the event, and the rest about its notification. An event that
// is not among them and has a lower number than the last will never come: numbers become visible in their order.
//
// A store that was thrown away and made anew counts from 1: a reader whose number is above [Store.LastSeq] is not ahead, it
// has seen another store, and should begin at 0.
//
// However many events a filter leaves out, Events goes on until limit are found or there are no more.
func (s *Store) Events(ctx context.Context, after int64, f notify.LifeFilter, limit int) ([]notify.SeenEvent, error) {
	var q query
	q.WriteString("SELECT e.seq, e.body FROM events AS e")
	about := aboutNotification(&q, &f)
	if about != "" {
		q.WriteString(" JOIN notifications AS n ON n.id = e.notification_id")
	}
	q.WriteString(" WHERE e.seq > " + q.arg(after) + aboutEvent(&q, &f) + about)
	q.WriteString(" ORDER BY e.seq LIMIT " + q.arg(limit))
	events, err := s.events(ctx, &q)
	return events, unavailable("reading events", err)
}

func (s *Store) events(ctx context.Context, q *query) ([]notify.SeenEvent, error) {
	rows, err := s.read.QueryContext(ctx, q.String(), q.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []notify.SeenEvent
	for rows.Next() {
		var e notify.SeenEvent
		var body string
		if err := rows.Scan(&e.Seq, &body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &e.Event); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

func aboutEvent(q *query, f *notify.LifeFilter) string {
	text := ""
	if f.ID != "" {
		text += " AND e.notification_id = " + q.arg(f.ID)
	}
	if len(f.States) > 0 {
		var words []string
		for _, s := range f.States {
			words = append(words, q.arg(short(string(s))))
		}
		text += " AND e.state IN (" + strings.Join(words, ", ") + ")"
	}
	if f.Gateway != "" {
		text += " AND e.gateway = " + q.arg(short(f.Gateway))
	}
	if !f.Since.IsZero() {
		text += " AND e.at >= " + q.arg(micros(f.Since))
	}
	if !f.Until.IsZero() {
		text += " AND e.at < " + q.arg(micros(f.Until))
	}
	return text
}

// aboutNotification writes conditions that no index serves, so that events are always read in the order of their numbers.
func aboutNotification(q *query, f *notify.LifeFilter) string {
	text := ""
	for _, m := range []match{
		{"channel", string(f.Channel)}, {"lane", string(f.Lane)}, {"tenant", f.Tenant}, {"reference", f.Reference},
	} {
		if m.value != "" {
			text += " AND n." + m.column + " || '' = " + q.arg(short(m.value))
		}
	}
	if f.Recipient != "" {
		r := short(f.Recipient)
		text += " AND (n.address || '' = " + q.arg(r) + " OR n.written || '' = " + q.arg(r) + ")"
	}
	return text
}
