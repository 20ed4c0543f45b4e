package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// brokenDesk panics when a sent job is to be written down.
type brokenDesk struct{ Desk }

func (brokenDesk) Sent(*kafka.Record, notify.Event) kafka.Result { panic("after the call") }

func TestPanic_AfterTheGatewayWasCalledIsAmbiguous(t *testing.T) {
	for value, want := range map[string]notify.State{mail: notify.StateRetrying, held: notify.StateHeld} {
		s := says(nil)
		w := worker(s, func(c *Config) { c.Desk = brokenDesk{c.Desk} })
		a := attempt(record(value))
		a.Played = &kafka.Played{Record: func(string, []kafka.Header) error { return nil }}
		res := w.Handle(t.Context(), a)
		e := eventOf(t, res)
		require.Equal(t, want, e.State)
		require.True(t, res.Panicked)
		require.NotContains(t, e.Reason, "after the call")
	}
}

func TestPanic_BeforeTheGatewayWasCalledEndsAsADeadLetterInTheEnd(t *testing.T) {
	fails := true
	w := worker(says(nil), func(c *Config) { c.Control = panicking{&fails} })
	a := attempt(record(mail))
	require.Panics(t, func() { w.Handle(t.Context(), a) })
	res := w.Panicked(a)
	e := eventOf(t, res)
	require.Equal(t, notify.StateDead, e.State)
	require.Contains(t, e.Reason, notify.ReasonPanicked)
	require.Equal(t, someID, e.NotificationID)
	require.Len(t, res.Follow, 1)
}
