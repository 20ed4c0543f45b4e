package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fold is what a store makes of events, in the order in which it reads them.
func fold(events []notify.Event) (state notify.Event) {
	best := int64(-2)
	for _, e := range events {
		place := Place(&e)
		wins := place > best || place == best && (e.At.Before(state.At) || e.At.Equal(state.At) && e.EventID < state.EventID)
		if wins {
			best, state = place, e
		}
	}
	return state
}

// Whatever the order in which the events of a run are read: a receipt goes before that it was sent, before and after its window
// has closed, and the close makes sent final.
func TestReceiptsGoBeforeSent(t *testing.T) {
	event := func(run int, s notify.State, awaited bool) notify.Event {
		e := notify.Event{NotificationID: "n", Run: run, State: s, Awaited: awaited}
		e.Seal()
		return e
	}
	rapid.Check(t, func(t *rapid.T) {
		run := rapid.IntRange(0, 3).Draw(t, "run")
		receipt := rapid.SampledFrom([]notify.State{notify.StateDelivered, notify.StateBounced, ""}).Draw(t, "receipt")
		closed := rapid.Bool().Draw(t, "closed")
		events := []notify.Event{event(run, notify.StateQueued, false), event(run, notify.StateHeld, false), event(run, notify.StateSent, true)}
		if receipt != "" {
			events = append(events, event(run, receipt, false))
		}
		if closed {
			events = append(events, event(run, notify.StateSent, false))
		}
		if run > 0 {
			events = append(events, event(run-1, notify.StateDelivered, false)) // of an earlier run: it says nothing of this one
		}
		last := fold(rapid.Permutation(events).Draw(t, "read"))
		require.Equal(t, run, last.Run)
		if receipt == "" {
			require.Equal(t, notify.StateSent, last.State)
			require.Equal(t, closed, last.Final)
		} else {
			require.Equal(t, receipt, last.State)
			require.True(t, last.Final)
		}
	})
}

// A bounce that comes after the delivery counts, whichever is read first, and whatever their clocks say.
func TestPlace_BouncedGoesBeforeDelivered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		event := func(s notify.State, awaited bool) notify.Event {
			e := notify.Event{NotificationID: "n", State: s, Awaited: awaited, At: at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at")) * time.Hour)}
			e.Seal()
			return e
		}
		events := []notify.Event{event(notify.StateSent, true), event(notify.StateDelivered, false), event(notify.StateBounced, false), event(notify.StateSent, false)}
		require.Equal(t, notify.StateBounced, fold(rapid.Permutation(events).Draw(t, "read")).State)
	})
}

func TestANoteChangesNoState(t *testing.T) {
	stuck := notify.Event{NotificationID: "n", Run: 9, State: notify.StateQueued, Note: notify.NoteStuck}
	stuck.Seal()
	require.False(t, stuck.Final)
	require.Equal(t, int64(-1), Place(&stuck))
}
