package status

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// late is a store of what is overdue, which takes what is told of it as the recorder would.
type late struct {
	lives     []notify.Life // by id, which is the order of both lists
	records   map[string]RecordPlace
	gaps      []Gap
	positions []Position
	events    map[string]bool
	told      []notify.Event
	deaf      int // so many tellings fail first
}

func (s *late) list(in func(l *notify.Life) bool, after *notify.Life, limit int) (page []notify.Life, err error) {
	for i := range s.lives {
		if l := &s.lives[i]; in(l) && (after == nil || l.ID > after.ID) && len(page) < limit {
			page = append(page, *l)
		}
	}
	return page, nil
}

func unended(before time.Time) func(l *notify.Life) bool {
	return func(l *notify.Life) bool {
		return !l.Final && l.State.Rank() < notify.StateHeld.Rank() && l.ExpiresAt.Before(before)
	}
}

func (s *late) Unended(_ context.Context, before time.Time, after *notify.Life, limit int) (all []Open, err error) {
	page, err := s.list(unended(before), after, limit)
	for _, l := range page {
		all = append(all, Open{Life: l, Record: s.records[l.ID]})
	}
	return all, err
}

func (s *late) CountUnended(_ context.Context, before time.Time) (int, error) {
	all, err := s.list(unended(before), nil, len(s.lives))
	return len(all), err
}

func (s *late) Awaited(_ context.Context, before time.Time, after *notify.Life, limit int) ([]notify.Life, error) {
	return s.list(func(l *notify.Life) bool {
		return l.State == notify.StateSent && !l.Final && l.UpdatedAt.Before(before)
	}, after, limit)
}

func (s *late) Gaps(context.Context) ([]Gap, error) { return s.gaps, nil }

func (s *late) Positions(context.Context) ([]Position, error) { return s.positions, nil }

func (s *late) Logs(context.Context) (logs []Log, err error) {
	for _, p := range s.records {
		logs = append(logs, p.Log)
	}
	return logs, nil
}

func (s *late) EventsOf(context.Context, []string) (map[string]bool, error) { return s.events, nil }

func (s *late) tell(_ context.Context, e notify.Event) error {
	if s.deaf > 0 {
		s.deaf--
		return errAway
	}
	e.Seal()
	s.told = append(s.told, e)
	s.events[e.EventID] = true
	i, found := slices.BinarySearchFunc(s.lives, e.NotificationID, func(l notify.Life, id string) int { return strings.Compare(l.ID, id) })
	if found && e.Note == "" {
		s.lives[i].State, s.lives[i].Final, s.lives[i].Reason = e.State, e.Final, e.Reason
	}
	return nil
}

// waits are n notifications in a state that expired, or were sent, at at.
func waits(n int, state notify.State, at time.Time) *late {
	s := &late{events: map[string]bool{}}
	for i := range n {
		s.lives = append(s.lives, notify.Life{
			ID: fmt.Sprintf("%06d", i), State: state, Run: 1, Step: 4, Attempt: 2, Channel: notify.ChannelSMS, Lane: notify.LaneBulk,
			Gateway: "texts", ProviderID: "SM1", UpdatedAt: at, ExpiresAt: &at,
		})
	}
	return s
}

// reconcile runs a reconciler for some minutes of a bubble, and gives it back.
func reconcile(t *testing.T, s *late, minutes int, change func(c *ReconcilerConfig)) *Reconciler {
	cfg := ReconcilerConfig{
		Store: s, Tell: s.tell, Recording: func() bool { return true }, Caught: func(context.Context) error { return nil },
		StuckAfter: 5 * time.Minute, ReceiptWindow: 72 * time.Hour, Log: zap.NewNop(),
	}
	if change != nil {
		change(&cfg)
	}
	r := NewReconciler(cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute+time.Second)
	defer cancel()
	require.NoError(t, r.Run(ctx))
	return r
}

func TestWhatIsStuckIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waits(2, notify.StateRetrying, time.Now())
		r := reconcile(t, s, 5, nil)
		require.Empty(t, s.told, "its grace is not over")
		require.Zero(t, testutil.ToFloat64(r.stuck))
		r = reconcile(t, s, 10, nil)
		require.Len(t, s.told, 2)
		require.Equal(t, 2.0, testutil.ToFloat64(r.stuck))
		e := s.told[0]
		require.Equal(t, []any{"000000", 1, 4, notify.StateRetrying, notify.NoteStuck, false},
			[]any{e.NotificationID, e.Run, e.Step, e.State, e.Note, e.Final})
		require.Equal(t, int64(-1), Place(&e))

		s.lives[0].Step++ // it has moved, and is stuck again
		s.lives = s.lives[:1]
		r = reconcile(t, s, 1, nil)
		require.Len(t, s.told, 3)
		require.Equal(t, 1.0, testutil.ToFloat64(r.stuck))
	})
}

func TestWhatNobodyConfirmsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waits(3, notify.StateSent, time.Now())
		reconcile(t, s, 72*60, nil)
		require.Empty(t, s.told)
		s.lives[2].Final = true
		r := reconcile(t, s, 3, nil)
		require.Len(t, s.told, 2)
		require.Equal(t, 2.0, testutil.ToFloat64(r.unconfirmed))
		want := notify.Event{
			NotificationID: "000001", Run: 1, Step: 4, Attempt: 2, State: notify.StateSent, At: s.told[1].At, Channel: notify.ChannelSMS,
			Lane: notify.LaneBulk, Gateway: "texts", ProviderID: "SM1", Reason: notify.ReasonUnconfirmed,
		}
		want.Seal()
		require.True(t, want.Final)
		require.Equal(t, want, s.told[1])
	})
}

// More than one look takes is told of in several, and nothing of it is left out or told twice.
func TestALookIsBounded(t *testing.T) {
	for state, most := range map[notify.State]int{notify.StateQueued: mostPages * pageSize, notify.StateSent: mostPages * pageSize} {
		synctest.Test(t, func(t *testing.T) {
			s := waits(most+700, state, time.Now().Add(-100*time.Hour))
			cfg := ReconcilerConfig{
				Store: s, Tell: s.tell, Caught: func(context.Context) error { return nil }, Log: zap.NewNop(),
			}
			r := NewReconciler(cfg)
			require.NoError(t, r.turn(t.Context(), time.Now()))
			require.Len(t, s.told, most)
			require.NoError(t, r.turn(t.Context(), time.Now()))
			require.NoError(t, r.turn(t.Context(), time.Now()))
			require.Len(t, s.told, most+700)
		})
	}
}

func TestOnlyWhoRecordsAndHasCaughtUpReconciles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waits(1, notify.StateQueued, time.Now().Add(-time.Hour))
		s.lives = append(s.lives, waits(1, notify.StateSent, time.Now().Add(-100*time.Hour)).lives...)
		reconcile(t, s, 3, func(c *ReconcilerConfig) { c.Recording = func() bool { return false } })
		reconcile(t, s, 3, func(c *ReconcilerConfig) {
			c.Caught = func(context.Context) error { return notify.ErrStatusUnavailable }
		})
		require.Empty(t, s.told)
		recording := true
		r := reconcile(t, s, 3, func(c *ReconcilerConfig) {
			c.Recording = func() (was bool) { was, recording = recording, false; return was }
		})
		require.Len(t, s.told, 2)
		require.Zero(t, testutil.ToFloat64(r.stuck), "another process says it now")
	})
}

func TestWhatCouldNotBeToldIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waits(2, notify.StateQueued, time.Now().Add(-time.Hour))
		s.lives = append(s.lives, notify.Life{ID: "sent", State: notify.StateSent, UpdatedAt: time.Now().Add(-100 * time.Hour)})
		s.deaf = 1
		r := reconcile(t, s, 0, nil)
		require.ErrorIs(t, r.turn(t.Context(), time.Now()), errAway)
		require.Len(t, s.told, 1, "one trouble does not keep the other half from its work")
		require.NoError(t, r.turn(t.Context(), time.Now()))
		require.Len(t, s.told, 3)
	})
}
