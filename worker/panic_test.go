package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// brokenRecords panics when it is asked for the records of a sent job.
type brokenRecords struct{ Records }

func (brokenRecords) Sent(*kafka.Record, notify.Event) kafka.Result { panic("after the call") }

func TestPanic_AfterCallIsAmbiguous(t *testing.T) {
	for value, want := range map[string]notify.State{mail: notify.StateRetrying, held: notify.StateHeld} {
		s := scripted(nil)
		w := newWorker(s, func(c *Config) { c.Records = brokenRecords{c.Records} })
		a := newAttempt(record(value))
		a.Played = &kafka.Played{Record: func(string, []kafka.Header) error { return nil }}
		res := w.Handle(t.Context(), a)
		e := eventOf(t, res)
		require.Equal(t, want, e.State)
		require.True(t, res.Panicked)
		require.NotContains(t, e.Reason, "after the call")
	}
}

func TestPanic_BeforeCallBecomesDeadLetter(t *testing.T) {
	fails := true
	w := newWorker(scripted(nil), func(c *Config) { c.Control = panicking{&fails} })
	a := newAttempt(record(mail))
	require.Panics(t, func() { w.Handle(t.Context(), a) })
	res := w.Panicked(a)
	e := eventOf(t, res)
	require.Equal(t, notify.StateDead, e.State)
	require.Contains(t, e.Reason, notify.ReasonPanicked)
	require.Equal(t, someID, e.NotificationID)
	require.Len(t, res.Follow, 1)
}
