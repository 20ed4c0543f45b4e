package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// TestInbound_IsKept by gateway, in all processes, and through a rebuild; what is not lasting goes with the retention.
func TestInbound_IsKept(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s, other, ctx := recording(t, c), open(t, c), context.Background()
		has := func(gateway, message string) bool {
			t.Helper()
			known, err := other.HasInbound(ctx, gateway, message)
			require.NoError(t, err)
			return known
		}
		require.False(t, has("texts", "SM1"))
		for range 2 {
			require.NoError(t, s.KeepInbound(ctx, "texts", "SM1", true, noon))
			require.NoError(t, s.KeepInbound(ctx, "texts", "SM2", false, noon))
		}
		for i := range chunk + 1 {
			require.NoError(t, s.KeepInbound(ctx, "more", fmt.Sprint(i), false, noon))
		}
		require.NoError(t, s.KeepInbound(ctx, "texts", "SM3", false, noon.Add(time.Hour)))
		require.Equal(t, []bool{true, true, true, false}, []bool{has("texts", "SM1"), has("texts", "SM2"), has("texts", "SM3"), has("backup", "SM1")})
		require.NoError(t, s.Reset(ctx))
		require.True(t, has("texts", "SM1"))
		_, err := s.Retain(ctx, noon.Add(time.Minute))
		require.NoError(t, err)
		require.Equal(t, []bool{true, false, true}, []bool{has("texts", "SM1"), has("texts", "SM2"), has("texts", "SM3")})
		var left int
		require.NoError(t, s.read.QueryRow("SELECT count(*) FROM inbound").Scan(&left))
		require.Equal(t, 2, left)

		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.HasInbound(ended, "texts", "SM1")
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
		require.ErrorIs(t, s.KeepInbound(ended, "texts", "SM1", true, noon), notify.ErrStatusUnavailable)
	})
}

// inbound is the note of a text that came, as an event of a notification that stands in that state.
func inbound(id, message string, state notify.State, at time.Time) status.Change {
	e := event(id, 0, state, at)
	e.Note, e.ProviderID = notify.NoteInbound, message
	e.Inbound = &notify.EventInbound{From: "+14155550123", To: "+15005550006", Keyword: notify.KeywordStop, Text: "stop, says Ada"}
	e.Seal()
	return status.Change{Event: e}
}

// TestInbound_Notes are in the timeline, each once, in whatever order they are read, and leave the state as it is.
func TestInbound_Notes(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		id := notify.NewID()
		all := []status.Change{
			accepted(id, noon), became(id, 0, notify.StateSent, noon.Add(time.Second)),
			inbound(id, "SM1", notify.StateSent, noon.Add(time.Minute)), inbound(id, "SM2", notify.StateSent, noon.Add(2*time.Minute)),
		}
		for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1, 2}} {
			s := recording(t, c)
			require.NoError(t, s.Reset(context.Background()))
			for _, i := range order {
				take(t, s, all[i])
			}
			l, err := s.Get(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, []any{notify.StateSent, "", noon.Add(time.Second)}, []any{l.State, l.ProviderID, l.UpdatedAt})
			require.Len(t, l.Timeline, 4)
			require.Equal(t, all[2].Event.Inbound, l.Timeline[2].Inbound)
		}
	})
}

// TestInbound_Expunged: what a recipient wrote goes with the rest, also from events that are read later.
func TestInbound_Expunged(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s, ctx, id := recording(t, c), context.Background(), notify.NewID()
		first, second := inbound(id, "SM1", notify.StateSent, noon.Add(time.Minute)), inbound(id, "SM2", notify.StateSent, noon.Add(2*time.Minute))
		take(t, s, accepted(id, noon), became(id, 0, notify.StateSent, noon), first)
		_, err := s.Expunge(ctx, notify.Expunge{IDs: []string{id}})
		require.NoError(t, err)
		take(t, s, second, first)
		requireNowhere(t, s, "events", id, "expunged", "+1415", "Ada")
		l, err := s.Get(ctx, id)
		require.NoError(t, err)
		require.Equal(t, &notify.EventInbound{To: "+15005550006", Keyword: notify.KeywordStop}, l.Timeline[2].Inbound)
		require.Equal(t, "stop, says Ada", second.Event.Inbound.Text, "what the caller handed over is untouched")
	})
}
