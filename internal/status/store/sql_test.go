package store

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEach runs a test on each database. PostgreSQL is the one of LAUDSPEAKER_TEST_POSTGRES, in a schema of the test's own.
func onEach(t *testing.T, test func(t *testing.T, c Config)) {
	t.Run("sqlite", func(t *testing.T) { test(t, Config{Dir: t.TempDir(), Log: zap.NewNop()}) })
	t.Run("postgres", func(t *testing.T) { test(t, Config{DSN: schema(t), Log: zap.NewNop()}) })
}

// schema makes a schema that goes with the test, and gives the URL that leads to it.
func schema(t testing.TB) string {
	dsn := os.Getenv("LAUDSPEAKER_TEST_POSTGRES")
	if dsn == "" {
		t.Skip("LAUDSPEAKER_TEST_POSTGRES names no PostgreSQL (scripts/postgres.sh start)")
	}
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	name := "t" + strings.ReplaceAll(notify.NewID(), "-", "")
	_, err = db.Exec("CREATE SCHEMA " + name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec("DROP SCHEMA " + name + " CASCADE")
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	mark := "?"
	if strings.Contains(dsn, "?") {
		mark = "&"
	}
	return dsn + mark + "search_path=" + name
}

func open(t testing.TB, c Config) *Store {
	s, err := Open(context.Background(), c)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// recording opens a store whose lease is held by "me".
func recording(t testing.TB, c Config) *Store {
	s := open(t, c)
	held, err := s.Lease(context.Background(), "me", time.Hour)
	require.NoError(t, err)
	require.True(t, held)
	if _, measured := t.(*testing.B); c.DSN == "" && !measured {
		_, err := s.write.Exec("PRAGMA synchronous = OFF") // no test loses power
		require.NoError(t, err)
	}
	return s
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func event(id string, step int, state notify.State, at time.Time) notify.Event {
	e := notify.Event{
		NotificationID: id, Step: step, State: state, At: at,
		Tenant: "default", Channel: notify.ChannelEmail, Lane: notify.LaneNormal, Reference: "order-7",
	}
	if state != notify.StateQueued {
		e.Gateway, e.Attempt = "mail", step+1
	}
	e.Seal()
	return e
}

// accepted is the job of a notification that was accepted at at.
func accepted(id string, at time.Time) status.Change {
	expires := at.Add(24 * time.Hour)
	return status.Change{Event: event(id, 0, notify.StateQueued, at), Job: &status.Job{
		Recipient: "Ada <ada@Example.com>", Address: "ada@example.com", Metadata: map[string]string{"shop": "1"},
		AcceptedAt: at, ExpiresAt: &expires, Payload: []byte(`{"subject":"hello"}`),
	}}
}

func became(id string, step int, state notify.State, at time.Time) status.Change {
	return status.Change{Event: event(id, step, state, at)}
}

func take(t testing.TB, s *Store, changes ...status.Change) {
	require.NoError(t, s.Record(context.Background(), "me", status.Batch{Changes: changes}))
}
