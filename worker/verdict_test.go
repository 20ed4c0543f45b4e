package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestVerdict_DecidesOutcome: the outcome of one answer of the only gateway.
func TestVerdict_DecidesOutcome(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers error
		state   notify.State // empty: it waits in place
		reason  string       // of the event
		dead    string       // reason of the dead letter; empty = none
		verdict notify.Verdict
		attempt int           // counted so far, an end by the gateway included
		put     time.Duration // how long it is put off; -1 = by the backoff
	}{
		{"accepted", nil, notify.StateSent, "", "", notify.Accepted, 1, 0},
		{"gone", gone, notify.StateRejected, "recipient_gone", "", notify.Permanent, 1, 0},
		{"permanent", permanent, notify.StateRejected, "policy", "policy", notify.Permanent, 1, 0},
		{"permanent without a reason", &notify.Failure{Verdict: notify.Permanent}, notify.StateRejected, "permanent", "permanent", notify.Permanent, 1, 0},
		{"transient", transient, notify.StateRetrying, "try again later", "", notify.Transient, 1, -1},
		{"ambiguous", ambiguous, notify.StateRetrying, ambiguous.Reason, "", notify.Ambiguous, 1, -1},
		{"an error without a verdict", errors.New("boom"), notify.StateRetrying, "the gateway failed", "", notify.Transient, 1, -1},
		{"a wrapped verdict", fmt.Errorf("send: %w", permanent), notify.StateRejected, "policy", "policy", notify.Permanent, 1, 0},
		{"an unknown verdict", &notify.Failure{Verdict: "odd"}, notify.StateRetrying, "", "", notify.Transient, 1, -1},
		{"accepted as a failure", &notify.Failure{Verdict: notify.Accepted}, notify.StateRetrying, "", "", notify.Transient, 1, -1},
		{"throttled", throttled, notify.StateRetrying, "", "", notify.Throttled, 0, 20 * time.Second},
		{"throttled without a time", &notify.Failure{Verdict: notify.Throttled}, notify.StateRetrying, "", "", notify.Throttled, 0, 5 * time.Second},
		{"throttled for two days", &notify.Failure{Verdict: notify.Throttled, After: 48 * time.Hour}, notify.StateRetrying, "", "", notify.Throttled, 0, 24 * time.Hour},
		{"unavailable", unavailable, "", "", "", notify.Unavailable, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorker(scripted(c.answers), func(c *Config) { c.ExpiresAfter = 72 * time.Hour })
				res := w.Handle(t.Context(), newAttempt(record(mail)))
				if c.state == "" {
					require.False(t, res.Again.IsZero())
					require.Nil(t, res.Outcome)
					return
				}
				require.True(t, res.Again.IsZero())
				e := eventOf(t, res)
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.reason, e.Reason)
				require.Equal(t, c.dead, deadReason(res))
				require.Equal(t, string(c.verdict), verdictsOf(e))
				require.Equal(t, c.attempt, e.Attempt)
				require.Equal(t, "mail", e.Gateway)
				requirePutOff(t, res, e, c.put)
				if !strings.Contains(c.name, " ") {
					golden(t, c.name+".json", e)
				}
			})
		})
	}
}

func requirePutOff(t *testing.T, res kafka.Result, e notify.Event, wait time.Duration) {
	if wait == 0 {
		require.Nil(t, e.NextAt)
		return
	}
	if wait < 0 {
		require.Positive(t, time.Until(*e.NextAt))
		require.LessOrEqual(t, time.Until(*e.NextAt), 30*time.Second)
	} else {
		require.Equal(t, wait, time.Until(*e.NextAt))
	}
	require.Len(t, res.Follow, 1)
	m := res.Follow[0]
	require.Equal(t, e.NextAt.Format(time.RFC3339Nano), headerOf(m, notify.HeaderNotBefore))
	require.Equal(t, "1", headerOf(m, notify.HeaderStep))
	require.Equal(t, "0", headerOf(m, notify.HeaderRun))
	require.Equal(t, fmt.Sprint(e.Attempt), headerOf(m, notify.HeaderAttempt))
	require.Equal(t, someID, headerOf(m, notify.HeaderID))
	require.Equal(t, int32(3), m.Partition)
	require.JSONEq(t, mail, string(m.Value))
}

