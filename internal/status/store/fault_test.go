package store

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func at(next int64) []status.Position {
	return []status.Position{{Topic: "email_topic", Partition: 3, Next: next}}
}

func TestOneOfTwoProcessesRecords(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		a, b := open(t, c), open(t, c)
		held, err := a.Lease(ctx, "a", time.Hour)
		require.NoError(t, err)
		require.True(t, held)
		held, err = b.Lease(ctx, "b", time.Hour)
		require.NoError(t, err)
		require.False(t, held)
		require.NoError(t, a.Record(ctx, "a", status.Batch{From: at(-1), To: at(1)}))
		require.ErrorIs(t, b.Record(ctx, "b", status.Batch{From: at(1), To: at(2)}), status.ErrNotHeld)

		_, err = a.Lease(ctx, "a", 0) // as if a had stood still
		require.NoError(t, err)
		require.ErrorIs(t, a.Record(ctx, "a", status.Batch{From: at(1), To: at(2)}), status.ErrNotHeld, "it has run out")
		held, err = b.Lease(ctx, "b", time.Hour)
		require.NoError(t, err)
		require.True(t, held)
		require.NoError(t, b.Record(ctx, "b", status.Batch{From: at(1), To: at(5)}))
		require.ErrorIs(t, a.Record(ctx, "a", status.Batch{From: at(5), To: at(6)}), status.ErrNotHeld, "a comes late")
		got, err := a.Positions(ctx)
		require.NoError(t, err)
		require.Equal(t, at(5), got)
	})
}

func TestOfManyThatAskAtOnceOneGetsTheLease(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		open(t, c)
		var all sync.WaitGroup
		held := make([]bool, 8)
		for i := range held {
			s := open(t, c)
			all.Go(func() { held[i], _ = s.Lease(context.Background(), notify.NewID(), time.Hour) })
		}
		all.Wait()
		n := 0
		for _, h := range held {
			if h {
				n++
			}
		}
		require.Equal(t, 1, n)
	})
}

func TestOfManyThatOpenAtOnceAllMay(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		if c.DSN == "" {
			t.Skip("a file of SQLite is opened by one process")
		}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				s, err := Open(context.Background(), c)
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		all.Wait()
	})
}

// Whoever opens a store that is up to date waits for no writer.
func TestOpen_WhileAnotherWrites(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		a := open(t, c)
		require.NoError(t, a.change(t.Context(), "writing", func(turn) error {
			b := open(t, c)
			_, err := b.Positions(t.Context())
			return err
		}))
	})
}

func TestNothingOfABatchThatFailsIsThere(t *testing.T) {
	for _, table := range []string{"events", "payloads"} {
		onEach(t, func(t *testing.T, c Config) {
			ctx := context.Background()
			s := recording(t, c)
			id := notify.NewID()
			b := status.Batch{Changes: []status.Change{accepted(id, noon), became(id, 0, notify.StateSent, noon)}, From: at(-1), To: at(2)}
			_, err := s.write.Exec("ALTER TABLE " + table + " RENAME TO away")
			require.NoError(t, err)
			require.ErrorIs(t, s.Record(ctx, "me", b), notify.ErrStatusUnavailable)
			_, err = s.write.Exec("ALTER TABLE away RENAME TO " + table)
			require.NoError(t, err)

			requireEmpty(t, s)
			require.NoError(t, s.Record(ctx, "me", b))
			l, err := s.Get(ctx, id)
			require.NoError(t, err)
			require.Equal(t, notify.StateSent, l.State)
		})
	}
}

