package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/limiter"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// notes records what happens to a job, in order: entries on the ledger, and calls of the gateway.
type notes struct{ lines []string }

func (d *notes) played() *kafka.Played {
	return &kafka.Played{Record: func(kind string, headers []kafka.Header) error {
		d.lines = append(d.lines, kind)
		return nil
	}}
}

func (d *notes) noteCalls(s *scriptedGateway) sendFunc {
	return func(ctx context.Context, m *notify.Message) (notify.Receipt, error) {
		d.lines = append(d.lines, "call")
		return s.Send(ctx, m)
	}
}

var held = mailWith(`"on_ambiguous":"hold"`)

// TestHold_Verdicts: a job that must not be sent twice has an intent on the ledger before each call, and is held if its fate is
// unknown.
func TestHold_Verdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		state   notify.State
		dead    string
		notes   []string
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
				a := newAttempt(record(held))
				a.Played = d.played()
				e, res := handleToEnd(t, newWorker(d.noteCalls(scripted(c.answers...)), nil), a)
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.dead, deadReason(res))
				require.Equal(t, c.notes, d.lines)
			})
		})
	}
}

// The first gateway has refused the job. While it waits for the second one, its partition is revoked: the next owner must not
// assume that the job may have been sent.
func TestHold_IntentIsWithdrawnWithoutCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, full := &notes{}, limiter.New(limiter.Config{Concurrency: 1})
		w := newRouteWorker(func(c *Config) { c.Route.Outlets[1].Limiter = full }, scripted(unavailable), scripted(nil))
		release, err := full.Acquire(t.Context(), notify.LaneNormal, acquireTimeout)
		require.NoError(t, err)
		defer release()
		a := newAttempt(record(held))
		a.Played = d.played()
		require.False(t, w.Handle(t.Context(), a).Again.IsZero())
		require.Equal(t, []string{"intent", "progress"}, d.lines)
	})
}

func TestHold_HeldIsNotFinalAndKeepsJob(t *testing.T) {
	w := newWorker(scripted(ambiguous), nil)
	res := w.Handle(t.Context(), newAttempt(record(held)))
	e := eventOf(t, res)
	require.False(t, e.Final)
	require.Equal(t, 1, e.Attempt)
	require.Equal(t, "ambiguous: "+ambiguous.Reason, e.Reason)
	require.Equal(t, held, string(res.Follow[0].Value))
	golden(t, "held.json", stamped(e))
}

// stamped returns e with a constant time.
func stamped(e notify.Event) notify.Event {
	e.At = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return e
}

func TestHold_NothingIsSentWithoutIntent(t *testing.T) {
	for name, fails := range map[string]*kafka.Played{
		"not recorded": {Record: func(string, []kafka.Header) error { return context.DeadlineExceeded }},
		"lease lost":   {Record: func(string, []kafka.Header) error { return kafka.ErrLeaseLost }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, limit := scripted(nil), limiter.New(limiter.Config{Concurrency: 1})
				w := newWorker(s, func(c *Config) { c.Route.Outlets[0].Limiter = limit })
				a := newAttempt(record(held))
				a.Played = fails
				res := w.Handle(t.Context(), a)
				require.Equal(t, time.Now(), res.Again)
				require.Empty(t, s.received)
				require.Zero(t, limit.InFlight(), "its slot is free")
				a.Played, a.Carry = nil, res.Carry
				require.Equal(t, notify.StateSent, eventOf(t, w.Handle(t.Context(), a)).State)
			})
		})
	}
}

// The lease may run out while the intent is recorded. Then nothing is sent, and the next owner must know that.
func TestHold_LateIntentIsWithdrawn(t *testing.T) {
	s, d := scripted(nil), &notes{}
	a := newAttempt(record(held))
	a.Played = d.played()
	a.Played.MayStart = func() bool { return len(d.lines) == 0 }
	res := newWorker(s, nil).Handle(t.Context(), a)
	require.False(t, res.Again.IsZero())
	require.Empty(t, s.received)
	require.Equal(t, []string{"intent", "progress"}, d.lines)
}