// TestVerdict_SequencesAcrossLadder: the outcome of a series of answers, with the ladder in between.
func TestVerdict_SequencesAcrossLadder(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		state   notify.State
		dead    string
		tries   string
		steps   int // the last one's number
	}{
		{"transient once", []error{transient, nil}, notify.StateSent, "", "transient accepted", 1},
		{"transient for ever", []error{transient}, notify.StateDead, "attempts_used_up", strings.TrimSpace(strings.Repeat("transient ", 8)), 7},
		{"ambiguous for ever", []error{ambiguous}, notify.StateDead, "attempts_used_up", strings.TrimSpace(strings.Repeat("ambiguous ", 8)), 7},
		{"transient, then gone", []error{transient, gone}, notify.StateRejected, "", "transient permanent", 1},
		{"throttled uses no attempt", append(slicesOf(throttled, 20), transient, nil), notify.StateSent, "", strings.Repeat("throttled ", 20) + "transient accepted", 21},
		{"unavailable twice", []error{unavailable, unavailable, nil}, notify.StateSent, "", "unavailable unavailable accepted", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, res := runToEnd(t, newWorker(scripted(c.answers...), nil), record(mail))
				e := all[len(all)-1]
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.dead, deadReason(res))
				require.Equal(t, c.tries, verdictsOf(all...))
				require.Equal(t, c.steps, e.Step)
				counted := strings.Count(c.tries, "transient") + strings.Count(c.tries, "ambiguous") + strings.Count(c.tries, "accepted") + strings.Count(c.tries, "permanent")
				require.Equal(t, counted, e.Attempt)
			})
		})
	}
}

func slicesOf(said error, n int) []error {
	var all []error
	for range n {
		all = append(all, said)
	}
	return all
}

// For any answers a job ends once, in the state of its last answer, within its attempts, never tried before it is due, and
// never called after its expiry.
func TestVerdict_AnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.SampledFrom([]error{transient, ambiguous, permanent, gone, throttled, unavailable, nil}), 1, 60).Draw(rt, "says")
		life := time.Duration(rapid.Int64Range(1, int64(40*time.Minute)).Draw(rt, "life"))
		var (
			all      []notify.Event
			res      kafka.Result
			calls    int
			late     bool
			lifetime time.Duration
		)
		synctest.Test(t, func(t *testing.T) { // asserts are rapid's own, outside, so that it can shrink
			began, s := time.Now(), scripted(script...)
			all, res = runToEnd(t, newWorker(sendFunc(func(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
				calls++
				late = late || time.Since(began) >= life
				time.Sleep(time.Millisecond)
				return s.Send(ctx, m)
			}), func(c *Config) { c.ExpiresAfter = life }), record(mail))
			lifetime = time.Since(began)
		})

		require.False(rt, late, "called after the expiry")
		for i, e := range all {
			require.Equal(rt, i, e.Step)
			require.LessOrEqual(rt, e.Attempt, 8)
			require.LessOrEqual(rt, e.Attempt, i+1, "at most one for each step")
		}
		e := all[len(all)-1]
		if e.State == notify.StateExpired {
			require.GreaterOrEqual(rt, lifetime, life)
			require.Empty(rt, res.Follow)
			return
		}
		require.True(rt, e.Final)
		switch f := notify.Judge(script[min(calls, len(script))-1]); {
		case f == nil:
			require.Equal(rt, notify.StateSent, e.State)
		case f.Verdict == notify.Permanent:
			require.Equal(rt, notify.StateRejected, e.State)
			require.Equal(rt, !f.Gone, len(res.Follow) == 1)
		default:
			require.Equal(rt, notify.StateDead, e.State)
			require.Equal(rt, 8, e.Attempt)
			require.Len(rt, res.Follow, 1)
		}
	})
}

func TestTries_OldestUncountedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a strict job gathers its tries in one place
		script := append([]error{transient}, slicesOf(throttled, 100)...)
		w := newWorker(scripted(append(script, transient, nil)...), func(c *Config) { c.Ordering, c.StrictWait = OrderStrict, 2*time.Hour })
		e, _ := handleToEnd(t, w, newAttempt(record(mail)))
		require.Equal(t, "transient "+strings.Repeat("throttled ", 17)+"transient accepted", verdictsOf(e))
	})
}

func TestTries_BoundedWhenAllCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(scripted(transient), func(c *Config) {
			c.Ordering, c.StrictWait = OrderStrict, 2*time.Hour
			c.Retries = RetryPolicy{InitialBackoff: time.Second, MaxBackoff: time.Minute}
			c.Route.Outlets[0].Breaker = patientBreaker()
		})
		e, _ := handleToEnd(t, w, newAttempt(record(mail)))
		require.Equal(t, notify.StateDead, e.State)
		require.Greater(t, e.Attempt, 1000)
		require.Len(t, e.Tries, 20)
	})
}

func TestVerdict_CancelledCallUsesNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorker(sendFunc(func(ctx context.Context, _ *notify.Message) (notify.Receipt, error) {
			<-ctx.Done()
			return notify.Receipt{}, ctx.Err()
		}), nil)
		cancel()
		a := newAttempt(record(mail))
		for range 10 {
			res := w.Handle(ctx, a)
			require.Equal(t, time.Now(), res.Again)
			a.Carry = res.Carry
		}
		require.Zero(t, a.Carry.(*job).attemptsHere)
	})
}
