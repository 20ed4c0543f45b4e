package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// The conditions of the partial indexes of migrations 2 and 3, in the very words by which the databases know them again. NOT IN: else
// SQLite goes along the states, and sorts; of two words at most, else it makes a table of them for each row that is written.
const (
	unended  = "NOT n.final AND n.state NOT IN ('held', 'sent') AND n.state <> 'lost' AND n.expires_at IS NOT NULL"
	awaited  = "NOT n.final AND n.state NOT IN ('queued', 'scheduled') AND n.state NOT IN ('retrying', 'held') AND n.state <> 'lost'"
	reported = "n.provider_id <> '' AND (n.state IN ('delivered', 'bounced') OR n.state = 'sent' AND NOT n.final)"
)

// passed is the row behind which a page begins.
type passed struct {
	at int64
	id string
}

// Unended gives at most limit notifications that expired before a time and have not ended all the same, those first that expired
// first; of each, where its furthest record is that the store knows. after is the last of the page before; nil begins. They come
// without payload and timeline.
func (s *Store) Unended(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]status.Open, error) {
	from := passed{at: -1 << 62}
	if after != nil {
		from = passed{micros(*after.ExpiresAt), after.ID}
	}
	all, err := s.open(ctx, unendedPage(before, from, limit))
	return all, unavailable("looking for what has not ended", err)
}

func unendedPage(before time.Time, after passed, limit int) *query {
	q := &query{}
	fmt.Fprintf(q, "SELECT %s, n.record_stage, n.record_at, COALESCE(l.topic, ''), COALESCE(l.topic_id, '')"+
		" FROM notifications AS n LEFT JOIN logs AS l ON l.nr = n.record_log"+
		" WHERE %s AND n.expires_at < %s AND (n.expires_at, n.id) > (%s, %s) ORDER BY n.expires_at, n.id LIMIT %s",
		lifeColumns, unended, q.arg(micros(before)), q.arg(after.at), q.arg(after.id), q.arg(limit))
	return q
}

func (s *Store) open(ctx context.Context, q *query) ([]status.Open, error) {
	rows, err := s.read.QueryContext(ctx, q.String(), q.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []status.Open
	for rows.Next() {
		var p place
		var topic, id string
		l, err := scanLife(func(to ...any) error { return rows.Scan(append(to, &p.stage, &p.at, &topic, &id)...) })
		if err != nil {
			return nil, err
		}
		one := status.Open{Life: l}
		if p.stage >= 0 && topic != "" {
			one.Record = p.spread()
			one.Record.Log = status.Log{Topic: topic, ID: topicID(id)}
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// CountUnended says how many [Store.Unended] would give in all.
func (s *Store) CountUnended(ctx context.Context, before time.Time) (n int, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT count(*) FROM notifications AS n WHERE "+unended+" AND n.expires_at < $1", micros(before)).Scan(&n)
	return n, unavailable("counting what has not ended", err)
}

// Awaited gives at most limit notifications that were sent before a time and of which their providers have said no more, though
// they would, those first that were sent first. after is as for [Store.Unended].
func (s *Store) Awaited(ctx context.Context, before time.Time, after *notify.Life, limit int) ([]notify.Life, error) {
	from := passed{at: -1 << 62}
	if after != nil {
		from = passed{micros(after.UpdatedAt), after.ID}
	}
	return s.overdue(ctx, awaited, "n.state_at", before, from, limit)
}

func (s *Store) overdue(ctx context.Context, only, column string, before time.Time, after passed, limit int) ([]notify.Life, error) {
	q := overdue(only, column, before, after, limit)
	rows, err := s.read.QueryContext(ctx, q.String(), q.args...)
	if err != nil {
		return nil, unavailable("looking for what is overdue", err)
	}
	defer rows.Close()
	var lives []notify.Life
	for rows.Next() {
		l, err := scanLife(rows.Scan)
		if err != nil {
			return nil, unavailable("looking for what is overdue", err)
		}
		lives = append(lives, l)
	}
	return lives, unavailable("looking for what is overdue", rows.Err())
}

func overdue(only, column string, before time.Time, after passed, limit int) *query {
	q := &query{}
	fmt.Fprintf(q, "SELECT %s FROM notifications AS n WHERE %s AND %s < %s AND (%s, n.id) > (%s, %s) ORDER BY %s, n.id LIMIT %s",
		lifeColumns, only, column, q.arg(micros(before)), column, q.arg(after.at), q.arg(after.id), column, q.arg(limit))
	return q
}

// EventsOf gives the ids of all events of some notifications.
func (s *Store) EventsOf(ctx context.Context, ids []string) (events map[string]bool, err error) {
	shortened := make([]string, len(ids))
	for i, id := range ids {
		shortened[i] = short(id)
	}
	events = map[string]bool{}
	err = s.snapshot(ctx, "reading events", func(tx *sql.Tx) error {
		found, err := idsOf(ctx, tx, "SELECT event_id FROM events WHERE notification_id "+s.among, s.list(shortened))
		for _, id := range found {
			events[id] = true
		}
		return err
	})
	return events, err
}

// FindByProviderID returns the id of the notification that the gateway sent and that its provider knows by that name, the last one if
// there are several: of those of which a report is awaited, or has come in time. Its error is [notify.ErrUnknownNotification]
// when there is none.
func (s *Store) FindByProviderID(ctx context.Context, gateway, providerID string) (id string, err error) {
	q := ofProvider(gateway, providerID)
	err = s.read.QueryRowContext(ctx, q.String(), q.args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", notify.ErrUnknownNotification
	}
	return id, unavailable("looking for a provider's id", err)
}

func ofProvider(gateway, providerID string) *query {
	q := &query{}
	fmt.Fprintf(q, "SELECT n.id FROM notifications AS n WHERE %s AND n.gateway = %s AND n.provider_id = %s ORDER BY n.accepted_at DESC LIMIT 1",
		reported, q.arg(short(gateway)), q.arg(short(providerID)))
	return q
}
