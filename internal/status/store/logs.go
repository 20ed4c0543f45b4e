package store

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/status"
)

// logsOf gives the numbers of the logs that changes name. A log that is named for the first time gets a number.
func (s *Store) logsOf(ctx context.Context, t turn, changes []status.Change) (map[status.Log]int64, error) {
	named := map[status.Log]bool{}
	for i := range changes {
		if l := changes[i].Place.Log; l.Topic != "" {
			named[l] = true
		}
	}
	if len(named) == 0 {
		return nil, nil
	}
	numbers, err := logNumbers(ctx, t)
	if err != nil {
		return nil, err
	}
	var added [][]any
	for l := range named {
		if numbers[l] == 0 {
			added = append(added, []any{clean(l.Topic), l.ID.String()})
		}
	}
	if len(added) == 0 {
		return numbers, nil
	}
	columns := []column{{"topic", word}, {"topic_id", word}}
	if err := s.each(ctx, t.Tx, s.insert("logs", columns, "(topic, topic_id) DO NOTHING"), added); err != nil {
		return nil, err
	}
	return logNumbers(ctx, t)
}

func logNumbers(ctx context.Context, db asker) (map[status.Log]int64, error) {
	rows, err := db.QueryContext(ctx, "SELECT nr, topic, topic_id FROM logs")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	numbers := map[status.Log]int64{}
	for rows.Next() {
		var nr int64
		var topic, id string
		if err := rows.Scan(&nr, &topic, &id); err != nil {
			return nil, err
		}
		numbers[status.Log{Topic: topic, ID: topicID(id)}] = nr
	}
	return numbers, rows.Err()
}

// Logs gives every log in which the store knows, or has known, a record.
func (s *Store) Logs(ctx context.Context) ([]status.Log, error) {
	numbers, err := logNumbers(ctx, s.read)
	return slices.Collect(maps.Keys(numbers)), unavailable("reading the logs", err)
}

// addGaps keeps gaps. Two processes may publish one gap with different done bits: an offset that either of them knows to be done
// is done.
func (s *Store) addGaps(ctx context.Context, t turn, gaps []status.Gap) error {
	if len(gaps) == 0 {
		return nil
	}
	known, err := gapsOf(ctx, t)
	if err != nil {
		return err
	}
	byKey := map[gapKey]*status.Gap{}
	for i := range known {
		byKey[keyOf(&known[i])] = &known[i]
	}
	changed := map[gapKey]bool{}
	for i := range gaps {
		g := gaps[i]
		if was := byKey[keyOf(&g)]; was != nil {
			g.AddDone(was.Done)
			if was.At.Before(g.At) {
				g.At = was.At
			}
		}
		byKey[keyOf(&g)], changed[keyOf(&g)] = &g, true
	}
	var rows [][]any
	for key := range changed {
		g := byKey[key]
		rows = append(rows, []any{
			clean(g.Topic), g.ID.String(), int64(g.Partition), g.From, g.To, base64.RawStdEncoding.EncodeToString(g.Done), micros(g.At),
		})
	}
	columns := []column{
		{"topic", word}, {"topic_id", word}, {"partition", number}, {"from_offset", number}, {"to_offset", number}, {"done", word}, {"at", number},
	}
	return s.each(ctx, t.Tx, s.insert("gaps", columns,
		"(topic, topic_id, partition, from_offset, to_offset) DO UPDATE SET done = excluded.done, at = excluded.at"), rows)
}

type gapKey struct {
	status.Log
	partition int32
	from, to  int64
}

func keyOf(g *status.Gap) gapKey { return gapKey{g.Log, g.Partition, g.From, g.To} }

// Gaps gives the gaps that the store knows, in no order.
func (s *Store) Gaps(ctx context.Context) ([]status.Gap, error) {
	gaps, err := gapsOf(ctx, s.read)
	return gaps, unavailable("reading the gaps", err)
}

func gapsOf(ctx context.Context, db asker) ([]status.Gap, error) {
	rows, err := db.QueryContext(ctx, "SELECT topic, topic_id, partition, from_offset, to_offset, done, at FROM gaps")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var gaps []status.Gap
	for rows.Next() {
		var g status.Gap
		var id, done string
		var at int64
		if err := rows.Scan(&g.Topic, &id, &g.Partition, &g.From, &g.To, &done, &at); err != nil {
			return nil, err
		}
		if done != "" {
			if g.Done, err = base64.RawStdEncoding.DecodeString(done); err != nil {
				return nil, err
			}
		}
		g.ID, g.At = topicID(id), *timeOf(&at)
		gaps = append(gaps, g)
	}
	return gaps, rows.Err()
}

// forgetGaps removes gaps that were published before a time.
func (s *Store) forgetGaps(ctx context.Context, before time.Time) error {
	return s.change(ctx, "removing old gaps", func(t turn) error {
		_, err := t.ExecContext(ctx, "DELETE FROM gaps WHERE at < $1", micros(before))
		return err
	})
}
