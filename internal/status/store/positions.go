package store

import (
	"context"
	"database/sql"

	"github.com/laudspeaker/laudspeaker/internal/status"
)

type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Positions gives how far each partition has been recorded, in no order. One that is missing has not been read.
func (s *Store) Positions(ctx context.Context) ([]status.Position, error) {
	at, err := positions(ctx, s.read)
	return at, unavailable("reading the positions", err)
}

func positions(ctx context.Context, db asker) ([]status.Position, error) {
	rows, err := db.QueryContext(ctx, "SELECT topic, partition, next, topic_id FROM positions")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var at []status.Position
	for rows.Next() {
		var p status.Position
		var id string
		if err := rows.Scan(&p.Topic, &p.Partition, &p.Next, &id); err != nil {
			return nil, err
		}
		p.TopicID = topicID(id)
		at = append(at, p)
	}
	return at, rows.Err()
}

// topicID reads what a row says. Text that is no id counts as an id that is not known.
func topicID(text string) status.TopicID {
	id, _ := status.ParseTopicID(text)
	return id
}

type partition struct {
	topic  string
	number int32
}

// mustBeAt gives [status.ErrMoved] unless the store is where a batch begins.
func mustBeAt(ctx context.Context, db asker, from []status.Position) error {
	at, err := positions(ctx, db)
	if err != nil {
		return err
	}
	next := make(map[partition]int64, len(at))
	for _, p := range at {
		next[partition{p.Topic, p.Partition}] = p.Next
	}
	for _, p := range from {
		n, known := next[partition{p.Topic, p.Partition}]
		if !known {
			n = -1
		}
		if n != p.Next {
			return status.ErrMoved
		}
	}
	return nil
}

func (s *Store) moveTo(ctx context.Context, tx *sql.Tx, to []status.Position) error {
	rows := make([][]any, len(to))
	for i, p := range to {
		rows[i] = []any{p.Topic, int64(p.Partition), p.Next, p.TopicID.String()}
	}
	columns := []column{{"topic", word}, {"partition", number}, {"next", number}, {"topic_id", word}}
	return s.each(ctx, tx, s.insert("positions", columns, "(topic, partition) DO UPDATE SET next = excluded.next, topic_id = excluded.topic_id"), rows)
}
