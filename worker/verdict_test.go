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

var (
	transient   = &notify.Failure{Verdict: notify.Transient, Code: "451 4.3.0", Reason: "try again later"}
	ambiguous   = &notify.Failure{Verdict: notify.Ambiguous, Reason: "no answer after the message was written"}
	permanent   = &notify.Failure{Verdict: notify.Permanent, Code: "554 5.7.1", Reason: "policy"}
	gone        = &notify.Failure{Verdict: notify.Permanent, Code: "550 5.1.1", Reason: notify.ReasonRecipientGone, Gone: true}
	throttled   = &notify.Failure{Verdict: notify.Throttled, Code: "429", After: 20 * time.Second}
	unavailable = &notify.Failure{Verdict: notify.Unavailable, Code: "535", Reason: "authentication refused", Remedy: "correct the password"}
)

func TestEveryVerdict(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name     string
		says     []error
		state    notify.State
		reason   string // of the event
		dead     string // reason of the dead letter; empty = none
		tries    string
		attempt  int
		min, max time.Duration // how long it took
	}{
		{"accepted", []error{nil}, notify.StateSent, "", "", "accepted", 1, 0, 0},
		{"gone", []error{gone}, notify.StateRejected, "recipient_gone", "", "permanent", 1, 0, 0},
		{"permanent", []error{permanent}, notify.StateRejected, "policy", "policy", "permanent", 1, 0, 0},
		{"permanent without a reason", []error{&notify.Failure{Verdict: notify.Permanent}}, notify.StateRejected, "permanent", "permanent", "permanent", 1, 0, 0},
		{"transient once", []error{transient, nil}, notify.StateSent, "", "", "transient accepted", 2, 1, second},
		{"transient for ever", []error{transient}, notify.StateDead, "attempts_used_up: try again later", "attempts_used_up", "transient transient transient transient", 4, 1, 7 * second},
		{"ambiguous for ever", []error{ambiguous}, notify.StateDead, "attempts_used_up: no answer after the message was written", "attempts_used_up", "ambiguous ambiguous ambiguous ambiguous", 4, 1, 7 * second},
		{"transient, then gone", []error{transient, gone}, notify.StateRejected, "recipient_gone", "", "transient permanent", 2, 1, second},
		{"an error without a verdict", []error{errors.New("boom"), nil}, notify.StateSent, "", "", "transient accepted", 2, 1, second},
		{"a wrapped verdict", []error{fmt.Errorf("send: %w", permanent)}, notify.StateRejected, "policy", "policy", "permanent", 1, 0, 0},
		{"an unknown verdict", []error{&notify.Failure{Verdict: "odd"}, nil}, notify.StateSent, "", "", "transient accepted", 2, 1, second},
		{"accepted as a failure", []error{&notify.Failure{Verdict: notify.Accepted}, nil}, notify.StateSent, "", "", "transient accepted", 2, 1, second},
		{"throttled", []error{throttled, nil}, notify.StateSent, "", "", "throttled accepted", 1, 20 * second, 20 * second},
		{"throttled without a time", []error{&notify.Failure{Verdict: notify.Throttled}, nil}, notify.StateSent, "", "", "throttled accepted", 1, 5 * second, 5 * second},
		{"throttled for a day", []error{&notify.Failure{Verdict: notify.Throttled, After: 24 * time.Hour}, nil}, notify.StateSent, "", "", "throttled accepted", 1, 5 * time.Minute, 5 * time.Minute},
		{"throttled uses no attempt", []error{throttled, throttled, throttled, throttled, throttled, transient, nil}, notify.StateSent, "", "", "throttled throttled throttled throttled throttled transient accepted", 2, 100 * second, 101 * second},
		{"unavailable once", []error{unavailable, nil}, notify.StateSent, "", "", "unavailable accepted", 1, 30 * second, 30 * second},
		{"unavailable thrice", []error{unavailable, unavailable, unavailable, nil}, notify.StateSent, "", "", "unavailable unavailable unavailable accepted", 1, 90 * second, 92 * second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				e, res := finish(t, worker(&answers{script: c.says}, nil), record(mail))
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.reason, e.Reason)
				require.Equal(t, c.dead, deadReason(res))
				require.Equal(t, c.tries, verdicts(e))
				require.Equal(t, c.attempt, e.Attempt)
				require.Equal(t, "mail", e.Gateway)
				require.GreaterOrEqual(t, time.Since(began), c.min)
				require.LessOrEqual(t, time.Since(began), c.max)
				if !strings.Contains(c.name, " ") {
					golden(t, c.name+".json", e)
				}
			})
		})
	}
}

