package store

import (
	"context"

	"github.com/laudspeaker/laudspeaker/internal/status"
)

// Standings says how each of the notifications stands. What the store does not know is left out.
func (s *Store) Standings(ctx context.Context, ids []string) (map[string]status.Standing, error) {
	found, err := s.standings(ctx, ids)
	return found, unavailable("reading how notifications stand", err)
}

func (s *Store) standings(ctx context.Context, ids []string) (map[string]status.Standing, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, state, final, run, place FROM notifications WHERE id "+s.among, s.list(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]status.Standing, len(ids))
	for rows.Next() {
		var id string
		var at status.Standing
		if err := rows.Scan(&id, &at.State, &at.Final, &at.Run, &at.Place); err != nil {
			return nil, err
		}
		found[id] = at
	}
	return found, rows.Err()
}
