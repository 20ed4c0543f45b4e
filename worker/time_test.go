package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// TestExpiry: no wait of whatever kind is longer than a job's life, and nothing is called after it.
func TestExpiry(t *testing.T) {
	at := `"expires_at":"2000-01-01T00:00:10Z"`
	slow := &notify.Failure{Verdict: notify.Throttled, After: time.Hour}
	for _, c := range []struct {
		name  string
		value string
		says  []error
		wait  time.Duration // before the first attempt
		tries string
		took  time.Duration
	}{
		{"in time", with(at), []error{nil}, 10*time.Second - 1, "accepted", 10*time.Second - 1},
		{"to the moment", with(at), []error{nil}, 10 * time.Second, "", 10 * time.Second},
		{"by default a day after the record", mail, []error{nil}, 24 * time.Hour, "", 24 * time.Hour},
		{"a day after it was to be sent", with(`"send_at":"2000-01-01T12:00:00Z"`), []error{slow}, 0, strings.TrimSpace(strings.Repeat("throttled ", 24)), 36 * time.Hour},
		{"while throttled", with(at), []error{slow}, 0, "throttled", 10 * time.Second},
		{"while retried", with(at), []error{transient, slow}, 0, "transient throttled", 10 * time.Second},
		{"before it was to be sent", with(at + `,"send_at":"2000-01-01T00:01:00Z"`), []error{nil}, 0, "", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, r := time.Now(), record(c.value)
				time.Sleep(c.wait)
				w := worker(says(c.says...), func(cfg *Config) { cfg.Retries.First, cfg.Retries.Longest = time.Second, time.Second })
				all, res := live(t, w, r)
				e := all[len(all)-1]
				require.Equal(t, c.tries, tries(all...))
				require.Equal(t, c.took, time.Since(began))
				require.Empty(t, res.Follow)
				if !strings.HasSuffix(c.tries, "accepted") {
					require.Equal(t, notify.StateExpired, e.State)
				}
			})
		})
	}
}

// What waits in place is called again at its expiry at the latest.
func TestExpiryBoundsWaitingInPlace(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no gateway serves us":   func(*Config) {},
		"the gateway is paused":  func(c *Config) { c.Control = &told{gateways: map[string]time.Time{"mail": time.Now().Add(time.Hour)}} },
		"the lane is paused":     func(c *Config) { c.Control = &told{paused: time.Now().Add(time.Hour)} },
		"the order is strict":    func(c *Config) { c.Ordering = OrderStrict; c.Route.Outlets[0].Sender = says(throttled) },
		"it waits for its place": func(c *Config) { c.Route.Outlets[0].Limiter = NewLimiter(LimiterConfig{Rate: 1e-9}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := worker(says(unavailable), change)
				if l := w.cfg.Route.Outlets[0].Limiter; l != nil { // the only token there is
					release, err := l.Acquire(t.Context(), notify.LaneNormal, patience)
					require.NoError(t, err)
					release()
				}
				e, _ := finish(t, w, attempt(record(with(`"expires_at":"2000-01-01T00:00:09.25Z"`))))
				require.Equal(t, notify.StateExpired, e.State)
				require.GreaterOrEqual(t, time.Since(began), 9250*time.Millisecond)
				require.LessOrEqual(t, time.Since(began), 9250*time.Millisecond+patience)
			})
		})
	}
}

// A redrive gives a job a new life; and the first hop said when it was accepted.
func TestLifeByHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := with(`"expires_at":"1999-01-01T00:00:00Z"`)
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
			require.Equal(t, c.state, eventOf(t, worker(says(nil), nil).Handle(t.Context(), attempt(c.r))).State)
		}
	})
}