func TestDeadLetterOfTheRejectedOnRequest(t *testing.T) {
	w := worker(&answers{script: []error{gone}}, func(c *Config) { c.DeadLetterRejected = true })
	res := w.Handle(t.Context(), &kafka.Attempt{Record: record(mail)})
	require.Equal(t, notify.StateRejected, eventOf(t, res).State)
	require.Equal(t, notify.ReasonRecipientGone, deadReason(res))
}

func TestTheGatewayGetsWhatItNeeds(t *testing.T) {
	s := &answers{script: []error{nil}}
	r := record(strings.Replace(mail, `"id":"`+someID+`",`, "", 1), "ls-run", "2", "ls-step", "1", "ls-attempt", "3")
	w := worker(s, nil)
	e := eventOf(t, w.Handle(t.Context(), &kafka.Attempt{Record: r}))
	m := s.got[0]
	require.Equal(t, w.Identify(r), m.ID)
	require.Equal(t, recipient, m.Address)
	require.Equal(t, "Hi", m.Email.Subject)
	require.WithinDuration(t, r.Timestamp.Add(24*time.Hour), *m.ExpiresAt, 0)
	require.Equal(t, []int{2, 1, 4}, []int{e.Run, e.Step, e.Attempt})
	require.Equal(t, "p-1", e.ProviderID)
}

func TestExpiry(t *testing.T) {
	at := `"expires_at":"2000-01-01T00:00:10Z",`
	for _, c := range []struct {
		name  string
		value string
		says  []error
		wait  time.Duration // before the first attempt
		tries string
		took  time.Duration
	}{
		{"in time", at, []error{nil}, 10*time.Second - 1, "accepted", 10*time.Second - 1},
		{"to the moment", at, []error{nil}, 10 * time.Second, "", 10 * time.Second},
		{"by default a day after the record", "", []error{nil}, 24 * time.Hour, "", 24 * time.Hour},
		{"while throttled", at, []error{throttled}, 0, "throttled", 10 * time.Second},
		{"while retried", at, []error{transient, throttled}, 0, "transient throttled", 10 * time.Second},
		{"while the gateway refuses us", at, []error{unavailable}, 0, "unavailable", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, r := time.Now(), record(strings.Replace(mail, "{", "{"+c.value, 1))
				time.Sleep(c.wait)
				e, res := finish(t, worker(&answers{script: c.says}, nil), r)
				require.Equal(t, c.tries, verdicts(e))
				require.Equal(t, c.took, time.Since(began))
				require.Empty(t, res.Follow)
				if !strings.HasSuffix(c.tries, "accepted") {
					require.Equal(t, notify.StateExpired, e.State)
				}
			})
		})
	}
}

func TestARecordWithoutATimeLivesFromNowOn(t *testing.T) {
	r := record(mail)
	r.Timestamp = time.Time{}
	res := worker(&answers{script: []error{nil}}, nil).Handle(t.Context(), &kafka.Attempt{Record: r})
	require.Equal(t, notify.StateSent, eventOf(t, res).State)
}

func TestWhatWeEndOurselvesUsesNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := worker(sendFunc(func(ctx context.Context, _ *notify.Message) (notify.Receipt, error) {
			<-ctx.Done()
			return notify.Receipt{}, ctx.Err()
		}), nil)
		cancel()
		a := &kafka.Attempt{Record: record(mail)}
		for range 2 * (Retries + 1) {
			res := w.Handle(ctx, a)
			require.Equal(t, time.Now(), res.Again)
			a.Carry = res.Carry
		}
	})
}

// Whatever a gateway says, a job ends once, in the state that its last answer asks for, with its tries listed, its budget
// kept, and no call after its expiry.
func TestAnySequenceOfVerdicts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		says := rapid.SliceOfN(rapid.SampledFrom([]error{transient, ambiguous, permanent, gone, throttled, unavailable, nil}), 1, 60).Draw(rt, "says")
		life := time.Duration(rapid.Int64Range(1, int64(40*time.Minute)).Draw(rt, "life"))
		var (
			e        notify.Event
			res      kafka.Result
			calls    int
			late     bool
			lifetime time.Duration
		)
		synctest.Test(t, func(t *testing.T) { // asserts are rapid's own, outside, so that it can shrink
			began, s := time.Now(), &answers{script: says}
			e, res = finish(t, worker(sendFunc(func(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
				calls++
				late = late || time.Since(began) >= life
				time.Sleep(time.Millisecond)
				return s.Send(ctx, m)
			}), func(c *Config) { c.ExpiresAfter = life }), record(mail))
			lifetime = time.Since(began)
		})

		require.False(rt, late, "called after the expiry")
		require.Len(rt, e.Tries, min(calls, 20))
		budget := 0
		for i := range calls {
			if f := notify.Judge(says[min(i, len(says)-1)]); f != nil && counted(f.Verdict) {
				budget++
			}
		}
		require.LessOrEqual(rt, budget, Retries+1)
		if e.State == notify.StateExpired {
			require.GreaterOrEqual(rt, lifetime, life)
			require.Empty(rt, res.Follow)
			return
		}
		switch f := notify.Judge(says[min(calls, len(says))-1]); {
		case f == nil:
			require.Equal(rt, notify.StateSent, e.State)
		case f.Verdict == notify.Permanent:
			require.Equal(rt, notify.StateRejected, e.State)
			require.Equal(rt, !f.Gone, len(res.Follow) == 1)
		default:
			require.Equal(rt, notify.StateDead, e.State)
			require.Equal(rt, Retries+1, budget)
			require.Len(rt, res.Follow, 1)
		}
	})
}

func TestOnlyTheOldestUncountedTriesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := []error{transient}
		for range 100 {
			says = append(says, throttled)
		}
		e, _ := finish(t, worker(&answers{script: append(says, transient, nil)}, nil), record(mail))
		require.Equal(t, "transient "+strings.Repeat("throttled ", 17)+"transient accepted", verdicts(e))
	})
}

func TestBackoffIsDrawnFromWhatNamesTheRetry(t *testing.T) {
	require.Equal(t, backoff(someID, 1, 2, 3), backoff(someID, 1, 2, 3))
	distinct := map[time.Duration]bool{}
	for n := 1; n <= 40; n++ {
		d := backoff(someID, 0, 0, n)
		require.Positive(t, d)
		require.LessOrEqual(t, d, min(time.Second<<min(n-1, 10), 30*time.Second))
		distinct[d] = true
	}
	for _, d := range []time.Duration{backoff("x", 0, 0, 1), backoff("x", 1, 0, 1), backoff("x", 0, 1, 1), backoff("x", 0, 0, 2)} {
		distinct[d] = true
	}
	require.Len(t, distinct, 44, "each retry has a wait of its own")

	var sum time.Duration
	for i := range 1000 {
		sum += backoff(someID, i, 0, 3)
	}
	require.InDelta(t, 2, (sum / 1000).Seconds(), 0.2, "full jitter: half of 4 s on average")
}
