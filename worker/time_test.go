package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestExpiry_NoCallAfterwards: no wait exceeds the lifetime of a job, and no call is made after it.
func TestExpiry_NoCallAfterwards(t *testing.T) {
	at := `"expires_at":"2000-01-01T00:00:10Z"`
	slow := &notify.Failure{Verdict: notify.Throttled, After: time.Hour}
	for _, c := range []struct {
		name    string
		value   string
		answers []error
		wait    time.Duration // before the first attempt
		tries   string
		took    time.Duration
	}{
		{"in time", mailWith(at), []error{nil}, 10*time.Second - 1, "accepted", 10*time.Second - 1},
		{"to the moment", mailWith(at), []error{nil}, 10 * time.Second, "", 10 * time.Second},
		{"by default a day after the record", mail, []error{nil}, 24 * time.Hour, "", 24 * time.Hour},
		{"a day after it was to be sent", mailWith(`"send_at":"2000-01-01T12:00:00Z"`), []error{slow}, 0, strings.TrimSpace(strings.Repeat("throttled ", 24)), 36 * time.Hour},
		{"while throttled", mailWith(at), []error{slow}, 0, "throttled", 10 * time.Second},
		{"while retried", mailWith(at), []error{transient, slow}, 0, "transient throttled", 10 * time.Second},
		{"before it was to be sent", mailWith(at + `,"send_at":"2000-01-01T00:01:00Z"`), []error{nil}, 0, "", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, r := time.Now(), record(c.value)
				time.Sleep(c.wait)
				w := newWorker(scripted(c.answers...), func(cfg *Config) { cfg.Retries.InitialBackoff, cfg.Retries.MaxBackoff = time.Second, time.Second })
				all, res := runToEnd(t, w, r)
				e := all[len(all)-1]
				require.Equal(t, c.tries, verdictsOf(all...))
				require.Equal(t, c.took, time.Since(began))
				require.Empty(t, res.Follow)
				if !strings.HasSuffix(c.tries, "accepted") {
					require.Equal(t, notify.StateExpired, e.State)
				}
			})
		})
	}
}

// A job that waits in place is called again at its expiry at the latest.
func TestExpiry_BoundsWaitInPlace(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no gateway serves us": func(*Config) {},
		"the gateway is paused": func(c *Config) {
			c.Control = &fakeControl{gateways: map[string]time.Time{"mail": time.Now().Add(time.Hour)}}
		},
		"the lane is paused":   func(c *Config) { c.Control = &fakeControl{paused: time.Now().Add(time.Hour)} },
		"the order is strict":  func(c *Config) { c.Ordering = OrderStrict; c.Route.Outlets[0].Sender = scripted(throttled) },
		"it waits for a token": func(c *Config) { c.Route.Outlets[0].Limiter = limiter.New(limiter.Config{Rate: 1e-9}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := newWorker(scripted(unavailable), change)
				if l := w.cfg.Route.Outlets[0].Limiter; l != nil { // the only token there is
					release, err := l.Acquire(t.Context(), notify.LaneNormal, acquireTimeout)
					require.NoError(t, err)
					release()
				}
				e, _ := handleToEnd(t, w, newAttempt(record(mailWith(`"expires_at":"2000-01-01T00:00:09.25Z"`))))
				require.Equal(t, notify.StateExpired, e.State)
				require.GreaterOrEqual(t, time.Since(began), 9250*time.Millisecond)
				require.LessOrEqual(t, time.Since(began), 9250*time.Millisecond+acquireTimeout)
			})
		})
	}
}

// A replay gives a job a new expiry. The acceptance time comes from the header of the first hop.
func TestExpiry_HeadersDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := mailWith(`"expires_at":"1999-01-01T00:00:00Z"`)
		for _, c := range []struct {
			r     *kafka.Record
			state notify.State
		}{
			{record(old, "ls-expires-at", "2000-01-01T00:00:01Z"), notify.StateSent},
			{record(mail, "ls-expires-at", "1999-12-31T23:59:59Z"), notify.StateExpired},
			{record(old, "ls-expires-at", "soon"), notify.StateExpired},
			{record(mail, "ls-accepted-at", "1999-12-31T00:00:00Z"), notify.StateExpired},
			{record(mail, "ls-accepted-at", "1999-12-31T00:00:01Z"), notify.StateSent},
			{record(mail, "ls-accepted-at", "2001-01-01T00:00:00Z"), notify.StateSent},
		} {
			require.Equal(t, c.state, eventOf(t, newWorker(scripted(nil), nil).Handle(t.Context(), newAttempt(c.r))).State)
		}
	})
}