func requireEmpty(t *testing.T, s *Store) {
	for _, table := range []string{"notifications", "payloads", "events", "positions"} {
		var n int
		require.NoError(t, s.read.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
		require.Zero(t, n, table)
	}
}

// The server ends the connection while a batch is written: nothing of it stays, and the next one finds a connection.
func TestAConnectionThatBreaksInMidBatch(t *testing.T) {
	ctx := context.Background()
	s := recording(t, Config{DSN: schema(t)})
	_, err := s.write.Exec(`CREATE FUNCTION die() RETURNS trigger AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END' LANGUAGE plpgsql;
		CREATE TRIGGER die BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION die()`)
	require.NoError(t, err)
	id := notify.NewID()
	b := status.Batch{Changes: []status.Change{accepted(id, noon)}, From: at(-1), To: at(1)}
	require.ErrorIs(t, s.Record(ctx, "me", b), notify.ErrStatusUnavailable)
	requireEmpty(t, s)
	_, err = s.write.Exec("DROP TRIGGER die ON events")
	require.NoError(t, err)
	require.NoError(t, s.Record(ctx, "me", b))
}

func TestAFullDiskStopsBatchesAndNothingElse(t *testing.T) {
	ctx := context.Background()
	s := recording(t, Config{Dir: t.TempDir()})
	first := notify.NewID()
	require.NoError(t, s.Record(ctx, "me", status.Batch{Changes: []status.Change{accepted(first, noon)}, From: at(-1), To: at(1)}))
	var pages int
	require.NoError(t, s.write.QueryRow("PRAGMA page_count").Scan(&pages))
	limit := func(n int) {
		_, err := s.write.Exec("PRAGMA max_page_count = " + strconv.Itoa(n))
		require.NoError(t, err)
	}
	limit(pages + 5)
	full := status.Batch{Changes: many(500), From: at(1), To: at(2)}
	require.ErrorIs(t, s.Record(ctx, "me", full), notify.ErrStatusUnavailable)
	_, err := s.Get(ctx, first)
	require.NoError(t, err, "what is there is read")
	held, err := s.Lease(ctx, "me", time.Hour)
	require.NoError(t, err)
	require.True(t, held)
	got, err := s.Positions(ctx)
	require.NoError(t, err)
	require.Equal(t, at(1), got)

	limit(math.MaxInt32)
	require.NoError(t, s.Record(ctx, "me", full))
}

func TestWhatCannotBeOpenedSaysSoWithoutThePassword(t *testing.T) {
	ctx := context.Background()
	for _, dsn := range []string{
		"postgres://ada:hunter2@127.0.0.1:1/x?connect_timeout=1", "postgres://ada:hunter2@127.0.0.1:port/x", "mysql://ada:hunter2@127.0.0.1/x",
	} {
		_, err := Open(ctx, Config{DSN: dsn})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Open(ctx, Config{Dir: filepath.Join(t.TempDir(), "missing")})
	require.ErrorIs(t, err, notify.ErrStatusUnavailable)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "status.db"), []byte(strings.Repeat("not a database ", 1000)), 0o600))
	_, err = Open(ctx, Config{Dir: dir})
	require.ErrorIs(t, err, notify.ErrStatusUnavailable)
}

func TestWhatIsCommittedOutlivesALossOfPower(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	var mode string
	require.NoError(t, s.write.QueryRow("PRAGMA journal_mode").Scan(&mode))
	require.Equal(t, "wal", mode)
	var synchronous int
	require.NoError(t, s.write.QueryRow("PRAGMA synchronous").Scan(&synchronous))
	require.Equal(t, 2, synchronous, "FULL: a commit is synced")
}

func TestACallEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, s.Record(ctx, "me", status.Batch{From: at(-1), To: at(1)}), context.Canceled)
		_, err := s.Get(ctx, "x")
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
	})
}

// A batch that a database refuses for ever would stop the recorder for ever.
func TestWhateverTheTopicsSayIsTaken(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		ctx := context.Background()
		s := recording(t, c)
		for _, odd := range []string{"", "\x00", "a\x00b", "\xff\xfe", strings.Repeat("é", 100_000), "' OR 1=1 --", "\u202e", "𝕏"} {
			e := notify.Event{
				EventID: odd, NotificationID: odd, State: notify.State(odd), Run: math.MaxInt, Step: math.MinInt, Attempt: -1,
				Tenant: odd, Channel: notify.Channel(odd), Lane: notify.Lane(odd), Reference: odd, Gateway: odd, Code: odd, Reason: odd,
				ProviderID: odd, Note: odd, Warnings: []string{odd}, Tries: []notify.Try{{Gateway: odd, Reason: odd}},
				At: time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)), NextAt: ptr(time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600))),
			}
			job := &status.Job{
				Recipient: odd, Address: odd, RecipientType: odd, Metadata: map[string]string{odd: odd}, SendAt: &time.Time{}, Payload: []byte(odd),
			}
			take(t, s, status.Change{Event: e}, status.Change{Event: e, Job: job})
			l, err := s.Get(ctx, odd)
			require.NoError(t, err)
			require.Len(t, l.Timeline, 1)
			list, err := s.List(ctx, notify.LifeFilter{
				States: []notify.State{notify.State(odd)}, Gateway: odd, Recipient: odd, Reference: odd, Tenant: odd,
			}, "", 10)
			require.NoError(t, err)
			require.NotEmpty(t, list.Data)
		}
	})
}

func ptr[T any](v T) *T { return &v }
