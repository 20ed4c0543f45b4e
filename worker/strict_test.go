package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func strict(c *Config) { c.Ordering = OrderStrict }

// Where the order is strict a failed job stays in place: no next step, no ladder, and its key stays blocked.
func TestStrictOrder_JobIsRetriedInPlace(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		state   notify.State
		tries   string
		took    time.Duration // at most
	}{
		{"transient", []error{transient, transient, nil}, notify.StateSent, "transient transient accepted", 10 * time.Second},
		{"ambiguous", []error{ambiguous, nil}, notify.StateSent, "ambiguous accepted", 5 * time.Second},
		{"throttled", []error{throttled, nil}, notify.StateSent, "throttled accepted", 20 * time.Second},
		{"rejected", []error{transient, permanent}, notify.StateRejected, "transient permanent", 5 * time.Second},
		{"unavailable", []error{unavailable, nil}, notify.StateSent, "unavailable accepted", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				e, _ := handleToEnd(t, newWorker(scripted(c.answers...), strict), newAttempt(record(mail)))
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.tries, verdictsOf(e))
				require.Equal(t, 0, e.Step)
				require.LessOrEqual(t, time.Since(began), c.took)
				counts := strings.Count(c.tries, "transient") + strings.Count(c.tries, "ambiguous") + 1
				require.Equal(t, counts, e.Attempt)
			})
		})
	}
}

func TestStrictOrder_FailingJobIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, s := time.Now(), scripted(transient)
		w := newWorker(s, func(c *Config) {
			strict(c)
			c.Retries = RetryPolicy{InitialBackoff: time.Second, MaxBackoff: time.Hour}
			c.Route.Outlets[0].Breaker = patientBreaker() // else so many failures in a row are the gateway's
		})
		e, res := handleToEnd(t, w, newAttempt(record(mail)))
		require.Equal(t, notify.StateDead, e.State)
		require.Equal(t, notify.ReasonOrder, deadReason(res))
		require.Equal(t, "order: try again later", e.Reason)
		require.Equal(t, time.Minute, time.Since(began), "strict_wait")
		require.GreaterOrEqual(t, len(s.received), 60/5, "at most 5 s apart")
		require.Equal(t, len(s.received), e.Attempt)
	})
}

func TestStrictOrder_FullWindowEndsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			answers error
			stay    bool
		}{{transient, false}, {ambiguous, false}, {throttled, true}, {unavailable, true}} {
			a := newAttempt(record(mail))
			a.Played = &kafka.Played{Blocks: func() bool { return true }}
			res := newWorker(scripted(c.answers), strict).Handle(t.Context(), a)
			if c.stay { // not about the job: the next one would fare no better
				require.False(t, res.Again.IsZero())
				continue
			}
			require.Equal(t, notify.StateDead, eventOf(t, res).State)
			require.Equal(t, notify.ReasonOrder, deadReason(res))
		}
	})
}

func TestStrictOrder_MaxAttemptsEndJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(scripted(transient), func(c *Config) {
			strict(c)
			c.Retries = RetryPolicy{MaxAttempts: 3, InitialBackoff: time.Second, MaxBackoff: time.Second}
		})
		e, res := handleToEnd(t, w, newAttempt(record(mail)))
		require.Equal(t, notify.ReasonAttemptsUsedUp, deadReason(res))
		require.Equal(t, 3, e.Attempt)
	})
}

// A schedule and a cancellation work in every ordering.
func TestStrictOrder_ScheduledJobGoesToLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res := newWorker(scripted(nil), strict).Handle(t.Context(), newAttempt(record(mailWith(`"send_at":"2000-01-01T01:00:00Z"`))))
		require.Equal(t, notify.StateScheduled, eventOf(t, res).State)
	})
}