// With an acceptance time in the future each step would extend the lifetime of the job.
func TestExpiry_FutureAcceptanceExtendsNothing(t *testing.T) {
	for name, change := range map[string]func(*kafka.Record){
		"by a header":          func(r *kafka.Record) { r.Headers = record("", "ls-accepted-at", "2100-01-01T00:00:00Z").Headers },
		"by the record's time": func(r *kafka.Record) { r.Timestamp = time.Now().Add(100 * 365 * 24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, r := time.Now(), record(mail)
				change(r)
				w := newWorker(scripted(transient), func(c *Config) {
					c.Route.Outlets[0].Breaker, c.ExpiresAfter = patientBreaker(), 10*time.Hour
					c.Retries = RetryPolicy{InitialBackoff: time.Hour, MaxBackoff: time.Hour}
				})
				all, _ := runToEnd(t, w, r)
				require.Equal(t, notify.StateExpired, all[len(all)-1].State)
				require.Equal(t, 10*time.Hour, time.Since(began))
			})
		})
	}
}

func TestExpiry_RecordWithoutTimestampCountsFromNow(t *testing.T) {
	r := record(mail)
	r.Timestamp = time.Time{}
	require.Equal(t, notify.StateSent, eventOf(t, newWorker(scripted(nil), nil).Handle(t.Context(), newAttempt(r))).State)
}

// TestSchedule_WaitsOnLadder: a job that is due later is read from its lane, waits on the ladder and comes back as its next
// step, never early.
func TestSchedule_WaitsOnLadder(t *testing.T) {
	for _, c := range []struct {
		in   time.Duration
		tier string // empty: it waits in place
	}{
		{time.Nanosecond, ""},
		{time.Second, ""},
		{time.Second + 1, "5s"},
		{29 * time.Second, "5s"},
		{30 * time.Second, "30s"},
		{3 * time.Minute, "3m"},
		{time.Hour, "20m"},
		{2 * time.Hour, "2h"},
		{48 * time.Hour, "12h"},
		{30 * 24 * time.Hour, "72h"},
	} {
		t.Run(c.in.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at, s := time.Now().Add(c.in), scripted(nil)
				r := record(mailWith(`"send_at":"` + at.Format(time.RFC3339Nano) + `"`))
				w := newWorker(s, nil)
				if c.tier == "" {
					e, _ := handleToEnd(t, w, newAttempt(r))
					require.Equal(t, notify.StateSent, e.State)
					require.Zero(t, time.Until(at))
					return
				}
				res := w.Handle(t.Context(), newAttempt(r))
				e := eventOf(t, res)
				require.Equal(t, notify.StateScheduled, e.State)
				require.False(t, e.Final)
				require.Equal(t, 0, e.Step)
				require.True(t, at.Equal(*e.NextAt))
				require.Equal(t, "email_topic.delay."+c.tier, res.Follow[0].Topic)
				back := nextRecord(t, r, res)
				require.True(t, at.Equal(dispatcher.NotBefore(back)))
				require.Empty(t, s.received)

				early := eventOf(t, w.Handle(t.Context(), newAttempt(back)))
				require.Equal(t, notify.StateScheduled, early.State, "whoever brings it back too early")
				require.Equal(t, 1, early.Step)
				back.Headers = append(back.Headers, kafka.Header{Key: notify.HeaderStep, Value: []byte("2")})
				time.Sleep(c.in)
				e = eventOf(t, w.Handle(t.Context(), newAttempt(back)))
				require.Equal(t, notify.StateSent, e.State)
				require.Equal(t, []int{2, 1}, []int{e.Step, e.Attempt}, "a schedule is no attempt")
			})
		})
	}
}

// The ladder has a longest delay, with a day's tolerance for clock differences. A later job is rejected, as it must not be sent
// early.
func TestSchedule_BeyondLadderIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ahead, want := range map[time.Duration]notify.State{
			31 * 24 * time.Hour: notify.StateScheduled, 31*24*time.Hour + 1: notify.StateRejected, 1 << 62: notify.StateRejected,
		} {
			s := scripted(nil)
			value := mailWith(`"send_at":"` + time.Now().Add(ahead).Format(time.RFC3339Nano) + `"`)
			res := newWorker(s, nil).Handle(t.Context(), newAttempt(record(value)))
			require.Equal(t, want, eventOf(t, res).State)
			require.Equal(t, want == notify.StateRejected, deadReason(res) == notify.ReasonInvalid)
			require.Empty(t, s.received)
		}
	})
}

// A worker that repeats the first step of a schedule after a crash makes the same decision. Otherwise two different second
// steps would exist under one name.
func TestSchedule_RepeatedFirstStepGoesToLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scripted(nil)
		r := record(mailWith(`"send_at":"` + time.Now().Add(3*time.Second).UTC().Format(time.RFC3339Nano) + `"`))
		for range 2 {
			w := newWorker(s, nil) // the second one knows nothing of the first
			e := eventOf(t, w.Handle(t.Context(), newAttempt(r)))
			require.Equal(t, notify.StateScheduled, e.State)
			require.Empty(t, s.received)
			time.Sleep(10 * time.Second)
		}
	})
}
