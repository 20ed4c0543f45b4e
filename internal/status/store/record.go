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
	return s.change(ctx, "recording", func(t turn) error {
		if t.holder != holder || !t.live {
			return status.ErrNotHeld
		}
		if err := mustBeAt(ctx, t, b.From); err != nil {
			return err
		}
		if err := s.take(ctx, t, b.Changes); err != nil {
			return err
		}
		if err := s.addGaps(ctx, t, b.Gaps); err != nil {
			return err
		}
		return s.moveTo(ctx, t.Tx, b.To)
	})
}

func (s *Store) take(ctx context.Context, t turn, changes []status.Change) error {
	if len(changes) == 0 {
		return nil
	}
	ids := make([]string, len(changes))
	for i := range changes {
		ids[i] = short(changes[i].Event.NotificationID)
	}
	gone, err := s.expungedAmong(ctx, t, ids)
	if err != nil {
		return err
	}
	unread, err := s.known(ctx, t, "unread = 1 FROM notifications", ids)
	if err != nil {
		return err
	}
	if err := s.compare(ctx, t.Tx, changes, ids, gone, unread); err != nil {
		return err
	}
	logs, err := s.logsOf(ctx, t, changes)
	if err != nil {
		return err
	}
	f, err := fold(s.secret, changes, ids, gone, unread, logs)
	if err != nil {
		return err
	}
	if err := s.addNew(ctx, t, f); err != nil {
		return err
	}
	return s.changeKnown(ctx, t.Tx, f)
}

// expungedAmong gives those of ids that were expunged.
func (s *Store) expungedAmong(ctx context.Context, t turn, ids []string) (map[string]bool, error) {
	var any bool
	if err := t.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM expunged)").Scan(&any); err != nil || !any {
		return nil, err
	}
	return s.known(ctx, t, "TRUE FROM expunged", ids)
}

// known gives what the store says of those of ids that it has: from is a condition and its table.
func (s *Store) known(ctx context.Context, db asker, from string, ids []string) (map[string]bool, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, "+from+" WHERE id "+s.among, s.list(ids))
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

// addNew adds the notifications that the store does not know. No event and no payload of them can be in the way: the rows of a
// notification come and go in one transaction, and all other writers wait.
func (s *Store) addNew(ctx context.Context, t turn, f *folded) error {
	var lines, payloads, events [][]any
	for _, l := range f.lines {
		if l.known {
			continue
		}
		lines = append(lines, l.row())
		if l.content != nil {
			payloads = append(payloads, l.content.append([]any{l.id}))
		}
	}
	for _, r := range f.events {
		if !r.line.known {
			events = append(events, r.row())
		}
	}
	if err := s.add(ctx, t, "notifications", slices.Concat(idColumns, originColumns, standingColumns, placeColumns), lines); err != nil {
		return err
	}
	if err := s.add(ctx, t, "payloads", payloadColumns, payloads); err != nil {
		return err
	}
	return s.add(ctx, t, "events", eventColumns, events)
}

// changeKnown lets what is said of the others win or lose against what there is. The groups of columns go by statements of
// their own, because SQLite writes every index anew that a statement might change.
func (s *Store) changeKnown(ctx context.Context, tx *sql.Tx, f *folded) error {
	key := idColumns[:1]
	var standings, origins, places, payloads, events [][]any
	for _, l := range f.lines {
		if !l.known {
			continue
		}
		standings = append(standings, l.standing.append([]any{l.id}))
		if l.origin != nil {
			origins = append(origins, l.origin.append([]any{l.id}))
		}
		if l.place != noPlace {
			places = append(places, l.place.append([]any{l.id}))
		}
		if l.content != nil {
			payloads = append(payloads, l.content.append([]any{l.id}))
		}
	}
	for _, r := range f.events {
		if r.line.known {
			events = append(events, r.row())
		}
	}
	for _, step := range []struct {
		statement
		rows [][]any
	}{
		{s.update("notifications", slices.Concat(key, standingColumns), " AND "+standingWins), standings},
		{s.update("notifications", slices.Concat(key, originColumns), " AND "+originWins), origins},
		{s.update("notifications", slices.Concat(key, placeColumns), " AND "+placeWins), places},
		{s.insert("payloads", payloadColumns, payloadWins), payloads},
		{s.insert("events", eventColumns, eventWins), events},
	} {
		if err := s.each(ctx, tx, step.statement, step.rows); err != nil {
			return err
		}
	}
	return nil
}

// [origin.before], [standing.after], [place.before] and the like in SQL: e is the batch, n is the row.
const (
	originWins   = "(e.unread, e.accepted_at, e.source) < (n.unread, n.accepted_at, n.source)"
	standingWins = "(e.place > n.place OR (e.place = n.place" +
		" AND (e.state_at, e.state_event, e.state_sum) < (n.state_at, n.state_event, n.state_sum)))"
	placeWins   = "(e.record_stage, e.record_log, e.record_at) > (n.record_stage, n.record_log, n.record_at)"
	payloadWins = "(id) DO UPDATE SET accepted_at = excluded.accepted_at, source = excluded.source," +
		" payload = excluded.payload WHERE (excluded.accepted_at, excluded.source) < (payloads.accepted_at, payloads.source)"
	eventWins = "(notification_id, event_id) DO UPDATE SET at = excluded.at, sum = excluded.sum," +
		" state = excluded.state, gateway = excluded.gateway, body = excluded.body WHERE (excluded.at, excluded.sum) < (events.at, events.sum)"
)
