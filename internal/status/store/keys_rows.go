package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/pressly/goose/v3"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

type keyName struct{ tenant, key string }

func byName(a, b keyName) int {
	return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.key, b.key))
}

// keyRow is what is kept of a key.
type keyRow struct {
	keyName
	id          string
	fingerprint string // hexadecimal
	created     int64
	claimant    string
	claimedTo   int64
	answer      string // empty while it is in flight
}

// transact runs do in a transaction.
func (s *Store) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, and before one the first error counts
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

var keyColumns = []column{
	{"tenant", word},
	{"key", word},
	{"id", word},
	{"fingerprint", word},
	{"created_at", number},
	{"claimant", word},
	{"claimed_to", number},
	{"answer", word},
}

func newKeyRow(c notify.Claim) *keyRow {
	return &keyRow{
		keyName: keyName{c.Tenant, c.Key}, id: c.ID, fingerprint: hex.EncodeToString(c.Fingerprint[:]),
		created: micros(c.At), claimant: c.Token, claimedTo: micros(c.Until),
	}
}

func (r *keyRow) values() []any {
	return []any{r.tenant, r.key, r.id, r.fingerprint, r.created, r.claimant, r.claimedTo, r.answer}
}

// lockKeys gives the rows of names as nobody else can change them any more. SQLite has locked the whole file.
func (s *Store) lockKeys(ctx context.Context, tx *sql.Tx, names []keyName) (map[keyName]*keyRow, error) {
	of := map[string][]string{}
	for _, name := range names {
		of[name.tenant] = append(of[name.tenant], name.key)
	}
	rows := make(map[keyName]*keyRow, len(names))
	for _, tenant := range slices.Sorted(maps.Keys(of)) {
		if err := s.lockKeysOf(ctx, tx, tenant, of[tenant], rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (s *Store) lockKeysOf(ctx context.Context, tx *sql.Tx, tenant string, keys []string, into map[keyName]*keyRow) error {
	found, err := tx.QueryContext(ctx, "SELECT key, id, fingerprint, created_at, claimant, claimed_to, answer FROM idempotency WHERE key "+s.among+
		" AND tenant = $2 ORDER BY key"+s.locking("FOR UPDATE"), s.list(keys), tenant)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		r := &keyRow{keyName: keyName{tenant: tenant}}
		if err := found.Scan(&r.key, &r.id, &r.fingerprint, &r.created, &r.claimant, &r.claimedTo, &r.answer); err != nil {
			return err
		}
		into[r.keyName] = r
	}
	return found.Err()
}

// locking is what a query needs to lock what it finds.
func (d *dialect) locking(clause string) string {
	if d.name == goose.DialectSQLite3 {
		return ""
	}
	return " " + clause
}

func (s *Store) updateKeys(ctx context.Context, tx *sql.Tx, rows map[keyName]*keyRow, changed map[keyName]bool) error {
	var values [][]any
	for _, name := range slices.SortedFunc(maps.Keys(changed), byName) {
		values = append(values, rows[name].values())
	}
	return s.each(ctx, tx, s.update("idempotency", keyColumns, " AND n.key = e.key"), values)
}
