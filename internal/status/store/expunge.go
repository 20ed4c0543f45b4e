package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Expunge takes from notifications what a person could be known by: recipient, reference, metadata and payload, also in their
// events. What became of them stays. Their ids are remembered for ever, so that a store that is filled again does not bring
// it back. It gives how many notifications were in the store and had not been expunged before; on an error, so many are done.
//
// Ids are remembered even of notifications that the store does not hold: their job may not have been read yet.
func (s *Store) Expunge(ctx context.Context, by notify.Expunge) (n int, err error) {
	switch {
	case len(by.IDs) > 0 && by.Tenant == "" && by.Before.IsZero():
		return s.expungeIDs(ctx, by.IDs)
	case len(by.IDs) == 0 && by.Tenant != "" && by.Before.IsZero():
		return s.expungeWhere(ctx, "tenant = $1", short(by.Tenant))
	case len(by.IDs) == 0 && by.Tenant == "" && !by.Before.IsZero():
		return s.expungeWhere(ctx, "accepted_at < $1", micros(by.Before))
	default:
		return 0, errors.New("expunging takes one of ids, a tenant and a time")
	}
}

func (s *Store) expungeIDs(ctx context.Context, ids []string) (n int, err error) {
	for part := range slices.Chunk(ids, chunk) {
		names := make([]string, len(part))
		for i, id := range part {
			names[i] = short(id)
		}
		slices.Sort(names)
		done, err := s.expungeChunk(ctx, func(context.Context, asker) ([]string, error) { return slices.Compact(names), nil })
		n += done
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// expungeWhere goes on until none is left: those that are done are not among them.
func (s *Store) expungeWhere(ctx context.Context, where string, arg any) (n int, err error) {
	for {
		found := 0
		done, err := s.expungeChunk(ctx, func(ctx context.Context, db asker) ([]string, error) {
			ids, err := idsOf(ctx, db, "SELECT id FROM notifications WHERE "+where+" AND NOT expunged LIMIT $2", arg, chunk)
			found = len(ids)
			return ids, err
		})
		n += done
		if err != nil || found < chunk {
			return n, err
		}
	}
}

func (s *Store) expungeChunk(ctx context.Context, choose func(context.Context, asker) ([]string, error)) (n int, err error) {
	err = s.change(ctx, "expunging", func(t turn) error {
		ids, err := choose(ctx, t)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := s.remember(ctx, t.Tx, ids); err != nil {
			return err
		}
		r, err := t.ExecContext(ctx, "UPDATE notifications SET recipient = '', address = '', written = '', reference = '', metadata = '', fingerprint = '', expunged = TRUE"+
			" WHERE id "+s.among+" AND NOT expunged", s.list(ids))
		if err != nil {
			return err
		}
		for _, from := range []string{"payloads WHERE id ", "id_claims WHERE id ", "differences WHERE notification_id "} {
			if _, err := t.ExecContext(ctx, "DELETE FROM "+from+s.among, s.list(ids)); err != nil {
				return err
			}
		}
		if err := s.stripEvents(ctx, t.Tx, ids); err != nil {
			return err
		}
		done, err := r.RowsAffected()
		n = int(done)
		return err
	})
	if err != nil {
		n = 0 // rolled back
	}
	return n, err
}

func (s *Store) remember(ctx context.Context, tx *sql.Tx, ids []string) error {
	now := micros(time.Now())
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{id, now}
	}
	return s.each(ctx, tx, s.insert("expunged", []column{{"id", word}, {"at", number}}, "(id) DO NOTHING"), rows)
}

// stripEvents leaves the reference, and what a recipient wrote, out of what events say.
func (s *Store) stripEvents(ctx context.Context, tx *sql.Tx, ids []string) error {
	rows, err := tx.QueryContext(ctx, "SELECT seq, body FROM events WHERE notification_id "+s.among, s.list(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	var stripped [][]any
	for rows.Next() {
		var seq int64
		var body string
		var e notify.Event
		if err := rows.Scan(&seq, &body); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return err
		}
		if e.Reference == "" && (e.Inbound == nil || *e.Inbound == *e.Inbound.Strip()) {
			continue
		}
		e.Reference, e.Inbound = "", e.Inbound.Strip()
		if body, err = bodyOf(&e); err != nil {
			return err
		}
		stripped = append(stripped, []any{seq, checksum([]byte(body)), body})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	columns := []column{{"seq", number}, {"sum", number}, {"body", word}}
	return s.each(ctx, tx, s.update("events", columns, ""), stripped)
}
