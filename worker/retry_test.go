package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestRetryPolicy_BackoffDependsOnStepOnly(t *testing.T) {
	p := DefaultRetryPolicy(notify.LaneNormal)
	after := func(id string, run, step, attempts int) time.Duration {
		return p.backoff(&job{id: id, run: run, step: step}, attempts)
	}
	require.Equal(t, after(someID, 1, 2, 3), after(someID, 1, 2, 3))
	distinct := map[time.Duration]bool{}
	for n := 1; n <= 40; n++ {
		distinct[after(someID, 0, 0, n)] = true
	}
	for _, d := range []time.Duration{after("x", 0, 0, 1), after("x", 1, 0, 1), after("x", 0, 1, 1), after("x", 0, 0, 2)} {
		distinct[d] = true
	}
	require.Len(t, distinct, 44, "each retry has a wait of its own")

	var sum time.Duration
	for i := range 1000 {
		sum += after(someID, i, 0, 3)
	}
	require.InDelta(t, 60, (sum / 1000).Seconds(), 6, "full jitter: half of 2 min on average")
}

// The ceiling doubles up to the maximum, for any configuration.
func TestRetryPolicy_BackoffHasBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Int64Range(1, 1000).Draw(t, "bits") // in front of zeros: where a shift runs over, few bits are left
		p := RetryPolicy{
			InitialBackoff: time.Duration(small<<rapid.IntRange(0, 34).Draw(t, "zeros") + rapid.Int64Range(0, 9).Draw(t, "more")),
			MaxBackoff:     time.Duration(rapid.Int64Range(1, int64(1000*time.Hour)).Draw(t, "longest")),
		}
		attempts := rapid.IntRange(1, 100).Draw(t, "attempts")
		ceiling := min(p.InitialBackoff, p.MaxBackoff)
		for range attempts - 1 {
			ceiling = min(2*ceiling, p.MaxBackoff)
		}
		var most time.Duration
		for step := range 50 {
			d := p.backoff(&job{id: someID, step: step}, attempts)
			require.Positive(t, d)
			require.LessOrEqual(t, d, ceiling)
			most = max(most, d)
		}
		require.Greater(t, most, ceiling/3, "50 draws, and none of them in the upper two thirds")
	})
}

// TestRetryPolicy_AttemptsOfEachLane: how often a job is tried, and for how long, before it is given up.
func TestRetryPolicy_AttemptsOfEachLane(t *testing.T) {
	for _, c := range []struct {
		lane     notify.Lane
		expires  time.Duration
		attempts int // 0: until it expires
		longest  time.Duration
	}{
		{notify.LaneUrgent, time.Hour, 0, time.Hour},
		{notify.LaneNormal, 24 * time.Hour, 8, 64 * time.Minute},
		{notify.LaneBulk, 72 * time.Hour, 8, 13 * time.Hour},
	} {
		t.Run(string(c.lane), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, s := time.Now(), scripted(transient)
				w := newWorker(s, func(cfg *Config) { cfg.Lane, cfg.ExpiresAfter = c.lane, c.expires })
				w.cfg.Route.Outlets[0].Breaker = patientBreaker()
				all, _ := runToEnd(t, w, record(mail))
				e := all[len(all)-1]
				require.LessOrEqual(t, time.Since(began), c.longest)
				require.Equal(t, c.lane, e.Lane)
				if c.attempts == 0 {
					require.Equal(t, notify.StateExpired, e.State)
					require.Greater(t, len(s.received), 3600/30)
					require.Equal(t, c.expires, time.Since(began))
					return
				}
				require.Equal(t, notify.StateDead, e.State)
				require.Equal(t, "attempts_used_up: try again later", e.Reason)
				require.Len(t, s.received, c.attempts)
				require.Equal(t, c.attempts, e.Attempt)
			})
		})
	}
}

func TestRetryPolicy_ExhaustedJobBecomesDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(scripted(transient), func(c *Config) {
			c.Retries = RetryPolicy{MaxAttempts: 2, InitialBackoff: time.Minute, MaxBackoff: time.Minute}
		})
		all, res := runToEnd(t, w, record(mail))
		require.Equal(t, "transient transient", verdictsOf(all...))
		require.Equal(t, notify.ReasonAttemptsUsedUp, deadReason(res))
		require.Equal(t, "451 4.3.0", headerOf(res.Follow[0], notify.HeaderDeadCode))
		require.Equal(t, "mail", headerOf(res.Follow[0], notify.HeaderDeadGateway))
		require.Equal(t, "1", headerOf(res.Follow[0], notify.HeaderStep))
		require.Equal(t, "43", headerOf(res.Follow[0], notify.HeaderOriginOffset))
	})
}

// A worker that was frozen may have lost the job to another owner. It publishes the job to the ladder only once it knows that
// it still owns the partition, and does not call the gateway again meanwhile.
func TestWorker_DelaysOnlyWhileOwner(t *testing.T) {
	lost := &kafka.Played{Owned: func() bool { return false }}
	for name, c := range map[string]struct {
		answers error
		job     string
		state   notify.State
		calls   int
	}{
		"tried":     {transient, mail, notify.StateRetrying, 1},
		"in doubt":  {ambiguous, mail, notify.StateRetrying, 1},
		"scheduled": {nil, strings.Replace(mail, "{", `{"send_at":"2000-01-01T01:00:00Z",`, 1), notify.StateScheduled, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := scripted(c.answers)
				w := newWorker(s, nil)
				a := newAttempt(record(c.job))
				a.Played = lost
				for range 3 {
					res := w.Handle(t.Context(), a)
					require.Equal(t, time.Now(), res.Again)
					a.Carry = res.Carry
				}
				a.Played = nil
				e := eventOf(t, w.Handle(t.Context(), a))
				require.Equal(t, []any{c.state, c.calls}, []any{e.State, e.Attempt})
				require.Len(t, s.received, c.calls)
				require.Equal(t, kafka.Result{}.Again, w.Handle(t.Context(), newAttempt(record(c.job))).Again, "a copy of the step is dropped")
				require.Len(t, s.received, c.calls)
			})
		})
	}
	t.Run("accepted", func(t *testing.T) {
		a := newAttempt(record(mail))
		a.Played = lost
		require.Equal(t, notify.StateSent, eventOf(t, newWorker(scripted(nil), nil).Handle(t.Context(), a)).State, "a final outcome is published in any case")
	})
	t.Run("in doubt and to be held", func(t *testing.T) {
		a := newAttempt(record(strings.Replace(mail, "{", `{"on_ambiguous":"hold",`, 1)))
		a.Played = lost
		require.Equal(t, notify.StateRetrying, eventOf(t, newWorker(scripted(transient), nil).Handle(t.Context(), a)).State, "who owns it now waits for this")
	})
}
