package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Ids of callers. An id is known by its notification, once the recorder has read that, and before by its claim, which is
// committed before anything is published. The lease is not touched, as with idempotency keys.

// ClaimIDs reports for each claim whether its id stands for another notification, and claims the others. It returns once
// that is durable. Of claims of one id with different contents, made at once by any number of processes, it grants those of
// one content. Its error is [notify.ErrStatusUnavailable]; ids may have been claimed all the same.
func (s *Store) ClaimIDs(ctx context.Context, claims []notify.IDClaim) (taken []bool, err error) {
	taken, err = s.idClaims.do(ctx, claims)
	return taken, unavailable("claiming ids", err)
}

// ReleaseIDs takes back granted claims whose notifications were not published. The id is free once no claim of it is left.
// Its error is [notify.ErrStatusUnavailable].
func (s *Store) ReleaseIDs(ctx context.Context, claims []notify.IDClaim) error {
	err := s.transact(ctx, func(tx *sql.Tx) error {
		rows, err := s.lockIDs(ctx, tx, claimedIDs(claims))
		if err != nil {
			return err
		}
		for _, c := range claims {
			if r := rows[c.ID]; r != nil && r.fingerprint == s.secret.mark(c.Content.Exact) && r.claims > 0 {
				r.claims--
				r.changed = true
			}
		}
		return s.writeIDs(ctx, tx, rows)
	})
	return unavailable("releasing ids", err)
}

// idRow is a row of id_claims.
type idRow struct {
	id, fingerprint string
	claims, created int64
	changed         bool
}

var idClaimColumns = []column{{"id", word}, {"fingerprint", word}, {"claims", number}, {"created_at", number}}

func (r *idRow) values() []any { return []any{r.id, r.fingerprint, r.claims, r.created} }

// claimIDs is one transaction, in the steps of [Store.claim].
func (s *Store) claimIDs(ctx context.Context, claims []notify.IDClaim) ([]bool, error) {
	taken := make([]bool, len(claims))
	ids := claimedIDs(claims)
	return taken, s.transact(ctx, func(tx *sql.Tx) error {
		inserted := make([][]any, len(ids))
		for i, id := range ids {
			inserted[i] = (&idRow{id: id}).values()
		}
		if err := s.each(ctx, tx, s.insert("id_claims", idClaimColumns, "(id) DO UPDATE SET claims = excluded.claims WHERE FALSE"), inserted); err != nil {
			return err
		}
		rows, err := s.lockIDs(ctx, tx, ids)
		if err != nil {
			return err
		}
		recorded, err := s.recordedPrints(ctx, tx, ids)
		if err != nil {
			return err
		}
		for i, c := range claims {
			taken[i] = !s.secret.fits(recorded[c.ID], c.Content) || !rows[c.ID].claim(c, s.secret.mark(c.Content.Exact))
		}
		return s.writeIDs(ctx, tx, rows)
	})
}

// claimedIDs gives the ids of claims, each once, in the order in which rows are locked.
func claimedIDs(claims []notify.IDClaim) []string {
	ids := make([]string, len(claims))
	for i, c := range claims {
		ids[i] = c.ID
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// fits reports whether what is recorded of an id may be the fingerprint of c: an unknown one fits all contents.
func (k secret) fits(recorded string, c notify.Content) bool {
	if print, ok := strings.CutPrefix(recorded, noExpiry); ok {
		return print == k.mark(c.NoExpiry)
	}
	return recorded == "" || recorded == k.mark(c.Exact)
}

// claim counts c, unless others have claimed the id for another content lately.
func (r *idRow) claim(c notify.IDClaim, print string) bool {
	at := micros(c.At)
	if r.claims == 0 || r.created <= at-notify.IDLifetime.Microseconds() {
		r.fingerprint, r.claims = print, 0
	}
	if r.fingerprint != print {
		return false
	}
	r.claims++
	r.created, r.changed = max(r.created, at), true
	return true
}

// lockIDs gives the rows of ids as nobody else can change them any more.
func (s *Store) lockIDs(ctx context.Context, tx *sql.Tx, ids []string) (map[string]*idRow, error) {
	found, err := tx.QueryContext(ctx, "SELECT id, fingerprint, claims, created_at FROM id_claims WHERE id "+s.among+
		" ORDER BY id"+s.locking("FOR UPDATE"), s.list(ids))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	rows := make(map[string]*idRow, len(ids))
	for found.Next() {
		r := &idRow{}
		if err := found.Scan(&r.id, &r.fingerprint, &r.claims, &r.created); err != nil {
			return nil, err
		}
		rows[r.id] = r
	}
	return rows, found.Err()
}

// recordedPrints gives the fingerprints of those of ids that the recorder has read.
func (s *Store) recordedPrints(ctx context.Context, db asker, ids []string) (map[string]string, error) {
	found, err := db.QueryContext(ctx, "SELECT id, fingerprint FROM notifications WHERE id "+s.among, s.list(ids))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	prints := make(map[string]string, len(ids))
	for found.Next() {
		var id, print string
		if err := found.Scan(&id, &print); err != nil {
			return nil, err
		}
		prints[id] = print
	}
	return prints, found.Err()
}

// writeIDs writes the rows that changed, and removes those without a claim.
func (s *Store) writeIDs(ctx context.Context, tx *sql.Tx, rows map[string]*idRow) error {
	var changed [][]any
	var free []string
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		switch r := rows[id]; {
		case r.claims == 0:
			free = append(free, id)
		case r.changed:
			changed = append(changed, r.values())
		}
	}
	if err := s.each(ctx, tx, s.update("id_claims", idClaimColumns, ""), changed); err != nil || len(free) == 0 {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM id_claims WHERE id "+s.among, s.list(free))
	return err
}
