package store

import (
	"context"
	"time"
)

// HasInbound reports whether [Store.KeepInbound] has kept the message of that gateway's provider. Its error is
// [notify.ErrStatusUnavailable].
func (s *Store) HasInbound(ctx context.Context, gateway, message string) (known bool, err error) {
	// It reads where it is written: of a replica that lags, the answer would be no.
	err = s.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM inbound WHERE gateway = $1 AND message = $2)", short(gateway), short(message)).Scan(&known)
	return known, unavailable("looking for an incoming message", err)
}

// KeepInbound keeps the name of a message that was taken in, until [Store.Retain] removes what is as old as it; one that is lasting
// stays. Keeping it twice is harmless. Its error is [notify.ErrStatusUnavailable].
func (s *Store) KeepInbound(ctx context.Context, gateway, message string, lasting bool, at time.Time) error {
	_, err := s.write.ExecContext(ctx, "INSERT INTO inbound (gateway, message, lasting, at) VALUES ($1, $2, $3, $4) ON CONFLICT (gateway, message) DO NOTHING",
		short(gateway), short(message), lasting, micros(at))
	return unavailable("keeping an incoming message", err)
}

// forgetInbound removes messages that are not lasting, of before that time. It needs no lease, as with the keys of idempotency.
func (s *Store) forgetInbound(ctx context.Context, before time.Time) (more bool, err error) {
	r, err := s.write.ExecContext(ctx, "DELETE FROM inbound WHERE (gateway, message) IN"+
		" (SELECT gateway, message FROM inbound WHERE NOT lasting AND at < $1 LIMIT $2"+s.locking("FOR UPDATE SKIP LOCKED")+")", micros(before), chunk)
	if err != nil {
		return false, unavailable("forgetting incoming messages", err)
	}
	n, err := r.RowsAffected()
	return n == chunk, unavailable("forgetting incoming messages", err)
}