// A job may expire while its intent is recorded. Then it is not sent, and nobody has to decide about it.
func TestHold_JobMayExpireDuringIntent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := scripted(nil), &notes{}
		a := newAttempt(record(mailWith(`"on_ambiguous":"hold","expires_at":"2000-01-01T00:00:01Z"`)))
		a.Played = d.played()
		noted := a.Played.Record
		a.Played.Record = func(kind string, headers []kafka.Header) error {
			time.Sleep(time.Second) // virtual: a slow link
			return noted(kind, headers)
		}
		e, _ := handleToEnd(t, newWorker(s, nil), a)
		require.Equal(t, notify.StateExpired, e.State)
		require.Empty(t, s.received)
		require.Equal(t, []string{"intent", "progress"}, d.lines)
	})
}

func TestHold_OtherJobsNeedNoIntent(t *testing.T) {
	d := &notes{}
	a := newAttempt(record(mail))
	a.Played = d.played()
	newWorker(d.noteCalls(scripted(nil)), nil).Handle(t.Context(), a)
	require.Equal(t, []string{"call"}, d.lines)
}

// TestHold_DoubtIsResolvedFromLedger: an earlier owner has recorded an intent. The worker waits for the end of its time, and
// then reads the ledger.
func TestHold_DoubtIsResolvedFromLedger(t *testing.T) {
	const unknown, concluded, withdrawn = kafka.FateUnknown, kafka.FateConcluded, kafka.FateWithdrawn
	away := errors.New("away")
	for _, c := range []struct {
		name  string
		value string
		fates []any // what the ledger answers, question by question
		state notify.State
		calls int
		took  time.Duration
	}{
		{"nobody knows", held, []any{unknown}, notify.StateHeld, 0, 11 * time.Second},
		{"it has ended", held, []any{concluded}, "", 0, 11 * time.Second},
		{"it was taken back", held, []any{withdrawn}, notify.StateSent, 1, 11 * time.Second},
		{"the ledger is away", held, []any{away, away, concluded}, "", 0, 13 * time.Second},
		{"it may be sent twice", mail, nil, notify.StateSent, 1, 0},
		{"it has expired meanwhile", mailWith(`"on_ambiguous":"hold","expires_at":"2000-01-01T00:00:01Z"`), []any{unknown}, notify.StateHeld, 0, 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := scripted(nil)
				asked := 0
				a := newAttempt(record(c.value))
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
				res := handleUntilDone(newWorker(s, nil), a)
				require.Equal(t, c.took, time.Since(began))
				require.Equal(t, len(c.fates), asked)
				require.Len(t, s.received, c.calls)
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

// The partition is paused for a job that another owner turns out to have finished: the jobs behind it go on.
func TestHold_JobFinishedElsewhereResumesPartition(t *testing.T) {
	var paused, doubt bool
	a := newAttempt(record(held))
	a.Played = &kafka.Played{
		Pause: func() { paused = true }, Resume: func() { paused = false },
		InDoubt: func() (time.Time, bool) { return time.Time{}, doubt },
		Fate:    func() (kafka.Fate, error) { return kafka.FateConcluded, nil },
	}
	w := newWorker(scripted(nil), func(c *Config) {
		c.Control = &fakeControl{gateways: map[string]time.Time{"mail": time.Now().Add(time.Hour)}}
	})
	a.Carry = w.Handle(t.Context(), a).Carry
	require.True(t, paused)
	doubt = true
	require.Equal(t, kafka.Result{}, w.Handle(t.Context(), a))
	require.False(t, paused)
}

// handleUntilDone calls w until the record has ended in this place.
func handleUntilDone(w *Worker, a *kafka.Attempt) kafka.Result {
	for {
		res := w.Handle(context.Background(), a)
		if res.Again.IsZero() {
			return res
		}
		a.Carry = res.Carry
		time.Sleep(time.Until(res.Again))
	}
}

// The worker's own intent raises no doubt about an earlier owner.
func TestHold_OwnIntentIsNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubt := false
		a := newAttempt(record(held))
		a.Played = &kafka.Played{
			Record:  func(string, []kafka.Header) error { doubt = true; return nil },
			InDoubt: func() (time.Time, bool) { return time.Time{}, doubt },
			Fate:    func() (kafka.Fate, error) { return kafka.FateUnknown, nil },
		}
		e, _ := handleToEnd(t, newWorker(scripted(unavailable, nil), nil), a)
		require.Equal(t, notify.StateSent, e.State)
	})
}
