package store

import (
	"context"
	"database/sql"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

var (
	before = status.Log{Topic: "email_topic", ID: status.TopicID{1}}
	again  = status.Log{Topic: "email_topic", ID: status.TopicID{2}} // the topic was deleted and created again
)

// on gives c the place of its record.
func on(c status.Change, log status.Log, partition int32, offset int64, run, step int) status.Change {
	c.Place = status.RecordPlace{Log: log, Partition: partition, Offset: offset, Run: run, Step: step}
	return c
}

func openOf(t *testing.T, s *Store, id string) *status.Open {
	t.Helper()
	all, err := s.Unended(context.Background(), noon.Add(1000*time.Hour), nil, 100)
	require.NoError(t, err)
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

// Whatever the order in which records are read, and however often: the place of the furthest one is kept.
func TestStore_PlaceOfTheFurthestRecord(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		id, none := notify.NewID(), notify.NewID()
		take(t, s, on(accepted(notify.NewID(), noon), before, 0, 0, 0, 0), accepted(none, noon))
		take(t, s, on(accepted(notify.NewID(), noon), again, 0, 0, 0, 0)) // so that it is the newer log
		changes := []status.Change{
			on(accepted(id, noon), before, 3, 70, 0, 0), on(accepted(id, noon), before, 1, 200, 0, 2), on(accepted(id, noon), again, 1, 5, 0, 2),
			on(became(id, 1, notify.StateRetrying, noon), before, 0, 900, 0, 2), became(id, 0, notify.StateRetrying, noon),
			on(accepted(id, noon), again, 2, 1<<40, 0, 2),
		}
		want := changes[len(changes)-1].Place
		for range 10 {
			rand.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
			from := 0
			for from < len(changes) {
				to := min(len(changes), from+1+rand.IntN(3))
				take(t, s, changes[from:to]...)
				from = to
			}
			require.Equal(t, want, openOf(t, s, id).Record)
		}
		l, err := s.Get(context.Background(), id)
		require.NoError(t, err)
		require.EqualValues(t, 2, *l.Partition)
		all, err := s.List(context.Background(), notify.LifeFilter{}, "", 100)
		require.NoError(t, err)
		for _, l := range all.Data {
			require.Equal(t, l.ID == none, l.Partition == nil, "of one whose record was read")
		}
		require.Zero(t, openOf(t, s, none).Record)
	})
}

// lost has the rank of held: nothing earlier comes back after it, and any result replaces it.
func TestStore_LostIsReplacedByAResult(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		for _, later := range []notify.State{notify.StateSent, notify.StateDelivered, notify.StateExpired, notify.StateDead, notify.StateCancelled} {
			id := notify.NewID()
			take(t, s, accepted(id, noon), became(id, 2, notify.StateLost, noon.Add(time.Hour)))
			take(t, s, became(id, 1, notify.StateRetrying, noon.Add(2*time.Hour)))
			l, err := s.Get(ctx, id)
			require.NoError(t, err)
			require.Equal(t, notify.StateLost, l.State)
			require.False(t, l.Final)
			require.Nil(t, openOf(t, s, id), "nobody looks for it any more")
			awaited, err := s.Awaited(ctx, noon.Add(1000*time.Hour), nil, 100)
			require.NoError(t, err)
			require.NotContains(t, idsIn(awaited), id)
			take(t, s, became(id, 1, later, noon))
			l, err = s.Get(ctx, id)
			require.NoError(t, err)
			require.Equal(t, later, l.State)
		}
	})
}

func TestStore_KeepsGaps(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		gap := status.Gap{Log: before, Partition: 3, From: 100, To: 120, Done: []byte{0b101}, At: noon}
		other := status.Gap{Log: again, Partition: 3, From: 100, To: 120, At: noon.Add(time.Hour)}
		more := gap
		more.Done, more.At = []byte{0b010, 1}, noon.Add(time.Minute)
		for range 2 {
			require.NoError(t, s.Record(ctx, "me", status.Batch{Gaps: []status.Gap{gap, other, more}}))
		}
		gaps, err := s.Gaps(ctx)
		require.NoError(t, err)
		gap.Done = []byte{0b111, 1}
		require.ElementsMatch(t, []status.Gap{gap, other}, gaps)

		_, err = s.Retain(ctx, noon.Add(time.Second))
		require.NoError(t, err)
		gaps, err = s.Gaps(ctx)
		require.NoError(t, err)
		require.Equal(t, []status.Gap{other}, gaps)
		require.NoError(t, s.Reset(ctx))
		gaps, err = s.Gaps(ctx)
		require.NoError(t, err)
		require.Empty(t, gaps)
	})
}

// What an older version has written stays valid, and an older version may go on writing beside this one.
func TestStore_RowsOfTheVersionBefore(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s, err := connect(c)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		folder := map[goose.Dialect]string{goose.DialectSQLite3: "sqlite", goose.DialectPostgres: "postgres"}[s.name]
		files, err := fs.Sub(migrations, folder)
		require.NoError(t, err)
		p, err := goose.NewProvider(s.name, s.write, files, goose.WithDisableGlobalRegistry(true))
		require.NoError(t, err)
		_, err = p.UpTo(ctx, 2)
		require.NoError(t, err)
		id := notify.NewID()
		old := func(db *sql.DB, id string) {
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO notifications (id, expunged, unread, accepted_at, source, tenant, channel, lane, recipient, address, written,"+
				" recipient_type, reference, metadata, expires_at, sensitive, place, state_at, state_event, state_sum, state, final, run, step, attempt,"+
				" gateway, code, reason, provider_id, simulated) VALUES ($1, FALSE, 0, $2, 1, 'default', 'email', 'normal', 'a', 'a', '', '', '', '', $2, FALSE,"+
				" 0, $2, 'e', 1, 'queued', FALSE, 0, 0, 0, '', '', '', '', FALSE)", id, micros(noon))
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "INSERT INTO positions (topic, partition, next) VALUES ('email_topic', 3, 7) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next")
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
		}
		old(s.write, id)
		_, err = p.Up(ctx)
		require.NoError(t, err)

		now := recording(t, c)
		at, err := now.Positions(ctx)
		require.NoError(t, err)
		require.Equal(t, []status.Position{{Topic: "email_topic", Partition: 3, Next: 7}}, at, "an id that is not known makes no position void")
		require.Zero(t, openOf(t, now, id).Record)
		to := status.Position{Topic: "email_topic", Partition: 3, Next: 9, TopicID: before.ID}
		require.NoError(t, now.Record(ctx, "me", status.Batch{From: at, To: []status.Position{to}}))
		at, err = now.Positions(ctx)
		require.NoError(t, err)
		require.Equal(t, []status.Position{to}, at)
		other := notify.NewID()
		old(s.write, other)
		require.Zero(t, openOf(t, now, other).Record)
		take(t, now, on(accepted(id, noon), before, 3, 9, 0, 0))
		require.EqualValues(t, 9, openOf(t, now, id).Record.Offset)
	})
}
