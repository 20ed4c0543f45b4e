package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func TestEventsAreReadByTheirNumbers(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		last, err := s.LastSeq(ctx)
		require.NoError(t, err)
		require.Zero(t, last)
		a, b := notify.NewID(), notify.NewID()
		take(t, s, accepted(a, noon), accepted(b, noon), became(a, 0, notify.StateSent, noon))
		take(t, s, became(a, 0, notify.StateSent, noon), became(b, 0, notify.StateDead, noon)) // the first is known

		all, err := s.Events(ctx, 0, notify.LifeFilter{}, 100)
		require.NoError(t, err)
		require.Len(t, all, 4)
		for i, want := range []notify.Event{accepted(a, noon).Event, accepted(b, noon).Event, event(a, 0, notify.StateSent, noon), event(b, 0, notify.StateDead, noon)} {
			require.Equal(t, want, all[i].Event)
			require.True(t, i == 0 || all[i].Seq > all[i-1].Seq)
		}
		last, err = s.LastSeq(ctx)
		require.NoError(t, err)
		require.Equal(t, all[3].Seq, last)

		for _, f := range []notify.LifeFilter{
			{ID: b},
			{States: []notify.State{notify.StateDead}, Gateway: "mail"},
			{States: []notify.State{notify.StateDead}, Channel: "email", Lane: "normal", Tenant: "default", Reference: "order-7", Recipient: "ada@example.com"},
			{States: []notify.State{notify.StateDead}, Recipient: "Ada <ada@Example.com>", Since: noon, Until: noon.Add(1)},
			{States: []notify.State{notify.StateDead}, Recipient: "Ada <ada@Example.com>", Since: noon, Until: noon.Add(time.Second)},
		} {
			got, err := s.Events(ctx, all[1].Seq, f, 1)
			require.NoError(t, err)
			if f.Until.Equal(noon.Add(1)) {
				require.Empty(t, got, "%+v", f)
				continue
			}
			require.Equal(t, all[3:], got, "%+v", f)
		}
	})
}

func TestAStoreThatIsEmptiedIsFilledAgain(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		require.NoError(t, s.Cluster(ctx, "one"))
		require.NoError(t, s.Cluster(ctx, "one"))
		require.ErrorIs(t, s.Cluster(ctx, "two"), ErrOtherCluster)
		id := notify.NewID()
		first := status.Batch{Changes: []status.Change{accepted(id, noon)}, From: at(-1), To: at(3)}
		require.NoError(t, s.Record(ctx, "me", first))
		last, err := s.LastSeq(ctx)
		require.NoError(t, err)

		require.NoError(t, s.Reset(ctx))
		requireEmpty(t, s)
		require.ErrorIs(t, s.Record(ctx, "me", status.Batch{From: at(3), To: at(4)}), status.ErrMoved)
		require.NoError(t, s.Record(ctx, "me", first))
		events, err := s.Events(ctx, last, notify.LifeFilter{}, 10)
		require.NoError(t, err)
		require.Len(t, events, 1, "numbers go on: who comes back with the last one misses nothing")
		require.NoError(t, s.Cluster(ctx, "two"))
	})
}

func TestWhatIsOldGoes(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		var changes []status.Change
		for i := range chunk + 10 {
			changes = append(changes, accepted(notify.DerivedID("old", fmt.Sprint(i)), noon))
		}
		young := notify.NewID()
		take(t, s, append(changes, accepted(young, noon.Add(time.Second)))...)
		key := "INSERT INTO idempotency (tenant, key, id, fingerprint, created_at, claimant, claimed_to, answer) VALUES ('default', $1, '', '', $2, '', 0, '')"
		for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
			_, err := s.write.Exec(key, name, micros(time.Now().Add(-age)))
			require.NoError(t, err)
		}

		n, err := s.Retain(ctx, noon.Add(time.Second))
		require.NoError(t, err)
		require.Equal(t, chunk+10, n)
		for _, table := range []string{"notifications", "payloads", "events", "idempotency"} {
			var left int
			require.NoError(t, s.read.QueryRow("SELECT count(*) FROM "+table).Scan(&left))
			require.Equal(t, 1, left, table)
		}
		_, err = s.Get(ctx, young)
		require.NoError(t, err)
		take(t, s, changes...) // read again: nothing of it is in the way
	})
}

func TestWhatIsExpungedStaysAway(t *testing.T) {
	by := map[string]func(id string) notify.Expunge{
		"id":     func(id string) notify.Expunge { return notify.Expunge{IDs: []string{id, id}} },
		"tenant": func(string) notify.Expunge { return notify.Expunge{Tenant: "default"} },
		"before": func(string) notify.Expunge { return notify.Expunge{Before: noon.Add(time.Second)} },
	}
	for name, by := range by {
		t.Run(name, func(t *testing.T) { onEach(t, func(t *testing.T, c Config) { expunges(t, c, by) }) })
	}
}

func expunges(t *testing.T, c Config, by func(id string) notify.Expunge) {
	ctx := context.Background()
	s := recording(t, c)
	id := notify.NewID()
	job, sent := accepted(id, noon), became(id, 0, notify.StateSent, noon)
	other := accepted(notify.NewID(), noon.Add(time.Hour))
	other.Event.Tenant = "acme"
	all := []status.Change{job, sent, other}
	take(t, s, all...)
	n, err := s.Expunge(ctx, by(id))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = s.Expunge(ctx, by(id))
	require.NoError(t, err)
	require.Zero(t, n, "it has been expunged")

	gone := func(when string) {
		l, err := s.Get(ctx, id)
		require.NoError(t, err)
		require.True(t, l.Expunged)
		require.Equal(t, notify.StateSent, l.State)
		require.Len(t, l.Timeline, 2)
		for _, table := range []string{"notifications", "payloads", "events"} {
			requireNowhere(t, s, table, id, when, "ada@", "Ada", "order-7", "shop", "hello")
		}
		l, err = s.Get(ctx, other.Event.NotificationID)
		require.NoError(t, err)
		require.Equal(t, "Ada <ada@Example.com>", l.Recipient)
	}
	gone("at once")
	take(t, s, all...)
	gone("read again")
	require.NoError(t, s.Reset(ctx))
	take(t, s, all...)
	gone("filled again")
	require.NotNil(t, all[0].Job.Metadata, "what the caller handed over is untouched")
	require.Equal(t, "order-7", all[1].Event.Reference)
}

// requireNowhere searches all columns of a notification's rows.
func requireNowhere(t *testing.T, s *Store, table, id, when string, words ...string) {
	column := map[string]string{"events": "notification_id"}[table]
	if column == "" {
		column = "id"
	}
	rows, err := s.read.Query("SELECT * FROM "+table+" WHERE "+column+" = $1", id)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		for i, v := range values {
			for _, w := range words {
				require.False(t, strings.Contains(fmt.Sprint(*v.(*any)), w), "%s: %s.%s", when, table, columns[i])
			}
		}
	}
	require.NoError(t, rows.Err())
}

func TestExpungingTakesOneOfThree(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	for _, by := range []notify.Expunge{{}, {IDs: []string{"a"}, Tenant: "b"}, {Tenant: "b", Before: noon}} {
		_, err := s.Expunge(context.Background(), by)
		require.Error(t, err)
	}
}
