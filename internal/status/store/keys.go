package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// Idempotency keys. Any number of processes may share them. The clocks that count are those of the processes: where they
// differ, a claim may be taken over from somebody who is still at it. Both then publish under the same id, and workers drop
// the second copy.
//
// None of this touches the lease: whoever has keys looked up waits for no recorder, except on SQLite, which has one writer.

// Claim grants each key that is free, or whose owner's time is over, to the first who asks. It returns once that is
// durable. Its error is [notify.ErrStatusUnavailable]; keys may have been granted all the same.
func (s *Store) Claim(ctx context.Context, claims []notify.Claim) ([]notify.Claimed, error) {
	claimed, err := s.claims.do(ctx, claims)
	return claimed, unavailable("claiming idempotency keys", err)
}

// Settle says what came of claims. Its error is [notify.ErrStatusUnavailable].
func (s *Store) Settle(ctx context.Context, settled []notify.Settlement) error {
	_, err := s.settled.do(ctx, settled)
	return unavailable("settling idempotency keys", err)
}

// claim is one transaction. Rows that are missing are made, those that are there locked, and all are judged here. Locks are
// taken in the order of names, as everywhere, so that no two wait for each other.
func (s *Store) claim(ctx context.Context, claims []notify.Claim) ([]notify.Claimed, error) {
	fresh := map[keyName]*keyRow{}
	for _, c := range claims {
		if name := (keyName{c.Tenant, c.Key}); fresh[name] == nil {
			fresh[name] = newKeyRow(c)
		}
	}
	names := slices.SortedFunc(maps.Keys(fresh), byName)
	claimed := make([]notify.Claimed, len(claims))
	return claimed, s.transact(ctx, func(tx *sql.Tx) error {
		inserted := make([][]any, len(names))
		for i, name := range names {
			inserted[i] = fresh[name].values()
		}
		if err := s.each(ctx, tx, s.insert("idempotency", keyColumns, lockConflict), inserted); err != nil {
			return err
		}
		rows, err := s.lockKeys(ctx, tx, names)
		if err != nil {
			return err
		}
		changed := map[keyName]bool{}
		for i, c := range claims {
			row := rows[keyName{c.Tenant, c.Key}]
			var taken bool
			if claimed[i], taken = row.claim(c); taken {
				changed[row.keyName] = true
			}
		}
		return s.updateKeys(ctx, tx, rows, changed)
	})
}

// lockConflict locks a row that is there, and leaves it as it is. With DO NOTHING it could be gone before it is read.
const lockConflict = "(tenant, key) DO UPDATE SET id = excluded.id WHERE FALSE"

// claim judges c, and notes it if it takes the key from somebody else.
func (r *keyRow) claim(c notify.Claim) (claimed notify.Claimed, taken bool) {
	at := micros(c.At)
	switch {
	case r.claimant == c.Token:
		return notify.Claimed{State: notify.ClaimGranted, ID: r.id, First: true}, false
	case r.created <= at-notify.KeyLifetime.Microseconds() && r.claimedTo <= at: // nobody publishes under it
		*r = *newKeyRow(c)
		return notify.Claimed{State: notify.ClaimGranted, ID: r.id, First: true}, true
	case r.fingerprint != hex.EncodeToString(c.Fingerprint[:]):
		return notify.Claimed{State: notify.ClaimMismatch}, false
	case r.answer != "":
		return notify.Claimed{State: notify.ClaimAnswered, ID: r.id, Answer: []byte(r.answer)}, false
	case r.claimedTo > at:
		return notify.Claimed{State: notify.ClaimInFlight}, false
	default:
		// The key is kept from here on: its request is still being repeated, and may be once more after its answer.
		r.claimant, r.claimedTo, r.created = c.Token, micros(c.Until), at
		return notify.Claimed{State: notify.ClaimGranted, ID: r.id}, true
	}
}

func (s *Store) settle(ctx context.Context, settled []notify.Settlement) ([]struct{}, error) {
	names := map[keyName]bool{}
	for _, c := range settled {
		names[keyName{c.Tenant, c.Key}] = true
	}
	return make([]struct{}, len(settled)), s.transact(ctx, func(tx *sql.Tx) error {
		rows, err := s.lockKeys(ctx, tx, slices.SortedFunc(maps.Keys(names), byName))
		if err != nil {
			return err
		}
		changed := map[keyName]bool{}
		for _, c := range settled {
			if row := rows[keyName{c.Tenant, c.Key}]; row != nil && row.claimant == c.Token {
				row.settle(c)
				changed[row.keyName] = true
			}
		}
		return s.updateKeys(ctx, tx, rows, changed)
	})
}

func (r *keyRow) settle(c notify.Settlement) {
	r.claimedTo = 0
	switch c.Outcome {
	case notify.OutcomeAnswered:
		r.answer = string(c.Answer)
	case notify.OutcomeRefused:
		r.created = 0 // as old as can be: free
	}
}
