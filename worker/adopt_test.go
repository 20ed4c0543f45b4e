package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// followOnOf returns the follow-on record that another worker has written for the job after this verdict, as a take-over finds
// it.
func followOnOf(t *testing.T, verdict error, ended func(*Config)) *kafka.Record {
	res := newWorker(scripted(verdict), ended).Handle(t.Context(), newAttempt(record(mail)))
	require.Len(t, res.Follow, 1)
	return &kafka.Record{Topic: res.Follow[0].Topic, Headers: res.Follow[0].Headers}
}

// TestAdopt_OutcomeThatIsMissing: the adopting worker publishes the event of the earlier owner, and sends nothing.
func TestAdopt_OutcomeThatIsMissing(t *testing.T) {
	last := func(c *Config) { c.Retries = RetryPolicy{MaxAttempts: 1} }
	for _, c := range []struct {
		name    string
		answers error
		ended   func(*Config)
		state   notify.State
		reason  string
	}{
		{"put off", transient, nil, notify.StateRetrying, ""},
		{"used up", transient, last, notify.StateDead, notify.ReasonAttemptsUsedUp},
		{"rejected", permanent, nil, notify.StateRejected, "policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				followOn := followOnOf(t, c.answers, c.ended)
				s := scripted(nil)
				w := newWorker(s, nil)
				a := newAttempt(record(mail))
				a.Played = &kafka.Played{Left: func() *kafka.Record { return followOn }}
				res := w.Handle(t.Context(), a)
				require.Empty(t, s.received, "nothing is sent")
				require.Empty(t, res.Follow, "it is there already")
				e := eventOf(t, res)
				require.Equal(t, c.state, e.State)
				require.Equal(t, c.reason, e.Reason)
				require.Equal(t, 1, e.Attempt)
				require.Equal(t, someID, e.NotificationID)
				if c.state == notify.StateRetrying {
					require.True(t, e.NextAt.After(time.Now()))
					return
				}
				require.NotNil(t, e.Origin)
				require.True(t, e.Final)
			})
		})
	}
}

// A record of another step, or without readable headers, is no follow-on of this step.
func TestAdopt_RecordOfAnotherStepIsNoOutcome(t *testing.T) {
	for name, r := range map[string]*kafka.Record{
		"an earlier step": {Headers: []kafka.Header{{Key: notify.HeaderStep, Value: []byte("7")}}},
		"another run":     {Headers: []kafka.Header{{Key: notify.HeaderStep, Value: []byte("1")}, {Key: notify.HeaderRun, Value: []byte("2")}}},
		"no headers":      {},
	} {
		t.Run(name, func(t *testing.T) {
			s := scripted(nil)
			a := newAttempt(record(mail))
			a.Played = &kafka.Played{Left: func() *kafka.Record { return r }}
			res := newWorker(s, nil).Handle(t.Context(), a)
			require.Len(t, s.received, 1)
			require.Equal(t, notify.StateSent, eventOf(t, res).State)
		})
	}
}
