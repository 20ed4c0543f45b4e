package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/status"
)

// Record takes a batch, whole or not at all. It is refused with [status.ErrNotHeld] unless holder's lease is live, and with
// [status.ErrMoved] unless the store is where the batch begins.
func (s *Store) Record(ctx context.Context, holder string, b status.Batch) error {
	return s.change(ctx, "recording", func(tx *sql.Tx, l lease) error {
		if l.holder != holder || !l.live {
			return status.ErrNotHeld
		}
		if err := mustBeAt(ctx, tx, b.From); err != nil {
			return err
		}
		if err := s.take(ctx, tx, b.Changes); err != nil {
			return err
		}
		return s.moveTo(ctx, tx, b.To)
	})
}

func (s *Store) take(ctx context.Context, tx *sql.Tx, changes []status.Change) error {
	if len(changes) == 0 {
		return nil
	}
	gone, err := s.expungedAmong(ctx, tx, changes)
	if err != nil {
		return err
	}
	f, err := fold(changes, gone)
	if err != nil {
		return err
	}
	if err := s.takeLines(ctx, tx, f); err != nil {
		return err
	}
	if err := s.takePayloads(ctx, tx, f); err != nil {
		return err
	}
	return s.takeEvents(ctx, tx, f)
}

// expungedAmong gives the ids among changes that were expunged.
func (s *Store) expungedAmong(ctx context.Context, tx *sql.Tx, changes []status.Change) (map[string]bool, error) {
	var any bool
	if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM expunged)").Scan(&any); err != nil || !any {
		return nil, err
	}
	ids := make([]string, len(changes))
	for i := range changes {
		ids[i] = short(changes[i].Event.NotificationID)
	}
	return s.known(ctx, tx, "TRUE FROM expunged", ids)
}

// known gives what the store says of those of ids that it has: from is a condition and its table.
func (s *Store) known(ctx context.Context, tx *sql.Tx, from string, ids []string) (map[string]bool, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, "+from+" WHERE id "+s.among, s.list(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var id string
		var says bool
		if err := rows.Scan(&id, &says); err != nil {
			return nil, err
		}
		found[id] = says
	}
	return found, rows.Err()
}

// takeLines adds what is new, and lets what is known win or lose against what there is. The two groups of columns go by
// statements of their own, because SQLite writes every index anew that a statement might change.
func (s *Store) takeLines(ctx context.Context, tx *sql.Tx, f *folded) error {
	unread, err := s.known(ctx, tx, "unread = 1 FROM notifications", f.ids)
	if err != nil {
		return err
	}
	key := idColumns[:1]
	var added, standings, origins [][]any
	for _, id := range f.ids {
		l := f.lines[id]
		noJob, known := unread[id]
		if !known {
			added = append(added, l.row())
			continue
		}
		standings = append(standings, l.standing.append([]any{id}))
		if noJob || l.origin.unread == 0 { // else it loses: most events find that their job has been read
			origins = append(origins, l.origin.append([]any{id}))
		}
	}
	if err := s.each(ctx, tx, s.insert("notifications", slices.Concat(idColumns, originColumns, standingColumns), "(id) DO NOTHING"), added); err != nil {
		return err
	}
	if err := s.each(ctx, tx, s.update("notifications", slices.Concat(key, standingColumns), " AND "+standingWins), standings); err != nil {
		return err
	}
	return s.each(ctx, tx, s.update("notifications", slices.Concat(key, originColumns), " AND "+originWins), origins)
}

// [origin.before] and [standing.after] in SQL: e is the batch, n is the row.
const (
	originWins   = "(e.unread, e.accepted_at, e.source) < (n.unread, n.accepted_at, n.source)"
	standingWins = "(e.place > n.place OR (e.place = n.place" +
		" AND (e.state_at, e.state_event, e.state_sum) < (n.state_at, n.state_event, n.state_sum)))"
)

func (s *Store) takePayloads(ctx context.Context, tx *sql.Tx, f *folded) error {
	var rows [][]any
	for _, id := range f.ids {
		if p := f.payloads[id]; p != nil {
			rows = append(rows, []any{id, p.acceptedAt, p.source, p.payload})
		}
	}
	return s.each(ctx, tx, s.insert("payloads", payloadColumns, "(id) DO UPDATE SET accepted_at = excluded.accepted_at, source = excluded.source,"+
		" payload = excluded.payload WHERE (excluded.accepted_at, excluded.source) < (payloads.accepted_at, payloads.source)"), rows)
}

func (s *Store) takeEvents(ctx context.Context, tx *sql.Tx, f *folded) error {
	rows := make([][]any, len(f.events))
	for i, r := range f.events {
		rows[i] = []any{r.notificationID, r.event, r.at, r.sum, r.state, r.gateway, r.body}
	}
	return s.each(ctx, tx, s.insert("events", eventColumns, "(notification_id, event_id) DO UPDATE SET at = excluded.at, sum = excluded.sum,"+
		" state = excluded.state, gateway = excluded.gateway, body = excluded.body WHERE (excluded.at, excluded.sum) < (events.at, events.sum)"), rows)
}
