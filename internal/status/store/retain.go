package store

import (
	"context"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// chunk is how many notifications one transaction removes, so that a recorder hardly waits.
const chunk = 500

// Retain removes the notifications that were accepted before a time, whatever their state, with their events and payloads,
// and gives how many. It also removes the gaps that were published before then, the keys of idempotency that are free again, claims of ids that no longer count, and the names of incoming messages of before then. On an error, n of them are gone already.
func (s *Store) Retain(ctx context.Context, before time.Time) (n int, err error) {
	for more := true; more && err == nil; {
		var removed int
		removed, err = s.remove(ctx, before)
		n += removed
		more = removed == chunk
	}
	if err == nil {
		err = s.forgetGaps(ctx, before)
	}
	for more := true; more && err == nil; {
		more, err = s.freeKeys(ctx)
	}
	for more := true; more && err == nil; {
		more, err = s.freeIDs(ctx)
	}
	for more := true; more && err == nil; {
		more, err = s.forgetInbound(ctx, before)
	}
	return n, err
}

func (s *Store) remove(ctx context.Context, before time.Time) (n int, err error) {
	err = s.change(ctx, "removing what is old", func(t turn) error {
		ids, err := idsOf(ctx, t, "SELECT id FROM notifications WHERE accepted_at < $1 ORDER BY accepted_at LIMIT $2", micros(before), chunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		n = len(ids)
		for _, from := range []string{"events WHERE notification_id ", "differences WHERE notification_id ", "payloads WHERE id ", "notifications WHERE id "} {
			if _, err := t.ExecContext(ctx, "DELETE FROM "+from+s.among, s.list(ids)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n = 0 // rolled back
	}
	return n, err
}

// freeKeys needs no lease: nothing of the recorder is touched. It waits for nobody either: what somebody has locked is left
// for later.
func (s *Store) freeKeys(ctx context.Context) (more bool, err error) {
	r, err := s.write.ExecContext(ctx, "DELETE FROM idempotency WHERE (tenant, key) IN"+
		" (SELECT tenant, key FROM idempotency WHERE created_at < "+s.now+" - $1 AND claimed_to < "+s.now+" LIMIT $2"+s.locking("FOR UPDATE SKIP LOCKED")+")", notify.KeyLifetime.Microseconds(), chunk)
	if err != nil {
		return false, unavailable("freeing keys", err)
	}
	n, err := r.RowsAffected()
	return n == chunk, unavailable("freeing keys", err)
}

// freeIDs waits for nobody, like freeKeys.
func (s *Store) freeIDs(ctx context.Context) (more bool, err error) {
	r, err := s.write.ExecContext(ctx, "DELETE FROM id_claims WHERE id IN"+
		" (SELECT id FROM id_claims WHERE created_at < "+s.now+" - $1 LIMIT $2"+s.locking("FOR UPDATE SKIP LOCKED")+")", notify.IDLifetime.Microseconds(), chunk)
	if err != nil {
		return false, unavailable("freeing ids", err)
	}
	n, err := r.RowsAffected()
	return n == chunk, unavailable("freeing ids", err)
}

func idsOf(ctx context.Context, db asker, text string, args ...any) ([]string, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
