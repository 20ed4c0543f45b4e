package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// notes are what happens to a job, in order: what goes to the ledger, and calls of the gateway.
type notes struct{ lines []string }

func (d *notes) played() *kafka.Played {
	return &kafka.Played{Record: func(kind string, headers []kafka.Header) error {
		d.lines = append(d.lines, kind)
		return nil
	}}
}

func (d *notes) through(s *answers) sendFunc {
	return func(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
		d.lines = append(d.lines, "call")
		return s.Send(ctx, m)
	}
}

var held = with(`"on_ambiguous":"hold"`)

// TestHold: what must not be sent twice says so on the ledger before each call, and is kept for a person when nobody knows.
func TestHold(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  []error
		state notify.State
		dead  string
		notes []string
	}{
		{"accepted", []error{nil}, notify.StateSent, "", []string{"intent", "call"}},
		{"ambiguous", []error{ambiguous}, notify.StateHeld, "ambiguous", []string{"intent", "call"}},
		{"transient", []error{transient}, notify.StateRetrying, "", []string{"intent", "call"}},
		{"throttled", []error{throttled}, notify.StateRetrying, "", []string{"intent", "call"}},
		{"permanent", []error{permanent}, notify.StateRejected, "policy", []string{"intent", "call"}},
		{"unavailable", []error{unavailable, nil}, notify.StateSent, "", []string{"intent", "call", "progress", "intent", "call"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &notes{}
				a := attempt(record(held))
				a.Played = d.played()
				e, res := finish(t, worker(d.through(says(c.says...)), nil), a)
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.dead, deadReason(res))
				require.Equal(t, c.notes, d.lines)
			})
		})
	}
}

// The first gateway has refused it, and while it waits for the second its partition is revoked: the next owner must not
// think that it may have been sent.
func TestNoIntentStandsOfAJobThatGoesWithoutACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, full := &notes{}, NewLimiter(LimiterConfig{Concurrency: 1})
		w := through(func(c *Config) { c.Route.Outlets[1].Limiter = full }, says(unavailable), says(nil))
		release, err := full.Acquire(t.Context(), notify.LaneNormal, patience)
		require.NoError(t, err)
		defer release()
		a := attempt(record(held))
		a.Played = d.played()
		require.False(t, w.Handle(t.Context(), a).Again.IsZero())
		require.Equal(t, []string{"intent", "progress"}, d.lines)
	})
}

func TestHeldIsNotFinalAndKeepsItsJob(t *testing.T) {
	w := worker(says(ambiguous), nil)
	res := w.Handle(t.Context(), attempt(record(held)))
	e := eventOf(t, res)
	require.False(t, e.Final)
	require.Equal(t, 1, e.Attempt)
	require.Equal(t, "ambiguous: "+ambiguous.Reason, e.Reason)
	require.Equal(t, held, string(res.Follow[0].Value))
	golden(t, "held.json", stamped(e))
}

// stamped gives e with a time that is the same whenever the test runs.
func stamped(e notify.Event) notify.Event {
	e.At = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return e
}

func TestWithoutItsIntentNothingIsSent(t *testing.T) {
	for name, fails := range map[string]*kafka.Played{
		"not recorded": {Record: func(string, []kafka.Header) error { return context.DeadlineExceeded }},
		"lease lost":   {Record: func(string, []kafka.Header) error { return kafka.ErrLeaseLost }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, limit := says(nil), NewLimiter(LimiterConfig{Concurrency: 1})
				w := worker(s, func(c *Config) { c.Route.Outlets[0].Limiter = limit })
				a := attempt(record(held))
				a.Played = fails
				res := w.Handle(t.Context(), a)
				require.Equal(t, time.Now(), res.Again)
				require.Empty(t, s.got)
				require.Zero(t, limit.InFlight(), "its place is free")
				a.Played, a.Carry = nil, res.Carry
				require.Equal(t, notify.StateSent, eventOf(t, w.Handle(t.Context(), a)).State)
			})
		})
	}
}

// The lease may run out while the intent is being recorded: then nothing is sent, and the next owner must not think so.
func TestAnIntentThatComesTooLateIsTakenBack(t *testing.T) {
	s, d := says(nil), &notes{}
	a := attempt(record(held))
	a.Played = d.played()
	a.Played.MayStart = func() bool { return len(d.lines) == 0 }
	res := worker(s, nil).Handle(t.Context(), a)
	require.False(t, res.Again.IsZero())
	require.Empty(t, s.got)
	require.Equal(t, []string{"intent", "progress"}, d.lines)
}

