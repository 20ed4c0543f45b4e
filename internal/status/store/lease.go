package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lease takes or renews the right to record, for ttl from now by the store's own clock, and reports whether holder has it.
// It is refused while somebody else's has not run out. A holder is a name that no other process uses.
func (s *Store) Lease(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	held := false
	err := s.change(ctx, "taking the lease", func(t turn) error {
		if held = t.holder == holder || !t.live; !held {
			return nil
		}
		_, err := t.ExecContext(ctx, "UPDATE lease SET holder = $1, expires = "+s.now+" + $2 WHERE id = 1", holder, ttl.Microseconds())
		return err
	})
	return held && err == nil, err
}

// ErrOtherCluster: the store was filled from another Kafka.
var ErrOtherCluster = errors.New("the status store was filled from another Kafka cluster: " +
	"`laudspeaker status rebuild` empties it and fills it from this one; or let status.dsn (data_dir for SQLite) name a store of its own")

// Cluster remembers which Kafka cluster the store is filled from, until [Store.Reset]; for another one it gives
// [ErrOtherCluster], because positions and rows of two clusters would mix.
func (s *Store) Cluster(ctx context.Context, id string) error {
	return s.change(ctx, "comparing the cluster", func(t turn) error {
		id := clean(id)
		if _, err := t.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES ('cluster', $1) ON CONFLICT (name) DO NOTHING", id); err != nil {
			return err
		}
		var known string
		if err := t.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'cluster'").Scan(&known); err != nil {
			return err
		}
		if known != id {
			return ErrOtherCluster
		}
		return nil
	})
}

// Reset empties the store, so that a recorder fills it again: one that is under way finds [status.ErrMoved]. Keys of
// idempotency, claims of ids and what was expunged stay, and so do the numbers of events: those of the new ones are higher.
func (s *Store) Reset(ctx context.Context) error {
	return s.change(ctx, "emptying", func(t turn) error {
		for _, table := range []string{"notifications", "payloads", "differences", "events", "positions", "meta", "logs", "gaps"} {
			if _, err := t.ExecContext(ctx, fmt.Sprintf(s.empty, table)); err != nil {
				return err
			}
		}
		return nil
	})
}
