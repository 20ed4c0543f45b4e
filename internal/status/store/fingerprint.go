package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// secret is the key of the fingerprints that a store keeps. It never changes: it outlives [Store.Reset], as claims do.
type secret []byte

// readSecret gives the secret of the store. The first process to open the store makes it.
func (s *Store) readSecret(ctx context.Context) (secret, error) {
	key, err := s.storedSecret(ctx) // without a lock: a process that only reads does not wait for those that write
	if !errors.Is(err, sql.ErrNoRows) {
		return key, err
	}
	var fresh [32]byte
	_, _ = rand.Read(fresh[:]) // crypto/rand.Read never returns an error
	if _, err := s.write.ExecContext(ctx, "INSERT INTO fingerprint_key (id, key) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
		hex.EncodeToString(fresh[:])); err != nil {
		return nil, err
	}
	return s.storedSecret(ctx)
}

// storedSecret returns the secret that is in the store. Its error is [sql.ErrNoRows] if there is none.
func (s *Store) storedSecret(ctx context.Context) (secret, error) {
	var key string
	if err := s.write.QueryRowContext(ctx, "SELECT key FROM fingerprint_key WHERE id = 1").Scan(&key); err != nil {
		return nil, err
	}
	return hex.DecodeString(key)
}

// noExpiry marks a fingerprint that leaves expires_at out.
const noExpiry = "~"

// mark is how a fingerprint is stored; empty for an unknown one.
func (k secret) mark(f notify.Fingerprint) string {
	if f.IsZero() {
		return ""
	}
	mac := hmac.New(sha256.New, k)
	mac.Write(f[:])
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// ofJob is how the fingerprint of a job is stored.
func (k secret) ofJob(j *status.Job) string {
	if j == nil || j.Fingerprint.IsZero() {
		return ""
	}
	if j.NoExpiry {
		return noExpiry + k.mark(j.Fingerprint)
	}
	return k.mark(j.Fingerprint)
}