// An acceptance that lies ahead would begin the life of a job anew with each of its steps.
func TestAnAcceptanceThatLiesAheadLengthensNoLife(t *testing.T) {
	for name, change := range map[string]func(*kafka.Record){
		"by a header":          func(r *kafka.Record) { r.Headers = record("", "ls-accepted-at", "2100-01-01T00:00:00Z").Headers },
		"by the record's time": func(r *kafka.Record) { r.Timestamp = time.Now().Add(100 * 365 * 24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, r := time.Now(), record(mail)
				change(r)
				w := worker(says(transient), func(c *Config) {
					c.Route.Outlets[0].Breaker, c.ExpiresAfter = patientBreaker(), 10*time.Hour
					c.Retries = Retries{First: time.Hour, Longest: time.Hour}
				})
				all, _ := live(t, w, r)
				require.Equal(t, notify.StateExpired, all[len(all)-1].State)
				require.Equal(t, 10*time.Hour, time.Since(began))
			})
		})
	}
}

func TestARecordWithoutATimeLivesFromNowOn(t *testing.T) {
	r := record(mail)
	r.Timestamp = time.Time{}
	require.Equal(t, notify.StateSent, eventOf(t, worker(says(nil), nil).Handle(t.Context(), attempt(r))).State)
}

// TestSchedule: a job that is due later is seen on its lane, waits on the ladder and comes back as its next step, never
// early.
func TestSchedule(t *testing.T) {
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
				at, s := time.Now().Add(c.in), says(nil)
				r := record(with(`"send_at":"` + at.Format(time.RFC3339Nano) + `"`))
				w := worker(s, nil)
				if c.tier == "" {
					e, _ := finish(t, w, attempt(r))
					require.Equal(t, notify.StateSent, e.State)
					require.Zero(t, time.Until(at))
					return
				}
				res := w.Handle(t.Context(), attempt(r))
				e := eventOf(t, res)
				require.Equal(t, notify.StateScheduled, e.State)
				require.False(t, e.Final)
				require.Equal(t, 0, e.Step)
				require.True(t, at.Equal(*e.NextAt))
				require.Equal(t, "email_topic.delay."+c.tier, res.Follow[0].Topic)
				back := next(t, r, res)
				require.True(t, at.Equal(dispatcher.NotBefore(back)))
				require.Empty(t, s.got)

				early := eventOf(t, w.Handle(t.Context(), attempt(back)))
				require.Equal(t, notify.StateScheduled, early.State, "whoever brings it back too early")
				require.Equal(t, 1, early.Step)
				back.Headers = append(back.Headers, kafka.Header{Key: notify.HeaderStep, Value: []byte("2")})
				time.Sleep(c.in)
				e = eventOf(t, w.Handle(t.Context(), attempt(back)))
				require.Equal(t, notify.StateSent, e.State)
				require.Equal(t, []int{2, 1}, []int{e.Step, e.Attempt}, "a schedule is no attempt")
			})
		})
	}
}

// The ladder is so long and no longer, give or take a day of clocks: what asks for more is rejected, for it must not be early.
func TestAScheduleBeyondTheLadderIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ahead, want := range map[time.Duration]notify.State{
			31 * 24 * time.Hour: notify.StateScheduled, 31*24*time.Hour + 1: notify.StateRejected, 1 << 62: notify.StateRejected,
		} {
			s := says(nil)
			value := with(`"send_at":"` + time.Now().Add(ahead).Format(time.RFC3339Nano) + `"`)
			res := worker(s, nil).Handle(t.Context(), attempt(record(value)))
			require.Equal(t, want, eventOf(t, res).State)
			require.Equal(t, want == notify.StateRejected, deadReason(res) == notify.ReasonInvalid)
			require.Empty(t, s.got)
		}
	})
}

// Whoever repeats the first step of a schedule, after a crash, comes to the same decision: else two different second steps
// would go about under one name.
func TestAScheduleBeginsOnTheLadderEvenWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := says(nil)
		r := record(with(`"send_at":"` + time.Now().Add(3*time.Second).UTC().Format(time.RFC3339Nano) + `"`))
		for range 2 {
			w := worker(s, nil) // the second one knows nothing of the first
			e := eventOf(t, w.Handle(t.Context(), attempt(r)))
			require.Equal(t, notify.StateScheduled, e.State)
			require.Empty(t, s.got)
			time.Sleep(10 * time.Second)
		}
	})
}
