package worker

import (
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// A job that is too large for the ladder ends at once: event, metrics and duplicate check agree.
func TestOutcome_TooLargeForLadderIsDead(t *testing.T) {
	for name, value := range map[string]string{
		"to be tried again": mail,
		"scheduled":         mailWith(`"send_at":"2000-01-01T01:00:00Z"`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				figures := prometheus.NewRegistry()
				w := newWorker(scripted(transient), func(c *Config) {
					c.Metrics = NewMetrics(figures)
					c.Records = dispatcher.Desk{Topics: desk().Topics, Limit: func() int { return 1 }}
				})
				e, res := handleToEnd(t, w, newAttempt(record(value)))
				require.Equal(t, notify.StateDead, e.State)
				require.Equal(t, notify.ReasonTooLarge, deadReason(res))
				require.Nil(t, e.NextAt)
				for state, n := range map[notify.State]float64{notify.StateDead: 1, notify.StateRetrying: 0, notify.StateScheduled: 0} {
					require.Equal(t, n, testutil.ToFloat64(w.metrics.byState[state]), state) //nolint:testifylint // a counter
				}
				require.Equal(t, 1.0, testutil.ToFloat64(w.metrics.deadLetters)) //nolint:testifylint // a counter
				res.Ended(res.Outcome)

				next := record(value, notify.HeaderID, e.NotificationID, notify.HeaderStep, "1")
				next.Offset++
				require.Nil(t, w.Handle(t.Context(), newAttempt(next)).Outcome, "its run is over, whatever comes of it later")
			})
		})
	}
}

// A job that only the broker finds too large ends the same way, by the outcome that was published in place of the worker's.
func TestOutcome_TooLargeForTopicIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(scripted(transient), nil)
		r := record(mail)
		res := w.Handle(t.Context(), newAttempt(r))
		require.Len(t, res.Follow, 1)
		published := desk().Shrink(r, res).Outcome
		require.Contains(t, string(published.Value), `"state":"dead"`)
		res.Ended(published)
		for state, n := range map[notify.State]float64{notify.StateDead: 1, notify.StateRetrying: 0} {
			require.Equal(t, n, testutil.ToFloat64(w.metrics.byState[state]), state) //nolint:testifylint // a counter
		}
		require.Equal(t, 1.0, testutil.ToFloat64(w.metrics.deadLetters)) //nolint:testifylint // a counter
		later := record(mail, notify.HeaderStep, "1")
		later.Offset++
		require.Nil(t, w.Handle(t.Context(), newAttempt(later)).Outcome, "its run is over, whatever comes of it later")
	})
}