// It may have expired by the time its intent is on the ledger: then it is not sent, and nobody asks whether it was.
func TestItMayExpireWhileItsIntentIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := says(nil), &notes{}
		a := attempt(record(with(`"on_ambiguous":"hold","expires_at":"2000-01-01T00:00:01Z"`)))
		a.Played = d.played()
		noted := a.Played.Record
		a.Played.Record = func(kind string, headers []kafka.Header) error {
			time.Sleep(time.Second) // virtual: a slow link
			return noted(kind, headers)
		}
		e, _ := finish(t, worker(s, nil), a)
		require.Equal(t, notify.StateExpired, e.State)
		require.Empty(t, s.got)
		require.Equal(t, []string{"intent", "progress"}, d.lines)
	})
}

func TestNobodyElseNeedsAnIntent(t *testing.T) {
	d := &notes{}
	a := attempt(record(mail))
	a.Played = d.played()
	worker(d.through(says(nil)), nil).Handle(t.Context(), a)
	require.Equal(t, []string{"call"}, d.lines)
}

// TestInDoubt: an earlier owner meant to send it. Its time is waited for, then what the ledger says by then counts.
func TestInDoubt(t *testing.T) {
	const unknown, concluded, withdrawn = kafka.FateUnknown, kafka.FateConcluded, kafka.FateWithdrawn
	away := errors.New("away")
	for _, c := range []struct {
		name  string
		value string
		fates []any // what the ledger says, question by question
		state notify.State
		calls int
		took  time.Duration
	}{
		{"nobody knows", held, []any{unknown}, notify.StateHeld, 0, 11 * time.Second},
		{"it has ended", held, []any{concluded}, "", 0, 11 * time.Second},
		{"it was taken back", held, []any{withdrawn}, notify.StateSent, 1, 11 * time.Second},
		{"the ledger is away", held, []any{away, away, concluded}, "", 0, 13 * time.Second},
		{"it may be sent twice", mail, nil, notify.StateSent, 1, 0},
		{"it has expired meanwhile", with(`"on_ambiguous":"hold","expires_at":"2000-01-01T00:00:01Z"`), []any{unknown}, notify.StateHeld, 0, 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, s, asked := time.Now(), says(nil), 0
				a := attempt(record(c.value))
				a.Played = &kafka.Played{
					InDoubt: func() (time.Time, bool) { return began.Add(11 * time.Second), true },
					Fate: func() (kafka.Fate, error) {
						said := c.fates[asked]
						asked++
						if err, failed := said.(error); failed {
							return unknown, err
						}
						return said.(kafka.Fate), nil
					},
				}
				res := until(worker(s, nil), a)
				require.Equal(t, c.took, time.Since(began))
				require.Equal(t, len(c.fates), asked)
				require.Len(t, s.got, c.calls)
				if c.state == "" {
					require.Equal(t, kafka.Result{}, res, "done, and no event more")
					return
				}
				require.Equal(t, c.state, eventOf(t, res).State)
				if c.state == notify.StateHeld {
					require.Equal(t, notify.ReasonAmbiguous, deadReason(res))
				}
			})
		})
	}
}

// Its partition waits for it at the gate when it turns out that another owner has ended it: those behind it go on.
func TestWhatAnotherOwnerHasEndedOpensTheGate(t *testing.T) {
	var paused, doubt bool
	a := attempt(record(held))
	a.Played = &kafka.Played{
		Pause: func() { paused = true }, Resume: func() { paused = false },
		InDoubt: func() (time.Time, bool) { return time.Time{}, doubt },
		Fate:    func() (kafka.Fate, error) { return kafka.FateConcluded, nil },
	}
	w := worker(says(nil), func(c *Config) { c.Control = &told{gateways: map[string]time.Time{"mail": time.Now().Add(time.Hour)}} })
	a.Carry = w.Handle(t.Context(), a).Carry
	require.True(t, paused)
	doubt = true
	require.Equal(t, kafka.Result{}, w.Handle(t.Context(), a))
	require.False(t, paused)
}

// until calls w until the record has left its place.
func until(w *Worker, a *kafka.Attempt) kafka.Result {
	for {
		res := w.Handle(context.Background(), a)
		if res.Again.IsZero() {
			return res
		}
		a.Carry = res.Carry
		time.Sleep(time.Until(res.Again))
	}
}

// What a worker means to do itself leaves no doubt of an earlier owner behind.
func TestOurOwnIntentIsNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubt := false
		a := attempt(record(held))
		a.Played = &kafka.Played{
			Record:  func(string, []kafka.Header) error { doubt = true; return nil },
			InDoubt: func() (time.Time, bool) { return time.Time{}, doubt },
			Fate:    func() (kafka.Fate, error) { return kafka.FateUnknown, nil },
		}
		e, _ := finish(t, worker(says(unavailable, nil), nil), a)
		require.Equal(t, notify.StateSent, e.State)
	})
}
